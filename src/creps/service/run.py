"""Start a service: check everything that can be checked before the first patient, then work."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from creps.errors import CrepsError, InputError, SettingsError, file_errors_explained
from creps.io.lock import FolderLock
from creps.service.audit import Audit
from creps.service.disk import private_folder, tidy_writing
from creps.service.loop import Service
from creps.service.node.arrivals import ReceivedSeries
from creps.service.node.filing import Filing
from creps.service.node.receiver import Receiver
from creps.service.retention import delete_unknown
from creps.service.rules import check_for_node, check_regions, check_rules
from creps.service.sending import endpoint_of, greet
from creps.service.settings import Rule, ServiceSettings, read_service_settings
from creps.service.state import STATE, State
from creps.service.task import regions_of_models
from creps.service.tls import check_certificates, client_context
from creps.service.watching import WatchedFolder, Watcher
from creps.service.worker import Worker

__all__ = ["RESULTS", "run_node", "settings_of", "watch"]

log = logging.getLogger(__name__)

RESULTS = "results"
"""Folder of the sCTs within that of a node."""


def settings_of(
    settings: ServiceSettings | Path | str | None = None, model: str | Path | None = None
) -> ServiceSettings:
    """Settings from what a user gives: a file, or one model for everything.

    Raises:
        SettingsError: both or neither are given, or the file is wrong.
    """
    if (settings is None) == (model is None):
        raise SettingsError("A service needs either a model or a settings file.", "Give one of them.")
    if model is not None:
        return ServiceSettings(rules=(Rule(name="all", model=str(model)),))
    if isinstance(settings, ServiceSettings):
        return settings
    return read_service_settings(settings or "")


@file_errors_explained
def watch(
    source: Path | str,
    output: Path | str,
    settings: ServiceSettings | Path | str | None = None,
    *,
    model: str | Path | None = None,
    once: bool = False,
    stop: threading.Event | None = None,
) -> None:
    """Synthesize every MR that is put into a folder, until stopped; when started again, it continues where it was.

    Args:
        source: The folder; nothing in it is changed.
        output: Where sCTs go, with the state of the service and its audit log.
        settings: What to do: a `ServiceSettings`, or its YAML file.
        model: Instead: one model for every MR.
        once: End when nothing can be done now; what failed and is to be tried again is left, see `unfinished_jobs`.
        stop: End when it is set.

    Raises:
        CrepsError: something is wrong with a folder, a rule, a model or a destination; nothing was done.

    Examples:
        >>> from pathlib import Path
        >>> Path("in").mkdir()
        >>> watch("in", "out", model="head", once=True)
        >>> (Path("out") / "service.sqlite").is_file()
        True
    """
    source, output, chosen = Path(source), Path(output), settings_of(settings, model)
    if not source.is_dir():
        raise InputError(f"{source} is not a folder.", "Name the folder that receives the MRs.")
    inner, outer = source.resolve(), output.resolve()
    if inner == outer or inner in outer.parents or outer in inner.parents:
        raise InputError(f"{output} and {source} lie within each other.", "Name a separate folder for the sCTs.")
    with _opened(output, chosen) as (state, audit, worker):
        watcher = Watcher(source, chosen, state)
        watcher.check()
        arrivals = WatchedFolder(watcher, audit)
        log.info("Watching %s.", source)
        Service(chosen, state, output, output, arrivals, audit, worker=worker).run(stop or threading.Event(), once=once)


@file_errors_explained
def run_node(
    folder: Path | str, settings: ServiceSettings | Path | str, *, stop: threading.Event | None = None
) -> None:
    """Receive MRs by DICOM, synthesize, check, report and send on, until stopped.

    Args:
        folder: Where received images, sCTs, the state of the service and its audit log go.
        settings: What to do: a `ServiceSettings`, or its YAML file.
        stop: End when it is set.

    Raises:
        CrepsError: something is wrong with the folder, a rule, a model, a certificate, a destination or the port;
            nothing was received.
    """
    folder, chosen = Path(folder), settings_of(settings)
    _need("pynetdicom", "creps node")
    check_for_node(chosen.rules, [one.ae_title for one in chosen.node.peers])
    with _opened(folder, chosen) as (state, audit, worker):
        deleted = delete_unknown(state, folder)
        if deleted:
            log.info("%d images that were never acknowledged were deleted; their senders send them again.", deleted)
        results = private_folder(folder / RESULTS)
        filing = Filing(folder, chosen, state)
        receiver = Receiver(chosen, filing, audit, lambda series: arrivals.arrived(series))
        arrivals = ReceivedSeries(folder, chosen, state, receiver.is_receiving)
        node = chosen.node
        if node.tls is None and node.peers:
            log.warning("Senders are known by address and AE title alone, which is no authentication: prefer TLS.")
        receiver.start()
        log.info("%s listens on %s, port %d.", node.ae_title, node.address, node.port)
        service = Service(chosen, state, folder, results, arrivals, audit, worker=worker)
        try:
            service.run(stop or threading.Event())
        finally:
            receiver.stop()


@contextmanager
def _opened(folder: Path, settings: ServiceSettings) -> Iterator[tuple[State, Audit, Worker]]:
    """The folder of a service, locked and checked."""
    check_rules(settings.rules)
    _check_certificates(settings)
    held = InputError(f"Another creps works in {folder}.", "Stop it, or name another folder.")
    worker = Worker()
    with ExitStack() as stack:
        stack.callback(worker.end)
        _check_own(folder)
        private_folder(folder, private=settings.private)
        stack.enter_context(FolderLock(folder / STATE, held))
        tidy_writing(folder)
        state = State(folder / STATE)
        stack.callback(state.close)
        audit = Audit(folder)
        stack.callback(audit.close)
        names = sorted({rule.model for rule in settings.rules})
        regions = worker.answer(worker.submit(regions_of_models, names))
        check_regions(settings.rules, regions)
        _check_destinations(settings, state)
        audit.record("started", rules=len(settings.rules), destinations=len(settings.destinations))
        stack.callback(audit.record, "stopped")
        yield state, audit, worker


def _check_own(folder: Path) -> None:
    """Refuse a folder of other things: its modes are changed, and what a killed process left in it is deleted."""
    if not folder.is_dir() or (folder / STATE).is_file():
        return
    others = [one.name for one in folder.iterdir() if not one.name.startswith(".")]
    if others:
        raise InputError(
            f"{folder} holds other files and no state of a service ({len(others)} entries).",
            "Name an empty or a new folder.",
        )


def _check_certificates(settings: ServiceSettings) -> None:
    sides = [settings.node.tls, *(one.tls for one in settings.destinations)]
    for tls in sides:
        if tls is not None:
            _need("cryptography", "TLS")
            if warning := check_certificates(tls):
                log.warning("%s Renew it in time.", warning)
            client_context(tls)


def _check_destinations(settings: ServiceSettings, state: State) -> None:
    """Refuse a destination that never answered; one that did before may be down for now."""
    if settings.destinations:
        _need("pynetdicom", "A destination")
    for destination in settings.destinations:
        try:
            greet(destination)
        except CrepsError as error:
            if not state.was_reached(endpoint_of(destination)):
                raise
            log.warning("%s It answered before: results are kept and sent later.", error)
        else:
            state.record_reached(endpoint_of(destination))


def _need(package: str, what: str) -> None:
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise SettingsError(f"{what} needs the package {package}.", 'Install it: pip install "creps[service]".')
