"""Send results to a destination by C-STORE: each image once, also after a crash in the middle."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from creps.errors import CrepsError
from creps.io.dicom.identifiers import CT_IMAGE_STORAGE, ENCAPSULATED_PDF_STORAGE, RT_STRUCTURE_SET_STORAGE
from creps.service.settings import Destination
from creps.service.state import State
from creps.service.tls import client_context
from creps.synthesis.outputs import BULK, REPORT_DICOM, SLICES, STRUCTURES, UNCERTAINTY, WITHIN

if TYPE_CHECKING:
    from pydicom import Dataset
    from pynetdicom.association import Association

__all__ = [
    "RefusedError",
    "ResultGoneError",
    "UnreachableError",
    "deliver",
    "endpoint_of",
    "files_for",
    "greet",
]

log = logging.getLogger(__name__)

VERIFICATION, FIND = "1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.2.2.1"
ENCODINGS = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]

PATTERNS = {
    "ct": SLICES,
    "structures": STRUCTURES,
    "report": REPORT_DICOM,
    "uncertainty": f"{UNCERTAINTY}/{WITHIN[UNCERTAINTY]}",
    "bulk": f"{BULK}/{WITHIN[BULK]}",
}
"""Part of the results → its files in the folder of an sCT, in the order of sending."""

WARNINGS = (0xB000, 0xB006, 0xB007)
"""Status codes of images that were stored, with a remark."""

CONNECT_SECONDS, ANSWER_SECONDS = 10, 60


class UnreachableError(CrepsError):
    """A destination does not answer, or turns creps away: nothing can be sent to it."""


class RefusedError(CrepsError):
    """A destination answers, but does not take one image: others may go."""


class ResultGoneError(CrepsError):
    """There is nothing to send: somebody deleted the results."""


def files_for(destination: Destination, target: Path) -> list[Path]:
    """What a destination gets of an sCT, as far as it is there."""
    return [file for part in destination.send for file in sorted(target.glob(PATTERNS[part]))]


def endpoint_of(destination: Destination) -> str:
    """What must stay the same for a destination to be the one that answered before."""
    return f"{destination.own_ae_title} to {destination.ae_title} at {destination.host}:{destination.port}"


def greet(destination: Destination) -> None:
    """Ask a destination whether it is there (C-ECHO), and whether it takes CT images.

    Raises:
        UnreachableError: says what is wrong: the address, the AE title, the certificate, or what it takes.
    """
    with _association(destination) as link:
        answer = link.send_c_echo()
        if getattr(answer, "Status", None) != 0:
            raise UnreachableError(f"{_called(destination)} does not answer a C-ECHO.", "Check that it is running.")


def deliver(state: State, job: int, destination: Destination, target: Path) -> int:
    """Send what was not sent yet.

    Args:
        state: Records each file before and after it is sent.
        job: Number of the job.
        destination: Who gets it.
        target: Folder of the sCT.

    Returns:
        How many images were sent now.

    Raises:
        UnreachableError: it does not answer; what it accepted is recorded.
        RefusedError: it refused an image.
        ResultGoneError: the results are gone.
    """
    known = state.files_sent(job, destination.name)
    names = {str(path.relative_to(target)): path for path in files_for(destination, target)}
    if not names:
        raise ResultGoneError("Its results are gone from the folder.", "Retry it to make them again.")
    waiting = {name: path for name, path in names.items() if known.get(name) != "sent"}
    if not waiting:
        return 0
    with _association(destination) as link:
        doubtful = {name: path for name, path in waiting.items() if name in known}
        taken = [name for name in doubtful if _is_there(link, doubtful[name])]
        state.record_files(job, destination.name, taken, "sent")
        rest = [name for name in waiting if name not in taken]
        state.record_files(job, destination.name, rest, "sending")
        for name in rest:
            _send(link, destination, waiting[name])
            state.record_files(job, destination.name, [name], "sent")
    return len(rest)


def _send(link: Association, destination: Destination, path: Path) -> None:
    from pydicom import dcmread

    try:
        answer = link.send_c_store(dcmread(path))
    except (ValueError, RuntimeError) as error:
        raise RefusedError(
            f"{_called(destination)} did not take {path.name}: {' '.join(str(error).split())[:120]}.",
            "Check what kinds of objects it accepts.",
        ) from error
    status = getattr(answer, "Status", None)
    if status is None:
        raise UnreachableError(f"{_called(destination)} broke the connection off.", "It is tried again.")
    if status != 0 and status not in WARNINGS:
        raise RefusedError(
            f"{_called(destination)} refused {path.name} with status {status:#06x}.", "See its log; it is tried again."
        )


def _is_there(link: Association, path: Path) -> bool:
    """Whether the destination has an image of which it is not known whether it arrived; False if it cannot tell."""
    from pydicom import Dataset, dcmread

    if not any(context.abstract_syntax == FIND for context in link.accepted_contexts):
        return False
    header = dcmread(path, stop_before_pixels=True, specific_tags=list(IDENTIFIERS))
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    for name in IDENTIFIERS:
        setattr(query, name, header.get(name))
    return any(_matches(found, header) for _, found in link.send_c_find(query, FIND) if found is not None)


IDENTIFIERS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def _matches(found: Dataset, header: Dataset) -> bool:
    return str(found.get("SOPInstanceUID", "")) == str(header.SOPInstanceUID)


@contextmanager
def _association(destination: Destination) -> Iterator[Association]:
    """An association that carries images, C-ECHO, and C-FIND if the destination offers it."""
    from pynetdicom import AE

    _check_reachable(destination)
    entity = AE(destination.own_ae_title)
    entity.connection_timeout, entity.acse_timeout = CONNECT_SECONDS, CONNECT_SECONDS
    entity.dimse_timeout = entity.network_timeout = ANSWER_SECONDS
    for kind in _kinds(destination.send):
        for encoding in ENCODINGS:  # one context each: an implicit file is not sent as an explicit one
            entity.add_requested_context(kind, encoding)
    entity.add_requested_context(VERIFICATION)
    entity.add_requested_context(FIND)
    tls: dict[str, Any] = {}
    if destination.tls is not None:
        tls["tls_args"] = (client_context(destination.tls), destination.host)
    link = entity.associate(destination.host, destination.port, ae_title=destination.ae_title, **tls)
    try:
        if not link.is_established:
            raise _refusal(destination, link)
        missing = set(_kinds(destination.send)) - {str(one.abstract_syntax) for one in link.accepted_contexts}
        if missing:
            named = ", ".join(sorted(NAMES[kind] for kind in missing))
            raise UnreachableError(
                f"{_called(destination)} does not take {named}.", "Allow it there, or leave it out of 'send'."
            )
        yield link
    finally:
        if link.is_established:
            link.release()


def _check_reachable(destination: Destination) -> None:
    """Connect once: pynetdicom does not say why it could not."""
    try:
        socket.create_connection((destination.host, destination.port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UnreachableError(
            f"{_called(destination)} cannot be reached: {reason}.", "Check host and port, and that it is running."
        ) from error


NAMES = {
    CT_IMAGE_STORAGE: "CT images",
    RT_STRUCTURE_SET_STORAGE: "RT structure sets",
    ENCAPSULATED_PDF_STORAGE: "encapsulated PDFs",
}
KIND_OF = {
    **dict.fromkeys(("ct", "uncertainty", "bulk"), CT_IMAGE_STORAGE),
    "structures": RT_STRUCTURE_SET_STORAGE,
    "report": ENCAPSULATED_PDF_STORAGE,
}


def _kinds(parts: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(KIND_OF[part] for part in parts))


def _refusal(destination: Destination, link: Association) -> UnreachableError:
    if link.is_rejected:
        answer = link.acceptor.primitive
        reason = "" if answer is None else f" ({answer.reason_str})"
        return UnreachableError(
            f"{_called(destination)} rejected the association{reason}.",
            f"Check its AE title, and that it knows {destination.own_ae_title}.",
        )
    if destination.tls is not None:
        return UnreachableError(
            f"{_called(destination)} and creps cannot agree on TLS.",
            "Check that it wants TLS, and that both sides trust each other's certificates and host names.",
        )
    return UnreachableError(
        f"{_called(destination)} does not answer as DICOM.", "Check the port, and whether it wants TLS."
    )


def _called(destination: Destination) -> str:
    return f"Destination '{destination.name}' ({destination.ae_title} at {destination.host}:{destination.port})"
