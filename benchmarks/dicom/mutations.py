"""What can be wrong with a DICOM series: each mutation spoils one in a folder, seeded.

A mutation's `fate` is what has to become of it: ``refused`` (a sentence and no output), ``accepted`` (a whole result of
one patient), or ``either`` (bits that may or may not matter).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import generate_uid

Fate = Literal["refused", "accepted", "either"]
Rng = np.random.Generator

SYNTAXES = (b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.5")
"""What the originals are written in: explicit little endian, and RLE."""


@dataclass(frozen=True)
class Mutation:
    """One way to spoil a series.

    Attributes:
        name: What it is called.
        fate: What has to become of the series.
        spoil: Does it: (files, rng).
    """

    name: str
    fate: Fate
    spoil: Callable[[list[Path], Rng], None]


def one(files: list[Path], rng: Rng) -> Path:
    """A file that is neither the first nor the last along the stack."""
    return files[int(rng.integers(1, len(files) - 1))]


def edited(change: Callable[[Dataset, Rng], Any], *, every: bool = False) -> Callable[[list[Path], Rng], None]:
    """Change one data set, or all."""

    def spoil(files: list[Path], rng: Rng) -> None:
        for path in files if every else [one(files, rng)]:
            data = dcmread(path)
            change(data, rng)
            data.save_as(path, enforce_file_format=False)

    return spoil


def setting(*, every: bool = False, **values: Any) -> Callable[[list[Path], Rng], None]:
    """Set attributes."""

    def change(data: Dataset, _: Rng) -> None:
        for name, value in values.items():
            setattr(data, name, value)

    return edited(change, every=every)


def without(name: str, *, every: bool = False) -> Callable[[list[Path], Rng], None]:
    """Remove an attribute."""
    return edited(lambda data, _: delattr(data, name) if name in data else None, every=every)


def raw(name: str, kind: str, content: bytes) -> Callable[[list[Path], Rng], None]:
    """Write bytes that are no value of the attribute."""

    def change(data: Dataset, _: Rng) -> None:
        tag = Tag(name)
        data._dict[tag] = RawDataElement(tag, kind, len(content), content, 0, False, True)

    return edited(change)


def cut(low: float, high: float) -> Callable[[list[Path], Rng], None]:
    """Cut a file off somewhere between two shares of its length."""

    def spoil(files: list[Path], rng: Rng) -> None:
        path = one(files, rng)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * rng.uniform(low, high))])

    return spoil


def flipped(first: int, last: int | None, count: int) -> Callable[[list[Path], Rng], None]:
    """Flip bits between two places of a file; a negative place counts from its end."""

    def spoil(files: list[Path], rng: Rng) -> None:
        path = one(files, rng)
        content = bytearray(path.read_bytes())
        places = range(len(content))[first:last]
        for place in rng.choice(places, count):
            content[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(content))

    return spoil


def nothing(_: list[Path], __: Rng) -> None:
    """Leave it as it is."""


def _notes(files: list[Path], _: Rng) -> None:
    files[0].with_name("notes.txt").write_text("not an image")


def _black(data: Dataset, _: Rng) -> None:
    if data.file_meta.TransferSyntaxUID.is_compressed:
        data.decompress(generate_instance_uid=False)
    data.PixelData = bytes(len(data.PixelData))


def _gone(files: list[Path], rng: Rng) -> None:
    one(files, rng).unlink()


def _doubled(files: list[Path], rng: Rng) -> None:
    data = dcmread(one(files, rng))
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.save_as(files[0].with_name("again.dcm"), enforce_file_format=True)


def _copied(files: list[Path], rng: Rng) -> None:
    files[0].with_name("copy.dcm").write_bytes(one(files, rng).read_bytes())


def _pixels_swapped(files: list[Path], rng: Rng) -> None:
    a, b = (files[i] for i in rng.choice(len(files), 2, replace=False))
    first, second = dcmread(a), dcmread(b)
    first.PixelData, second.PixelData = second.PixelData, first.PixelData
    first.save_as(a)
    second.save_as(b)


def _names_swapped(files: list[Path], rng: Rng) -> None:
    contents = [path.read_bytes() for path in files]
    for path, index in zip(files, rng.permutation(len(files)), strict=True):
        path.write_bytes(contents[index])


def _moved(distance: tuple[float, float, float]) -> Callable[[list[Path], Rng], None]:
    def change(data: Dataset, _: Rng) -> None:
        data.ImagePositionPatient = [float(a) + b for a, b in zip(data.ImagePositionPatient, distance, strict=True)]

    return edited(change)


def _sheared(files: list[Path], _: Rng) -> None:
    for i, path in enumerate(files):
        data = dcmread(path)
        x, y, z = map(float, data.ImagePositionPatient)
        data.ImagePositionPatient = [x, y + 0.3 * i, z]
        data.save_as(path)


def _other_patient(**values: str) -> Callable[[list[Path], Rng], None]:
    """Some slices belong to somebody else, under the same series UID."""

    def spoil(files: list[Path], rng: Rng) -> None:
        for path in files[int(rng.integers(1, len(files))) :]:
            data = dcmread(path)
            for name, value in values.items():
                setattr(data, name, value)
            data.save_as(path)

    return spoil


def _second_series(**values: str) -> Callable[[list[Path], Rng], None]:
    """A second MR series in the folder."""

    def spoil(files: list[Path], _: Rng) -> None:
        series = generate_uid()
        for i, path in enumerate(files):
            data = dcmread(path)
            data.SeriesInstanceUID = series
            data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            for name, value in values.items():
                setattr(data, name, value)
            data.save_as(path.with_name(f"other{i:03d}.dcm"))

    return spoil


def _random_bytes(name: str) -> Callable[[list[Path], Rng], None]:
    def spoil(files: list[Path], rng: Rng) -> None:
        files[0].with_name(name).write_bytes(rng.bytes(3000))

    return spoil


def _zeros(files: list[Path], rng: Rng) -> None:
    path = one(files, rng)
    path.write_bytes(bytes(path.stat().st_size))


def _huge(field: str) -> Callable[[list[Path], Rng], None]:
    """A size that would need more memory than there is."""
    return setting(every=True, **{field: 65535 if field != "NumberOfFrames" else 2**31 - 1})


def _deep(data: Dataset, _: Rng) -> None:
    """Sequences within sequences."""
    inner = Dataset()
    for _level in range(60):
        outer = Dataset()
        outer.RequestAttributesSequence = [inner]
        inner = outer
    data.RequestAttributesSequence = [inner]


def _long_value(files: list[Path], rng: Rng) -> None:
    """A value that claims to be longer than the file."""
    path = one(files, rng)
    content = bytearray(path.read_bytes())
    place = content.find(struct.pack("<HH", 0x0020, 0x0032))  # ImagePositionPatient
    content[place + 6 : place + 8] = struct.pack("<H", 0xFFFE)
    path.write_bytes(bytes(content))


def _syntax(uid: bytes) -> Callable[[list[Path], Rng], None]:
    """Say another transfer syntax in the file's meta information than the one it is written in."""

    def spoil(files: list[Path], rng: Rng) -> None:
        path = one(files, rng)
        content = path.read_bytes()
        said = next(one for one in SYNTAXES if one + b"\0" in content)
        other = next(one for one in (uid, *SYNTAXES) if one != said)
        path.write_bytes(content.replace(said + b"\0", other + b"\0", 1))

    return spoil


