"""Send finished sCTs to their destinations, in a thread of its own; what cannot be sent is kept and sent later."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from creps.errors import CrepsError
from creps.service.audit import Audit
from creps.service.database import FAILING_DISK
from creps.service.disk import DAY_SECONDS
from creps.service.sending import ResultGoneError, UnreachableError, deliver, endpoint_of
from creps.service.settings import Destination, ServiceSettings
from creps.service.state import Delivery, Job, State
from creps.service.waits import Waits

__all__ = ["Deliveries"]

log = logging.getLogger(__name__)

FEWEST_TRIES = 10
"""Before a destination is given up, whatever the clock of this machine says."""

END_SECONDS = 30.0


class Deliveries:
    """Sends what is due.

    Args:
        settings: The destinations.
        state: What is due, and what was sent.
        results: Folder of the sCTs.
        audit: The audit log.
        waits: When a destination may be tried again.
        park: Called with a job that needs a person's decision, and the reason.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        state: State,
        results: Path,
        audit: Audit,
        waits: Waits,
        park: Callable[[Job, str], None],
    ) -> None:
        self.settings, self.state, self.results, self.audit = settings, state, results, audit
        self._waits, self._park = waits, park
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()

    def is_busy(self) -> bool:
        """Whether something is being sent."""
        return self._thread is not None and self._thread.is_alive()

    def begin(self) -> None:
        """Send what is due, in the background."""
        if not self.is_busy() and (due := self.due()):
            self._thread = threading.Thread(target=self._send, args=(due,), daemon=True)
            self._thread.start()

    def due(self) -> list[Delivery]:
        """What can be sent now."""
        may_try = self._waits.may_try
        return [
            one
            for one in self.state.deliveries("waiting")
            if may_try(_wait_of_destination(one.destination)) and may_try(_wait_of_delivery(one))
        ]

    def end(self) -> None:
        """Stop after the delivery that is under way."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(END_SECONDS)

    def _send(self, due: Sequence[Delivery]) -> None:
        by_name = {one.name: one for one in self.settings.destinations}
        unreachable: set[str] = set()
        for delivery in due:
            if self._ending.is_set():
                return
            destination = by_name.get(delivery.destination)
            if destination is None:
                self._give_up(delivery, f"There is no destination '{delivery.destination}' any more.")
            elif destination.name not in unreachable and not self._answered(delivery, destination):
                unreachable.add(destination.name)

    def _answered(self, delivery: Delivery, destination: Destination) -> bool:
        """Send one result; return False if the destination does not answer, so that the others wait for it too."""
        try:
            count = deliver(self.state, delivery.job, destination, self.results / self.state.job(delivery.job).target)
            self._sent(delivery, destination, count)
        except ResultGoneError as error:
            self.state.forget_result(delivery.job)
            self._park(self.state.job(delivery.job), str(error))
        except FAILING_DISK as error:
            seconds = self._waits.later(_wait_of_destination(destination.name))
            log.warning("What was sent cannot be recorded (%s). Tried again in %.0f s.", type(error).__name__, seconds)
            return False
        except Exception as error:  # noqa: BLE001 - whatever the other side answers, the results stay and are sent later
            self._failed(delivery, error)
            return not isinstance(error, UnreachableError)
        return True

    def _sent(self, delivery: Delivery, destination: Destination, count: int) -> None:
        self._waits.over(_wait_of_destination(destination.name))
        self._waits.over(_wait_of_delivery(delivery))
        self.state.record_reached(endpoint_of(destination))
        self.state.set_delivery(delivery.job, destination.name, "sent")
        series = self.state.job(delivery.job).series
        self.audit.record("sent", job=delivery.job, series=series, destination=destination.name, images=count)
        log.info("Job %d: sent to '%s'.", delivery.job, destination.name)
        if not self.state.deliveries("waiting", "parked", job=delivery.job):
            self.state.set_job(delivery.job, "done")

    def _failed(self, delivery: Delivery, error: Exception) -> None:
        """Try again later, or give up after days."""
        reason = str(error) if isinstance(error, CrepsError) else f"Not sent: {type(error).__name__}."
        late = time.time() - delivery.created > self.settings.keep.send_days * DAY_SECONDS
        if late and delivery.attempts >= FEWEST_TRIES:
            self._give_up(delivery, reason)
            return
        alone = not isinstance(error, UnreachableError)
        seconds = self._waits.later(
            _wait_of_delivery(delivery) if alone else _wait_of_destination(delivery.destination)
        )
        self.state.set_delivery(delivery.job, delivery.destination, "waiting", reason=reason)
        log.warning("%s Tried again in %.0f s.", reason, seconds)

    def _give_up(self, delivery: Delivery, reason: str) -> None:
        self.state.set_delivery(delivery.job, delivery.destination, "parked", reason=reason, tried=False)
        self._park(self.state.job(delivery.job), f"Its sCT was made, but not sent. {reason}")


def _wait_of_destination(destination: str) -> str:
    return f"destination {destination}"


def _wait_of_delivery(delivery: Delivery) -> str:
    return f"delivery {delivery.job} {delivery.destination}"
