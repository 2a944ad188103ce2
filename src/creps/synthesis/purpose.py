"""Make what is asked for besides the sCT: acoustic maps, an attenuation map."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from creps.synthesis.background import background
from creps.synthesis.derived import Derived
from creps.synthesis.result import Synthesis
from creps.volume import Mask

__all__ = ["IN_MEMORY", "check_suitable", "name_of", "patient_of", "write_derived"]

IN_MEMORY = "the MR"
"""What messages call an MR that is no file."""


def write_derived(result: Synthesis, place: Callable[[str], Path], *, unlinked: bool = False) -> dict[str, Any]:
    """Write everything that is to be made of an sCT; return what its record says of it.

    Args:
        result: The sCT.
        place: Name of a folder → where it is made.
        unlinked: Leave out what would link a de-identified export to its MR or PET: the time, and the PET's checksum.

    Raises:
        InputError: something cannot be made of this sCT.
    """
    return {one.folder: _write_one(result, one, place(one.folder), unlinked=unlinked) for one in result.derived}


def _write_one(result: Synthesis, one: Derived, folder: Path, *, unlinked: bool = False) -> dict[str, Any]:
    """Make one thing of an sCT and write it into a new folder; return what the record says of it."""
    provenance = _provenance(result)
    if unlinked:
        provenance.pop("created")
        one = one.unlinked()
    folder.mkdir()
    return one.write(folder, result.sct, patient_of(result), name_of(result), provenance)


def check_suitable(result: Synthesis, one: Derived) -> None:
    """Refuse an sCT of which something cannot be made.

    Raises:
        InputError: its MR or its grid does not suit it.
    """
    one.check(result.mr, result.body, result.sct, result.record["model"]["region"], name_of(result))


def name_of(result: Synthesis) -> str:
    """What messages call the MR of an sCT."""
    return IN_MEMORY if result.source is None else result.source.name


def patient_of(result: Synthesis) -> Mask:
    """(D, H, W) of the sCT: what is not background."""
    return np.asarray(~background(result.sct.array, result.body_mask(), result.sct.spacing_mm))


def _provenance(result: Synthesis) -> dict[str, Any]:
    """What documents say of where the sCT comes from: nothing about the patient, no file name."""
    record = result.record
    kept = {key: record[key] for key in ("notice", "created", "versions", "machine")}
    return kept | {"model": {key: record["model"][key] for key in ("weights_sha256", "region")}}
