"""NIfTI and MetaImage files whose header or data are wrong, and what has to become of them."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from benchmarks.cases.inputs import AFFINE, head

__all__ = ["DAMAGES", "PLACES", "metaimage", "nifti"]

SHIFT = np.array([[1, 0, 0, 7], [0, 1, 0, -3], [0, 0, 1, 12], [0, 0, 0, 1.0]])


def _turned(degrees: float) -> Any:
    a = np.radians(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    return turn


PLACES: dict[str, tuple[Any, int, Any, int]] = {
    "sform code 2 beside a qform": (AFFINE, 1, SHIFT @ _turned(9) @ AFFINE, 2),
    "sform code 4 beside a qform": (AFFINE, 1, SHIFT @ AFFINE, 4),
    "qform alone": (_turned(20) @ AFFINE, 1, AFFINE, 0),
    "sform alone": (AFFINE, 0, _turned(-15) @ AFFINE, 1),
    "sform that mirrors": (AFFINE, 1, np.diag([-1.0, 1, 1, 1]) @ AFFINE, 1),
    "oblique": (_turned(33) @ AFFINE, 1, _turned(33) @ AFFINE, 1),
}
"""Case → qform, its code, sform, its code: the sCT has to lie where nibabel sees the MR."""


def nifti(path: Path, seed: int, place: tuple[Any, int, Any, int], change: Callable[[bytearray], Any] = bytes) -> None:
    """Write an MR with these transforms; `change` spoils the uncompressed bytes."""
    qform, qcode, sform, scode = place
    image: Any = nib.Nifti1Image(head(seed)[0].astype(np.int16), qform if scode == 0 else sform)  # type: ignore[no-untyped-call]
    image.set_qform(qform, qcode)
    image.set_sform(sform, scode)
    data = change(bytearray(image.to_bytes()))
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def metaimage(path: Path, seed: int, **fields: str) -> None:
    """Write an MR as compressed MetaImage with these fields beside the usual ones."""
    mr = head(seed)[0].astype("<i2")
    data = zlib.compress(np.ascontiguousarray(mr.transpose(2, 1, 0)).tobytes())
    given = {
        "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False",
        "CompressedData": "True", "CompressedDataSize": str(len(data)), "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "0 0 0", "ElementSpacing": "4 4 4", "DimSize": " ".join(map(str, mr.shape)),
        "ElementType": "MET_SHORT",
    } | fields  # fmt: skip
    text = "".join(f"{name} = {value}\n" for name, value in given.items()) + "ElementDataFile = LOCAL\n"
    path.write_bytes(text.encode() + data)


def _packed(kind: str, at: int, value: Any) -> Callable[[bytearray], bytes]:
    def change(data: bytearray) -> bytes:
        struct.pack_into(f"<{kind}", data, at, value)
        return bytes(data)

    return change


def _after(change: Callable[[bytes], bytes]) -> Callable[[Path, int], None]:
    """Spoil the bytes of a finished compressed file."""

    def write(path: Path, seed: int) -> None:
        nifti(path, seed, (AFFINE, 1, AFFINE, 1))
        path.write_bytes(change(path.read_bytes()))

    return write


def _header(kind: str, at: int, value: Any) -> Callable[[Path, int], None]:
    return lambda path, seed: nifti(path, seed, (AFFINE, 1, AFFINE, 1), _packed(kind, at, value))


def _meta(**fields: str) -> Callable[[Path, int], None]:
    return lambda path, seed: metaimage(path, seed, **fields)


DAMAGES: dict[str, tuple[str, str, Callable[[Path, int], None]]] = {
    "half of a gzip file": ("mr.nii.gz", "truncated", _after(lambda data: data[: len(data) // 2])),
    "a wrong checksum": ("mr.nii.gz", "checksum", _after(lambda data: data[:-6] + b"\xff" + data[-5:])),
    "gzip in gzip": ("mr.nii.gz", "compressed twice", _after(gzip.compress)),
    "voxels inside the header": ("mr.nii", "inside its header", _header("f", 108, 348)),
    "a voxel size of 0": ("mr.nii", "Spacing must be positive", _header("f", 88, 0.0)),
    "an sform that is NaN": ("mr.nii", "not finite", _header("f", 280, np.nan)),
    "a sheared sform": ("mr.nii", "sheared", _header("f", 284, 1.5)),
    "a data type that the bits contradict": ("mr.nii", "data type 2 with 16 bits", _header("h", 70, 2)),
    "two positions": ("mr.mha", "contradicts itself", _meta(Position="1 2 3")),
    "a position in words": ("mr.mha", "which is not 3 numbers", _meta(Offset="here 0 0")),
    "a matrix of zeros": ("mr.mha", "flattens", _meta(TransformMatrix="0 0 0 0 0 0 0 0 0")),
    "a data type twice as large": ("mr.mha", "end early", _meta(ElementType="MET_INT")),
}
"""Case → file name, words of the error, and what writes the file."""
