"""Say what a file really is when its content is not what its name promises."""

from __future__ import annotations

from pathlib import Path

from creps.errors import InputError

__all__ = ["refuse_other_content"]

DECOMPRESS = "Decompress it first."

STARTS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "is compressed twice (gzip in gzip)", "Decompress it once."),
    (b"BZh", "is compressed with bzip2", DECOMPRESS),
    (b"\xfd7zXZ", "is compressed with xz", DECOMPRESS),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd", DECOMPRESS),
    (b"PK\x03\x04", "is a zip archive", "Unpack it first."),
    (b"7z\xbc\xaf", "is a 7z archive", "Unpack it first."),
    (b"NRRD", "is an NRRD file", "Rename it to end in .nrrd."),
    (b"ObjectType", "is a MetaImage file", "Rename it to end in .mha."),
    (b"NDims", "is a MetaImage file", "Rename it to end in .mha."),
    (b"\x89HDF", "is an HDF5 file (MINC or other)", "Convert it to .nii.gz."),
    (b"CDF", "is a MINC file", "Convert it to .nii.gz."),
    (b"\x89PNG", "is a PNG picture", "Give the volume it was made from."),
    (b"version https://git-lfs", "is a Git LFS pointer, not the image", "Run 'git lfs pull'."),
    (b"<!DOCTYPE", "is a web page, probably of a failed download", "Download it again."),
    (b"<html", "is a web page, probably of a failed download", "Download it again."),
)
"""First bytes → what the file is, and what to do."""


def refuse_other_content(path: Path, start: bytes) -> None:
    """Refuse a file whose first bytes are those of something else.

    Args:
        path: The file.
        start: Its first bytes, decompressed; 132 or more to recognise DICOM.

    Raises:
        InputError: it is empty, or of a kind that is known by its first bytes.
    """
    if not start:
        raise InputError(f"{path} is empty (0 bytes).", "Copy or convert it again.")
    if not start.strip(b"\0"):
        raise InputError(f"{path} holds nothing but zeros where its header should be.", "Copy or convert it again.")
    if start[128:132] == b"DICM":
        raise InputError(f"{path} is a DICOM file.", "Give the folder of its series, with the ending .dcm or none.")
    for first, what, remedy in STARTS:
        if start.startswith(first):
            raise InputError(f"{path} {what}.", remedy)
