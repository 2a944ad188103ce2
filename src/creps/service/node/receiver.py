"""The C-STORE receiver: who may connect, what is accepted, what is answered."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from creps.errors import SettingsError
from creps.io.dicom.identifiers import IMAGES
from creps.service.audit import Audit
from creps.service.node.filing import Filed, Filing, Status
from creps.service.node.limits import CountingSocket
from creps.service.settings import Listening, ServiceSettings
from creps.service.tls import server_context

if TYPE_CHECKING:
    from pynetdicom import AE

__all__ = ["Receiver"]

log = logging.getLogger(__name__)

VERIFICATION = "1.2.840.10008.1.1"

ENCODINGS = [
    "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.5",
]  # fmt: skip
"""Uncompressed, and compressed without loss (JPEG, JPEG-LS, JPEG 2000, RLE). Never deflated: a few bytes could become
gigabytes."""

PDU_BYTES = 262_144

BEFORE_ASSOCIATION_SECONDS = 10
"""Connections that ask for nothing for as long are ended."""

COMMENT = 64

MOST_THREADS = 200
"""pynetdicom's own limit. It counts what is long closed as well: whoever only looks whether the port is open, for ten
seconds.
"""


class Receiver:
    """Listens, and files what comes.

    Args:
        settings: Address, senders, rules, limits.
        filing: Where images go.
        audit: The audit log.
        arrived: Called with the series of each image that was filed, or came again.
    """

    def __init__(self, settings: ServiceSettings, filing: Filing, audit: Audit, arrived: Callable[[str], None]) -> None:
        self.settings, self.filing, self.audit, self._arrived = settings, filing, audit, arrived
        self._entity: AE | None = None
        self._sockets: dict[Any, CountingSocket] = {}
        self._open: dict[Any, set[str]] = {}
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin to listen.

        Raises:
            SettingsError: the address cannot be listened on, or a certificate cannot be used.
        """
        from pynetdicom import AE, evt

        node, limits = self.settings.node, self.settings.limits
        entity = AE(node.ae_title)
        entity.require_called_aet = True
        entity.require_calling_aet = sorted({one.ae_title for one in node.peers})
        entity.maximum_associations = MOST_THREADS  # those within `limits.associations` are counted in `_established`
        entity.maximum_pdu_size = PDU_BYTES
        entity.acse_timeout = BEFORE_ASSOCIATION_SECONDS
        entity.network_timeout = entity.dimse_timeout = limits.idle_seconds
        for kind, modality in IMAGES.items():
            if modality == "mr":
                entity.add_supported_context(kind, ENCODINGS)
        entity.add_supported_context(VERIFICATION)
        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, self._connected),
            (evt.EVT_CONN_CLOSE, self._closed),
            (evt.EVT_ESTABLISHED, self._established),
            (evt.EVT_REJECTED, self._rejected),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_ECHO, self._echo),
        ]
        secure = None if node.tls is None else server_context(node.tls)
        try:
            entity.start_server((node.address, node.port), block=False, evt_handlers=handlers, ssl_context=secure)
        except OSError as error:
            raise SettingsError(
                f"The node cannot listen on {node.address}, port {node.port}: {error.strerror or error}.",
                "Is another program or node using it? Choose another port (above 1023 without root).",
            ) from error
        self._entity = entity

    def stop(self) -> None:
        """Stop listening and end what is open."""
        if self._entity is not None:
            self._entity.shutdown()
            self._entity = None

    def is_receiving(self, series: str) -> bool:
        """Whether an association is open that sent images of a series."""
        with self._lock:
            return any(series in several for several in self._open.values())

    def _connected(self, event: Any) -> None:
        """Turn a connection away, or let it negotiate; whatever goes wrong here, it is closed first."""
        link, address = event.assoc, str(event.address[0])
        wrapped = link.dul.socket
        raw = wrapped.socket
        why = self._why_not(link, address, wrapped)
        if why:
            wrapped.close()
            raw.close()
            self.audit.record("refused", address=address, why=why)

    def _why_not(self, link: Any, address: str, wrapped: Any) -> str:
        """Why a connection is refused; empty if it is not: then its bytes are counted from now on."""
        raw = wrapped.socket

        def ended(reason: str) -> None:
            log.warning("A connection from %s was ended: %s.", address, reason)
            self.audit.record("ended", address=address, why=reason)

        if self.settings.node.peers and not any(one.includes(address) for one in self.settings.node.peers):
            return "unknown address"
        counting = CountingSocket(raw, self.settings.limits, ended, BEFORE_ASSOCIATION_SECONDS)
        with self._lock:
            self._sockets = {one: counted for one, counted in self._sockets.items() if _is_open(one)}
            if len(self._sockets) >= 2 * self.settings.limits.associations:
                return "too many connections"
            self._sockets[link] = counting
        try:
            if self.settings.node.tls is not None:
                raw.do_handshake()
        except OSError:
            self._forget(link)
            return "no TLS, or no certificate of the CA"
        wrapped.recv = counting.recv
        _guard(link, ended)
        return ""

    def _closed(self, event: Any) -> None:
        self._forget(event.assoc)

    def _forget(self, link: Any) -> None:
        with self._lock:
            counting = self._sockets.pop(link, None)
            self._open.pop(link, None)
        if counting is not None:
            counting.close()

    def _established(self, event: Any) -> None:
        """Let a known sender store images; `_store` refuses all others."""
        link = event.assoc
        address, caller = link.requestor.address, link.requestor.ae_title
        if not is_peer(self.settings.node, address, caller):
            link.abort()
            self.audit.record("refused", address=address, caller=caller, why="this address has another AE title")
            return
        with self._lock:
            self._open = {one: series for one, series in self._open.items() if _is_open(one)}
            many = len(self._open) >= self.settings.limits.associations
            if not many and (counting := self._sockets.get(link)) is not None:
                counting.associated()
                self._open[link] = set()
        if many:
            link.abort()
            self.audit.record("refused", address=address, caller=caller, why="too many associations")
            return
        self.audit.record("association", address=address, caller=caller)

    def _rejected(self, event: Any) -> None:
        self.audit.record(
            "refused", address=event.assoc.requestor.address, caller=event.assoc.requestor.ae_title, why="AE title"
        )

    def _echo(self, event: Any) -> int:
        self.audit.record("echo", caller=event.assoc.requestor.ae_title)
        return 0

    def _store(self, event: Any) -> Any:
        caller = event.assoc.requestor.ae_title
        began = time.monotonic()
        with self._lock:
            known = event.assoc in self._open
        if not known:
            return Status.NOT_WANTED
        try:
            filed = self.filing.file(event.encoded_dataset(), caller)
        except Exception as error:
            log.warning("An image could not be filed (%s).", type(error).__name__)
            log.debug("%s", error, exc_info=True)
            filed = Filed(Status.UNREADABLE, "It could not be filed.")
        with self._lock:
            if (counting := self._sockets.get(event.assoc)) is not None:
                counting.next_image()
            if filed.status == Status.STORED and event.assoc in self._open:
                self._open[event.assoc].add(filed.series)
        if filed.status == Status.STORED:
            self._arrived(filed.series)
        what = "received" if filed.new else "again" if filed.status == Status.STORED else "not accepted"
        why, seconds = filed.reason or None, round(time.monotonic() - began, 3)
        self.audit.record(what, caller=caller, series=filed.series, image=filed.image, why=why, seconds=seconds)
        return _answer(filed)


def is_peer(node: Listening, address: str, caller: str) -> bool:
    """Whether a sender is one of those listed; all are accepted if there is no list."""
    return not node.peers or any(one.ae_title == caller.strip() and one.includes(address) for one in node.peers)


def _is_open(link: Any) -> bool:
    """Whether a connection is about to start or runs; one that failed may never say that it ended."""
    return link.dul.ident is None or link.dul.is_alive()


def _guard(link: Any, ended: Callable[[str], None]) -> None:
    """End a connection whose message pynetdicom cannot read; its thread would die and leave the connection open."""
    act = link.dul.state_machine.do_action

    def guarded(event: str) -> None:
        try:
            act(event)
        except Exception as error:  # noqa: BLE001 - whatever was sent
            ended(f"a message that cannot be read ({type(error).__name__})")
            link.dul.socket.close()

    link.dul.state_machine.do_action = guarded


def _answer(filed: Filed) -> Any:
    from pydicom import Dataset

    if filed.status == Status.STORED:
        return filed.status
    answer = Dataset()
    answer.Status = filed.status
    answer.ErrorComment = filed.reason[:COMMENT]
    return answer
