"""How large everything is: at full size for a GPU, and at a size for a rehearsal on one core of a CPU."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

__all__ = ["FULL", "REHEARSAL", "Sizes", "changed"]


@dataclass(frozen=True)
class Sizes:
    """Everything that decides how long a part takes.

    Attributes:
        device: Where networks run: cuda, or cpu for a rehearsal.
        seed: Of phantoms, weights and draws.
        limits: Part → seconds after which it is stopped; those that are not named have the limit of `parts.PARTS`.
        growers: Processes that grow phantoms.
        scorers: Processes that synthesize held-out phantoms.
        paper_people: MR patients, and as many CT patients, that the paper's presets are timed on.
        paper_grown_mm: Preset → voxel size that these are grown at.
        paper_steps: Steps of each of the paper's presets.
        paper_killed_after: Steps after which that training is killed and resumed.
        paper_changes: Settings that a rehearsal makes smaller; empty at full size.
        workers: Reading processes of the paper's training.
        sct_mm: Voxel size of the head that is synthesized and timed.
        sct_rounds: How often.
        region: head or pelvis, of the training side by side.
        train_mm: Its voxel size.
        train_patch: Its patch (D, H, W).
        train_people: MR patients; CT patients, whose registered MRs the supervised bound sees, are as many.
        validation_people: Patients of each kind kept out of training.
        held_out: Patients with known truth that are scored.
        train_changes: Settings that a rehearsal makes smaller.
        train_seconds: At most so long; None takes all the time that is left.
        train_steps: Both arms are stopped once each has so many steps; None waits for the time.
        train_workers: Recipe → reading processes.
        checkpoint_every: Steps between checkpoints of the training side by side.
        curve_points: Checkpoints of each arm that are scored on the way to the last one.
        curve_cases: Held-out patients that these are scored on.
        step_rounds: Steps that a time is the median of.
        peak_side: Side of the square matrices that the peak is measured with.
        compile_backend: Of `torch.compile`.
    """

    device: str = "cuda"
    seed: int = 70
    limits: dict[str, float] = field(default_factory=dict)
    growers: int = 13
    scorers: int = 8
    paper_people: int = 3
    paper_grown_mm: dict[str, float] = field(default_factory=lambda: {"brain": 1.0, "pelvis": 1.5})
    paper_steps: int = 120
    paper_killed_after: int = 25
    paper_changes: dict[str, Any] = field(default_factory=dict)
    workers: int = 8
    sct_mm: float = 1.0
    sct_rounds: int = 2
    region: str = "head"
    train_mm: float = 1.5
    train_patch: tuple[int, int, int] = (96, 128, 112)
    train_people: int = 40
    validation_people: int = 4
    held_out: int = 12
    train_changes: dict[str, Any] = field(default_factory=dict)
    train_seconds: float | None = None
    train_steps: int | None = None
    train_workers: dict[str, int] = field(default_factory=lambda: {"anatomy": 10, "supervised": 3})
    checkpoint_every: int = 100
    curve_points: int = 4
    curve_cases: int = 4
    step_rounds: int = 8
    peak_side: int = 8192
    compile_backend: str = "inductor"

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


TINY: dict[str, Any] = {
    "generator.width": 4,
    "generator.residual_blocks": 1,
    "discriminator.widths": [4, 4],
    "training.batch_size": 2,
    "training.validation_cases": 1,
}

TINY_UNET: dict[str, Any] = {
    "generator.width": 4,
    "generator.levels": 2,
    "generator.fine": 4,
    "simulation.phantoms": 2,
    "training.batch_size": 2,
    "training.validation_cases": 1,
}

FULL = Sizes()

PATIENT = ("peak", "paper-brain", "paper-pelvis", "sct", "score", "limits", "compile", "monai")

REHEARSAL = Sizes(
    device="cpu",
    limits=dict.fromkeys(PATIENT, 300.0),  # a loaded machine is no failure
    growers=1,
    scorers=1,
    paper_people=2,
    paper_grown_mm={"brain": 5.0, "pelvis": 5.0},
    paper_steps=6,
    paper_killed_after=2,
    paper_changes={
        **TINY,
        "preparation.spacing_mm": [5.0, 5.0, 5.0],
        "sampling.patch_size": [16, 16, 16],
        "creps.layers": ["features.1.0.block.5"],
        "creps.image_size": 32,
        "creps.slice_step": 8,
        "creps.balance_steps": 1,
    },
    workers=0,
    sct_mm=5.0,
    sct_rounds=1,
    train_mm=5.0,
    train_patch=(16, 16, 16),
    train_people=2,
    validation_people=1,
    held_out=2,
    train_changes=TINY_UNET,
    train_steps=11,
    train_workers={"anatomy": 0, "supervised": 0},
    checkpoint_every=5,
    curve_points=1,
    curve_cases=1,
    step_rounds=2,
    peak_side=128,
    compile_backend="aot_eager",
)


def changed(sizes: Sizes, changes: dict[str, Any]) -> Sizes:
    """Sizes with some values replaced; a mapping's entries are replaced one by one.

    Raises:
        ValueError: an unknown name.
    """
    known = {one.name for one in fields(Sizes)}
    for name, value in changes.items():
        if name not in known:
            raise ValueError(f"There is no size '{name}'. There are: {', '.join(sorted(known))}.")
        before = getattr(sizes, name)
        whole = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
        sizes = replace(sizes, **{name: tuple(whole) if isinstance(whole, list) else whole})
    return sizes
