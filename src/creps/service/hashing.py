"""Keyed hashes that stand for UIDs and places: in names of folders, in the state, in the audit log."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["Hasher"]

DIGITS = 32


@dataclass(frozen=True)
class Hasher:
    """Hashes of one service.

    Attributes:
        key: Its secret, 64 hexadecimal digits.

    Examples:
        >>> len(Hasher("00" * 32).of("1.2.840.1"))
        32
    """

    key: str = field(repr=False)

    def of(self, text: str) -> str:
        """A name that tells nobody without the key what it stands for: 32 hexadecimal digits."""
        return hmac.new(bytes.fromhex(self.key), text.encode(errors="surrogateescape"), hashlib.sha256).hexdigest()[
            :DIGITS
        ]

    def fingerprint(self, hashes: Iterable[str]) -> str:
        """What stands for several; their order does not matter."""
        return self.of("\n".join(sorted(hashes)))
