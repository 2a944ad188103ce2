"""A CycloneDX list (SBOM) of what comes with creps: packages, the vendored viewer, the shipped models.

    python -m benchmarks.release.sbom --output build/creps.cdx.json

Versions are those of the environment that it runs in, and licences what `licences` says. The file belongs beside the
wheel of a release, and not into git: it is true for one environment at one time.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from importlib.metadata import distribution
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.contrib.this.builders import this_component
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from benchmarks.release.closure import USERS_EXTRAS, closure, parents
from benchmarks.release.licences import licence_of
from creps.io.atomic import atomic_file

__all__ = ["VENDORED", "sbom"]

SOURCE = Path(__file__).resolve().parents[2] / "src" / "creps"

VENDORED = (
    ("@niivue/niivue", "0.69.0", "BSD-2-Clause", SOURCE / "report" / "vendor" / "niivue.umd.js"),
    ("array-equal", None, "MIT", None),
    ("fflate", None, "MIT", None),
    ("gl-matrix", None, "MIT", None),
    ("@lukeed/uuid", None, "MIT", None),
    ("nifti-reader-js", None, "MIT", None),
    ("@ungap/structured-clone", None, "ISC", None),
    ("zarrita", None, "MIT", None),
)
"""Name on npm, version, licence, file; those without a file are inside NiiVue's, in versions that it does not state."""


def sbom(extras: tuple[str, ...] = USERS_EXTRAS) -> Bom:
    """The list for creps with these extras, with the graph of who requires whom."""
    root = _component(ComponentType.APPLICATION, "creps", distribution("creps").version, "Apache-2.0", "pypi")
    distributions = closure(extras)
    packages = {
        name: _component(ComponentType.LIBRARY, name, each.version, licence_of(name, each), "pypi")
        for name, each in distributions.items()
    }
    vendored = [_vendored(*row) for row in VENDORED]
    models = [_model(path) for path in sorted((SOURCE / "shipped").glob("*/generator.safetensors"))]
    bom = Bom(components=[*packages.values(), *vendored, *models])
    bom.metadata.component = root
    bom.metadata.tools.components.add(this_component())
    nodes = {"creps": root, **packages}
    asking = parents(extras)
    for name, node in nodes.items():
        bom.register_dependency(node, [packages[to] for to, by in asking.items() if name in by and to in packages])
    bom.register_dependency(root, [vendored[0], *models])
    bom.register_dependency(vendored[0], vendored[1:])
    return bom


def _component(kind: ComponentType, name: str, version: str | None, licence: str, where: str) -> Component:
    namespace, _, short = name.rpartition("/")
    url = PackageURL(where, namespace or None, short, version)
    return Component(
        type=kind, name=name, version=version, purl=url, bom_ref=str(url),
        licenses=[LicenseFactory().make_from_string(licence)],
    )  # fmt: skip


def _vendored(name: str, version: str | None, licence: str, file: Path | None) -> Component:
    component = _component(ComponentType.LIBRARY, name, version, licence, "npm")
    if file is not None:
        component.hashes.add(_hash(file))
        component.properties.add(Property(name="creps:file", value=file.relative_to(SOURCE.parent).as_posix()))
    return component


def _model(weights: Path) -> Component:
    """A shipped model; its card in the wheel says what it was trained on."""
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL, name=f"creps/{weights.parent.name}", bom_ref=weights.parent.name,
        version=distribution("creps").version, licenses=[LicenseFactory().make_from_string("Apache-2.0")],
        hashes=[_hash(weights)],
        properties=[Property(name="creps:file", value=weights.relative_to(SOURCE.parent).as_posix())],
    )  # fmt: skip


def _hash(file: Path) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=hashlib.sha256(file.read_bytes()).hexdigest())


def main() -> int:
    """Write the list; 1 if it is not valid by the schema of CycloneDX 1.6."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    bom = sbom()
    text = JsonV1Dot6(bom).output_as_string(indent=1)
    if fault := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        print(f"not valid: {fault}")
        return 1
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(options.output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"{options.output}: {len(bom.components)} components")
    return 0


if __name__ == "__main__":
    sys.exit(main())
