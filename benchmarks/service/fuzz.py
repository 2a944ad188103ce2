"""Throw garbage at a node; it must go on serving, keep nothing of it, and stay small.

    python -m benchmarks.service.fuzz --count 500 --seed 0

Rounds of seven kinds: random bytes; PDUs of every type with random bodies and lengths; an association request with
bytes flipped; an association that is cut in the middle of an image; images with bytes flipped anywhere; images whose
headers claim absurd sizes; a wrong AE title. Every 25 rounds an honest sender must be served.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import socket
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from pydicom import dcmread
from pydicom.uid import MRImageStorage
from pynetdicom import AE

from benchmarks.common.machine import machine
from benchmarks.service.kills import free_port, send, start_node, write_settings

__all__ = ["campaign", "main"]

RESULTS = Path(__file__).with_name("results") / "fuzz.json"
HONEST_EVERY = 25


class _Fuzzer:
    """One kind of garbage for each method `do_…`."""

    def __init__(self, port: int, images: list[Path], seed: int) -> None:
        self.port, self.images, self.random = port, images, random.Random(seed)

    def do_random_bytes(self) -> None:
        self._raw(self.random.randbytes(self.random.randint(0, 2000)))

    def do_pdu(self) -> None:
        body = self.random.randbytes(self.random.randint(0, 500))
        claimed = self.random.choice([len(body), 2**31, 2**32 - 1, self.random.randint(0, 1 << 20)])
        self._raw(struct.pack(">BBL", self.random.randint(0, 9), 0, claimed) + body)

    def do_request_with_flips(self) -> None:
        self._raw(self._flipped(_request(), self.random.randint(1, 20)))

    def do_cut_off(self) -> None:
        link = self._associated("CREPS")
        if link.is_established:
            sock = link.dul.socket.socket
            with suppress(OSError):
                sock.sendall(struct.pack(">BBL", 4, 0, 100_000) + self.random.randbytes(self.random.randint(0, 50_000)))
                sock.shutdown(socket.SHUT_RDWR)
            link.abort()

    def do_image_with_flips(self) -> None:
        content = bytearray(self.random.choice(self.images).read_bytes())
        spoilt = self._flipped(bytes(content[132:]), self.random.randint(1, 40))
        self._stored(bytes(content[:132]) + spoilt)

    def do_absurd_size(self) -> None:
        image = dcmread(self.random.choice(self.images))
        name = self.random.choice(["Rows", "Columns", "NumberOfFrames", "BitsAllocated"])
        setattr(image, name, self.random.choice([65535, 0]) if name != "NumberOfFrames" else 2**31 - 1)
        stream = io.BytesIO()
        image.save_as(stream)
        self._stored(stream.getvalue())

    def do_wrong_title(self) -> None:
        link = self._associated("SOMEBODY")
        if link.is_established:
            link.abort()

    def kinds(self) -> dict[str, Callable[[], None]]:
        """Name → what does it."""
        return {name[3:]: getattr(self, name) for name in dir(self) if name.startswith("do_")}

    def _raw(self, content: bytes) -> None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=2) as link:
            link.sendall(content)
            link.settimeout(0.05)
            link.recv(1000)

    def _flipped(self, content: bytes, count: int) -> bytes:
        found = bytearray(content)
        for _ in range(count):
            found[self.random.randrange(len(found))] ^= 1 << self.random.randrange(8)
        return bytes(found)

    def _associated(self, called: str) -> Any:
        entity = AE("SCANNER")
        entity.add_requested_context(MRImageStorage)
        entity.acse_timeout = entity.dimse_timeout = entity.connection_timeout = 5
        return entity.associate("127.0.0.1", self.port, ae_title=called)

    def _stored(self, content: bytes) -> None:
        link = self._associated("CREPS")
        if not link.is_established:
            return
        with suppress(Exception):  # whatever the client makes of it, the server is tested
            link.send_c_store(dcmread(io.BytesIO(content), force=True))
        if link.is_established:
            link.abort()


def _request() -> bytes:
    """The bytes of an association request."""
    from pynetdicom.pdu import A_ASSOCIATE_RQ
    from pynetdicom.pdu_primitives import A_ASSOCIATE, MaximumLengthNotification
    from pynetdicom.presentation import build_context

    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = "SCANNER", "CREPS"
    length = MaximumLengthNotification()
    length.maximum_length_received = 16384
    primitive.user_information = [length]
    context = build_context(MRImageStorage)
    context.context_id = 1
    primitive.presentation_context_definition_list = [context]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    return pdu.encode()


def campaign(port: int, node: Path, images: list[Path], *, count: int, seed: int) -> dict[str, Any]:
    """Throw `count` rounds at a node that runs.

    Args:
        port: Of the node.
        node: Its folder.
        images: Files of a good series.
        count: Rounds.
        seed: Of all that is random.

    Returns:
        Rounds by kind, honest senders that were not served, and files that lie where none should.
    """
    fuzzer = _Fuzzer(port, images[1:], seed)  # the first is that of honest senders
    kinds = fuzzer.kinds()
    done: Counter[str] = Counter()
    unserved = 0
    for number in range(1, count + 1):
        kind = fuzzer.random.choice(sorted(kinds))
        kinds[kind]()
        done[kind] += 1
        if number % HONEST_EVERY == 0:
            unserved += not _served(port, images[:1])
    outside = [str(one) for one in node.parent.iterdir() if one.name not in ("mr", "model") and one.stem != node.name]
    return {"rounds": dict(done), "unserved": unserved, "outside": outside, "seed": seed}


def _served(port: int, files: list[Path]) -> bool:
    """Whether an honest sender is served, within the time in which silent connections are ended."""
    for _ in range(60):
        if send(port, files):
            return True
        time.sleep(0.5)
    return False


def run(folder: Path, mr: Path, model: Path, count: int, seed: int) -> dict[str, Any]:
    """Start a node, throw garbage at it, stop it."""
    images, port, settings = sorted(mr.glob("*.dcm")), free_port(), folder / "node.yaml"
    limits = {"idle_seconds": 2, "free_gb": 0.1}
    write_settings(settings, model, port, None, limits=limits, settle_seconds=3600)
    process = start_node(folder / "node", settings)
    try:
        if not _served(port, images[:1]):
            raise SystemExit("the node does not start")
        before = psutil.Process(process.pid).memory_full_info().uss
        result = campaign(port, folder / "node", images, count=count, seed=seed)
        grown = psutil.Process(process.pid).memory_full_info().uss - before
        result |= {"alive": process.poll() is None, "grown_mb": round(grown / 1e6, 1)}
    finally:
        process.terminate()
        process.wait(60)
    return result | {"tracebacks_in_log": (folder / "node.log").read_text().count("Traceback")}


def main() -> None:
    """Run it and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    from tests.dicom_cases import mr_series
    from tests.service.running import tiny_model

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = run(folder, mr_series(folder / "mr"), tiny_model(folder / "model"), options.count, options.seed)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({**result, "machine": machine()}, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    raise SystemExit(bool(result["unserved"] or result["outside"] or not result["alive"]))


if __name__ == "__main__":
    main()
