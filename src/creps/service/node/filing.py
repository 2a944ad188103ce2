"""File one received image: checked against limits and rules, under a name of our own, on the disk before it is
acknowledged.
"""

from __future__ import annotations

import io
import logging
import sqlite3
import threading
import warnings
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from creps.errors import CrepsError
from creps.io.dicom.identifiers import IMAGES
from creps.io.dicom.read.elements import MalformedDicomError, text, whole
from creps.service.disk import MB, move_synced, private_folder, space_left, write_synced
from creps.service.rules import Facts, facts_of_series, first_rule
from creps.service.settings import ServiceSettings
from creps.service.state import State

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["RECEIVED", "Filed", "Filing", "Status"]

log = logging.getLogger(__name__)

RECEIVED = "received"
"""Folder of received images within that of the service; one folder for each series, named by a hash."""

DECISIONS = 1000
"""Series whose rule is remembered."""

DEFLATED = "1.2.840.10008.1.2.1.99"


class Status:
    """Answers to a C-STORE (PS3.4, annex B.2.3, and PS3.7, annex C)."""

    STORED = 0x0000
    ANOTHER = 0x0111
    NOT_WANTED = 0x0124
    NO_SPACE = 0xA700
    NO_IMAGE = 0xA900
    UNREADABLE = 0xC000


@dataclass(frozen=True)
class Filed:
    """What became of an image.

    Attributes:
        status: The answer to its sender.
        reason: For the audit log; at most 64 characters go back to the sender.
        series: Hash of its SeriesInstanceUID; empty if that is unknown.
        image: Hash of its SOPInstanceUID.
        new: Whether it was filed now.
    """

    status: int
    reason: str = ""
    series: str = ""
    image: str = ""
    new: bool = False


class Filing:
    """Files images of a node; any thread may call it.

    Args:
        folder: Of the service.
        settings: Rules and limits.
        state: Where images are recorded.
    """

    def __init__(self, folder: Path, settings: ServiceSettings, state: State) -> None:
        self.folder, self.settings, self.state = private_folder(folder / RECEIVED), settings, state
        self._decisions: OrderedDict[tuple[str, str], bool] = OrderedDict()
        self._lock = threading.Lock()

    def file(self, content: bytes, caller: str) -> Filed:
        """File an image.

        Args:
            content: A DICOM file, with its meta header.
            caller: AE title of the sender.
        """
        header = _header(content)
        if header is None:
            return Filed(Status.UNREADABLE, "The image cannot be read.")
        hasher = self.state.hasher
        series, image = (text(header, name) for name in ("SeriesInstanceUID", "SOPInstanceUID"))
        filed = Filed(Status.STORED, "", hasher.of(series), hasher.of(image))
        if (refused := self._refused(header)) is not None:
            return replace(filed, status=refused[0], reason=refused[1])
        path = self.folder / filed.series / f"{filed.image}.dcm"
        if self.state.has_image(filed.series, filed.image) and path.is_file():
            if path.read_bytes() == content:
                return replace(filed, reason="It is here already.")
            return replace(filed, status=Status.ANOTHER, reason="Another image with this UID is here.")
        try:
            temporary = write_synced(self.folder, content)
            try:
                return self._filed(temporary, path, caller, filed, len(content))
            finally:
                temporary.unlink(missing_ok=True)
        except (OSError, CrepsError, sqlite3.OperationalError) as error:
            log.warning("An image could not be filed: %s", error)
            return replace(filed, status=Status.NO_SPACE, reason="It could not be written.")

    def _refused(self, header: Dataset) -> tuple[int, str] | None:
        """Answer and reason for an image that is refused by its header; None if it is not."""
        if IMAGES.get(text(header, "SOPClassUID")) != "mr":
            return Status.NOT_WANTED, "Not an MR image."
        if not text(header, "SeriesInstanceUID") or not text(header, "SOPInstanceUID"):
            return Status.NO_IMAGE, "A UID is missing."
        if (claimed := _claimed_bytes(header)) > self.settings.limits.decompressed_mb * MB:
            return Status.NO_IMAGE, f"Its pixels would take {claimed / MB:.0f} MB."
        if space_left(self.folder) < self.settings.limits.free_gb:
            return Status.NO_SPACE, "The disk is full."
        return None

    def _filed(self, temporary: Path, path: Path, caller: str, filed: Filed, size: int) -> Filed:
        if not self._matches_a_rule(temporary, caller, filed.series):
            return replace(filed, status=Status.NOT_WANTED, reason="No rule wants this series.")
        private_folder(path.parent)
        move_synced(temporary, path)
        self.state.add_image(filed.image, filed.series, caller, size)
        return replace(filed, new=True)

    def _matches_a_rule(self, path: Path, caller: str, series: str) -> bool:
        """Whether a rule is for the series, by its first image."""
        with self._lock:
            known = self._decisions.get((series, caller))
        if known is None:
            facts = _facts(path, caller)
            known = facts is not None and first_rule(self.settings.rules, facts) is not None
            with self._lock:
                self._decisions[series, caller] = known
                while len(self._decisions) > DECISIONS:
                    self._decisions.popitem(last=False)
        return known


def _facts(path: Path, caller: str) -> Facts | None:
    from creps.io.dicom.read.series import find_series

    try:
        found = find_series(path)
        return facts_of_series(found[0], caller) if found else None
    except CrepsError:
        return None


def _header(content: bytes) -> Dataset | None:
    """The header without pixels; None if it is not to be read. Deflated data are never inflated."""
    from pydicom import dcmread

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            meta = dcmread(io.BytesIO(content[: 1 << 16]), specific_tags=["SOPClassUID"], stop_before_pixels=True)
            if str(meta.file_meta.get("TransferSyntaxUID", "")) == DEFLATED:
                return None
            return dcmread(io.BytesIO(content), stop_before_pixels=True, specific_tags=list(READ))
    except Exception:  # noqa: BLE001 - whatever was sent: pydicom raises many kinds
        return None


READ = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Rows", "Columns", "NumberOfFrames", "BitsAllocated",
    "SamplesPerPixel",
)  # fmt: skip


def _claimed_bytes(header: Dataset) -> int:
    """Bytes of the pixels, as the header claims them; beyond any limit if it makes no sense."""
    product = 1
    for name, default in (
        ("Rows", 0), ("Columns", 0), ("NumberOfFrames", 1), ("SamplesPerPixel", 1), ("BitsAllocated", 16),
    ):  # fmt: skip
        try:
            found = whole(header, name, default)
        except MalformedDicomError:
            found = None
        if found is None or found < 0:
            return 1 << 62
        product *= found
    return product // 8
