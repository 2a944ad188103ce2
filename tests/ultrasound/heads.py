"""A simple head with voxels of 1 mm, as MR and as CT, and a model that makes the one of the other."""

import numpy as np
import torch

import creps
from creps.model import Plan
from creps.networks.generator import Generator
from creps.settings import InferenceSettings, PreparationSettings, ResidualSettings
from creps.volume import Volume

RADII_MM = (36.0, 42.0, 46.0)
"""Brain, skull and skin; the skull is 6 mm thick."""

BONE_HU = 1200.0


class Bones(Generator):
    """Air below 40, bone below 500, soft tissue above, in units of the MR."""

    def forward(self, x):
        return torch.where(x < 0.04, -1.0, torch.where(x < 0.5, BONE_HU / 1000, 0.04))


def head(spacing_mm=(1.0, 1.0, 1.0), *, top_cut_mm=0.0, dense_hu=BONE_HU):
    """MR and CT of a ball head whose centre is the patient's origin; its top may be missing."""
    count = [round(112 / s) for s in spacing_mm]
    starts = [-(n - 1) / 2 * s for n, s in zip(count, spacing_mm, strict=True)]
    axes = [start + np.arange(n) * s for start, n, s in zip(starts, count, spacing_mm, strict=True)]
    r = np.sqrt(sum(np.square(a) for a in np.meshgrid(*axes, indexing="ij")))
    brain, skull, skin = (r < radius for radius in RADII_MM)
    noise = np.random.default_rng(0).uniform(0, 20, r.shape)
    mr = np.select([brain, skull, skin], [600.0, 60.0, 900.0], 0.0) + noise
    ct = np.select([brain, skull, skin], [40.0, dense_hu, -20.0], -1000.0)
    keep = slice(None, None if top_cut_mm == 0 else int((axes[0] < RADII_MM[2] - top_cut_mm).sum()))
    origin = (starts[2], starts[1], starts[0])
    return tuple(Volume(array[keep].astype(np.float32), spacing_mm, origin) for array in (mr, ct))


def model(region="head"):
    preparation = PreparationSettings(spacing_mm=(2.0, 2.0, 2.0), region=region)
    plan = Plan(
        preparation=preparation,
        generator=ResidualSettings(width=2, residual_blocks=1),
        patch_size=(32, 32, 32),
        inference=InferenceSettings(precision="fp32", device="cpu", extent="body"),
        weights_sha256="of no file",
    )
    return creps.Model(plan, Bones())
