"""Ways to spoil a file: bytes of anything, values of documents."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["MUTATIONS", "spoilt"]

Random = np.random.Generator
Spoil = Callable[[bytes, Random], bytes]

HEADER = 400
"""Bytes at the beginning of a file where its header lies, about."""


def _flip(content: bytes, rng: Random, start: int, end: int, count: int) -> bytes:
    found = bytearray(content)
    for at in rng.integers(start, max(start + 1, min(end, len(found))), count):
        if at < len(found):
            found[at] ^= 1 << int(rng.integers(8))
    return bytes(found)


def flip_anywhere(content: bytes, rng: Random) -> bytes:
    return _flip(content, rng, 0, len(content), int(rng.integers(1, 12)))


def flip_in_header(content: bytes, rng: Random) -> bytes:
    return _flip(content, rng, 0, HEADER, int(rng.integers(1, 5)))


def cut(content: bytes, rng: Random) -> bytes:
    return content[: int(rng.integers(0, len(content)))]


def cut_in_header(content: bytes, rng: Random) -> bytes:
    return content[: int(rng.integers(0, HEADER))]


def empty(_: bytes, __: Random) -> bytes:
    return b""


def zeros(content: bytes, rng: Random) -> bytes:
    at = int(rng.integers(0, len(content)))
    count = int(rng.integers(1, 64))
    return content[:at] + bytes(count) + content[at + count :]


def noise(_: bytes, rng: Random) -> bytes:
    return rng.bytes(int(rng.integers(1, 2000)))


def doubled(content: bytes, _: Random) -> bytes:
    return content + content


def inserted(content: bytes, rng: Random) -> bytes:
    at = int(rng.integers(0, len(content)))
    return content[:at] + rng.bytes(int(rng.integers(1, 40))) + content[at:]


def extreme_number(content: bytes, rng: Random) -> bytes:
    """A number of the header becomes the largest, smallest, infinite, NaN or negative one of its width."""
    packed = [
        struct.pack("<h", 32767), struct.pack("<h", -1), struct.pack("<i", 2**31 - 1), struct.pack("<q", 10**12),
        struct.pack("<f", float("inf")), struct.pack("<f", float("nan")), struct.pack("<f", 1e30),
        struct.pack("<f", 0.0),        struct.pack("<Q", 2**63),
    ]  # fmt: skip
    value = packed[int(rng.integers(len(packed)))]
    at = 2 * int(rng.integers(0, HEADER // 2))
    return content[:at] + value + content[at + len(value) :]


def dimensions(content: bytes, rng: Random) -> bytes:
    """NIfTI: sizes that claim up to 10^12 voxels; text headers: the same in words."""
    big = int(rng.choice([10_000, 32767, 0, -5]))
    if content[:4] in (b"\x5c\x01\0\0", b"\x1c\x02\0\0"):
        return content[:42] + struct.pack("<3h", big, big, big) + content[48:]
    for key in (b"DimSize = ", b"sizes: "):
        at = content.find(key)
        if at >= 0:
            end = content.index(b"\n", at)
            return content[:at] + key + f"{big} {big} {big}".encode() + content[end:]
    return extreme_number(content, rng)


BINARY: dict[str, Spoil] = {
    one.__name__: one
    for one in (
        flip_anywhere, flip_in_header, cut, cut_in_header, empty, zeros, noise, doubled, inserted, extreme_number,
        dimensions,
    )
}  # fmt: skip

WORDS = (
    "../../etc/passwd", "/dev/zero", "/proc/self/mem", "a" * 5000, "\u202e", "NaN", "-1", "1e999", "null", "[]", "{}",
    "!!python/object/apply:os.system ['true']", "&a [*a]", "\x00", "’", "10000000000000000000000", "", "0", "true",
)  # fmt: skip


def line_replaced(content: bytes, rng: Random) -> bytes:
    lines = content.decode("utf-8", "replace").split("\n")
    lines[int(rng.integers(len(lines)))] = WORDS[int(rng.integers(len(WORDS)))]
    return "\n".join(lines).encode()


def value_replaced(content: bytes, rng: Random) -> bytes:
    """The part of a line behind a colon or a semicolon."""
    lines = content.decode("utf-8", "replace").split("\n")
    at = int(rng.integers(len(lines)))
    for mark in (": ", ";"):
        head, found, _ = lines[at].rpartition(mark)
        if found:
            lines[at] = f"{head}{mark}{WORDS[int(rng.integers(len(WORDS)))]}"
    return "\n".join(lines).encode()


def line_doubled(content: bytes, rng: Random) -> bytes:
    lines = content.decode("utf-8", "replace").split("\n")
    at = int(rng.integers(len(lines)))
    return "\n".join([*lines[: at + 1], *lines[at:]]).encode()


def line_lost(content: bytes, rng: Random) -> bytes:
    lines = content.decode("utf-8", "replace").split("\n")
    del lines[int(rng.integers(len(lines)))]
    return "\n".join(lines).encode()


def utf16(content: bytes, _: Random) -> bytes:
    return content.decode("utf-8", "replace").encode("utf-16")


def nested(_: bytes, __: Random) -> bytes:
    return b"a: " + b"[" * 20_000 + b"]" * 20_000


def aliases(content: bytes, _: Random) -> bytes:
    """A few lines that stand for 10^9 values."""
    lines = ["x0: &x0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 9)]
    return content + ("\n" + "\n".join(lines) + "\n").encode()


TEXT: dict[str, Spoil] = {
    one.__name__: one
    for one in (
        flip_anywhere, cut, empty, noise, zeros, inserted, line_replaced, value_replaced, line_doubled, line_lost,
        utf16, nested, aliases,
    )
}  # fmt: skip

VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 10**30, float("nan"), float("inf"), -0.5, "", "a" * 100_000, "../../x", [], {}, [[[]]], [1, 2],
    {"a": {"b": []}}, "1", 2**63,
)  # fmt: skip


def _places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [path] * bool(path) + [place for key, child in children for place in _places(child, (*path, key))]


def _changed(content: bytes, rng: Random, change: Callable[[Any, Any], None]) -> bytes:
    document = json.loads(content)
    places = _places(document)
    path = places[int(rng.integers(len(places)))]
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    change(holder, path[-1])
    return json.dumps(document).encode()


def json_value(content: bytes, rng: Random) -> bytes:
    value = VALUES[int(rng.integers(len(VALUES)))]
    return _changed(content, rng, lambda holder, key: holder.__setitem__(key, value))


def json_lost(content: bytes, rng: Random) -> bytes:
    return _changed(content, rng, lambda holder, key: holder.__delitem__(key))


def json_extra(content: bytes, rng: Random) -> bytes:
    return json.dumps({**json.loads(content), "further": VALUES[int(rng.integers(len(VALUES)))]}).encode()


def json_deep(_: bytes, __: Random) -> bytes:
    return b"[" * 100_000 + b"]" * 100_000


def json_other(_: bytes, rng: Random) -> bytes:
    return json.dumps(VALUES[int(rng.integers(len(VALUES)))]).encode()


JSON: dict[str, Spoil] = {
    one.__name__: one
    for one in (
        flip_anywhere, cut, empty, noise, zeros, inserted, utf16, json_value, json_lost, json_extra, json_deep,
        json_other,
    )
}  # fmt: skip

MUTATIONS = {"binary": BINARY, "text": TEXT, "json": JSON}


def spoilt(content: bytes, kind: str, name: str, rng: Random) -> bytes:
    """The content of a file, spoilt in one way."""
    return MUTATIONS[kind][name](content, rng)
