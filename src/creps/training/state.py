"""Checkpoints of a run: a model folder with the state of the training beside it.

::

    checkpoints/step_00000500/
        plan.json, generator.safetensors     the model, ready for synthesis (the average, if there is one)
        training.safetensors                 all networks, both optimizers, moving average, balance
        training.json                        step, best validation so far, hash of the tensors
"""

from __future__ import annotations

import shutil
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from creps.errors import ModelError, TrainingError
from creps.io.atomic import atomic_folder, write_json
from creps.io.documents import read_json
from creps.model import TRAINING_STATE, Plan, checkpoints, load_tensors, save_model, save_tensors
from creps.provenance import sha256_file
from creps.training.networks import Networks

__all__ = [
    "SCORE",
    "TENSORS",
    "Best",
    "Outcome",
    "Progress",
    "checkpoint_bytes",
    "inference_weights",
    "load_checkpoint",
    "load_companions",
    "model_bytes",
    "refuse_broken",
    "restore",
    "save_checkpoint",
    "snapshot",
]

TENSORS = "training.safetensors"
SCHEMA_VERSION = 2

SCORE = "validation_score"
"""The value of a validation that decides which weights are the best. In HU, lower is better."""


@dataclass(frozen=True)
class Best:
    """The best validation of a run.

    Attributes:
        step: After how many steps.
        score: Its score; lower is better.
    """

    step: int
    score: float


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        step: Steps done.
        best: Its best validation; known to the first process.
        signal: The signal that interrupted it, if any.
        health: Problems that its curves show; known to the first process.
    """

    step: int
    best: Best | None
    signal: signal.Signals | None = None
    health: tuple[str, ...] = ()


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        steps: Steps done.
        best: Its best validation so far; known to the first process.
    """

    steps: int = 0
    best: Best | None = None


