"""Where a mistake can be put into the source: sign, axis, bound, unit, off by one.

A site is found in the syntax tree and kept as bytes to replace, so that a mutated file differs in these bytes alone.
Messages, logs, annotations and figures are left out: a mistake in them changes no result.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

KINDS = ("sign", "axis", "bound", "unit", "off by one")
SKIPPED = ("figures", "cli", "demo")
"""Folders of the package whose numbers are sizes of letters, texts, or only shown."""

SWAPPED = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum"}
BOUNDS = {ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">")}
SIGNS = {ast.Add: ("+", "-"), ast.Sub: ("-", "+")}
SCALES = {ast.Mult: ("*", "/"), ast.Div: ("/", "*")}
UNITS = ("_MM", "_HU", "_ML", "_CM", "_SECONDS", "_BYTES")


@dataclass(frozen=True)
class Site:
    """A place in a file and what stands there instead.

    Attributes:
        path: The file, relative to the package.
        kind: One of `KINDS`.
        line: 1-based.
        start: First byte that is replaced.
        end: Byte after the last.
        before: What stands there.
        after: What it becomes.
        statement: The syntax of the statement around it, without positions; with `where` it finds the same place in
            another version of the source, whatever its file is called.
        where: Names of the classes and functions around it.
        name: For a constant of the module: its name.
    """

    path: str
    kind: str
    line: int
    start: int
    end: int
    before: str
    after: str
    statement: str
    where: str
    name: str

    @property
    def key(self) -> tuple[str, ...]:
        """The same for the same place in another version."""
        return (self.kind, self.where, self.statement, self.before, self.after)

    def is_another_program(self, source: bytes) -> bool:
        """Whether the mistake leaves a file that can be compiled and differs in more than layout."""
        try:
            return ast.dump(ast.parse(self.applied(source))) != ast.dump(ast.parse(source))
        except SyntaxError:
            return False

    def applied(self, source: bytes) -> bytes:
        """The file with the mistake.

        Raises:
            ValueError: the file is another one.
        """
        if source[self.start : self.end].decode() != self.before:
            raise ValueError(f"{self.path}:{self.line} does not say {self.before!r}")
        return source[: self.start] + self.after.encode() + source[self.end :]


def sites_of(package: Path) -> list[Site]:
    """All sites of a package, in the order of its files."""
    found = []
    for path in sorted(package.rglob("*.py")):
        relative = path.relative_to(package)
        if relative.parts[0] not in SKIPPED:
            found += _File(path.read_bytes(), relative.as_posix()).sites()
    return found


def pairs_of(old: Path, new: Path) -> list[tuple[Site, Site]]:
    """Sites that two versions of a package share, whichever file they moved to."""
    groups: list[dict[tuple[str, ...], list[Site]]] = []
    for package in (old, new):
        group = defaultdict(list)
        for site in sites_of(package):
            group[site.key].append(site)
        groups.append(group)
    before, after = groups
    same = [key for key in after if len(before.get(key, ())) == len(after[key])]
    return [pair for key in same for pair in zip(before[key], after[key], strict=True)]


class _File:
    def __init__(self, source: bytes, path: str) -> None:
        self.source, self.path = source, path
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def sites(self) -> list[Site]:
        found: list[Site] = []
        for statement, where, name in _statements(ast.parse(self.source), ()):
            syntax = ast.dump(statement)
            for node in _expressions(statement):
                for kind, start, end, after in self._mistakes(node):
                    text = self.source[start:end].decode()
                    line = self.source.count(b"\n", 0, start) + 1
                    found.append(Site(self.path, kind, line, start, end, text, after, syntax, ".".join(where), name))
        return found

    def _mistakes(self, node: ast.AST) -> Iterator[tuple[str, int, int, str]]:
        if isinstance(node, ast.BinOp):
            yield from self._of_operation(node)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            start = self._at(node.lineno, node.col_offset)
            yield "sign", start, start + 1, ""
        elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in BOUNDS:
            yield from self._between("bound", node.left, node.comparators[0], BOUNDS[type(node.ops[0])])
        elif isinstance(node, ast.Call):
            yield from self._of_call(node)
        elif isinstance(node, ast.Subscript):
            yield from self._of_subscript(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            yield from self._of_constant(node)

    def _of_operation(self, node: ast.BinOp) -> Iterator[tuple[str, int, int, str]]:
        if _is_text(node.left) or _is_text(node.right):
            return
        if type(node.op) in SIGNS:
            yield from self._between("sign", node.left, node.right, SIGNS[type(node.op)])
            for operand in (node.left, node.right):
                yield from self._one_more(operand)
        elif type(node.op) in SCALES:
            yield from self._between("unit", node.left, node.right, SCALES[type(node.op)])

    def _of_call(self, node: ast.Call) -> Iterator[tuple[str, int, int, str]]:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in SWAPPED:
            end = self._at(node.func.end_lineno or 0, node.func.end_col_offset or 0)
            yield "bound", end - len(name), end, SWAPPED[name]
        if name == "range":
            for argument in node.args:
                yield from self._one_more(argument)
        for keyword in node.keywords:
            if keyword.arg in ("axis", "dim") and (value := _whole(keyword.value)) is not None:
                start, end = self._span(keyword.value)
                yield "axis", start, end, str(1 if value == 0 else 0)

    def _of_subscript(self, node: ast.Subscript) -> Iterator[tuple[str, int, int, str]]:
        if isinstance(node.value, ast.Attribute) and node.value.attr in ("shape", "spacing", "spacing_mm", "origin"):
            index = _whole(node.slice)
            if index is not None:
                start, end = self._span(node.slice)
                yield "axis", start, end, str(1 if index == 0 else 0)
        for part in node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]:
            if isinstance(part, ast.Slice):
                if part.step is not None and _whole(part.step) == -1:
                    start, end = self._span(part.step)
                    yield "axis", start, end, "1"
                for bound in (part.lower, part.upper):
                    if bound is not None:
                        yield from self._one_more(bound)

    def _of_constant(self, node: ast.Assign | ast.AnnAssign) -> Iterator[tuple[str, int, int, str]]:
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        value = node.value
        if (
            isinstance(target, ast.Name)
            and target.id.isupper()
            and target.id.endswith(UNITS)
            and isinstance(value, ast.Constant)
            and isinstance(value.value, int | float)
            and not isinstance(value.value, bool)
        ):
            start, end = self._span(value)
            yield "unit", start, end, f"{self.source[start:end].decode()} * 10"

    def _one_more(self, node: ast.expr) -> Iterator[tuple[str, int, int, str]]:
        value = _whole(node)
        if value is not None and value >= 0:
            start, end = self._span(node)
            yield "off by one", start, end, str(value + 1)

    def _between(
        self, kind: str, left: ast.expr, right: ast.expr, symbols: tuple[str, str]
    ) -> Iterator[tuple[str, int, int, str]]:
        first, last = self._span(left)[1], self._span(right)[0]
        place = self.source.find(symbols[0].encode(), first, last)
        if place >= 0:
            yield kind, place, place + len(symbols[0]), symbols[1]

    def _span(self, node: ast.expr) -> tuple[int, int]:
        return self._at(node.lineno, node.col_offset), self._at(node.end_lineno or 0, node.end_col_offset or 0)

    def _at(self, line: int, column: int) -> int:
        return self.starts[line - 1] + column


def _statements(node: ast.AST, where: tuple[str, ...]) -> Iterator[tuple[ast.stmt, tuple[str, ...], str]]:
    """Simple statements and heads of compound ones, with the names around them."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _statements(child, (*where, child.name))
        elif isinstance(child, ast.stmt) and not isinstance(
            child, ast.Raise | ast.Assert | ast.Import | ast.ImportFrom
        ):
            target = child.targets[0] if isinstance(child, ast.Assign) else getattr(child, "target", None)
            yield child, where, target.id if isinstance(target, ast.Name) and not where else ""
            yield from _statements(child, where)
        elif isinstance(child, ast.ExceptHandler | ast.match_case):
            yield from _statements(child, where)


def _expressions(statement: ast.stmt) -> Iterator[ast.AST]:
    """Nodes of a statement without those of statements inside it, messages and annotations."""
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        yield node
        for field, value in ast.iter_fields(node):
            if field not in ("annotation", "returns", "decorator_list", "type_params"):
                waiting += [child for child in (value if isinstance(value, list) else [value]) if _computes(child)]


def _computes(node: object) -> bool:
    return isinstance(node, ast.AST) and not isinstance(node, ast.stmt | ast.JoinedStr) and not _speaks(node)


def _speaks(node: ast.AST) -> bool:
    """Whether it only tells the user something."""
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    if isinstance(function, ast.Attribute):
        return isinstance(function.value, ast.Name) and function.value.id in ("log", "logger", "click")
    return isinstance(function, ast.Name) and (function.id == "Field" or function.id.endswith("Error"))


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr | ast.List | ast.Tuple) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    )


def _whole(node: ast.expr) -> int | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _whole(node.operand)
        return None if inner is None else -inner
    is_whole = isinstance(node, ast.Constant) and isinstance(node.value, int) and not isinstance(node.value, bool)
    return int(node.value) if is_whole else None  # type: ignore[attr-defined]
