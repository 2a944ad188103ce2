"""The interface of every generator: a network that maps MR to CT, and what training and synthesis need to know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from creps.networks.blocks import frozen_statistics

__all__ = ["Generator", "InferenceForm", "Stage"]

BONE_NETWORK = 0.13
"""What is denser counts as bone for `Generator.bone_weight`: 130 HU, below which most spongy bone does not fall."""

Stage = Callable[[torch.Tensor], torch.Tensor]


class InferenceForm(nn.Module):
    """A generator in the form that runs fastest: the same function, for inference only, in its own precision.

    It is not run under autocast. `forward` maps (B, 1, D, H, W) to the same shape in float32.

    Attributes:
        yields_spread: Whether `with_spread` is implemented, as in the generator.
    """

    yields_spread: bool = False

    def with_spread(self, mr: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) MR → (B, 2, D, H, W) in float32, as the generator's."""
        raise NotImplementedError(f"{type(self).__name__} predicts no spread")

    def bytes_at_peak(self, voxels: int) -> int:
        """Memory in bytes of a forward pass over that many voxels, input and output included."""
        raise NotImplementedError


class Generator(nn.Module):
    """MR patch → CT patch, both in network units (MR in [0, 2], CT in [-1, 3]); or CT → MR, in a cycle.

    A new kind of generator implements `forward` or `stages`. The other members have defaults that are correct for any
    network; overriding them adds speed and features:

    - `stages`: activation checkpointing;
    - `halo`: the exact single pass (``inference.fusion: single``) and tiling of an exported model;
    - `stride`: where the tiles of that pass may begin;
    - `features`, `feature_channels`: PatchNCE;
    - `folded`: a faster form for inference;
    - `distance`, with `own_distance`: another loss than L1 where the CT is known;
    - `hidden_weights`: which weights the optimizer `muon` orthogonalizes;
    - `with_spread`, with `yields_spread`: how far a voxel's value may be off;
    - `width`: memory estimates.

    Register the class in `creps.networks.build`.

    Attributes:
        width: Channels of the widest feature map at full resolution; memory estimates use it. 0: unknown.
        own_distance: Whether `distance` is more than the L1 of the sCT.
        bone_weight: How much more than the rest bone counts in `distance`.
        checkpoint_activations: Keep only the tensors between stages for the backward pass and compute the rest again
            there: the same gradients, less memory, more time.
    """

    width: int = 0
    own_distance: bool = False
    bone_weight: float = 1.0
    checkpoint_activations: bool = False

    @property
    def halo(self) -> int | None:
        """How many voxels away from a voxel its prediction still depends on, in evaluation mode.

        A network may give less if what lies beyond changes its prediction by a few HU at most, as the U-Net does: then
        a single pass in several tiles is nearly exact. None: unknown, or unbounded as with instance norm.
        """
        return None

    @property
    def stride(self) -> int:
        """Predictions move with an image that moves by a multiple of this many voxels: the lowest resolution's."""
        return 2

    def forward(self, mr: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) MR → (B, 1, D, H, W) sCT: one stage after the other."""
        if type(self).stages is Generator.stages:
            raise NotImplementedError(f"{type(self).__name__} implements neither forward nor stages")
        x = mr
        for stage in self.stages(mr.shape[2:]):
            x = self.run(stage, x)
        return x

    def stages(self, size: torch.Size) -> list[Stage]:
        """The functions that a volume of that size (D, H, W) goes through, one after the other; by default one."""
        del size
        return [self.forward]

    def distance(self, mr: torch.Tensor, ct: torch.Tensor) -> torch.Tensor:
        """How far the sCT of an MR is from its CT, for terms that know the CT: mean absolute distance by default;
        bone counts `bone_weight` times.

        Args:
            mr: (B, 1, D, H, W) in network units.
            ct: (B, 1, D, H, W) in network units.

        Returns:
            A scalar in float32.
        """
        sct: torch.Tensor = self(mr)
        return self.weighted_mean((sct.float() - ct).abs(), ct)

    def weighted_mean(self, errors: torch.Tensor, ct: torch.Tensor) -> torch.Tensor:
        """The mean of errors, in which bone counts `bone_weight` times.

        Args:
            errors: Any shape.
            ct: The CT at the same voxels, in network units.
        """
        if self.bone_weight == 1:
            return errors.mean()
        weights = 1 + (self.bone_weight - 1) * (ct > BONE_NETWORK).float()
        return (weights * errors).sum() / weights.sum()

    @property
    def yields_spread(self) -> bool:
        """Whether `with_spread` is implemented."""
        return False

    def with_spread(self, mr: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) MR → (B, 2, D, H, W): the sCT, and the standard deviation of each voxel's distribution, both
        in network units. For inference only.
        """
        raise NotImplementedError(f"{type(self).__name__} predicts no spread")

    def hidden_weights(self) -> list[nn.Parameter]:
        """Weights of the convolutions between the first and the last one."""
        weights = [parameter for parameter in self.parameters() if parameter.ndim > 1]
        return weights[1:-1]

    def features(self, image: torch.Tensor, names: Sequence[str]) -> dict[str, torch.Tensor]:
        """Feature maps of an image.

        Args:
            image: (B, 1, D, H, W) in network units.
            names: Some of the settings' ``feature_names``.

        Returns:
            Name → (B, C, d, h, w), C as in `feature_channels`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no features")

    def feature_channels(self, names: Sequence[str]) -> dict[str, int]:
        """Name → channels of `features`."""
        raise NotImplementedError(f"{type(self).__name__} has no features")

    def folded(self, dtype: torch.dtype) -> InferenceForm | None:
        """The form for inference, from copies of the weights; None if the generator runs as it is.

        Args:
            dtype: Precision of the weights and of most of the arithmetic.
        """
        del dtype
        return None

    def bytes_at_peak(self, voxels: int, itemsize: int) -> int:
        """Memory in bytes of a forward pass without gradient, input and output included.

        Args:
            voxels: Of the whole batch.
            itemsize: Bytes of a value under autocast: 2 in bfloat16, 4 in float32.
        """
        return voxels * (4 * self.width * itemsize + 8)

    def run(self, stage: Stage, x: torch.Tensor) -> torch.Tensor:
        """Run one stage, checkpointed where `checkpoint_activations` asks for it and gradients are wanted."""
        if not (self.checkpoint_activations and torch.is_grad_enabled()):
            return stage(x)
        again = frozen_statistics(self)  # the backward pass sees the batch a second time
        result: torch.Tensor = checkpoint(
            stage, x, use_reentrant=False, preserve_rng_state=False, context_fn=lambda: (nullcontext(), again)
        )
        return result
