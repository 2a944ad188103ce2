"""A trained model and its folder: safetensors and JSON, no pickle, nothing half-written.

A model is a folder that needs nothing else::

    plan.json               schema version, preparation, generator, patch, provenance, hash of the weights
    generator.safetensors   the generator's parameters and buffers; a cascade's networks differ by prefix
    calibration.json        optional: what turns its spread into an interval in HU, see `creps.inference.calibration`

Weights are float32, or bfloat16 where they have to be small; a loaded generator is float32 in either case.

A checkpoint of a run is such a model with the training state beside it, see `creps.training.state`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from creps.errors import ModelError, OutputExistsError, SettingsError, file_errors_explained
from creps.inference.calibration import CALIBRATION, Calibration, read_calibration
from creps.intake.profile import IntakeProfile
from creps.io.atomic import atomic_folder, let_others_read, write_json
from creps.io.unfinished import destination
from creps.io.utf8 import utf8_path
from creps.io.versioned import read_versioned
from creps.networks.build import build_generator
from creps.networks.ensemble import Ensemble
from creps.networks.generator import Generator
from creps.provenance import sha256_file
from creps.settings import AnyGenerator, InferenceSettings, PreparationSettings, invalid_value
from creps.shipped.catalogue import REINSTALL, SHIPPED
from creps.shipped.names import find_model

__all__ = [
    "PLAN",
    "TRAINING_STATE",
    "WEIGHTS",
    "Model",
    "Plan",
    "checkpoints",
    "latest_checkpoint",
    "load_plan",
    "load_tensors",
    "model_folder",
    "save_model",
    "save_tensors",
    "verified_plan",
]

PLAN = "plan.json"
WEIGHTS = "generator.safetensors"
TRAINING_STATE = "training.json"

LARGEST_WEIGHTS = 20_000_000_000
"""Bytes of weights beyond which nobody need compute a hash to refuse them."""

_CHECKPOINT = re.compile(r"step_(\d{8})")

PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".bin")
"""Endings of PyTorch's own files."""


