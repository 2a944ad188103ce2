"""The commands that faults meet, small enough to be run hundreds of times, and how to see whether a result is whole."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import creps

__all__ = ["VERBS", "WATCH", "Verb", "is_litter", "started", "write_originals"]

PLAN = "region: brain\nradiation: protons\ngantry_degrees: [0]\ndose_grid_mm: 5\nspot_mm: 8\niterations: 5\n"

INCOMPLETE = "without its record"

STEPS = 12
TRAINING = (
    f"--training.steps {STEPS} --training.checkpoint_every 1 --training.validate_every 4 --training.batch_size 1"
    " --training.precision fp32 --training.device cpu --training.workers 0 --simulation.phantoms 2"
    " --sampling.patch_size 24,24,24 --generator.kind residual --generator.width 4 --generator.residual_blocks 1"
)


@dataclass
class Verb:
    """A command that is killed.

    Attributes:
        words: Its words.
        output: What it writes, a file or a folder.
        again: What is added to go on after a kill.
        digest: What must be equal in the end, and whole after each kill.
        seconds: How long it takes undisturbed, once that is known.
        grows: Whether its result is made of parts, each of which is whole by itself.
    """

    words: str
    output: str
    again: str
    digest: Callable[[Path], str]
    seconds: float = 5.0
    grows: bool = False

    @property
    def replaces(self) -> bool:
        """Whether it can write over an earlier result."""
        return self.again == "--overwrite"


def _weights(run: Path) -> str:
    """Hash of the model of a run; every checkpoint under its final name must load."""
    from creps.model import load_tensors

    for file in run.glob("checkpoints/step_*/*.safetensors"):
        load_tensors(file)
    model = run / "model" / "generator.safetensors"
    return _sha(model) if model.is_file() else ""


def _arrays(cohort: Path) -> str:
    """Hash of all voxels of a cohort."""
    if not cohort.is_dir():
        return ""
    files = sorted(cohort.rglob("*.npy"))
    return hashlib.sha256("".join(f"{file.relative_to(cohort)} {_sha(file)}" for file in files).encode()).hexdigest()


def _volume(file: Path) -> str:
    """Hash of an sCT's voxels, which has its record and picture beside it."""
    if not file.is_file():
        return ""
    for ending in (".json", ".png", "_qa.json"):
        if not file.with_name(file.name.removesuffix(".nii.gz") + ending).is_file():
            return INCOMPLETE
    return _sha_of_voxels(file)


def _watched(folder: Path) -> str:
    """Hashes of the sCTs of a watched folder; each has its record and picture."""
    found = [(file.name, _volume(file)) for file in sorted(folder.glob("*_sct.nii.gz"))]
    if any(digest == INCOMPLETE for _, digest in found):
        raise ValueError("an sCT is without its record")
    return json.dumps(found) if found else ""


def _doses(folder: Path) -> str:
    """Hash of both doses, which have their document beside them."""
    if not folder.is_dir():
        return ""
    json.loads((folder / "dose.json").read_text())
    return "".join(_sha_of_voxels(folder / f"dose_{image}.nii.gz") for image in ("ct", "sct"))


def _values(file: Path) -> str:
    """The measured values of an evaluation."""
    if not file.is_file():
        return ""
    return json.dumps([case["values"] for case in json.loads(file.read_text())["cases"]])


def _page(file: Path) -> str:
    """Whether a page and its document are whole."""
    if not file.is_file():
        return ""
    return str(
        file.read_text().rstrip().endswith("</html>") and bool(json.loads(file.with_suffix(".json").read_text()))
    )


VERBS = {
    "train": Verb(f"train cohort -o OUT {TRAINING}", "run", "--resume auto", _weights, grows=True),
    "prepare": Verb(
        "prepare mr ct -o OUT --jobs 2 --preparation.spacing_mm 4,4,4 --preparation.mr_scale auto",
        "prepared",
        "--resume",
        _arrays,
        grows=True,
    ),
    "synthesize": Verb("synthesize model mr/m0.nii.gz -o OUT", "sct.nii.gz", "--overwrite", _volume),
    "dose": Verb(
        "dose ct0.nii.gz sct0.nii.gz --structures masks --plan plan.yaml -o OUT", "dose", "--overwrite", _doses
    ),
    "evaluate": Verb("evaluate sct0.nii.gz ct0.nii.gz --json OUT", "e.json", "--overwrite", _values),
    "report": Verb("report sct0.nii.gz -o OUT --mr mr/m0.nii.gz", "r.html", "--overwrite", _page),
}
"""Name → command that meets every fault."""

WATCH = Verb("watch mr OUT -m model --settle 0 --once", "watched", "", _watched, grows=True)
"""It is killed too; the faults meet the commands it consists of."""


def write_originals(folder: Path) -> None:
    """The images, the cohort and the model that the commands take."""
    import numpy as np
    from tests.conftest import ball_head
    from tests.service.running import tiny_model

    from creps.io.itk import write_volume
    from creps.volume import Volume

    for i in range(4):
        write_volume(ball_head(i)[0], folder / "mr" / f"m{i}.nii.gz")
        write_volume(ball_head(10 + i)[1], folder / "ct" / f"c{i}.nii.gz", integer=True)
    ct = ball_head(0)[1]
    write_volume(ct, folder / "ct0.nii.gz", integer=True)
    tiny_model(folder / "model")
    (folder / "plan.yaml").write_text(PLAN)
    centre = np.zeros(ct.shape, np.float32)
    centre[tuple(slice(n // 2 - 2, n // 2 + 2) for n in ct.shape)] = 1
    write_volume(Volume(centre, ct.spacing_mm), folder / "masks" / "PTV.nii.gz", integer=True)
    write_volume(
        ct.with_array(np.where(ct.array > 500, 0.8 * ct.array, ct.array)), folder / "sct0.nii.gz", integer=True
    )
    creps.prepare(
        [folder / "mr", folder / "ct"],
        folder / "cohort",
        overrides={"preparation.spacing_mm": (4, 4, 4), "preparation.mr_scale": "auto"},
        jobs=1,
    )


def is_litter(path: Path) -> bool:
    """Whether a name is one of something unfinished."""
    return path.name.startswith(".writing-") or path.name.endswith((".part", ".preparing"))


def started(
    folder: Path, words: str | list[str], *, log: str = "log.txt", environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a command in a folder, in a process group of its own; what it says is added to a file there."""
    words = words.split() if isinstance(words, str) else words
    source = str(Path(creps.__file__).parents[1])  # this one, from any folder
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": source, **(environment or {})}
    command = [sys.executable, "-m", "creps", "-q", *words]
    with (folder / log).open("a") as told:
        return subprocess.Popen(command, cwd=folder, stdout=told, stderr=told, env=settings, start_new_session=True)


def _sha(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _sha_of_voxels(file: Path) -> str:
    from creps import read_volume

    return hashlib.sha256(read_volume(file).array.tobytes()).hexdigest()
