"""Unique identifiers of what is written: random, or reproducible from the inputs."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence

__all__ = ["IMPLEMENTATION_CLASS_UID", "new_uid"]

IMPLEMENTATION_CLASS_UID = "2.25.224611958329203087651604211357909418215"
"""Says in every file that creps wrote it."""

NAMESPACE = uuid.UUID("5c3f0f1e-6a55-4f0f-9a0c-3d8f4c1a7be2")
"""Of the name-based UUIDs made here."""


def new_uid(entropy: Sequence[str] | None, *role: str) -> str:
    """A UID below ``2.25`` (PS3.5, annex B.2): it needs no registered root and at most 44 characters.

    Args:
        entropy: None: random, never the same again. Strings: the same UID for the same strings and role; whoever
            knows them can work the UID out.
        role: What the UID is for: UIDs of the same entropy differ by it.
    """
    if entropy is None:
        return f"2.25.{uuid.uuid4().int}"
    return f"2.25.{uuid.uuid5(NAMESPACE, json.dumps([list(entropy), list(role)])).int}"
