"""Most tests of the service synthesize in their own process: starting another takes seconds."""

from concurrent.futures import Future

import pytest

from creps.service import loop, run


class WorkerHere:
    """Does a task when it is given."""

    def submit(self, function, given):
        future = Future()
        try:
            future.set_result(function(given))
        except Exception as error:  # noqa: BLE001 - told to the test
            future.set_exception(error)
        return future

    def answer(self, future):
        return future.result()

    def end(self):
        pass


@pytest.fixture
def worker_here(monkeypatch):
    monkeypatch.setattr(run, "Worker", WorkerHere)
    monkeypatch.setattr(loop, "TICK_SECONDS", 0.05)
