"""What one association may use up, enforced where its bytes come in.

pynetdicom reads a PDU of whatever length its header claims into memory. So the socket itself counts: too long a PDU,
image, association or wait ends the connection before the bytes are there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from creps.service.disk import GB
from creps.service.settings import Limits

__all__ = ["CountingSocket", "OverLimitError"]

MB = 1e6

LARGEST_PDU = 1_000_000
"""Bytes; the node announces a quarter of that as its maximum. Longer ones are garbage."""


class OverLimitError(OSError):
    """A connection that was ended because of a limit; its text is for the audit log."""


class Receiving(Protocol):
    """The part of pynetdicom's socket that is wrapped."""

    recv: Callable[[int], bytes]


class CountingSocket:
    """Takes the place of `recv` of an association's socket.

    Args:
        socket: Of the association.
        limits: The limits.
        ended: Called with the reason before the connection is ended.
        clock: Seconds that never run backwards.
    """

    def __init__(
        self,
        socket: Receiving,
        limits: Limits,
        ended: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recv, self._limits, self._ended, self._clock = socket.recv, limits, ended, clock
        self._began = clock()
        self.total = self.image = 0

    def recv(self, count: int) -> bytes:
        """Receive `count` bytes.

        Raises:
            OverLimitError: that would exceed a limit.
        """
        reason = self._reason(count)
        if reason:
            self._ended(reason)
            raise OverLimitError(reason)
        found = self._recv(count)
        self.total += len(found)
        self.image += len(found)
        return found

    def _reason(self, count: int) -> str:
        limits = self._limits
        if count > LARGEST_PDU:
            return f"a PDU that claims {count} bytes"
        if self.image + count > limits.image_mb * MB:
            return f"an image of more than {limits.image_mb:g} MB"
        if self.total + count > limits.association_gb * GB:
            return f"an association of more than {limits.association_gb:g} GB"
        if self._clock() - self._began > limits.association_minutes * 60:
            return f"an association of more than {limits.association_minutes:g} minutes"
        return ""

    def next_image(self) -> None:
        """An image was received whole: the count of its bytes begins again."""
        self.image = 0
