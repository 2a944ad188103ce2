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
        held_out: Held-out phantoms of each region that are scored.
        unseen_people: Test people of the unseen family of each region that are scored.
        unseen_mm: Voxel size of the family; None is its own, which a rehearsal cannot wait for.
        site_people: Phantoms with an MR and others with a CT that stand for a site where models learn from phantoms
            alone: for the intake checks, the pictures of the validation, nothing else.
        model_regions: Regions of the models that are trained to be shipped.
        model_mm: Region → voxel size (D, H, W).
        model_patch: Region → patch (D, H, W), multiples of 16.
        model_people: Region → phantoms that it learns from.
        model_batch: Region → pairs of a step.
        model_workers: Region → processes that simulate pairs.
        model_validate_every: Steps between validations.
        model_changes: Settings that a rehearsal makes smaller.
        model_seconds: At most so long; None takes all the time that is left.
        model_steps: At most so many steps; None leaves that to the time.
        reuse: A pair serves at most so many steps, mirrored and with another contrast curve, while no new one is there.
        table_regions: Regions of the tables on the unseen family.
        table_seeds: Their seeds; the regions of one seed come before the next seed.
        table_seconds: Of a region and a seed, scores included.
        table_scoring: Seconds of these that are kept for the scores.
        table_arms: What is compared, see `settings.TABLE_ARMS`.
        table_mm: Region → voxel size.
        table_patch: Region → patch of the U-Nets.
        table_people: MR patients, and as many CT patients, whose registered MRs the supervised bound sees.
        table_phantoms: Phantoms that `anatomy` and `phantoms` learn from.
        table_batch: Patches of a step.
        table_workers: Arm → processes that read.
        table_checkpoint_every: Steps between checkpoints: the points of the curves.
        table_weights: File with VGG16's ImageNet weights for the recipe paper; None has random features.
        table_changes: Settings of U-Nets that a rehearsal makes smaller.
        rival_changes: Settings of the others that a rehearsal makes smaller.
        table_steps: At most so many steps; None leaves that to the time.
        curve_points: Checkpoints of an arm that are scored on the way to the last one.
        curve_cases: People that these are scored on.
        step_rounds: Steps that a time is the median of.
        peak_side: Side of the square matrices that the peak is measured with.
        compile_backend: Of `torch.compile`.
    """

    device: str = "cuda"
    seed: int = 70
    limits: dict[str, float] = field(default_factory=dict)
    growers: int = 14
    scorers: int = 8
    paper_people: int = 3
    paper_grown_mm: dict[str, float] = field(default_factory=lambda: {"brain": 1.0, "pelvis": 1.5})
    paper_steps: int = 40
    paper_killed_after: int = 10
    paper_changes: dict[str, Any] = field(default_factory=dict)
    workers: int = 8
    sct_mm: float = 1.0
    sct_rounds: int = 2
    held_out: int = 8
    unseen_people: int = 8
    unseen_mm: float | None = None
    site_people: int = 3
    model_regions: tuple[str, ...] = ("head", "pelvis")
    model_mm: dict[str, list[float]] = field(
        default_factory=lambda: {"head": [2.0, 2.0, 2.0], "pelvis": [3.0, 2.0, 2.0]}
    )
    model_patch: dict[str, list[int]] = field(default_factory=lambda: {"head": [80, 96, 80], "pelvis": [64, 96, 96]})
    model_people: dict[str, int] = field(default_factory=lambda: {"head": 60, "pelvis": 60})
    model_batch: dict[str, int] = field(default_factory=lambda: {"head": 4, "pelvis": 4})
    model_workers: dict[str, int] = field(default_factory=lambda: {"head": 7, "pelvis": 7})
    model_validate_every: int = 1000
    model_changes: dict[str, Any] = field(default_factory=dict)
    model_seconds: float | None = None
    model_steps: int | None = None
    reuse: int = 4
    table_regions: tuple[str, ...] = ("head", "pelvis")
    table_seeds: tuple[int, ...] = (0, 1, 2)
    table_seconds: float = 220.0
    table_scoring: float = 40.0
    table_arms: tuple[str, ...] = ("supervised", "anatomy", "phantoms", "cyclegan", "cut", "paper")
    table_mm: dict[str, float] = field(default_factory=lambda: {"head": 3.0, "pelvis": 4.0})
    table_patch: dict[str, list[int]] = field(default_factory=lambda: {"head": [48, 64, 64], "pelvis": [32, 64, 80]})
    table_people: int = 10
    table_phantoms: int = 40
    table_batch: int = 2
    table_workers: dict[str, int] = field(
        default_factory=lambda: {"supervised": 1, "anatomy": 3, "phantoms": 3, "cyclegan": 1, "cut": 1, "paper": 1}
    )
    table_checkpoint_every: int = 500
    table_weights: str | None = None
    table_changes: dict[str, Any] = field(default_factory=dict)
    rival_changes: dict[str, Any] = field(default_factory=dict)
    table_steps: int | None = None
    curve_points: int = 6
    curve_cases: int = 3
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
    "training.precision": "fp32",
    "training.batch_size": 2,
    "training.validation_cases": 1,
}

FULL = Sizes()

PATIENT = ("peak", "paper-brain", "paper-pelvis", "sct", "models", "score", "limits", "compile", "monai")

REHEARSAL = Sizes(
    device="cpu",
    limits=dict.fromkeys(PATIENT, 600.0),  # a loaded machine is no failure
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
    held_out=2,
    unseen_people=1,
    unseen_mm=10.0,
    site_people=2,
    model_mm={"head": [5.0, 5.0, 5.0], "pelvis": [5.0, 5.0, 5.0]},
    model_patch={"head": [16, 16, 16], "pelvis": [16, 16, 16]},
    model_people={"head": 2, "pelvis": 2},
    model_batch={"head": 2, "pelvis": 2},
    model_workers={"head": 0, "pelvis": 0},
    model_validate_every=1000,
    model_changes=TINY_UNET,
    model_steps=12,
    table_regions=("head",),
    table_seeds=(0,),
    table_seconds=3000.0,
    table_scoring=600.0,
    table_mm={"head": 5.0, "pelvis": 5.0},
    table_patch={"head": [16, 16, 16], "pelvis": [16, 16, 16]},
    table_people=2,
    table_phantoms=2,
    table_workers=dict.fromkeys(("supervised", "anatomy", "phantoms", "cyclegan", "cut", "paper"), 0),
    table_checkpoint_every=2,
    table_changes=TINY_UNET,
    rival_changes={
        **TINY,
        "training.precision": "fp32",
        "discriminator.widths": [4, 4],
        "nce.features": ["input", "stem", "down", "block1"],
        "creps.layers": ["features.1.0.block.5"],
        "creps.image_size": 32,
        "creps.slice_step": 8,
        "creps.balance_steps": 1,
        "sampling.patch_size": [16, 16, 16],
    },
    table_arms=("supervised", "phantoms", "cut"),
    table_steps=4,
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
