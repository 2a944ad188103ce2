"""Weights files of the perceptual networks, whoever wrote them: one table per key layout.

ConvNeXt-Tiny (Liu et al. 2022) is one network under three sets of names: torchvision's, timm's and those of its
authors' release ("facebook" here). A file is recognised by its keys, every tensor of the features must be there with
the right shape, and only the classifier may be left over: nobody's weights are guessed into place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import nn

from creps.errors import ModelError
from creps.settings.choices import BackboneName

__all__ = ["LayoutName", "load_features"]

LayoutName = Literal["torchvision", "timm", "facebook"]

STAGE_BLOCKS = (3, 3, 9, 3)
"""Blocks in the four stages of ConvNeXt-Tiny."""

_BLOCK_PARTS: dict[str, dict[str, str]] = {
    "timm": {"block.0": "conv_dw", "block.2": "norm", "block.3": "mlp.fc1", "block.5": "mlp.fc2"},
    "facebook": {"block.0": "dwconv", "block.2": "norm", "block.3": "pwconv1", "block.5": "pwconv2"},
}
"""Of a block: 7×7 depth-wise convolution, LayerNorm, two point-wise layers, by torchvision's names."""


@dataclass(frozen=True)
class Layout:
    """How a file names the tensors of a network.

    Attributes:
        name: Whose names they are.
        mark: Keys of this layout begin so, and those of no other one.
        unused: Beginnings of the keys that features do not need: the classifier.
        names: The file's key for each of torchvision's keys; None: they are the same.
    """

    name: LayoutName
    mark: str
    unused: tuple[str, ...]
    names: Callable[[], dict[str, str]] | None = None


def _timm_names() -> dict[str, str]:
    table = _layers({"features.0.0": "stem.0", "features.0.1": "stem.1"})
    for stage in range(1, 4):
        for part in (0, 1):
            table |= _layers({f"features.{2 * stage}.{part}": f"stages.{stage}.downsample.{part}"})
    return table | _block_names("stages.{stage}.blocks.{block}", _BLOCK_PARTS["timm"])


def _facebook_names() -> dict[str, str]:
    table: dict[str, str] = {}
    for stage in range(4):  # the stem is the first of the down-sampling layers
        for part in (0, 1):
            table |= _layers({f"features.{2 * stage}.{part}": f"downsample_layers.{stage}.{part}"})
    return table | _block_names("stages.{stage}.{block}", _BLOCK_PARTS["facebook"])


def _block_names(pattern: str, parts: Mapping[str, str]) -> dict[str, str]:
    table: dict[str, str] = {}
    for stage, blocks in enumerate(STAGE_BLOCKS):
        for block in range(blocks):
            ours, theirs = f"features.{2 * stage + 1}.{block}", pattern.format(stage=stage, block=block)
            table[f"{ours}.layer_scale"] = f"{theirs}.gamma"
            table |= _layers({f"{ours}.{part}": f"{theirs}.{name}" for part, name in parts.items()})
    return table


def _layers(names: Mapping[str, str]) -> dict[str, str]:
    """Weight and bias of each layer."""
    return {f"{ours}.{kind}": f"{theirs}.{kind}" for ours, theirs in names.items() for kind in ("weight", "bias")}


LAYOUTS: dict[BackboneName, tuple[Layout, ...]] = {
    "convnext_tiny": (
        Layout("torchvision", "features.", ("classifier.",)),
        Layout("timm", "stem.", ("head.",), _timm_names),
        Layout("facebook", "downsample_layers.", ("norm.", "head."), _facebook_names),
    ),
    "vgg16": (Layout("torchvision", "features.", ("classifier.", "pre_logits.", "head.")),),
}
"""timm names the features of VGG16 as torchvision does; only its classifier has other names."""


