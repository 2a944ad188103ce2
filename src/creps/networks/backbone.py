"""The frozen perceptual network: ImageNet features of axial slices (section 2.2, eqs. 1-2).

Weights come from torchvision's cache or download, from a file, or are random when asked for by name.
They never silently become something else: what was loaded is in `Backbone.weights`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from creps.errors import ModelError, SettingsError
from creps.networks.weight_layouts import LayoutName, load_features
from creps.provenance import sha256_file
from creps.settings.choices import BackboneName

__all__ = ["DEFAULT_LAYERS", "Backbone", "BackboneWeights", "cached_weights"]

DEFAULT_LAYERS: dict[BackboneName, tuple[str, ...]] = {
    "convnext_tiny": ("features.5.0.block.5", "features.7.0.block.5"),
    "vgg16": ("features.3", "features.8", "features.15", "features.22"),
}
"""ConvNeXt: first block of stages 3 and 4, after the second point-wise layer, before layer scale.
VGG16: relu1_2, relu2_2, relu3_3, relu4_3 (Johnson et al. 2016)."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

OFFICIAL: dict[BackboneName, tuple[str, str]] = {
    "convnext_tiny": ("https://download.pytorch.org/models/convnext_tiny-983f1562.pth", "983f1562"),
    "vgg16": ("https://download.pytorch.org/models/vgg16-397923af.pth", "397923af"),
}
"""Addresses of torchvision's ImageNet weights, and the first digits of their SHA-256."""

_CHANNELS_LAST = re.compile(r"features\.\d+\.\d+\.block\.[1-5]")
"""Nodes inside a ConvNeXt block that put channels last."""


@dataclass(frozen=True)
class BackboneWeights:
    """What a backbone was loaded with.

    Attributes:
        backbone: Its name.
        source: ``imagenet``, ``file`` or ``random``.
        official: Whether they are torchvision's ImageNet weights, by their hash.
        sha256: Hash of the file; None for random weights.
        file: Name of the file.
        layout: Whose key names the file has; None for random weights.
    """

    backbone: BackboneName
    source: Literal["imagenet", "file", "random"]
    official: bool
    sha256: str | None = None
    file: str | None = None
    layout: LayoutName | None = None

    @property
    def trained(self) -> bool:
        """Whether these are trained weights rather than random ones."""
        return self.source != "random"

    def describe(self) -> str:
        """One phrase for logs and records."""
        if self.source == "random":
            return f"{self.backbone} with RANDOM, untrained weights (asked for by name; not the paper's loss)"
        kind = "torchvision's ImageNet weights" if self.official else "weights of unknown training"
        names = f"{self.layout} key names, SHA-256 {(self.sha256 or '')[:12]}"
        return f"{self.backbone} with {kind} from {self.file} ({names})"

    def record(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**asdict(self), "description": self.describe()}


