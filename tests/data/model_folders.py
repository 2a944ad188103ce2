"""Write the model folders of today as fixtures, with the sCT that each gives: tests/data/models/<kind>.

Run ``python -m tests.data.model_folders`` for a new kind or a new schema version. It writes the kinds that are not
there: the old ones stay, since they stand for the models that people have. `FORMER` is a trained model with an intake
profile, whose sCT is kept too.
"""

from pathlib import Path

import numpy as np
import torch

import creps
from creps.model import Plan, save_model
from creps.networks.build import build_generator
from creps.settings import load_settings
from creps.volume import Volume

FOLDER = Path(__file__).parent / "models"
FORMER = Path(__file__).parent / "former"

GENERATORS = {
    "residual": {"generator.kind": "residual", "generator.width": 4, "generator.residual_blocks": 1},
    "unet": {"generator.kind": "unet", "generator.width": 4, "generator.levels": 2, "generator.fine": 4},
    "unet-bfloat16": {"generator.kind": "unet", "generator.width": 4, "generator.levels": 2, "generator.fine": 4},
}
"""Kind → its smallest network that still has every part."""

SMALL = {"unet-bfloat16"}
"""Kinds with kernels stored as bfloat16, as shipped models have."""

EXACT = {"precision": "fp32", "device": "cpu"}
"""Inference that differs between machines by rounding only."""


def small_head() -> Volume:
    """A brain with waves in it in a skull in skin, 4 mm: computed without random numbers."""
    shape = (20, 24, 18)
    d, h, w = (axis.astype(np.float64) for axis in np.ogrid[: shape[0], : shape[1], : shape[2]])
    r = np.sqrt(((d - 9.5) / 8.5) ** 2 + ((h - 11.5) / 10) ** 2 + ((w - 8.5) / 7.5) ** 2)
    waves = 500 + 80 * np.sin(0.9 * d) + 60 * np.cos(0.7 * h + 0.4 * w)
    mr = np.select([r < 0.72, r < 0.86, r < 1.0], [waves, 60.0 + 0 * r, 900.0 + 0 * r], 0.0)
    return Volume(np.rint(mr).astype(np.float32), (4.0, 4.0, 4.0))


def sct_of(folder: Path) -> np.ndarray:
    """(20, 24, 18) the sCT of `small_head` in HU."""
    return creps.load(folder).synthesize(small_head(), force=True, **EXACT).sct.array


def main() -> None:
    """Write models with random weights, and their sCTs."""
    for kind in [kind for kind in GENERATORS if not (FOLDER / kind).exists()]:
        generator = GENERATORS[kind]
        settings = load_settings(
            overrides=generator | {"preparation.spacing_mm": [4, 4, 4], "sampling.patch_size": [16, 16, 16]}
        )
        torch.manual_seed(2)
        network = build_generator(settings.generator)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.08 * torch.randn_like(parameter))  # some start at zero
        plan = Plan(
            preparation=settings.preparation,
            generator=settings.generator,
            patch_size=settings.sampling.patch_size,
            inference=settings.inference,
            training={"steps": 0, "settings": settings.model_dump(mode="json")},
        )
        folder = FOLDER / kind
        folder.mkdir(parents=True)
        save_model(folder, dict(network.state_dict()), plan, small=kind in SMALL)
    for folder in (*FOLDER.iterdir(), FORMER):
        if not (folder / "sct.npy").exists():
            np.save(folder / "sct.npy", np.rint(10 * sct_of(folder)).astype(np.int16))  # tenths of HU


if __name__ == "__main__":
    main()
