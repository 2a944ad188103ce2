"""Peak memory of a piece of code."""

from __future__ import annotations

import gc
import threading
import time
from contextlib import AbstractContextManager

import psutil
import torch

__all__ = ["Peak"]


class Peak(AbstractContextManager["Peak"]):
    """Measure the peak memory within a ``with`` block, above what was used before.

    It is the resident memory of the process, or the allocated memory of a GPU.

    Args:
        device: The device whose memory is measured; default: the CPU.

    Attributes:
        grown: Bytes, known after the block.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.device, self.process, self.grown = device or torch.device("cpu"), psutil.Process(), 0

    def __enter__(self) -> Peak:
        gc.collect()
        self.base = self.most = self.process.memory_info().rss
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            self.base = torch.cuda.memory_allocated()
        self.open = True
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while self.open:
            self.most = max(self.most, self.process.memory_info().rss)
            time.sleep(0.005)

    def __exit__(self, *_: object) -> None:
        self.open = False
        self.thread.join()
        cuda = self.device.type == "cuda"
        self.grown = (torch.cuda.max_memory_allocated() if cuda else self.most) - self.base
