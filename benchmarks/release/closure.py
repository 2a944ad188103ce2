"""Which distributions come with ``pip install creps[EXTRA]``: the closure of its requirements in this environment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__ = ["USERS_EXTRAS", "closure", "parents"]

USERS_EXTRAS = ("cluster", "dose", "export", "paper", "service", "tensorboard")
"""Extras that add something to creps; ``dev``, ``docs`` and ``release`` are for its developers."""


def closure(extras: Iterable[str] = (), root: str = "creps") -> dict[str, Distribution]:
    """Everything that `root` requires here, itself left out.

    Args:
        extras: Of `root`.
        root: Name of an installed distribution.

    Returns:
        Normalised name → installed distribution, sorted.

    Raises:
        PackageNotFoundError: A requirement is not installed.

    >>> "numpy" in closure()
    True
    """
    found: dict[str, Distribution] = {}
    todo, done = [(root, frozenset(extras))], set()
    while todo:
        name, wanted = todo.pop()
        if (name, wanted) in done:
            continue
        done.add((name, wanted))
        found[name] = distribution(name)
        todo += [(canonicalize_name(r.name), frozenset(r.extras)) for r in _required(found[name], wanted)]
    return {name: found[name] for name in sorted(found) if name != canonicalize_name(root)}


def parents(extras: Iterable[str] = (), root: str = "creps") -> dict[str, list[str]]:
    """Of every distribution of the closure: which of the others, or `root`, require it."""
    distributions = closure(extras, root)
    asking: dict[str, list[str]] = {name: [] for name in distributions}
    for name, each in {root: distribution(root), **distributions}.items():
        for requirement in _required(each, frozenset(extras) if name == root else frozenset()):
            asking.setdefault(canonicalize_name(requirement.name), []).append(name)
    return asking


def _required(each: Distribution, extras: frozenset[str]) -> Iterator[Requirement]:
    """Requirements that apply on this machine, with these extras; one whose extra nobody asked for does not."""
    for line in each.requires or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


def installed(names: Iterable[str]) -> set[str]:
    """Those of `names` that are installed."""
    there = set()
    for name in names:
        try:
            distribution(name)
        except PackageNotFoundError:
            continue
        there.add(name)
    return there
