"""How a training on a GPU is fed and timed: pairs serve again while the next ones are made, and a run ends on time.

A GPU takes more pairs than sixteen cores make. So each batch goes into a pool as well, and while the readers have
nothing new, the training goes on with pairs from the pool, mirrored and with another contrast curve, a set number of
times at most. The number of steps follows from the pace: it is planned anew all along, so that the learning rate comes
to its end with the last step, and the last step with the time.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import torch

__all__ = ["Clock", "Pool"]

POOL = 48
"""Batches whose pairs can serve again."""

CURVE_SD = 0.15
"""Standard deviation of the log of the exponent of the contrast curve of a pair that serves again."""

STOP_SECONDS = 5.0

TOP = 2.0
"""Of MR in network units."""

FIRST_PLAN, PLAN_EVERY, WINDOW = 20, 10, 200
"""Steps before the first plan, between plans, and those whose pace counts."""


class Pool:
    """Batches of simulated pairs, each used several times while none is new.

    Args:
        source: New batches, as the package's readers give them.
        device: Where pairs are kept.
        most: Steps that a pair may serve, the first one included; 1 waits for new ones.
        seed: Of what is drawn.

    Attributes:
        fresh: Batches that were new.
        again: Batches from the pool.
    """

    def __init__(self, source: Iterator[Any], device: torch.device, most: int, seed: int) -> None:
        self.source: Iterator[Any] | None = source
        self.device, self.most = device, most
        self.fresh = self.again = 0
        self.kept: deque[tuple[torch.Tensor, torch.Tensor]] = deque(maxlen=POOL)
        self.random = torch.Generator().manual_seed(seed)
        self.ready: queue.Queue[Any] = queue.Queue(maxsize=2)
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._fetch, daemon=True)

    def stop(self) -> None:
        """Let go of the source, so that its readers end: they ignore signals, and Python would wait for them."""
        self.stopped.set()
        if self.thread.is_alive():
            self.thread.join(STOP_SECONDS)

    def __iter__(self) -> Iterator[Any]:
        """Batches without end, or until the source ends."""
        self.thread.start()
        while True:
            owed = self.again < (self.most - 1) * self.fresh
            try:
                batch = self.ready.get(block=not owed)
            except queue.Empty:
                yield self._from_pool()
                continue
            if isinstance(batch, BaseException):
                raise batch
            if batch is None:
                return
            if not isinstance(batch, dict):  # an error that a reader has met
                yield batch
                continue
            pair = (batch["simulated_mr"].to(self.device), batch["simulated_ct"].to(self.device))
            self.kept.append(pair)
            self.fresh += 1
            yield as_batch(*pair)

    def _fetch(self) -> None:
        source, self.source = self.source, None
        try:
            for batch in source or ():
                self._put(batch)
                if self.stopped.is_set():
                    return
            self._put(None)
        except BaseException as error:  # noqa: BLE001 - raised again where batches are asked for
            self._put(error)

    def _put(self, batch: Any) -> None:
        while not self.stopped.is_set():
            try:
                self.ready.put(batch, timeout=0.1)
            except queue.Full:
                continue
            return

    def _from_pool(self) -> dict[str, torch.Tensor]:
        """As many pairs as a batch has, each from any batch of the pool."""
        self.again += 1
        count = len(self.kept[-1][0])
        chosen = [(self._draw(len(self.kept)), self._draw(count)) for _ in range(count)]
        mr = torch.stack([self.kept[batch][0][place] for batch, place in chosen])
        ct = torch.stack([self.kept[batch][1][place] for batch, place in chosen])
        if self._draw(2):
            mr, ct = mr.flip(-1), ct.flip(-1)
        exponent = torch.exp(CURVE_SD * torch.randn(count, 1, 1, 1, 1, generator=self.random)).to(self.device)
        return as_batch(TOP * (mr / TOP) ** exponent, ct)

    def _draw(self, below: int) -> int:
        return int(torch.randint(below, (), generator=self.random))


def as_batch(mr: torch.Tensor, ct: torch.Tensor) -> dict[str, torch.Tensor]:
    """A batch of simulated pairs; patches of the cohort, which no term of `anatomy` uses, are not carried along."""
    return {"mr": mr, "ct": ct, "simulated_mr": mr, "simulated_ct": ct}


class Clock:
    """Plans how many steps a run has, so that it ends on time.

    Args:
        ends: `time.time()` by which the last step is done; None: after `steps`.
        steps: At most so many.
        now: Tells the time.

    Attributes:
        planned: Steps of the run, as planned last.
        plans: Step → what was planned there, where it changed by more than a twentieth.
    """

    def __init__(self, ends: float | None, steps: int, now: Callable[[], float] = time.time) -> None:
        self.ends, self.most, self.now = ends, steps, now
        self.planned = steps
        self.plans: dict[int, int] = {}
        self.times: deque[float] = deque(maxlen=WINDOW + 1)

    def plan(self, number: int) -> int:
        """How many steps the run has, now that step `number`, counted from 1, is about to begin."""
        self.times.append(self.now())
        if self.ends is None or number <= FIRST_PLAN:
            return self.planned if self.ends is None or self.now() < self.ends else self._note(number, number)
        near = self.planned - number < 2 * PLAN_EVERY
        if near or number % PLAN_EVERY == 0 or not self.plans:
            known = list(self.times)[FIRST_PLAN // 2 :] if number <= WINDOW else list(self.times)
            pace = (known[-1] - known[0]) / max(1, len(known) - 1)
            left = math.floor((self.ends - self.now()) / max(pace, 1e-6))
            self._note(number, min(self.most, number - 1 + max(1, left)))
        return self.planned

    def _note(self, number: int, planned: int) -> int:
        last = next(reversed(self.plans.values()), None)
        if last is None or abs(planned - last) > 0.05 * last:
            self.plans[number] = planned
        self.planned = planned
        return planned
