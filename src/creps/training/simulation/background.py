"""Phantoms that grow while the run already learns from the first of them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import overload

from creps.errors import TrainingError
from creps.training.simulation.people import Key, Person, open_person

__all__ = ["AwaitedPeople", "BackgroundGrowth", "GrowthEndedError"]

log = logging.getLogger(__name__)

GROWING = "growing"
"""File beside the people while more of them are coming."""

POLL_SECONDS = 0.05


class GrowthEndedError(TrainingError):
    """A person that a patch needs is not there, and no more of them are coming."""


class BackgroundGrowth:
    """Grows people in a thread while it is open; leaving it ends the growth.

    Args:
        grow: Writes the people; called with a function that returns True when it is to stop.
        folder: Where they go.
        stops: A further reason to stop.

    Raises:
        TrainingError: on leaving, why the growth failed, if the run ended for lack of a person.
    """

    def __init__(self, grow: Callable[[Callable[[], bool]], None], folder: Path, stops: Callable[[], bool]) -> None:
        self._grow, self._marker, self._stops = grow, folder / GROWING, stops
        self._left = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="phantoms", daemon=True)

    def __enter__(self) -> BackgroundGrowth:
        self._marker.parent.mkdir(parents=True, exist_ok=True)
        self._marker.touch()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        self._thread.join()
        if self._error is not None and isinstance(error, GrowthEndedError):
            raise self._error from None

    def wait(self) -> None:
        """Return when all people are grown, or the growth has failed or stopped."""
        self._thread.join()

    def _run(self) -> None:
        try:
            self._grow(lambda: self._left.is_set() or self._stops())
        except Exception as error:  # noqa: BLE001 - raised where the run ends
            self._error = error
            log.warning("%s", error)
        finally:
            self._marker.unlink(missing_ok=True)


class AwaitedPeople(Sequence[Person]):
    """People in files, each opened when a patch first needs it, and waited for while they grow.

    Args:
        files: Where each of them is, or will be.
        keys: Tells what decides each of them; asked when it is opened, since the code's hash takes seconds.
    """

    def __init__(self, files: Sequence[Path], keys: Sequence[Callable[[], Key]]) -> None:
        self._files, self._keys = list(files), list(keys)
        self._opened: dict[int, Person] = {}

    def __len__(self) -> int:
        return len(self._files)

    @overload
    def __getitem__(self, place: int) -> Person: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Person]: ...
    def __getitem__(self, place: int | slice) -> Person | Sequence[Person]:
        """A person, or several.

        Raises:
            GrowthEndedError: it is not there, and no more of them are coming.
            TrainingError: its file is damaged.
        """
        if isinstance(place, slice):
            return [self[number] for number in range(len(self))[place]]
        number = range(len(self))[place]
        if number not in self._opened:
            _await(self._files[number])
            self._opened[number] = open_person(self._files[number], self._keys[number]())
        return self._opened[number]


def _await(file: Path) -> None:
    while not file.is_file():
        if not (file.parent / GROWING).exists() and not file.is_file():  # it may have come in between
            raise GrowthEndedError(
                f"The phantom {file} was not grown.", "Go on with --resume auto (resume=True): it is grown again."
            )
        time.sleep(POLL_SECONDS)
