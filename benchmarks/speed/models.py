"""A model as a training would leave it, without the training: what speed is measured with."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import nn

from creps import load
from creps.api import Model
from creps.model import Plan, save_model
from creps.networks.residual import ResidualGenerator
from creps.settings import Settings, load_settings

__all__ = ["generator", "model", "settings"]


def settings(preset: str, width: int, patch: list[int], **inference: object) -> Settings:
    """Of a preset (``brain``, ``pelvis``), with a narrower generator and smaller patches."""
    own = {"generator.width": width, "sampling.patch_size": patch}
    return load_settings(preset, overrides=own | {f"inference.{name}": value for name, value in inference.items()})


def generator(width: int, residual_blocks: int = 6) -> ResidualGenerator:
    """With random weights, and running statistics that are those of something."""
    torch.manual_seed(0)
    network = ResidualGenerator(width, residual_blocks)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


def model(chosen: Settings, folder: Path | None = None) -> Model:
    """Saved into a folder and loaded from there, as a user's is."""
    folder = folder or Path(tempfile.mkdtemp(prefix="speed-"))
    sampling = chosen.sampling
    plan = Plan(
        preparation=chosen.preparation,
        generator=chosen.generator,
        patch_size=sampling.patch_size,
        inference=chosen.inference,
    )
    folder.mkdir(parents=True, exist_ok=True)
    save_model(folder, generator(chosen.generator.width).state_dict(), plan)
    return load(folder)
