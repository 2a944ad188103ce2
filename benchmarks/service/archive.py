"""An archive that counts: how often each image arrived. It answers C-FIND, as real ones do."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

from pydicom import Dataset
from pynetdicom import AE, evt

__all__ = ["Archive"]

STORED = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.481.3", "1.2.840.10008.5.1.4.1.1.104.1")
VERIFICATION, FIND = "1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.2.2.1"


class Archive:
    """Listens on the loopback until it is stopped.

    Attributes:
        arrived: SOPInstanceUID → how often it arrived.
        series: SOPInstanceUID → (modality, SeriesInstanceUID).
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.arrived: Counter[str] = Counter()
        self.series: dict[str, tuple[str, str]] = {}
        self._lock = threading.Lock()
        entity = AE("ARCHIVE")
        for kind in STORED:
            entity.add_supported_context(kind)
        entity.add_supported_context(VERIFICATION)
        entity.add_supported_context(FIND)
        handlers: list[Any] = [(evt.EVT_C_STORE, self._store), (evt.EVT_C_FIND, self._find)]
        entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
        self._entity = entity

    def stop(self) -> None:
        """Stop listening."""
        self._entity.shutdown()

    def _store(self, event: Any) -> int:
        found = event.dataset
        with self._lock:
            self.arrived[found.SOPInstanceUID] += 1
            self.series[found.SOPInstanceUID] = (found.Modality, found.SeriesInstanceUID)
        return 0

    def _find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        wanted = str(event.identifier.get("SOPInstanceUID", ""))
        with self._lock:
            there = wanted in self.arrived
        if there:
            answer = Dataset()
            answer.QueryRetrieveLevel, answer.SOPInstanceUID = "IMAGE", wanted
            yield 0xFF00, answer
        yield 0x0000, None