def _turned(data: Dataset, _: Rng) -> None:
    row, column = list(data.ImageOrientationPatient)[:3], list(data.ImageOrientationPatient)[3:]
    data.ImageOrientationPatient = [*column, *row]


MUTATIONS: tuple[Mutation, ...] = (
    Mutation("unspoilt", "accepted", nothing),
    Mutation("files in another order", "accepted", _names_swapped),
    Mutation("a text file beside", "accepted", _notes),
    Mutation("random bytes in a file of no ending", "accepted", _random_bytes("index")),
    Mutation("random bytes called .dcm", "refused", _random_bytes("zz.dcm")),
    Mutation("a slice of zeros", "refused", _zeros),
    Mutation("a slice missing", "refused", _gone),
    Mutation("a slice doubled", "refused", _doubled),
    Mutation("a file copied", "refused", _copied),
    Mutation("pixels of two slices swapped", "either", _pixels_swapped),
    Mutation("a slice moved along", "refused", _moved((0, 0, 1.1))),
    Mutation("a slice moved aside", "refused", _moved((3.0, 0, 0))),
    Mutation("slices sheared", "refused", _sheared),
    Mutation("a slice turned", "refused", edited(_turned)),
    Mutation("file cut in its header", "refused", cut(0.02, 0.3)),
    Mutation("file cut in its pixels", "refused", cut(0.6, 0.99)),
    Mutation("file cut anywhere", "refused", cut(0.0, 0.99)),
    Mutation("one bit of the file mark", "refused", flipped(128, 132, 1)),
    Mutation("bits of the header", "either", flipped(132, 1000, 3)),
    Mutation("many bits of the header", "either", flipped(132, 1000, 40)),
    Mutation("bits of the pixels", "either", flipped(-800, None, 5)),
    *(
        Mutation(f"{name} missing in {'all' if every else 'one'}", "refused", without(name, every=every))
        for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "PixelData",
                     "BitsAllocated", "SeriesInstanceUID", "PixelRepresentation")
        for every in (False, True)
    ),
    Mutation("PatientID missing in one", "refused", without("PatientID")),
    Mutation("FrameOfReferenceUID missing in one", "refused", without("FrameOfReferenceUID")),
    Mutation("PatientName missing in all", "accepted", without("PatientName", every=True)),
    Mutation("SOPClassUID missing in one", "refused", without("SOPClassUID")),
    *(
        Mutation(f"{name} is {content!r}", "refused", raw(name, kind, content))
        for name, kind, content in (
            ("PixelSpacing", "DS", b"4,0\\4,0 "), ("PixelSpacing", "DS", b"0\\0 "), ("PixelSpacing", "DS", b"-4\\-4 "),
            ("PixelSpacing", "DS", b"nan\\4 "), ("ImagePositionPatient", "DS", b"a\\b\\c "),
            ("ImagePositionPatient", "DS", b"1\\2 "), ("ImagePositionPatient", "DS", b"inf\\0\\0 "),
            ("ImageOrientationPatient", "DS", b"0\\0\\0\\0\\0\\0"),
            ("ImageOrientationPatient", "DS", b"1\\0\\0\\1\\0\\0"),
            ("Rows", "US", b"\1\0\1\0"), ("Rows", "US", b""), ("RescaleSlope", "DS", b"1,0 "),
            ("BitsAllocated", "US", b"\7\0"), ("Rows", "SQ", b"\1\2\3"),
        )
    ),
    Mutation("PatientName is not of its charset", "either", raw("PatientName", "PN", b"\xff\xfe^\x81\x00")),
    Mutation("another number of rows in one", "refused", setting(Rows=12)),
    Mutation("other pixel spacing in one", "refused", setting(PixelSpacing=[4.1, 4.1])),
    Mutation("colour", "refused", setting(SamplesPerPixel=3, PhotometricInterpretation="RGB")),
    Mutation("mosaic", "refused", setting(every=True, ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])),
    Mutation("a localizer", "refused", setting(every=True, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])),
    Mutation("a diffusion map", "refused", setting(every=True, ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "ADC"])),
    Mutation("another region", "refused", setting(every=True, BodyPartExamined="PELVIS")),
    Mutation("all black", "refused", edited(_black, every=True)),
    Mutation("rescale slope of 0", "refused", setting(every=True, RescaleSlope="0", RescaleIntercept="0")),
    Mutation("rescale slope huge", "refused", setting(every=True, RescaleSlope="1e30", RescaleIntercept="0")),
    Mutation("another transfer syntax than said", "refused", _syntax(b"1.2.840.10008.1.2.5")),
    Mutation("another byte order than said", "refused", _syntax(b"1.2.840.10008.1.2.2")),
    Mutation("an unknown transfer syntax", "refused", _syntax(b"1.2.840.10008.1.9.9")),
    *(Mutation(f"huge {name}", "refused", _huge(name)) for name in ("Rows", "Columns", "NumberOfFrames")),
    Mutation("a value longer than its file", "refused", _long_value),
    Mutation("sequences in sequences", "accepted", edited(_deep)),
    Mutation("mixed patients: ID", "refused", _other_patient(PatientID="SOMEBODY")),
    Mutation("mixed patients: name", "refused", _other_patient(PatientName="Else^Somebody")),
    Mutation("mixed patients: birth date", "refused", _other_patient(PatientBirthDate="19010101")),
    Mutation("mixed studies", "refused", _other_patient(StudyInstanceUID="1.2.3")),
    Mutation("mixed frames of reference", "refused", _other_patient(FrameOfReferenceUID="1.2.3")),
    Mutation("two series of one patient", "refused", _second_series()),
    Mutation("two series of two patients", "refused", _second_series(PatientID="SOMEBODY", PatientName="Else^S")),
)  # fmt: skip