def save_checkpoint(
    folder: Path, networks: Networks, step: int, plan: Plan, keep: int, best: Best | None = None
) -> Path:
    """Write the checkpoint of `step` into a run's checkpoints folder, whole or not at all.

    Args:
        folder: The run's checkpoints folder.
        networks: What is trained.
        step: Steps done.
        plan: Plan of the model.
        keep: How many checkpoints stay; older ones are removed.
        best: The best validation so far.

    Returns:
        The checkpoint's folder.

    Raises:
        TrainingError: a weight is not finite; the checkpoints before stay.
    """
    refuse_broken(_all_tensors(networks), step, folder)
    path = folder / f"step_{step:08d}"
    with atomic_folder(path) as temporary:
        save_model(temporary, inference_weights(networks), plan)
        save_tensors(temporary / TENSORS, _all_tensors(networks))
        digest = sha256_file(temporary / TENSORS)
        state = {"schema_version": SCHEMA_VERSION, "step": step, "sha256": digest}
        write_json(temporary / TRAINING_STATE, {**state, "best": asdict(best) if best else None})
    for old in checkpoints(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return path


def model_bytes(networks: Networks) -> int:
    """Size of the model alone."""
    return sum(tensor.nbytes for tensor in networks.generator.state_dict().values())


def checkpoint_bytes(networks: Networks) -> int:
    """Size of a checkpoint: the model, all networks, and two moments of every weight."""
    modules = sum(tensor.nbytes for module in _modules(networks).values() for tensor in module.state_dict().values())
    moments = 2 * sum(p.nbytes for module, _ in _optimizers(networks).values() for p in module.parameters())
    return model_bytes(networks) + modules + moments


def inference_weights(networks: Networks) -> dict[str, torch.Tensor]:
    """The weights to synthesize with: the moving average if there is one."""
    return dict((networks.averaged or networks.generator).state_dict())


def load_checkpoint(path: Path, networks: Networks) -> Progress:
    """Load a checkpoint's state into freshly built networks and optimizers.

    Returns:
        How far the run had come.

    Raises:
        ModelError: damaged, of another schema version, or of networks of another shape.
    """
    state, tensors = _read(path)
    try:
        _load_all(networks, tensors)
    except (RuntimeError, KeyError) as error:
        raise ModelError(
            f"{path} belongs to a different network architecture.", "Resume with the run's original settings."
        ) from error
    return Progress(int(state["step"]), _best(state.get("best")))


def snapshot(networks: Networks) -> dict[str, torch.Tensor]:
    """Copies of all that a step changes, which `restore` takes."""
    return {name: tensor.detach().clone() for name, tensor in _all_tensors(networks).items()}


def restore(networks: Networks, tensors: dict[str, torch.Tensor]) -> None:
    """Set networks and optimizers back to a snapshot."""
    networks.discriminators.requires_grad_(True)
    _load_all(networks, tensors)
    for _, optimizer in _optimizers(networks).values():
        optimizer.zero_grad(set_to_none=True)


def load_companions(path: Path, networks: Networks) -> list[str]:
    """Load a checkpoint's networks other than the generator into fresh ones, where the shapes agree.

    Returns:
        The names of the networks loaded.

    Raises:
        ModelError: the checkpoint is damaged.
    """
    if not (path / TRAINING_STATE).is_file():
        return []
    _, tensors = _read(path)
    loaded = []
    for name, module in networks.named().items():
        ours, theirs = module.state_dict(), _below(tensors, name)
        if name != "generator" and {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}:
            module.load_state_dict(theirs)
            loaded.append(name)
    return loaded


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """A checkpoint's state and its tensors, which must have the hash that the state says."""
    try:
        state = read_json(path / TRAINING_STATE)
        int(state["step"]), state["sha256"], state["schema_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path / TRAINING_STATE} is missing or damaged.", "Delete this checkpoint and resume again."
        ) from error
    if state["schema_version"] != SCHEMA_VERSION:
        raise ModelError(
            f"{path} has schema version {state['schema_version']}.", "Resume with the version of creps that wrote it."
        )
    if not (path / TENSORS).is_file() or sha256_file(path / TENSORS) != state["sha256"]:
        raise ModelError(f"{path / TENSORS} is damaged.", "Delete this checkpoint and resume again.")
    return state, load_tensors(path / TENSORS)


def refuse_broken(tensors: dict[str, torch.Tensor], step: int, folder: Path) -> None:
    """Raise `TrainingError` if a weight is not finite; `folder` holds the checkpoints before."""
    broken = next((name for name, value in tensors.items() if not torch.isfinite(value).all()), None)
    if broken is not None:
        raise TrainingError(
            f"At step {step} the tensor '{broken}' contains NaN or infinite values.",
            f"Resume from the last checkpoint in {folder} with --resume auto (resume=True) and a lower "
            "training.learning_rate.",
        )


def _modules(networks: Networks) -> dict[str, torch.nn.Module]:
    modules = networks.named() | {"balance": networks.balance}
    return modules | ({"averaged": networks.averaged} if networks.averaged is not None else {})


def _optimizers(networks: Networks) -> dict[str, tuple[torch.nn.Module, torch.optim.Optimizer]]:
    optimizers: dict[str, tuple[torch.nn.Module, torch.optim.Optimizer]] = {
        "generator_optimizer": (networks.generators, networks.generator_optimizer)
    }
    if networks.discriminator_optimizer is not None:
        optimizers["discriminator_optimizer"] = (networks.discriminators, networks.discriminator_optimizer)
    return optimizers


def _all_tensors(networks: Networks) -> dict[str, torch.Tensor]:
    tensors = {
        f"{name}.{key}": value
        for name, module in _modules(networks).items()
        for key, value in module.state_dict().items()
    }
    for name, (module, optimizer) in _optimizers(networks).items():
        for parameter_name, parameter in module.named_parameters():
            for key, value in optimizer.state[parameter].items():
                tensors[f"{name}.{parameter_name}:{key}"] = torch.as_tensor(value)
    return tensors


def _load_all(networks: Networks, tensors: dict[str, torch.Tensor]) -> None:
    """Load what `_all_tensors` collected."""
    for name, module in _modules(networks).items():
        module.load_state_dict(_below(tensors, name))
    for name, (module, optimizer) in _optimizers(networks).items():
        _load_optimizer(optimizer, module, _below(tensors, name))


def _load_optimizer(
    optimizer: torch.optim.Optimizer, module: torch.nn.Module, tensors: dict[str, torch.Tensor]
) -> None:
    state: dict[int, dict[str, Any]] = {}
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    ordered = [parameter for group in optimizer.param_groups for parameter in group["params"]]  # as torch counts them
    for index, parameter in enumerate(ordered):
        prefix = f"{names[id(parameter)]}:"
        values = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        if values:
            state[index] = values
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _below(tensors: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}


def _best(kept: dict[str, Any] | None) -> Best | None:
    """The best validation of a checkpoint."""
    return Best(kept["step"], kept["score"]) if kept else None
