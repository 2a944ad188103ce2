"""Ways from one network's patches, or a single pass, to one sCT; what single_pass.py compares."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from creps import hu, read_volume
from creps.api import Model
from creps.cohort.cohort import load_cohort
from creps.inference.aggregation import fused_slabs
from creps.inference.executor import Executor
from creps.inference.prediction import Layout, lay_out, predict
from creps.inference.sliding_window import predict_patches
from creps.networks.generator import Generator
from creps.patches import PatchLocation
from creps.preprocessing.intensity import network_to_hu
from creps.preprocessing.preparation import prepare_mr
from creps.preprocessing.resample import resample_onto
from creps.settings import InferenceSettings
from creps.volume import Array, Mask

__all__ = ["REFERENCE", "SINGLE", "Prediction", "Predictor", "Subject", "bf16", "in_hu", "recounted", "subject", "ways"]

REFERENCE, SINGLE = "median", "single"
HALF = {"patch_overlap": None, "min_coverage": 2}


@dataclass(frozen=True)
class Subject:
    """A patient on a model's grid: MR (network units), truth (HU) and body, all (D, H, W), and the spacing in mm."""

    name: str
    mr: Array
    truth: Array
    body: Mask
    spacing_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Prediction:
    """(D, H, W) in HU, how it was cut up, and the patches (D, H, W in network units), none for a single pass."""

    sct: Array
    layout: Layout
    patches: list[Array]


def ways(patch: tuple[int, int, int]) -> dict[str, dict[str, Any]]:
    """Way of fusing → inference settings; `sparse` ones overlap by a quarter and see every voxel once or more."""
    sparse = {"patch_overlap": tuple(side // 4 for side in patch), "min_coverage": 1}
    return {
        "upper_median": {"fusion": "upper_median", **HALF},
        REFERENCE: {"fusion": "median", **HALF},
        "mean": {"fusion": "mean", **HALF},
        "gaussian": {"fusion": "gaussian", **HALF},
        "sparse median": {"fusion": "median", **sparse},
        "sparse gaussian": {"fusion": "gaussian", **sparse},
        SINGLE: {"fusion": "single"},
        "median, whole volume": {"fusion": "median", "extent": "volume", **HALF},
        "single, whole volume": {"fusion": "single", "extent": "volume"},
    }


def subject(model: Model, folder: Path) -> Subject:
    """Read and prepare a patient for a model."""
    prepared = prepare_mr(read_volume(folder / "mr.nii.gz"), model.plan.preparation, folder.name)
    truth = resample_onto(read_volume(folder / "ct_noise_free.nii.gz"), prepared.grid).array
    return Subject(folder.name, prepared.array, truth, prepared.body, prepared.grid.spacing_mm)


class Predictor:
    """Predicts a patient in every way; patches that two ways share are predicted once."""

    def __init__(self, model: Model, executor: Executor, who: Subject) -> None:
        self.model, self.executor, self.who = model, executor, who
        self._patches: dict[tuple[PatchLocation, ...], list[Array]] = {}

    def settings(self, way: Mapping[str, Any]) -> InferenceSettings:
        """The model's, over the body, with those of a way."""
        return self.model.inference_settings(**{"extent": "body", **way})

    def layout(self, way: Mapping[str, Any]) -> Layout:
        """What is predicted, in which pieces."""
        who, patch = self.who, self.model.plan.patch_size
        return lay_out(who.mr.shape, who.spacing_mm, who.body, patch, self.executor, self.settings(way), margin_mm=0.0)

    def __call__(self, way: Mapping[str, Any]) -> Prediction:
        """Predict."""
        layout, settings = self.layout(way), self.settings(way)
        if layout.grid is None:
            return Prediction(in_hu(predict(self.executor, self.who.mr, layout, settings)[0]), layout, [])
        if layout.pieces not in self._patches:
            found = predict_patches(self.executor, self.who.mr, layout.pieces, batch_size=layout.batch_size)
            self._patches[layout.pieces] = list(found)
        patches = self._patches[layout.pieces]
        sct = np.full(self.who.mr.shape, np.nan, dtype=np.float32)
        pairs = zip(layout.grid.locations, patches, strict=True)
        slabs = [slab.values for slab in fused_slabs(layout.grid, pairs, settings.fusion)]
        sct[layout.extent.slices] = np.concatenate(slabs)
        return Prediction(in_hu(sct), layout, patches)


def in_hu(sct: Array) -> Array:
    """Network units → HU within the range of an sCT; any shape."""
    return np.clip(network_to_hu(sct), *hu.SCT_RANGE)


def recounted(generator: Generator, prepared: Path) -> Generator:
    """A copy whose batch norm has the statistics of the whole bodies of a cohort's training MRs, each box at once.

    Those that a training leaves are of patches: of zeros beyond their faces, which a single pass does not see.
    """
    network, cohort = copy.deepcopy(generator).train(), load_cohort(prepared)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.reset_running_stats()
            module.momentum = None  # the plain mean over all
    for case in cohort.cases("mr", "train"):
        body = np.array(cohort.array(case)[tuple(slice(first, end) for first, end in case.body)])
        with torch.no_grad():
            network(torch.from_numpy(body)[None, None])
    return network.eval()


def bf16(generator: Generator) -> Executor:
    """In bfloat16; without units for it by rounding weights and every layer's input and output, sums in float32."""
    if Executor(generator).precision == "bf16":
        return Executor(generator, precision="bf16")

    def rounded(x: torch.Tensor) -> torch.Tensor:
        return x.to(torch.bfloat16).float()

    network = generator.folded(torch.float32)
    if network is None:
        raise ValueError("this generator has no folded form to round")
    for name, parameter in network.named_parameters():
        if name != "last":
            parameter.copy_(rounded(parameter))
    for name, module in network.named_modules():
        if name:
            module.register_forward_pre_hook(lambda _, inputs: (rounded(inputs[0]),))
            module.register_forward_hook(lambda *arguments: rounded(arguments[-1]))
    executor = Executor(generator, precision="fp32")
    executor.network = network
    return executor