class Plan(BaseModel):
    """Everything but the weights that is needed to use a generator, readable by a person."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    preparation: PreparationSettings
    generator: AnyGenerator
    patch_size: tuple[int, int, int]
    """Training patch (D, H, W) in voxels, also that of the inference."""
    inference: InferenceSettings
    """Defaults of the synthesis; each can be overridden when it runs."""
    intake: IntakeProfile | None = None
    """Profile of the training MRs: an MR far from all of them is out of the model's distribution."""
    weights_sha256: str = ""
    training: dict[str, Any] = {}
    """How it was trained: steps, cohort, loss, perceptual weights."""
    provenance: dict[str, Any] = {}

    @field_validator("training")
    @classmethod
    def _settings_are_sections(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(value.get("settings", {}), dict):
            raise ValueError("its settings are no sections")
        return value

    @property
    def recipe(self) -> str | None:
        """Recipe of the training, if the record names it."""
        recipe = self.training.get("settings", {}).get("recipe")
        return recipe if isinstance(recipe, str) else None


class Model:
    """A trained model.

    Args:
        plan: What the model expects and how it was trained.
        generator: The network that maps MR to CT.
        calibration: What turns its spread into an interval in HU; None if nobody measured it.

    Attributes:
        plan: As given.
        generator: As given.
        calibration: As given.
    """

    def __init__(self, plan: Plan, generator: Generator, calibration: Calibration | None = None) -> None:
        self.plan = plan
        self.generator = generator
        self.calibration = calibration

    @classmethod
    @file_errors_explained
    def load(cls, folder: Path | str) -> Self:
        """Load a shipped model, a model folder, a checkpoint, or a run (its model, or its last checkpoint so far).

        Args:
            folder: Name of a shipped model, or the folder: see `creps.shipped.names.find_model`.

        Returns:
            The model, its generator in evaluation mode on the CPU.

        Raises:
            ModelError: not a model, another schema version, weights that are damaged or do not fit the plan, or a
                calibration that is damaged or of other weights.

        Examples:
            >>> creps.Model.load("model").generator.training
            False
        """
        folder = model_folder(find_model(folder))
        plan, weights = verified_plan(folder), folder / WEIGHTS
        generator = build_generator(plan.generator)
        try:
            generator.load_state_dict(_as_float32(load_tensors(weights), generator))
        except RuntimeError as error:
            raise ModelError(
                f"{weights} does not fit the generator of its plan ({plan.generator.kind}).",
                f"{_again(folder)[:-1]}; weights of another network cannot be used.",
            ) from error
        return cls(plan, generator.eval(), read_calibration(folder, plan.weights_sha256))

    @file_errors_explained
    def save(self, folder: Path | str, *, overwrite: bool = False) -> Path:
        """Write the model as a folder that `load` reads: the whole folder or nothing.

        Args:
            folder: The folder to write.
            overwrite: Replace a model that already exists.

        Returns:
            The folder.

        Raises:
            OutputExistsError: `folder` is already there, or holds something other than a model.
            ModelError: `folder` is not a path, or the model is an ensemble.

        Examples:
            >>> folder = creps.load("model").save("another model")
            >>> creps.load(folder).plan == creps.load("model").plan
            True
        """
        folder = _checked(folder)
        if isinstance(self.generator, Ensemble):
            raise ModelError("An ensemble has no folder of its own.", "Keep the folders of its models.")
        if folder.exists():
            if not (folder / PLAN).is_file():
                raise OutputExistsError(f"{folder} already exists and is not a model.", "Name another folder.")
            if not overwrite:
                raise OutputExistsError(f"{folder} already exists.", "Choose another folder, or pass overwrite=True.")
        with atomic_folder(folder) as temporary:
            self.plan = save_model(temporary, dict(self.generator.state_dict()), self.plan)
            if self.calibration is not None:  # of the same weights, whose file may have another type, thus another hash
                self.calibration = self.calibration.model_copy(update={"weights_sha256": self.plan.weights_sha256})
                write_json(temporary / CALIBRATION, self.calibration.model_dump(mode="json"))
        return folder

    def inference_settings(self, **changes: Any) -> InferenceSettings:
        """The plan's inference settings with some of them changed.

        Args:
            **changes: Inference settings by name, as in ``fusion="mean"``.

        Returns:
            All inference settings.

        Raises:
            SettingsError: an unknown name or a wrong value.

        Examples:
            >>> creps.load("model").inference_settings(fusion="mean").fusion
            'mean'
        """
        unknown = next((name for name in changes if name not in InferenceSettings.model_fields), None)
        if unknown is not None:
            raise SettingsError(
                f"Unknown inference setting '{unknown}'.", f"There are: {', '.join(InferenceSettings.model_fields)}."
            )
        try:
            settings = InferenceSettings.model_validate(self.plan.inference.model_dump() | changes)
        except ValidationError as error:
            name, value, reason = invalid_value(error)
            raise SettingsError(
                f"Setting 'inference.{name}' = {value}: {reason}.",
                "See 'creps settings' for every setting.",
            ) from error
        overlap = settings.patch_overlap
        if overlap and any(not 0 <= o < p for o, p in zip(overlap, self.plan.patch_size, strict=True)):
            raise SettingsError(
                f"inference.patch_overlap = {overlap} does not fit the model's patches of {self.plan.patch_size}.",
                "Give at least 0 and less than the patch along each axis.",
            )
        return settings


def save_model(folder: Path, tensors: dict[str, torch.Tensor], plan: Plan, *, small: bool = False) -> Plan:
    """Write weights and plan into an existing folder (wrap it in `atomic_folder`).

    Args:
        folder: The folder.
        tensors: The generator's state.
        plan: Its plan; the hash of the weights is filled in.
        small: Store kernels as bfloat16, half the size. Biases, scales and statistics of norms stay as they are.

    Returns:
        The plan with the hash of the weights as they are stored.
    """
    if small:
        tensors = {name: _small(tensor) for name, tensor in tensors.items()}
    save_tensors(folder / WEIGHTS, tensors)
    plan = plan.model_copy(update={"weights_sha256": sha256_file(folder / WEIGHTS)})
    write_json(folder / PLAN, plan.model_dump(mode="json"))
    return plan


def load_plan(folder: Path | str) -> Plan:
    """The plan of a shipped model, a model folder, a checkpoint, or the model of a run's folder.

    Raises:
        ModelError: not a model, or another schema version.
    """
    folder = model_folder(find_model(folder))
    return read_versioned(
        folder / PLAN,
        Plan,
        ModelError,
        other_version="Use the version of creps that wrote it.",
        damaged=_again(folder),
    )


def verified_plan(folder: Path | str) -> Plan:
    """The plan of a model whose weights exist and match it by their hash.

    Raises:
        ModelError: as `load_plan`; or the weights are missing or damaged.
    """
    folder = model_folder(find_model(folder))
    plan, weights = load_plan(folder), folder / WEIGHTS
    if not weights.is_file():
        raise ModelError(f"{folder} has a plan but no {WEIGHTS}.", _again(folder))
    if weights.stat().st_size > LARGEST_WEIGHTS:
        raise ModelError(f"{weights} is larger than any model of creps.", _again(folder))
    if sha256_file(weights) != plan.weights_sha256:
        raise ModelError(f"{weights} does not match its plan (different SHA-256).", _again(folder))
    return plan


def _again(folder: Path) -> str:
    """What to do about a damaged model."""
    return REINSTALL if folder.resolve().is_relative_to(SHIPPED) else "Copy the whole model folder again."


def save_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write named tensors as safetensors, contiguous and on the CPU."""
    try:
        save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, str(path))
        let_others_read(path)  # safetensors makes files that only their owner can read
    except SafetensorError as error:
        raise ModelError(
            f"{path.name} cannot be written to {destination(path).parent} ({error}).", "Free disk space."
        ) from error


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read named tensors from safetensors.

    Raises:
        ModelError: the file is missing or damaged.
    """
    try:
        with utf8_path(path) as name:
            tensors: dict[str, torch.Tensor] = load_file(name)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} cannot be read as safetensors ({error}).", "Copy the file again.") from error
    return tensors


