"""A residual U-Net with a head over classes of HU (not in the paper): more view for the same work."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from creps.networks.blocks import ChannelNorm, conv3d
from creps.networks.folded.unet import FoldedUNet
from creps.networks.generator import Generator, InferenceForm
from creps.networks.hu_classes import HuClasses
from creps.networks.sub_pixel import SUB_PIXEL, from_blocks, to_blocks, with_mask_channel

__all__ = ["UNetGenerator"]

MOST_WIDENING = 4
"""Channels at the lowest resolutions, in multiples of those at half resolution."""

SLOPE = 0.01

HALO_VOXELS = 48
"""Beyond this distance hardly anything matters any more, see `UNetGenerator.halo`."""

TISSUE_NETWORK = -0.5
"""What is denser is tissue, in network units of CT."""

NEAR_VOXELS = 3
"""The loss counts every voxel this close to the body, and a lattice of the air beyond."""

AIR_STEP = 2
"""One voxel in this many along each axis of the air counts."""


class UNetGenerator(Generator):
    """A residual U-Net whose first level is at half resolution.

    The image enters as blocks of 2 x 2 x 2 voxels and leaves in the same way, so nearly all of the work is done at half
    resolution and below; a last convolution at full resolution sees the image once more. With classes, every voxel gets
    a distribution over HU (`HuClasses`); its median is the sCT. Without, the sCT is regressed.

    Each voxel is normalised over its channels alone (`ChannelNorm`). So training and synthesis compute the same, a
    voxel depends on nothing beyond `reach`, and predictions from different views agree where both see enough. A second
    input channel is 1 where there is an image: zero padding differs from imaged air.

    Args:
        width: Channels at half resolution; two and four times as many at the further levels.
        levels: Resolutions, half resolution included.
        blocks: Residual blocks at each level of the encoder; twice as many at the two lowest. The decoder has one.
        fine: Channels at full resolution.
        classes: Whether the head predicts a distribution over HU.
    """

    own_distance = True
    slope = SLOPE

    def __init__(
        self, width: int = 32, levels: int = 4, blocks: int = 1, fine: int = 16, *, classes: bool = True
    ) -> None:
        super().__init__()
        self.levels, self.width, self.fine = levels, fine, fine
        widths = [width * min(2**level, MOST_WIDENING) for level in range(levels)]
        self.counts = counts = [blocks if level < levels - 2 else 2 * blocks for level in range(levels)]
        self.stem = conv3d(2 * SUB_PIXEL, width)
        self.encoder = nn.ModuleList(
            nn.Sequential(*(_Block(channels) for _ in range(count)))
            for channels, count in zip(widths, counts, strict=True)
        )
        steps = list(pairwise(widths))
        self.down = nn.ModuleList(
            nn.Sequential(ChannelNorm(near), nn.Conv3d(near, far, 2, stride=2, bias=False)) for near, far in steps
        )
        self.up = nn.ModuleList(nn.Sequential(ChannelNorm(far), conv3d(far, near, kernel=1)) for near, far in steps)
        self.decoder = nn.ModuleList(_Block(near) for near, _ in steps)
        self.last_norm = ChannelNorm(width)
        self.spread_out = nn.Conv3d(width, SUB_PIXEL * fine, 1)
        self.refine = conv3d(fine + 2, fine)
        self.classes = HuClasses() if classes else None
        self.head = nn.Conv3d(fine, len(self.classes) if self.classes is not None else 1, 1)

    @property
    def stride(self) -> int:
        """Predictions repeat exactly when the image moves by this many voxels."""
        return 2**self.levels

    @property
    def halo(self) -> int:
        """How many voxels away from a voxel something still matters: less than its `reach`.

        Measured on real heads: 32 voxels from a cut, 95 % of the soft tissue changes by at most 2.2 HU; 48 voxels from
        it, 99 % by 1 HU (`benchmarks/real/overlap.py`).
        """
        return min(self.reach, max(HALO_VOXELS, 3 * self.stride))

    @property
    def reach(self) -> int:
        """How many voxels away from a voxel its prediction can depend on at all.

        At each level two voxels a block (encoder and decoder), plus the stem, one voxel of interpolation a level, the
        last convolution, and up to a block of the lowest level, since what is seen depends on the place in the lattice.
        """
        total = 2 + 1  # stem, last convolution
        for level, count in enumerate(self.counts):
            size = 2 ** (level + 1)
            blocks = count + (1 if level + 1 < self.levels else 0)
            total += 2 * size * blocks + (size if level else 0)
        return total + self.stride

    def hidden_weights(self) -> list[nn.Parameter]:
        """Weights of the convolutions at half resolution and below."""
        inner = (self.encoder, self.down, self.up, self.decoder)
        return [parameter for part in inner for parameter in part.parameters() if parameter.ndim > 1]

    def fine_features(self, mr: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) → (B, fine, D, H, W): everything but the head."""
        image, size = with_mask_channel(mr, self.stride), mr.shape[2:]
        coarse = self._coarse(image)
        fine = torch.cat([from_blocks(self.spread_out(coarse)), image.to(coarse.dtype)], dim=1)
        return functional.leaky_relu(self.refine(fine), SLOPE)[..., : size[0], : size[1], : size[2]]

    def logits(self, mr: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) → (B, classes, D, H, W) in float32; one channel without classes."""
        return self._through_head(self.fine_features(mr).movedim(1, -1)).movedim(-1, 1)

    def forward(self, mr: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) MR → (B, 1, D, H, W) sCT, both in network units; any size."""
        logits = self.logits(mr)
        return logits if self.classes is None else self.classes.median(logits.movedim(1, -1))[:, None]

    def distance(self, mr: torch.Tensor, ct: torch.Tensor) -> torch.Tensor:
        """Over the body, what is near it, and a lattice of the air; bone counts `bone_weight` times.

        With classes, half the cross entropy to softly assigned classes and half the L1 of the mean; else the L1.
        """
        features, counted = self.fine_features(mr), _counted(ct)
        rows, truth = features.movedim(1, -1).reshape(-1, self.fine)[counted], ct.reshape(-1)[counted]
        logits = self._through_head(rows)
        if self.classes is None:
            return self.weighted_mean((logits[:, 0] - truth).abs(), truth)
        mean, cross_entropy = self.classes.mean_and_cross_entropy(logits, truth)
        return self.weighted_mean(0.5 * cross_entropy + 0.5 * (mean - truth).abs(), truth)

    @property
    def yields_spread(self) -> bool:
        """With classes."""
        return self.classes is not None

    @torch.no_grad()
    def with_spread(self, mr: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) MR → (B, 2, D, H, W): median and standard deviation of each voxel's distribution."""
        classes = self.classes
        if classes is None:
            return super().with_spread(mr)  # which says that there is none
        logits = self.logits(mr).movedim(1, -1)
        return torch.stack([classes.median(logits), classes.deviation(logits)], dim=1)

    def folded(self, dtype: torch.dtype) -> InferenceForm | None:
        """The same function for inference, with weights of that precision."""
        return FoldedUNet(self, dtype)

    def bytes_at_peak(self, voxels: int, itemsize: int) -> int:
        """Memory in bytes of a forward pass without gradient, input and output included."""
        coarse = self.stem.out_channels * itemsize * 8 / SUB_PIXEL
        fine, classes = 4 * self.fine * itemsize, 24 * self.head.out_channels
        return int(voxels * (coarse + 2 * itemsize + 16 + fine + classes))

    def _coarse(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 2, D, H, W) → (B, width, D/2, H/2, W/2)."""
        x = self.stem(to_blocks(image))
        skips: list[torch.Tensor] = []
        for level, stage in enumerate(self.encoder):
            x = stage(x)
            if level + 1 < self.levels:
                skips.append(x)
                x = self.down[level](x)
        for level in reversed(range(self.levels - 1)):
            x = functional.interpolate(self.up[level](x), scale_factor=2.0, mode="trilinear", align_corners=False)
            x = self.decoder[level](x + skips[level])
        return functional.leaky_relu(self.last_norm(x), SLOPE)

    def _through_head(self, features: torch.Tensor) -> torch.Tensor:
        """(…, fine) → (…, classes), or one value without classes: the head, in float32.

        A product of matrices: the backward pass of the same 1 x 1 x 1 convolution takes longer than all the rest of the
        network. In bfloat16 bone would be rounded to steps of 8 HU.
        """
        with torch.autocast(features.device.type, enabled=False):
            return functional.linear(features.float(), self.head.weight.flatten(1), self.head.bias)


class _Block(nn.Module):
    """norm - conv - LeakyReLU - conv, added to the input; the last convolution starts at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.first, self.second = conv3d(channels, channels), conv3d(channels, channels)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, D, H, W) → the same shape."""
        result: torch.Tensor = x + self.second(functional.leaky_relu(self.first(self.norm(x)), SLOPE))
        return result


def _counted(ct: torch.Tensor) -> torch.Tensor:
    """Flat indices of the voxels of a CT (B, 1, D, H, W) in network units that the loss counts."""
    with torch.no_grad():
        tissue = (ct > TISSUE_NETWORK).float()
        for axis in range(3):  # a cube's maximum, one axis after the other
            size, padding = [1, 1, 1], [0, 0, 0]
            size[axis], padding[axis] = 2 * NEAR_VOXELS + 1, NEAR_VOXELS
            tissue = functional.max_pool3d(tissue, size, stride=1, padding=padding)
        counted = tissue > 0
        counted[:, :, ::AIR_STEP, ::AIR_STEP, ::AIR_STEP] = True
        return counted.flatten().nonzero()[:, 0]
