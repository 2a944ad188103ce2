"""Phantom people to take patches from, in memory or in a file that every process of a run maps."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from creps.errors import TrainingError
from creps.io.atomic import atomic_file
from creps.phantom import TISSUES
from creps.phantom.tissue_map import KEPT, TissueMap

__all__ = ["BONE", "Key", "Person", "open_person", "save_person"]

BONE = ("cortical bone", "dense bone", "thin bone", "diploe", "marrow", "trabecular bone", "yellow marrow")

PLANES = 2 * KEPT
"""Bytes of a voxel: tissues, shares of all but the first, body."""

PLACE = np.dtype("<i2")
"""A voxel's index along an axis."""

Key = dict[str, Any]
"""What decides a person; plain JSON values."""


@dataclass(frozen=True, eq=False)
class Person:
    """A phantom to take patches from.

    Attributes:
        tissues: What its voxels are made of.
        bone: (N, 3) indices of voxels with bone.
        inside: (2, 3) first and last index of the body along each axis.
        volumes: Voxels of each tissue in the body.
    """

    tissues: TissueMap
    bone: npt.NDArray[np.int16]
    inside: npt.NDArray[np.int64]
    volumes: dict[str, float]

    @classmethod
    def of(cls, tissues: TissueMap) -> Person:
        """Of a grown phantom."""
        ids = [number for number, tissue in enumerate(TISSUES) if tissue.name in BONE]
        bone = np.argwhere(np.isin(tissues.tissues[0], ids)).astype(np.int16)
        places = np.argwhere(tissues.body)
        return cls(tissues, bone, np.array([places.min(axis=0), places.max(axis=0)]), tissues.volumes())


@dataclass(frozen=True, eq=False)
class StoredPerson(Person):
    """A person in a file, memory-mapped. Pickled as the file's name.

    Attributes:
        path: The file that describes it.
        key: What it was grown from.
    """

    path: Path
    key: Key

    def __reduce__(self) -> tuple[Any, ...]:
        return open_person, (self.path, self.key)


class _Described(BaseModel):
    """``NAME.json``, beside ``NAME.npy`` with the bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: Key
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    bone: int
    inside: tuple[tuple[int, int, int], tuple[int, int, int]]
    volumes: dict[str, float]
    sha256: str


def save_person(person: Person, path: Path, key: Key) -> None:
    """Write a person as ``path`` (JSON) and the file of the same name that ends in ``.npy``; both or none.

    Args:
        person: The person.
        path: The JSON file.
        key: What decides the person.
    """
    tissues = person.tissues
    planes = np.concatenate([tissues.tissues, tissues.shares, tissues.body[None].view(np.uint8)])
    bone = np.ascontiguousarray(person.bone, dtype=PLACE)
    content = np.concatenate([planes.reshape(-1), bone.reshape(-1).view(np.uint8)])
    first, last = person.inside.tolist()
    described = _Described(
        key=key,
        shape=tissues.shape,
        spacing_mm=tissues.spacing_mm,
        bone=len(bone),
        inside=(first, last),
        volumes=person.volumes,
        sha256=hashlib.sha256(content.data).hexdigest(),
    )
    with atomic_file(path) as temporary:
        np.save(temporary.with_suffix(".npy"), content)
        temporary.write_text(json.dumps(described.model_dump(mode="json")), encoding="utf-8")


def open_person(path: Path, key: Key, *, whole: bool = False) -> Person:
    """Open a saved person; its voxels stay in the file until a patch needs them.

    Args:
        path: The JSON file.
        key: What must have decided the person.
        whole: Read every byte and compare its hash.

    Raises:
        TrainingError: it is missing, damaged, or another person.
    """
    try:
        described = _Described.model_validate_json(path.read_text(encoding="utf-8"))
        content: Any = np.load(path.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise _refused(path, "is missing") from error
    except (OSError, ValueError, EOFError, ValidationError) as error:
        raise _refused(path, "is damaged") from error
    if described.key != key:
        raise _refused(path, "was grown from another seed, spacing or version")
    voxels = int(np.prod(described.shape))
    if content.dtype != np.uint8 or content.shape != (PLANES * voxels + 3 * PLACE.itemsize * described.bone,):
        raise _refused(path, "is damaged")
    content = np.asarray(content)
    if whole and hashlib.sha256(content.data).hexdigest() != described.sha256:
        raise _refused(path, "is damaged")
    planes = content[: PLANES * voxels].reshape(PLANES, *described.shape)
    bone = content[PLANES * voxels :].view(PLACE).reshape(-1, 3)
    tissues = TissueMap(planes[:KEPT], planes[KEPT:-1], planes[-1].view(np.bool_), described.spacing_mm)
    return StoredPerson(tissues, bone, np.array(described.inside), described.volumes, path, key)


def _refused(path: Path, what: str) -> TrainingError:
    return TrainingError(f"The phantom {path} {what}.", "Go on with --resume auto (resume=True): it is grown again.")