def latest_checkpoint(run: Path) -> Path | None:
    """The checkpoint of a run's folder with the most steps, if there is any."""
    found = checkpoints(run / "checkpoints")
    return found[-1] if found else None


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints in a folder, in the order of their steps."""
    if not folder.is_dir():
        return []
    return sorted(
        path for path in folder.iterdir() if _CHECKPOINT.fullmatch(path.name) and (path / TRAINING_STATE).is_file()
    )


def _checked(folder: object) -> Path:
    if not isinstance(folder, (Path, str)):
        raise ModelError(f"The model's folder is of the type {type(folder).__name__}.", "Give its path.")
    if "\0" in str(folder):
        raise ModelError("The model's folder has a null character in its path.", "Give another path.")
    return Path(folder)


def _small(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.bfloat16) if tensor.is_floating_point() and tensor.ndim > 1 else tensor


def _as_float32(tensors: dict[str, torch.Tensor], generator: Generator) -> dict[str, torch.Tensor]:
    """Tensors of any floating-point type as float32; whole numbers only where the generator counts something.

    Raises:
        RuntimeError: whole numbers in place of weights.
    """
    own = generator.state_dict()
    for name, tensor in tensors.items():
        if name in own and tensor.is_floating_point() != own[name].is_floating_point():
            raise RuntimeError(f"{name} is of the type {tensor.dtype}")
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def model_folder(folder: Path) -> Path:
    """The folder with the plan: that of a model, of a run's model, or of its latest checkpoint.

    Raises:
        ModelError: there is none.
    """
    for candidate in (folder, folder / "model", latest_checkpoint(folder)):
        if candidate is not None and (candidate / PLAN).is_file():
            return candidate
    remedy = "Give the model folder that 'creps train' wrote."
    if folder.is_file() and folder.suffix in PICKLES:
        raise ModelError(f"{folder} is a PyTorch file of pickled objects, which creps never opens.", remedy)
    if folder.is_file():
        raise ModelError(f"{folder} is a file, not a folder with {PLAN} and {WEIGHTS}.", remedy)
    if not folder.is_dir():
        raise ModelError(f"{folder} is not a folder.", remedy)
    raise ModelError(f"{folder} is not a model (it has no {PLAN}).", remedy)
