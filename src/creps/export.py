"""``creps export``: a generator as an ONNX file, for programs that have no PyTorch."""

from __future__ import annotations

import copy
import importlib.util
import io
import json
import warnings
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from creps import hu
from creps.errors import ModelError, OutputExistsError, SettingsError
from creps.io.atomic import atomic_file
from creps.io.outputs import check_new
from creps.model import Model
from creps.networks.generator import Generator
from creps.provenance import provenance
from creps.telemetry import ONNX_RUNTIME, switch_off

__all__ = ["Exported", "export"]

INPUT, OUTPUT = "mr", "sct"
AXES = {0: "batch", 2: "depth", 3: "rows", 4: "columns"}
TRACED, CHECKED = (2, 1, 20, 24, 28), ((1, 1, 20, 24, 28), (2, 1, 17, 33, 22))
"""Shape of the input that is traced, and shapes that are compared with ONNX Runtime: odd sides, other batches."""

LARGEST_DIFFERENCE_HU = 0.1
"""Between PyTorch and ONNX Runtime, both in float32; beyond it the export counts as failed."""


@dataclass(frozen=True)
class Exported:
    """An exported model.

    Attributes:
        path: The ONNX file.
        difference_hu: The largest difference between PyTorch and ONNX Runtime on random MRs.
    """

    path: Path
    difference_hu: float


def export(model: Model, target: Path | str, *, overwrite: bool = False) -> Exported:
    """Write a model as ONNX and compare ONNX Runtime's predictions with PyTorch's.

    The file maps ``mr`` (batch, 1, depth, rows, columns) in network units to ``sct`` of the same shape, in float32, for
    any size of at least 2 voxels per axis; synthesis pads odd sizes to even ones, where half resolution falls on the
    same voxels. The steps around the network (resampling, scaling, patches, fusion) are not in the file; its metadata
    hold the plan, which describes them.

    Args:
        model: The model; its generator is not changed.
        target: The file to write, ``.onnx``.
        overwrite: Overwrite existing output.

    Raises:
        OutputExistsError: `target` is there already, or is a folder.
        SettingsError: `target` is not called ``.onnx``, or the packages of the extra ``export`` are not installed.
        ModelError: ONNX Runtime's predictions differ by more than `LARGEST_DIFFERENCE_HU`; nothing is written.
    """
    target = Path(target)
    if target.suffix.lower() != ".onnx":
        raise SettingsError(f"{target} is not the name of an ONNX file.", "Name a file that ends in .onnx.")
    if target.is_dir():
        raise OutputExistsError(f"{target} is a folder.", "Name a file.")
    check_new(target, "Pass overwrite=True, or name another file.", overwrite=overwrite)
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise SettingsError(
            f"Exporting needs the package{'s' * (len(missing) > 1)} {', '.join(missing)}.",
            "Install what is missing: pip install 'creps[export]'.",
        )
    generator = copy.deepcopy(model.generator).cpu().eval()
    with atomic_file(target) as temporary:
        _write(generator, _metadata(model, generator), temporary)
        difference = _difference_hu(generator, temporary)
        if np.isnan(difference):
            raise ModelError("The model returns NaN or infinite values.", "Train it again, or use a checkpoint.")
        if difference > LARGEST_DIFFERENCE_HU:
            raise ModelError(
                f"ONNX Runtime's predictions differ from PyTorch's by up to {difference:.3g} HU; nothing was written.",
                "Try another version of onnxruntime, and report this.",
            )
    return Exported(target, difference)


def _metadata(model: Model, generator: Generator) -> dict[str, str]:
    """What a program needs besides the network; ONNX takes text only."""
    plan, halo, made = model.plan, generator.halo, provenance()
    return {
        "notice": made["notice"],
        "created": made["created"],
        "creps_version": made["versions"]["creps"],
        "torch_version": made["versions"]["torch"],
        "weights_sha256": plan.weights_sha256,
        "spacing_mm": json.dumps(plan.preparation.spacing_mm),
        "patch_size": json.dumps(plan.patch_size),
        "halo_voxels": "unbounded" if halo is None else str(halo + -halo % generator.stride),
        "stride_voxels": str(generator.stride),
        "hu_per_unit": str(hu.PER_NETWORK_UNIT),
        "sct_range_hu": json.dumps(hu.SCT_RANGE),
        "plan": plan.model_dump_json(exclude={"training", "provenance"}),
    }


def _write(generator: Generator, metadata: dict[str, str], path: Path) -> None:
    sizes = {axis: torch.export.Dim(name, min=1 if name == "batch" else 2) for axis, name in AXES.items()}
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):  # older exporters print what they did
        warnings.simplefilter("ignore")  # the exporter's warnings about itself: a user cannot act on them
        program = torch.onnx.export(
            generator, (torch.ones(TRACED),), input_names=[INPUT], output_names=[OUTPUT],
            dynamic_shapes=(sizes,), dynamo=True, verbose=False,
        )  # fmt: skip
    if program is None:
        raise ModelError("The generator cannot be exported.", "Try another version of torch, and report this.")
    program.model.metadata_props.update(metadata)
    program.model.producer_name, program.model.producer_version = "creps", metadata["creps_version"]
    program.save(str(path), external_data=False)


def _difference_hu(generator: Generator, path: Path) -> float:
    """The largest absolute difference to ONNX Runtime on random MRs of several shapes."""
    switch_off(ONNX_RUNTIME)
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    random, found = np.random.default_rng(0), []
    for shape in CHECKED:
        mr = random.uniform(0, 2, shape).astype(np.float32)
        (theirs,) = session.run([OUTPUT], {INPUT: mr})
        with torch.inference_mode():
            ours = generator(torch.from_numpy(mr)).numpy()
        found.append(np.abs(theirs - ours).max())
    return float(np.max(found)) * hu.PER_NETWORK_UNIT  # NaN, if one is
