"""What lies in a folder of acoustic maps, and which program reads which file."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from creps.ultrasound.curves import AcousticCurves

__all__ = ["PROGRAMS", "MapFile", "Program", "TusDocument"]


class MapFile(BaseModel):
    """One file of the folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    holds: str
    """What its voxels mean."""
    unit: str
    """Their unit; empty for labels."""


class Program(BaseModel):
    """A program that reads files of the folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str
    """The version whose description the files follow."""
    source: str
    """Where that version describes its input."""
    files: dict[str, str]
    """What the program calls an input → the file."""
    remark: str
    """What the program still needs."""


class TusDocument(BaseModel):
    """The acoustic maps of one head."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    """Version of the file format; creps refuses any other."""
    files: dict[str, MapFile]
    """File → what it holds."""
    programs: dict[str, Program]
    """Program → the files that it reads."""
    curves: AcousticCurves
    """What density and speed of sound come from."""
    skull_ml: float
    """Volume of the skull mask in ml."""
    hu_range: tuple[float, float]
    """Lowest and highest HU."""
    spacing_mm: tuple[float, float, float]
    """Voxel size along the file's axes: right, anterior, superior."""
    notes: tuple[str, ...]
    """What a reader of the maps should know of them."""
    provenance: dict[str, Any]
    """Notice, time, versions, machine and the model's weights."""


PROGRAMS = {
    "BabelBrain": Program(
        version="0.8.1",
        source="https://proteusmrighifu.github.io/BabelBrain (Preliminary steps; BabelBrain simulation, Input data)",
        files={"CT scan of the type 'real CT', no coregistration": "hu.nii.gz", "density map": "density.nii.gz"},
        remark=(
            "Needs the T1 with voxels of 1 mm and its SimNIBS charm folder. Bone begins at 300 HU and is capped"
            " at 2100 HU there."
        ),
    ),
    "k-Plan": Program(
        version="online documentation, undated",
        source="https://dispatch.k-plan.io/static/docs (Coordinate systems; Simulation pipeline)",
        files={"primary planning image (CT)": "hu.nii.gz"},
        remark="Converts HU itself, by a CT calibration that you choose there.",
    ),
    "PRESTUS": Program(
        version="0.6.1",
        source="https://donders-institute.github.io/PRESTUS/doc_pseudoCT",
        files={"pseudoCT.nii.gz": "prestus/pseudoCT.nii.gz", "tissues_mask.nii.gz": "prestus/tissues_mask.nii.gz"},
        remark=(
            "Copy both into the folder m2m_sub-NNN of SimNIBS charm, or into path.pct/sub-NNN; set pct.enabled to 1."
            " PRESTUS then makes no pseudo-CT of its own."
        ),
    ),
}
"""What each program's own description asks for; see docs/how-to/transcranial-ultrasound.md."""
