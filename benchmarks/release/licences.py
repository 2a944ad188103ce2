"""Licences of all that comes with creps, as a page of the docs; refuses what is under the GPL or AGPL.

    python -m benchmarks.release.licences --output docs/reference/licences.md

Reads the metadata of the environment that it runs in: versions and licences are those of this machine's packages. It
does not see what a package bundles beyond its metadata.
"""

from __future__ import annotations

import argparse
import re
import sys
from importlib.metadata import Distribution
from pathlib import Path

from benchmarks.release.closure import USERS_EXTRAS, closure

__all__ = ["CORRECTED", "is_copyleft", "licence_of", "page", "refused"]

CORRECTED = {
    "cuda-toolkit": "LicenseRef-NVIDIA-Proprietary",  # a list of NVIDIA's packages, each of which says so
    "mistralai": "Apache-2.0",  # its licences/LICENSE
    "nvidia-cusparselt-cu13": "LicenseRef-NVIDIA-Proprietary",
    "nvidia-nvtx": "Apache-2.0",
}
"""Normalised name → licence, where the metadata say nothing or two things."""

NAMES = {
    "3-Clause BSD License": "BSD-3-Clause", "Apache": "Apache-2.0", "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0", "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0", "BSD": "BSD-3-Clause", "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC", "MIT License": "MIT", "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Other/Proprietary License": "LicenseRef-Proprietary", "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}  # fmt: skip
"""What classifiers and older metadata call a licence → its SPDX identifier. "BSD" alone is taken for three clauses."""


def licence_of(name: str, each: Distribution) -> str:
    """The licence of a distribution as its metadata state it, an SPDX expression where that can be told."""
    if name in CORRECTED:
        return CORRECTED[name]
    metadata = each.metadata.json
    if expression := metadata.get("license_expression"):
        return str(expression)
    text = str(metadata.get("license") or "").strip()
    if re.fullmatch(r"[\w.+-]+(?: (?:AND|OR|WITH) [\w.+-]+)*", text) and text.upper() != "UNKNOWN":
        return NAMES.get(text, text)
    stated = [line.split(" :: ")[-1] for line in metadata.get("classifier", []) if line.startswith("License ::")]
    if stated:
        return " OR ".join(NAMES.get(one, one) for one in stated)
    first = text.splitlines()[0][:60] if text else "unknown"
    return NAMES.get(first, first)


def is_copyleft(licence: str) -> bool:
    """Whether a licence is the GPL or AGPL without an exception for linking, and no other is offered.

    >>> is_copyleft("GPL-3.0-or-later"), is_copyleft("GPL-2.0-only OR MIT"), is_copyleft("LGPL-3.0-only")
    (True, False, False)
    """
    choices = re.split(r"\bOR\b", licence)
    return all(_bound(choice) for choice in choices)


def _bound(choice: str) -> bool:
    terms = re.split(r"\bAND\b|;", choice)
    return any(
        re.search(r"(?<!L)\bA?GPL|GNU (?:Affero )?General Public", term) and "exception" not in term.lower()
        for term in terms
    )


def refused(distributions: dict[str, Distribution]) -> list[str]:
    """Distributions that creps must not bring with it, or whose licence is not known: a line each."""
    faults = []
    for name, each in distributions.items():
        licence = licence_of(name, each)
        if is_copyleft(licence) or licence == "unknown":
            faults.append(f"{name} {each.version}: {licence}")
    return faults


def page() -> str:
    """The page of the docs: what comes with creps, what with each extra, what is inside the wheel."""
    core, everything = closure(), closure(USERS_EXTRAS)
    brings = {extra: set(closure([extra])) - set(core) for extra in USERS_EXTRAS}
    lines = [HEAD.format(core=len(core), all=len(everything)), "| package | version | licence | comes with |"]
    lines.append("|---|---|---|---|")
    for name, each in everything.items():
        by = "creps" if name in core else ", ".join(extra for extra, names in brings.items() if name in names)
        lines.append(f"| {name} | {each.version} | {licence_of(name, each)} | {by} |")
    return "\n".join(lines) + "\n"


HEAD = """# Licences

creps is under the Apache License 2.0. `make licences` writes this page and fails if a package under the GPL or AGPL
comes with creps or one of its extras; a test does the same. Linux, Python 3.11, the versions of the lock of CI: {core}
packages come with creps alone, {all} with all extras.

- **PyTorch for Linux from PyPI requires NVIDIA's CUDA libraries, which are proprietary** (free to use, redistributable
  within limits). PyTorch for CPUs, from its own index, requires none of them.
- MPL-2.0 (certifi, tqdm) binds changes to these packages themselves, not programs that use them.
- Most packages of `dose` are requirements of pyRadPlan, which pulls in clients of language models and their telemetry.
  creps uses none of these ([what it switches off](../contributing/dependencies.md#telemetry)).
- This page knows metadata only. Compiled packages contain more: those of NumPy, SciPy and PyTorch hold GCC's runtime
  libraries, under the GPL with an exception for linking. Their own licence files list these.

**Inside the wheel of creps**: the slice viewer of the reports, [NiiVue](https://github.com/niivue/niivue) 0.69.0 as
published (BSD-2-Clause), which contains array-equal, fflate, gl-matrix, @lukeed/uuid, nifti-reader-js and zarrita (MIT)
and @ungap/structured-clone (ISC). Their licences are in the wheel and in every report that has the viewer. The shipped
models were trained on digital phantoms only, and are Apache-2.0 as creps is.
"""


def main() -> int:
    """Write the page; 1 if a licence is refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    faults = refused(closure(USERS_EXTRAS))
    if not faults:
        options.output.write_text(page(), encoding="utf-8")
    print("\n".join(faults) or f"{options.output}: no GPL, no AGPL, none unknown")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
