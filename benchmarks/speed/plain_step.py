"""A training step as one first writes it, and with one measure after the other: what creps' own is measured against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional
from torchvision import models

from creps.losses.adversarial import real_or_fake
from creps.losses.creps import CrepsLoss, network_to_grey
from creps.networks.backbone import Backbone
from creps.settings import Settings, load_settings
from creps.training.build import build_modules

__all__ = ["Measures", "Reference", "autocast", "settings"]


@dataclass(frozen=True)
class Measures:
    """What a step does beyond plain float32."""

    batched: bool = False
    channels_last: bool = False
    precision: str = "fp32"
    in_turn: bool = False
    fused: bool = False
    discriminator: str = "fp32"
    whole_network: bool = False
    twice: bool = False


def settings(patch: list[int], precision: str, recipe: str = "paper") -> Settings:
    own = {"sampling.patch_size": patch, "training.precision": precision, "training.batch_size": 1}
    fixed = {"recipe": recipe, "creps.weights": "random", "creps.balance": "never", "training.device": "cpu"}
    return load_settings("brain", overrides=fixed | own)


class Reference:
    """The paper's (or anatomy's) step written plainly, with some measures."""

    def __init__(self, chosen: Settings, measures: Measures) -> None:
        self.measures, self.anatomy = measures, chosen.simulation.weight > 0
        torch.manual_seed(0)
        generators, discriminators = build_modules(chosen)
        self.generator, self.discriminator = generators["generator"], nn.Module()
        if not self.anatomy:
            self.discriminator, backbone = discriminators["discriminator"], Backbone("convnext_tiny", "random")
            self.style = CrepsLoss(backbone, content=False)
            self.network: Callable[[torch.Tensor], dict[str, torch.Tensor]] = backbone.network
            if measures.whole_network:
                self.network = Whole(backbone.layers)
        layout = torch.channels_last_3d if measures.channels_last else torch.contiguous_format
        self.optimizers = []
        for network in (self.generator, self.discriminator):
            network.to(memory_format=layout)
            if parameters := list(network.parameters()):
                self.optimizers.append(torch.optim.AdamW(parameters, 1e-4, weight_decay=1e-3, fused=measures.fused))

    def __call__(self, mr: torch.Tensor, ct: torch.Tensor, simulated: torch.Tensor) -> float:
        """One step on patches (1, 1, D, H, W); returns the loss."""
        if self.anatomy:
            with torch.no_grad():
                self._generate(mr)  # batch norm's running statistics are those of MRs
            loss = (self._generate(simulated) - ct).abs().mean()
            self._move(0, loss)
            return float(loss.detach())
        sct = self._generate(mr)
        if self.measures.twice:
            with torch.no_grad():
                fake = self._generate(mr)
        else:
            fake = sct.detach()
        self._move(1, self._judge(ct, True) + self._judge(fake, False))
        self.discriminator.requires_grad_(False)
        with autocast(self.measures.precision):
            style = self.style(sct, ct)[0] if self.measures.in_turn else self._distance(sct, ct)
        self._move(0, self._judge(sct, True) + 20 * style)
        self.discriminator.requires_grad_(True)
        return float(style.detach())

    def _move(self, number: int, loss: torch.Tensor) -> None:
        self.optimizers[number].zero_grad()
        loss.backward()
        self.optimizers[number].step()

    def _generate(self, image: torch.Tensor) -> torch.Tensor:
        with autocast(self.measures.precision):
            return self.generator(image).float()

    def _judge(self, image: torch.Tensor, real: bool) -> torch.Tensor:
        with autocast(self.measures.discriminator):
            return real_or_fake(self.discriminator(image), real, "bce")

    def _distance(self, sct: torch.Tensor, ct: torch.Tensor) -> torch.Tensor:
        """Eq. 3: the mean over slices, in one call or in a call for each."""
        ours, theirs = (network_to_grey(volume[0].transpose(0, 1)) for volume in (sct, ct))
        size = len(ours) if self.measures.batched else 1
        found = [
            sum((gram(a) - gram(b)).abs().sum() for a, b in zip(self._features(x), self._features(y), strict=True))
            for x, y in zip(ours.split(size), theirs.split(size), strict=True)
        ]
        return torch.stack(found).sum() / len(ours)

    def _features(self, images: torch.Tensor) -> list[torch.Tensor]:
        x = functional.interpolate(images, (224, 224), mode="bilinear", align_corners=False)
        x = (x - self.style.backbone.mean) / self.style.backbone.std
        if self.measures.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        return [feature.permute(0, 3, 1, 2) for feature in self.network(x).values()]


class Whole:
    """All of ConvNeXt, its features taken on the way."""

    def __init__(self, layers: tuple[str, ...]) -> None:
        torch.manual_seed(0)
        self.network = models.convnext_tiny(weights=None).eval().requires_grad_(False)
        self.found: dict[str, torch.Tensor] = {}
        for layer in layers:
            module = self.network.get_submodule(layer)
            module.register_forward_hook(lambda _, __, output, layer=layer: self.found.update({layer: output}))

    def __call__(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Images (N, 3, H, W) → layer and its features."""
        self.found.clear()
        self.network(x)
        return dict(self.found)


def gram(features: torch.Tensor) -> torch.Tensor:
    n, c, h, w = features.shape
    with torch.autocast("cpu", enabled=False):
        flat = features.float().reshape(n, c, h * w)
        return torch.bmm(flat, flat.transpose(1, 2)) / (c * h * w)


def autocast(precision: str) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
