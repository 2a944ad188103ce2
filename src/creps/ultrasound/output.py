"""Write the acoustic maps of a head as NIfTI, in the formats of the programs that simulate ultrasound."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from creps.io.atomic import write_json
from creps.io.itk import write_volume
from creps.ultrasound.curves import AcousticCurves, acoustic_curves
from creps.ultrasound.document import PROGRAMS, MapFile, TusDocument
from creps.ultrasound.maps import LABELS, AcousticMaps, acoustic_maps
from creps.ultrasound.suitability import check_suitable
from creps.volume import Mask, Volume

__all__ = ["DOCUMENT", "FOLDER", "Ultrasound", "write_maps"]

FOLDER, DOCUMENT = "tus", "tus.json"
"""Name of the folder, and of the document in it."""

CUBE = 1.01
"""Longest side of a voxel over its shortest, up to which it counts as a cube."""

FILES = {
    "hu.nii.gz": MapFile(holds="synthetic CT, air -1000, nothing outside the patient", unit="HU"),
    "skull.nii.gz": MapFile(holds="1 in the skull, 0 elsewhere", unit=""),
    "density.nii.gz": MapFile(holds="density", unit="kg/m³"),
    "speed.nii.gz": MapFile(holds="speed of sound", unit="m/s"),
    "prestus/pseudoCT.nii.gz": MapFile(holds="the same as hu.nii.gz", unit="HU"),
    "prestus/tissues_mask.nii.gz": MapFile(
        holds="labels: " + ", ".join(f"{number} {name}" for name, number in LABELS.items()), unit=""
    ),
}


@dataclass(frozen=True)
class Ultrasound:
    """Acoustic maps for transcranial ultrasound, to be made of an sCT.

    Attributes:
        curves: HU to density and speed of sound.
    """

    curves: AcousticCurves = field(default_factory=acoustic_curves)
    folder: ClassVar[str] = FOLDER
    on_mr: ClassVar[bool] = True

    def check(self, mr: Volume, body: Volume, target: Volume, region: str, name: str) -> None:
        """Refuse an MR that gives no maps, see `check_suitable`."""
        check_suitable(mr, body, target, region, name)

    def unlinked(self) -> Ultrasound:
        """The same: it names no file of the patient."""
        return self

    def write(self, folder: Path, sct: Volume, patient: Mask, name: str, provenance: dict[str, Any]) -> dict[str, Any]:
        """Make the maps and write them; return what the sCT's record says of them.

        Raises:
            InputError: there is no skull in the sCT.
        """
        document = write_maps(acoustic_maps(sct, patient, self.curves, name), folder, provenance)
        return {"curves": document.curves.name, "skull_ml": document.skull_ml, "notes": list(document.notes)}


def write_maps(maps: AcousticMaps, folder: Path, provenance: dict[str, Any]) -> TusDocument:
    """Write the maps into a folder that is there and empty.

    NIfTI with sform and qform of the same values and code 1; voxels run to the right, to anterior and to superior.

    Args:
        maps: The maps.
        folder: Where.
        provenance: Notice, time, versions, machine and the model's weights.

    Raises:
        InputError: a file cannot be written.
    """
    (folder / "prestus").mkdir()
    whole = {"hu.nii.gz": maps.hu, "skull.nii.gz": maps.skull, "prestus/pseudoCT.nii.gz": maps.hu}
    for name, volume in (whole | {"prestus/tissues_mask.nii.gz": maps.tissues}).items():
        write_volume(volume, folder / name, integer=True)
    write_volume(maps.density, folder / "density.nii.gz")
    write_volume(maps.speed, folder / "speed.nii.gz")
    d, h, w = maps.hu.spacing_mm
    document = TusDocument(
        files=FILES,
        programs=PROGRAMS,
        curves=maps.curves,
        skull_ml=maps.skull_ml,
        hu_range=(float(maps.hu.array.min()), float(maps.hu.array.max())),
        spacing_mm=(w, h, d),
        notes=_notes(maps),
        provenance=provenance,
    )
    write_json(folder / DOCUMENT, document.model_dump(mode="json"))
    return document


def _notes(maps: AcousticMaps) -> tuple[str, ...]:
    """What a reader should know, as sentences."""
    spacing, notes = maps.hu.spacing_mm, []
    if max(spacing) > CUBE * min(spacing):
        notes.append(
            f"Voxels are not cubes ({spacing[2]:.3g} x {spacing[1]:.3g} x {spacing[0]:.3g} mm): PRESTUS scales all axes"
            " by the first, and BabelBrain asks for cubes of 1 mm."
        )
    return tuple(notes)