def load_features(network: nn.Module, path: Path, name: BackboneName) -> LayoutName:
    """Load a weights file into the features of a torchvision network.

    Args:
        network: Torchvision's network; its classifier is left alone.
        path: A .pth or .safetensors file with a state dict, or with one under ``model`` or ``state_dict``; any float
            precision.
        name: Which network it is.

    Returns:
        The layout of the file.

    Raises:
        ModelError: the file cannot be read, has no known layout, is of another network, or holds integers or values
            that are not finite.
    """
    state = _read_state(path)
    layout = next((one for one in LAYOUTS[name] if any(key.startswith(one.mark) for key in state)), None)
    if layout is None:
        first = next(iter(state), "none at all")
        raise ModelError(
            f"{path} contains no weights of {name} in a known key layout: its first tensor is {first}.",
            f"Give a file with the key names of {' or '.join(one.name for one in LAYOUTS[name])}{_unwrapped(first)}.",
        )
    shapes = {key: tensor.shape for key, tensor in network.state_dict().items() if key.startswith("features.")}
    names = {key: key for key in shapes} if layout.names is None else layout.names()
    features = {
        ours: _as_ours(state[theirs], ours, layout, f"{path}: tensor {theirs}")
        for ours, theirs in names.items()
        if theirs in state
    }  # missing ones are reported below
    wrong = [names[key] for key, shape in shapes.items() if key not in features or features[key].shape != shape]
    extra = sorted(state.keys() - set(names.values()))
    extra = [key for key in extra if not key.startswith(layout.unused)]
    if wrong or extra:
        raise ModelError(
            f"{path} ({layout.name} key names) does not hold the weights of {name}: "
            f"{_mismatch(wrong, extra, len(shapes))}.",
            f"Give a file of {name}: {', '.join(one.name for one in LAYOUTS[name])} key names are known.",
        )
    network.load_state_dict(features, strict=False)
    return layout.name


def _unwrapped(key: str) -> str:
    """What to do about a prefix that a wrapper put before the keys."""
    prefix = next((one for one in ("module.", "_orig_mod.") if key.startswith(one)), None)
    return "" if prefix is None else f", without the '{prefix}' that a wrapper put before every one"


def _as_ours(tensor: torch.Tensor, key: str, layout: Layout, called: str) -> torch.Tensor:
    """In float32; layer scale is (C,) elsewhere and (C, 1, 1) in torchvision."""
    remedy = "Get the file again, or another one: weights are finite floats."
    if not tensor.is_floating_point():
        raise ModelError(f"{called} holds values of type {str(tensor.dtype).removeprefix('torch.')}.", remedy)
    tensor = tensor.float()
    if not tensor.isfinite().all():
        raise ModelError(f"{called} contains NaN or infinite values.", remedy)
    return tensor[..., None, None] if key.endswith("layer_scale") and layout.name != "torchvision" else tensor


def _mismatch(wrong: list[str], extra: list[str], count: int) -> str:
    parts = []
    if wrong:
        parts.append(f"{len(wrong)} of {count} tensors are missing or differ in shape, the first is {wrong[0]}")
    if extra:
        parts.append(f"{len(extra)} tensors are not part of it, the first is {extra[0]}")
    return "; ".join(parts)


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    try:
        if path.suffix.lower() == ".safetensors":
            state: Any = load_file(str(path))
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(
            f"{path} cannot be read as weights ({type(error).__name__}).",
            "Get the file again; one ending in .safetensors is read as such, any other (.pth, .pt, .bin) as PyTorch's.",
        ) from error
    nests = ("model", "state_dict")  # as ConvNeXt's authors release it, and as many trainings save it
    nest = next((key for key in nests if isinstance(state, dict) and isinstance(state.get(key), dict)), None)
    state = state if nest is None else state[nest]
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()
    ):
        raise ModelError(
            f"{path} contains no state dict of tensors.",
            "Give a file of weights, alone or under 'model' or 'state_dict', not a whole model or checkpoint.",
        )
    return state
