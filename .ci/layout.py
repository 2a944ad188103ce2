"""Check how modules are laid out; what ruff has no rule for. Run by ``make lint``.

- Every module names what is public in ``__all__``. (Ruff checks that the names exist, F822, and that it has a
  docstring, D100.)
- No sibling prefixes: ``reading_pixels.py`` has no place beside ``reading.py`` or ``reading_series.py``. Files that
  share a prefix are one subject, and a subject with several files is a package: ``reading/pixels.py``.

    python .ci/layout.py src/creps benchmarks
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from pathlib import Path

ALLOWED: dict[str, str] = {}
"""Folder/prefix, from the project's root → why these files share a prefix and are no package all the same."""


def modules_without_all(folder: Path) -> list[str]:
    """Modules of a package that do not assign ``__all__``; an ``__init__.py`` or ``__main__.py`` need not."""
    return [
        f"{path}: no __all__. List the public names of the module."
        for path in sorted(folder.rglob("*.py"))
        if not path.name.startswith("__") and "__all__" not in _assigned(path)
    ]


def sibling_prefixes(folder: Path) -> list[str]:
    """Files or packages in one folder whose names begin with the same word."""
    found = []
    for inner in sorted({path.parent for path in folder.rglob("*.py")}):
        subjects = defaultdict(list)
        for path in sorted(inner.iterdir()):
            if path.suffix == ".py" or (path / "__init__.py").is_file():
                name = path.stem.removeprefix("test_")
                subjects[name.split("_")[0] if not name.startswith("_") else name].append(path.name)
        found += [
            f"{inner}: {', '.join(names)} share the prefix '{prefix}'. Make it a package, or name them apart."
            for prefix, names in subjects.items()
            if len(names) > 1 and f"{inner.as_posix()}/{prefix}" not in ALLOWED
        ]
    return found


def _assigned(path: Path) -> set[str]:
    targets: list[ast.expr] = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets += (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
    return {target.id for target in targets if isinstance(target, ast.Name)}


def main(folders: list[str]) -> int:
    """Print what is wrong; 1 if anything is."""
    missing = [folder for folder in folders if not Path(folder).is_dir()]
    found = [f"{folder}: no such folder." for folder in missing or ([] if folders else ["(none given)"])]
    for folder in map(Path, folders):
        found += sibling_prefixes(folder)
        if (folder / "__init__.py").is_file() and folder.name != "tests":
            found += modules_without_all(folder)
    print("\n".join(found) or f"Layout of {', '.join(folders)}: nothing to report.")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