class Backbone(nn.Module):
    """Features of grey images, frozen, always in evaluation mode.

    Args:
        name: ``convnext_tiny`` (the paper) or ``vgg16``.
        weights: ``imagenet``, ``random`` or the path of a .pth or .safetensors file; its key names may be those of
            torchvision, timm or ConvNeXt's authors (`creps.networks.weight_layouts`).
        layers: Feature nodes by torchvision's names; default `DEFAULT_LAYERS`.
        image_size: Images are resized to this many pixels a side; None keeps their size.
        sha256: Hash (or its first digits) that a weights file must have.
        seed: Seed of random weights.

    Raises:
        ModelError: weights missing, damaged, of another network or with another hash.
        SettingsError: an unknown feature node, or torchvision is not installed.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        name: BackboneName = "convnext_tiny",
        weights: str = "imagenet",
        layers: Sequence[str] | None = None,
        image_size: int | None = 224,
        sha256: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        create_feature_extractor = _torchvision().feature_extraction.create_feature_extractor
        self.layers = tuple(layers or DEFAULT_LAYERS[name])
        self.image_size = image_size
        with torch.random.fork_rng(devices=[]):  # seeded, and the run's own random state untouched
            torch.manual_seed(seed)
            network: nn.Module = getattr(_torchvision(), name)(weights=None)
        for module in network.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False  # an in-place ReLU would change the node before it
        self.weights = _load_weights(network, name, weights, sha256)
        try:
            self.network = create_feature_extractor(network.eval(), list(self.layers))
        except ValueError as error:
            raise SettingsError(
                f"{name} has no feature node among {', '.join(self.layers)} ({error}).",
                "Name nodes as torchvision's get_graph_node_names lists them.",
            ) from error
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Backbone:
        """Stay in evaluation mode: stochastic depth and dropout are never wanted here."""
        del mode
        return super().train(False)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Features of grey images.

        Args:
            images: (N, 1, H, W), grey in [0, 1] (values outside are not cut off).

        Returns:
            For each layer (N, C, h, w).
        """
        if self.image_size is not None:
            size = (self.image_size, self.image_size)
            images = functional.interpolate(images, size=size, mode="bilinear", align_corners=False)
        x = (images - self.mean) / self.std  # replicates grey to three channels
        features = self.network(x.contiguous(memory_format=torch.channels_last))
        return [
            features[layer].permute(0, 3, 1, 2) if _CHANNELS_LAST.fullmatch(layer) else features[layer]
            for layer in self.layers
        ]


def _torchvision() -> Any:
    """``torchvision.models``: an extra, imported only where the perceptual network is built (it takes seconds)."""
    try:
        import torchvision.models.feature_extraction
    except ModuleNotFoundError as error:
        raise SettingsError(
            "The CREPs loss needs torchvision, which is not installed.",
            "Install it with pip install 'creps[paper]', or choose a recipe without creps.weight, such as anatomy.",
        ) from error
    return torchvision.models


def _load_weights(network: nn.Module, name: BackboneName, weights: str, sha256: str | None) -> BackboneWeights:
    if weights == "random":
        return BackboneWeights(name, "random", official=False)
    path = _official_file(name) if weights == "imagenet" else Path(weights).expanduser()
    if not path.is_file():
        raise ModelError(
            f"Weights file {path} for {name} does not exist.",
            "Give 'imagenet', 'random' or the path of a .pth or .safetensors file.",
        )
    digest, prefix = sha256_file(path), OFFICIAL[name][1]
    official = digest.startswith(prefix)
    if weights == "imagenet" and not official:
        raise ModelError(
            f"{path} is not torchvision's file: its SHA-256 starts with {digest[:8]}, not {prefix}.",
            "Delete it, so that it is downloaded again.",
        )
    if sha256 is not None and not digest.startswith(sha256.lower()):
        raise ModelError(
            f"{path} has SHA-256 {digest}, but the settings require {sha256}.",
            "Use the right file, or correct the hash.",
        )
    layout = load_features(network, path, name)
    source: Literal["imagenet", "file"] = "imagenet" if weights == "imagenet" else "file"
    return BackboneWeights(name, source, official, digest, path.name, layout)


def cached_weights(name: BackboneName) -> Path:
    """Path of torchvision's weights file in its cache; the file need not exist."""
    return Path(torch.hub.get_dir()) / "checkpoints" / OFFICIAL[name][0].rpartition("/")[2]


def _official_file(name: BackboneName) -> Path:
    """Torchvision's weights file in its cache, downloaded if it is not there."""
    (address, prefix), path = OFFICIAL[name], cached_weights(name)
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(address, str(path), hash_prefix=prefix, progress=False)
        except (OSError, RuntimeError) as error:
            raise ModelError(
                f"ImageNet weights of {name} are not in {path.parent} and cannot be downloaded ({error}).",
                f"Put {address} there, name a file with creps.weights, or use 'random'.",
            ) from error
    return path
