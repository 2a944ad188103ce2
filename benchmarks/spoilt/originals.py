"""What is spoilt: one of each kind of file that creps reads, and the command that reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.dicom.campaign import command_line
from benchmarks.dicom.originals import SPACING_MM, head
from creps.io.itk import write_volume
from creps.volume import Volume

__all__ = ["ORIGINALS", "Original", "write_originals"]

NAMES = ("a", "b", "c")

SERVICE = "rules:\n  - {name: all, model: model, on_qa_fail: send}\nsettle_seconds: 0\nlimits: {free_gb: 0.01}\n"


@dataclass(frozen=True)
class Original:
    """One kind of file.

    Attributes:
        name: What it is.
        file: The file that is spoilt.
        words: The command that reads it; ``OUT`` is a folder that does not exist yet.
        kind: "binary", "text" (a table or YAML) or "json".
        may_differ: Whether a spoilt one may still give a result. Not so where a hash guards the content.
    """

    name: str
    file: str
    words: tuple[str, ...]
    kind: str
    may_differ: bool = True


def _synthesize(mr: str) -> tuple[str, ...]:
    return ("synthesize", "model", mr, "-o", "OUT/sct.nii.gz", "--qa", "off")


ORIGINALS = (
    *(
        Original(f"MR as {suffix}", f"mr.{suffix}", _synthesize(f"mr.{suffix}"), "binary")
        for suffix in ("nii", "nii.gz", "mha", "mhd", "zraw", "nrrd")
        if suffix != "zraw"
    ),
    Original("data file of mhd", "mr.zraw", _synthesize("mr.mhd"), "binary"),
    Original("CT to evaluate", "ct.nii", ("evaluate", "sct.nii.gz", "ct.nii", "--json", "OUT/e.json"), "binary"),
    Original("mask", "mask.nii", (*_synthesize("mr.nii.gz"), "--mask", "mask.nii"), "binary"),
    Original("weights", "model/generator.safetensors", _synthesize("mr.nii.gz"), "binary", may_differ=False),
    Original("plan of a model", "model/plan.json", _synthesize("mr.nii.gz"), "json"),
    Original("table of cases", "cases.csv", ("prepare", "cases.csv", "-o", "OUT", "--jobs", "1"), "text"),
    Original("settings", "settings.yaml", ("settings", "-s", "settings.yaml", "-o", "OUT/s.yaml"), "text"),
    Original("record of an sCT", "sct.json", ("report", "sct.nii.gz", "-o", "OUT/r.html"), "json"),
    Original("QA of an sCT", "sct_qa.json", ("report", "sct.nii.gz", "-o", "OUT/r.html"), "json"),
    Original("evaluation", "evaluation.json", ("report", "evaluation.json", "-o", "OUT/r.html"), "json"),
    Original("manifest of a cohort", "cohort/manifest.json", ("prepare", "--inspect", "-o", "cohort"), "json"),
    Original("service settings", "service.yaml", ("watch", "arriving", "OUT", "-s", "service.yaml", "--once"), "text"),
)


def write_originals(folder: Path) -> None:
    """Write all of them; commands that make some are run here, in `folder`."""
    mr, ct = _mr(), _mr()
    rng = np.random.default_rng(0)
    noise, tissue = rng.normal(0, 15, ct.shape), np.where(rng.random(ct.shape) < 0.05, 900.0, 40.0)
    ct = ct.with_array((np.where(ct.array > 0, tissue, -1000.0) + noise).astype(np.float32))
    for suffix in ("nii", "nii.gz", "mha", "mhd", "nrrd"):
        write_volume(mr, folder / f"mr.{suffix}")
    write_volume(ct, folder / "ct.nii")
    write_volume(mr.with_array((mr.array > 0).astype(np.float32)), folder / "mask.nii")
    for number, name in enumerate(NAMES):
        for kind, volume in (("mr", mr), ("ct", ct)):
            shifted = volume.with_array(np.roll(volume.array, number, axis=2) * (1 + number / 100))
            write_volume(shifted, folder / "images" / f"{kind}_{name}.nii.gz")
    (folder / "arriving").mkdir()
    from tests.service.running import tiny_model

    tiny_model(folder / "model")
    rows = [f"{kind}{n};{kind};images/{kind}_{n}.nii.gz" for kind in ("mr", "ct") for n in NAMES]
    (folder / "cases.csv").write_text("case;modality;path\n" + "\n".join(rows) + "\n")
    (folder / "service.yaml").write_text(SERVICE)
    for words in (
        ("synthesize", "model", "mr.nii.gz", "-o", "sct.nii.gz"),
        ("evaluate", "sct.nii.gz", "ct.nii", "--json", "evaluation.json"),
        ("settings", "-o", "settings.yaml"),
        ("prepare", "cases.csv", "-o", "cohort", "--jobs", "1", "--preparation.spacing_mm", "6,6,6"),
    ):
        code, said = command_line(*words)
        if code:
            raise RuntimeError(f"creps {' '.join(words)}: {said}")


def _mr() -> Volume:
    array: Any = np.asarray(head(), dtype=np.float32)
    return Volume(array, (SPACING_MM,) * 3, (0.0, 0.0, 0.0), np.diag([1.0, 1.0, 1.0])[::-1].copy())
