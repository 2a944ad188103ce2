"""What one association may use up, enforced where its bytes come in.

pynetdicom reads a PDU of whatever length its header claims into memory. So the socket itself counts: too long a PDU,
image, association or wait ends the connection before the bytes are there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from socket import SHUT_RDWR
from typing import Protocol

from creps.service.disk import GB, MB
from creps.service.settings import Limits

__all__ = ["CountingSocket", "OverLimitError"]

LARGEST_PDU = 1_000_000
"""Bytes; the node announces a quarter of that as its maximum. Longer ones are garbage."""

CHUNK = 65_536


class OverLimitError(OSError):
    """A connection that was ended because of a limit; its text is for the audit log."""


class Receiving(Protocol):
    """The part of a system's socket that is used."""

    def recv(self, count: int, /) -> bytes:
        """Up to `count` bytes; none at the end."""

    def close(self) -> None:
        """Give it back."""

    def shutdown(self, how: int, /) -> None:
        """Tell the other side that it has ended."""

    def settimeout(self, seconds: float | None, /) -> None:
        """How long a call may wait."""


class CountingSocket:
    """Takes the place of `recv` of an association's socket.

    pynetdicom waits without end for the rest of a PDU. Here a PDU must arrive within `patience` seconds: a sender that
    sends a byte now and then would otherwise hold its connection for ever.

    Args:
        socket: The system's socket of the association.
        limits: The limits.
        ended: Called with the reason before the connection is ended.
        patience: Seconds in which a PDU must arrive, until `associated`.
    """

    def __init__(self, socket: Receiving, limits: Limits, ended: Callable[[str], None], patience: float) -> None:
        self._socket, self._limits, self._ended = socket, limits, ended
        self._began, self._patience = time.monotonic(), min(patience, limits.idle_seconds)
        self.total = self.image = 0
        socket.settimeout(self._patience)  # for what is sent

    def associated(self) -> None:
        """An association was accepted: from now on its PDUs have `idle_seconds`."""
        self._patience = self._limits.idle_seconds

    def recv(self, count: int) -> bytearray:
        """Receive `count` bytes; fewer if the other side ends the connection.

        Raises:
            OverLimitError: that would exceed a limit.
        """
        if reason := self._reason(count):
            raise self._over(reason)
        until, found = time.monotonic() + self._patience, bytearray()
        while len(found) < count:
            left = until - time.monotonic()
            try:
                self._socket.settimeout(max(left, 0.001))
                part = self._socket.recv(min(count - len(found), CHUNK))
            except TimeoutError:
                raise self._over(f"a PDU of more than {self._patience:g} s") from None
            if not part:
                break
            found += part
            if left <= 0 and len(found) < count:
                raise self._over(f"a PDU of more than {self._patience:g} s")
        self._socket.settimeout(self._patience)
        self.total += len(found)
        self.image += len(found)
        return found

    def close(self) -> None:
        """Close the system's socket: pynetdicom leaves one open that the other side has ended."""
        self._socket.close()

    def _over(self, reason: str) -> OverLimitError:
        self._ended(reason)
        with suppress(OSError):  # pynetdicom takes the error for the end of the connection, and would leave it open
            self._socket.shutdown(SHUT_RDWR)
        return OverLimitError(reason)

    def _reason(self, count: int) -> str:
        limits = self._limits
        if count > LARGEST_PDU:
            return f"a PDU that claims {count} bytes"
        if self.image + count > limits.image_mb * MB:
            return f"an image of more than {limits.image_mb:g} MB"
        if self.total + count > limits.association_gb * GB:
            return f"an association of more than {limits.association_gb:g} GB"
        if time.monotonic() - self._began > limits.association_minutes * 60:
            return f"an association of more than {limits.association_minutes:g} minutes"
        return ""

    def next_image(self) -> None:
        """An image was received whole: the count of its bytes begins again."""
        self.image = 0
