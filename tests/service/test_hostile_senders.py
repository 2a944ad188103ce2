"""Senders that are slow, silent or send garbage must not keep others out."""

import os
import socket
import ssl
import struct
import threading
import time
from contextlib import suppress

import pytest
import trustme
from pydicom.uid import MRImageStorage
from pynetdicom import AE

from creps.service.audit import AUDIT
from tests.dicom_cases import mr_series
from tests.service.running import LEAK, node_thread, send, settings, wait_for
from tests.service.test_tls import client, files

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("worker_here"), LEAK]
IMPATIENT = {"idle_seconds": 0.5, "associations": 2, "free_gb": 0.1}


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return sorted(mr_series(tmp_path_factory.mktemp("mr") / "mr").glob("*.dcm"))[:1]


def test_connections_that_send_a_byte_now_and_then_are_ended(tmp_path, demo_model, image):
    with node_thread(tmp_path / "node", settings(demo_model, limits=IMPATIENT)) as port:
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(4)]
        stop = threading.Event()

        def drip():
            while not stop.wait(0.2):
                for one in slow:
                    with suppress(OSError):
                        one.sendall(b"\x01")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            wait_for(lambda: send(port, image) == [0], 20)
        finally:
            stop.set()
            thread.join()
            for one in slow:
                one.close()


def test_a_client_that_is_silent_before_tls_does_not_stop_the_node(tmp_path, demo_model, image):
    own = files(tmp_path / "node", authority := trustme.CA())
    chosen = settings(demo_model, node={"tls": own.model_dump(mode="json")})
    with node_thread(tmp_path / "work", chosen) as port, socket.create_connection(("127.0.0.1", port)):
        began = time.monotonic()
        assert send(port, image, **client(files(tmp_path / "good", authority))) == [0]
        assert time.monotonic() - began < 8


def test_messages_that_cannot_be_read_leave_no_connection_behind(tmp_path, demo_model, image):
    with node_thread(tmp_path / "node", settings(demo_model, limits=IMPATIENT)) as port:
        for _ in range(6):
            entity = AE("SCANNER")
            entity.add_requested_context(MRImageStorage)
            link = entity.associate("127.0.0.1", port, ae_title="CREPS")
            assert link.is_established
            body = os.urandom(40)
            data = struct.pack(">BBL", 4, 0, 6 + len(body)) + struct.pack(">LBB", len(body) + 2, 1, 3) + body
            raw = link.dul.socket.socket
            raw.sendall(data)
            wait_for(lambda link=link: not link.is_established, 20)
            raw.close()
        assert send(port, image) == [0]


def test_an_audit_log_that_was_moved_away_opens_no_door(tmp_path, demo_model, image):
    folder = tmp_path / "node"
    peers = [{"address": "127.0.0.1", "ae_title": "SCANNER"}, {"address": "10.0.0.1", "ae_title": "OTHER"}]
    with node_thread(folder, settings(demo_model, node={"peers": peers})) as port:
        for _ in range(2):
            (folder / AUDIT).rename(folder / "moved")
            assert send(port, image, calling="OTHER") in (None, [None])
        assert "another AE title" in (folder / AUDIT).read_text()
        assert send(port, image) == [0]


def test_the_handshake_is_left_to_the_connection():
    from creps.service.tls import _LateHandshake

    here, there = socket.socketpair()
    with here, there, _LateHandshake(ssl.PROTOCOL_TLS_SERVER).wrap_socket(here, server_side=True) as wrapped:
        assert wrapped.version() is None


def test_looks_at_the_port_take_no_place_from_senders(tmp_path, demo_model, image):
    with node_thread(tmp_path / "node", settings(demo_model, limits={"associations": 1})) as port:
        for _ in range(20):
            socket.create_connection(("127.0.0.1", port)).close()
        wait_for(lambda: send(port, image) == [0], seconds=3)
