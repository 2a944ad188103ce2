"""The code blocks of README and docs: which there are, which run, and a folder with everything that they name."""

import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from creps import Model, load
from creps.cli import main
from creps.io.itk import write_volume
from creps.networks.build import build_generator
from creps.settings import UNetSettings
from creps.volume import Volume
from tests.conftest import ball_head
from tests.dicom_cases import mr_series

PROJECT = Path(__file__).resolve().parents[1]

PAGES = [
    path
    for path in (PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").rglob("*.md")))
    if path.is_file()
]

BLOCK = re.compile(r"(?:<!-- not run: (?P<reason>[^>]+) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```", re.M | re.S)

LANGUAGES = {
    "": "output",
    "bat": "windows",
    "bibtex": "output",
    "yaml": "file",
    "sh": "shell",
    "console": "session",
    "python": "python",
}

TINY = {
    "preparation": {"spacing_mm": [4.0, 4.0, 4.0], "mr_scale": "auto"},
    "generator": {"kind": "residual", "width": 4, "residual_blocks": 1},
    "simulation": {"phantoms": 2},
    "discriminator": {"widths": [4, 4, 4, 4]},
    "nce": {"features": ["input", "stem"], "patches": 32, "width": 8},
    "creps": {"weights": "random", "layers": ["features.1.0.block.5"], "image_size": None, "slice_step": 8},
    "sampling": {"patch_size": [24, 24, 24]},
    "training": {"batch_size": 2, "steps": 2, "precision": "fp32", "device": "cpu"},
    "inference": {"precision": "fp32", "device": "cpu"},
}
"""What every preset sets while the blocks run: sizes with which a step takes a fraction of a second."""

REGIONS = {"brain": "brain", "pelvis": "pelvis", "demo": "head", "demo-pelvis": "pelvis"}

ONE_PHANTOM = ["--mr", "1", "--ct", "0", "--test", "0"]

SMALL_PHANTOMS = ["--mr", "2", "--ct", "2", "--test", "1", "--spacing", "5"]


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        page: The page, relative to the project.
        line: The line of its first line of code.
        language: As written behind the fence.
        code: Its text.
        reason: Why it does not run; None: it does.
    """

    page: str
    line: int
    language: str
    code: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[list[str]]:
        """The words of each ``creps`` command."""
        lines = [line.removeprefix("$ ") for line in self.code.splitlines() if not line.startswith("#")]
        words = [shlex.split(line, comments=True) for line in lines if line.startswith("creps ")]
        return [line[1:] for line in words]


def blocks_of(path: Path) -> list[Block]:
    """All code blocks of a page, in their order."""
    text = path.read_text(encoding="utf-8")
    return [
        Block(
            str(path.relative_to(PROJECT)),
            text.count("\n", 0, found.start("code")) + 1,
            found["language"],
            found["code"],
            found["reason"],
        )
        for found in BLOCK.finditer(text)
    ]


def tiny_preset(name: str, recipe: str | None = None) -> dict[str, dict[str, object]]:
    """A preset's region with sizes for a test, whatever the recipe."""
    del recipe
    return {**TINY, "preparation": {**TINY["preparation"], "region": REGIONS[name]}}


def shortened(code: str) -> str:
    """A block with two steps in place of the thousands of a real training, and one process."""
    return re.sub(r"--jobs \d+", "--jobs 1", re.sub(r"(training\.(?:steps|epochs)\W+)\d+", r"\g<1>2", code))


def run(words: list[str]) -> int:
    """Exit code of a command of creps, run in this process."""
    _remove_outputs(words)
    if words[0] == "phantom":
        words = [*words, *(ONE_PHANTOM if "--region" in words else SMALL_PHANTOMS)]
    sys.argv = ["creps", *words]
    try:
        main()
    except SystemExit as done:
        return int(done.code or 0)
    return 0


def _remove_outputs(words: list[str]) -> None:
    """Results that the folder holds for other blocks, unless the command continues or replaces them."""
    if {"--resume", "--overwrite"} & set(words) or words[:2] == ["prepare", "--inspect"]:
        return
    for option, target in pairwise(words):
        if option in ("-o", "--json", "--csv"):
            remove(Path(target))
    if words[0] == "phantom":
        remove(Path(words[1]))


def _with_spread(model: Model) -> Model:
    """An untrained model of the same preparation whose network tells a spread, as the default recipe's does."""
    generator = UNetSettings(width=4, levels=2, blocks=1, fine=4)
    inference = model.inference_settings(fusion="single", extent="body")
    plan = model.plan.model_copy(update={"generator": generator, "inference": inference})
    return Model(plan, build_generator(generator).eval())


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


DOSE_PLAN = "region: brain\nradiation: protons\ngantry_degrees: [0]\ndose_grid_mm: 4\nspot_mm: 12\niterations: 5\n"
"""As the page's, but a comparison takes seconds."""


def _ball(grid: Volume, along: float) -> Volume:
    """A structure of 3 voxels' radius at a share of every axis."""
    centre = along * (np.array(grid.shape) - 1)
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    return grid.with_array(np.linalg.norm(index - centre, axis=-1) <= 3)


def furnish(folder: Path) -> None:
    """Fill a folder with everything that the blocks name: images, a table, a cohort, a run, sCTs."""
    os.chdir(folder)
    for i in range(4):
        mr, ct = ball_head(i)
        write_volume(mr, Path(f"mr/p{i:02}.{'mha' if i == 2 else 'nii.gz'}"))
        write_volume(ball_head(10 + i)[1], Path(f"ct/q{i:02}.nii.gz"), integer=True)
        for root in ("pairs_mr/p", "pairs_ct/p", "data/p0", "synthrad/Task1/pelvis/1PA00"):
            name = Path(f"{root}{i}")
            if root.startswith("pairs"):
                write_volume(mr if "mr" in root else ct, name.with_suffix(".mha"))
            else:
                write_volume(mr, name / "mr.nii.gz")
                write_volume(ct, name / "ct.nii.gz")
    mr, ct = ball_head(0)
    mask = ct.with_array(np.asarray(ct.array > -300, dtype=np.float32))
    for name, volume in {"mr": mr, "patient_mr": mr, "ct": ct, "patient_ct": ct, "sct": ct, "mask": mask}.items():
        write_volume(volume, Path(f"{name}.nii.gz"))
    for name, structure in {"PTV": 0.4, "brainstem": 0.6}.items():
        write_volume(_ball(ct, structure), Path(f"structures/{name}.nii.gz"))
    write_volume(mr, Path("arriving/patient1.nii.gz"))
    Path("plan.yaml").write_text(DOSE_PLAN, encoding="utf-8")
    for folder_name in ("scts", "scts_old"):
        for i in range(4):
            write_volume(ball_head(i)[1], Path(f"{folder_name}/p0{i}_sct.nii.gz"))
    mr_series(Path("dicom"), SeriesDescription="t1_mprage_tra", BodyPartExamined="BRAIN")
    rows = [f"p{i};mr;mr/p{i:02}.{'mha' if i == 2 else 'nii.gz'}\nq{i};ct;ct/q{i:02}.nii.gz" for i in range(4)]
    Path("cases.csv").write_text("case;modality;path\n" + "\n".join(rows) + "\n", encoding="utf-8")
    for words in (
        "phantom phantoms",
        "-q prepare mr ct -o cohort",
        "-q prepare pairs_mr pairs_ct -o pairs",
        "-q prepare mr ct -o demo/head/cohort -p demo",
        "-q train cohort -o run",
        "-q evaluate scts data --json scores.json",
    ):
        assert run(words.split()) == 0, words
    _with_spread(load("run/model")).save("my_run/model")
    test = next(Path("phantoms/test").iterdir()).name
    Path("phantom_scts").mkdir()
    shutil.copy(f"phantoms/test/{test}/ct.nii.gz", f"phantom_scts/{test}_sct.nii.gz")
