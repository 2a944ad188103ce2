"""What the campaign works on: phantoms, prepared cohorts, small models."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.determinism.commands import creps_run
from creps.phantom.cohort import write_cohort

__all__ = ["PREPARATION", "RECIPES", "TRAINING", "train_words", "write_originals"]

RECIPES = ("anatomy", "paper", "cyclegan", "cut", "supervised")

PREPARATION = "--preparation.spacing_mm 4,4,4 --preparation.mr_scale auto"

COMMON = (
    "--training.precision fp32 --training.device cpu --training.log_every 1 --sampling.patch_size 24,24,24"
    " --training.batch_size 2 --simulation.phantoms 4 --generator.width 4 --training.ema_decay 0.9"
)
RESIDUAL = f"{COMMON} --generator.kind residual --generator.residual_blocks 1 --discriminator.widths 4,4,4,4"
NCE = "--nce.features input,stem,down,block1 --nce.patches 32 --nce.width 8"
UNET = f"{COMMON} --generator.kind unet --generator.levels 2 --generator.fine 4"
STYLE = "--creps.weights random --creps.layers features.1.0.block.5 --creps.image_size null --creps.slice_step 8"

TRAINING = {
    "anatomy": UNET,
    "paper": f"{RESIDUAL} {STYLE} --creps.balance always --creps.balance_steps 3",
    "cyclegan": RESIDUAL,
    "cut": f"{RESIDUAL} {NCE}",
    "supervised": UNET,
}
"""Recipe → words with which a step of it takes a fraction of a second."""


def train_words(recipe: str, output: str, steps: int, *, every: int = 2) -> str:
    """A command that trains.

    Args:
        recipe: Which.
        output: Name of the run's folder.
        steps: Its length.
        every: Steps between checkpoints.
    """
    cohort = "pairs" if recipe == "supervised" else "cohort"
    ends = f"--training.steps {steps} --training.checkpoint_every {every} --training.validate_every {2 * every}"
    return f"train {cohort} -o {output} --recipe {recipe} {TRAINING[recipe]} {ends}"


def write_originals(folder: Path) -> None:
    """Phantoms in ``phantoms``, MRs and CTs of other people in ``mr`` and ``ct``, cohorts in ``cohort`` and ``pairs``.

    What is there stays.
    """
    if (folder / "pairs").is_dir():
        return
    write_cohort(folder / "phantoms", mr_patients=4, ct_patients=4, test_patients=3, spacing_mm=3.5, seed=4242)
    for name in ("mr", "ct"):
        (folder / name).mkdir(exist_ok=True)
        for file in sorted((folder / "phantoms" / "train").glob(f"*/{name}.nii.gz")):
            shutil.copy(file, folder / name / f"{file.parent.name}.nii.gz")
    for patient in sorted((folder / "phantoms" / "test").iterdir()):
        for name in ("mr", "ct"):
            (folder / "paired" / patient.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(patient / f"{name}.nii.gz", folder / "paired" / patient.name)
    creps_run(folder, f"prepare mr ct -o cohort --jobs 1 {PREPARATION}")
    creps_run(folder, f"prepare paired -o pairs --jobs 1 --recipe supervised {PREPARATION}")
