"""Which images belong to one patient: one rule for names, and warnings of names that nearly agree."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from creps.cohort.cohort import Case
from creps.cohort.sources import Source

__all__ = ["one_patient", "patient_key", "warn_of_similar_patients"]

log = logging.getLogger(__name__)

IMAGE_WORDS = frozenset(
    {
        "mr", "mri", "ct", "cbct", "sct", "t1", "t1w", "t1c", "t1ce", "t1gd", "t2", "t2w", "t2star",
        "flair", "pd", "pdw", "dixon", "image", "img", "vol", "volume", "tra", "sag", "cor", "ax", "axial", "sagittal",
        "coronal", "planning", "brain", "stripped", "bet", "n4", "reg", "registered", "resampled", "cropped",
        "denoised",
    }
)  # fmt: skip
"""Words at either end of a name that say what the image is, and not whose."""

CHANNEL = re.compile(r"(.+)_(000\d)")
"""nnU-Net numbers the channels of a case: case_001_0000."""

DATE = re.compile(r"-?(19|20)\d\d-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])$|\s*\(\d+\)$")
"""A date, or the number of a copy, at the end of a name."""

ONE_PERSON = "If they are one person, give both the same name in the column 'patient' of a CSV table."

SHORTEST = 4
"""Names with fewer letters differ by one letter without being a slip."""

SAME_SHARE = 1e-4
"""Images whose percentiles differ by less than this share, with a body of one size, may be the same scan."""


def patient_key(name: str) -> str:
    """What two spellings of one patient's name share.

    Unicode form, letter case, separators (space, dash, underscore, dot) and leading zeros do not count, nor do words at
    either end that name the image (mr, ct, t1, ...). In BIDS names the subject alone counts.

    Example:
        >>> patient_key("Case_007_MR") == patient_key("case-7 ct")
        True
        >>> patient_key("P1_01") == patient_key("P101")
        False
    """
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    subject = re.match(r"(sub-[^\W_]+)(_|$)", text)
    words = [word for word in re.split(r"[\s_.\-]+", subject[1] if subject else text) if word]
    while len(words) > 1 and words[-1] in IMAGE_WORDS:
        words.pop()
    while len(words) > 1 and words[0] in IMAGE_WORDS:
        words.pop(0)
    parts = [part for word in words for part in re.findall(r"\d+|\D+", word)]
    return "-".join(part.lstrip("0") or "0" if part.isdecimal() else part for part in parts) or text


def one_patient(sources: Sequence[Source]) -> list[Source]:
    """Give the images of one patient one name: the shortest spelling.

    Names from DICOM headers and from the column `patient` of a table agree only if they differ in Unicode form or
    letter case at most; all others are compared by `patient_key`.

    Args:
        sources: Images with the names that they were found under.
    """
    channels = _channels(sources)
    given = {_given(source.patient) for source in sources if source.patient_from == "table"}
    keys = [_key_of(source, channels, given) for source in sources]
    plain = {key for key, source in zip(keys, sources, strict=True) if source.patient_from not in ("table", "DICOM")}
    names: dict[str, str] = {}
    for key, source in zip(keys, sources, strict=True):
        name = unicodedata.normalize("NFC", channels.get(source.patient, source.patient))
        before = names.get(key)
        if before is None or (len(name), name) < (len(before), before):
            names[key] = name
    together = {key: {s.patient for k, s in zip(keys, sources, strict=True) if k == key} for key in plain}
    merged = [sorted(spellings) for spellings in together.values() if len(spellings) > 1]
    if merged:
        shown = "; ".join(" = ".join(spellings[:4]) for spellings in merged[:5])
        more = f"; and {len(merged) - 5} more" if len(merged) > 5 else ""
        log.info("One patient under several names: %s%s.", shown, more)
    return [replace(source, patient=names[key]) for key, source in zip(keys, sources, strict=True)]


def warn_of_similar_patients(cases: Sequence[Case]) -> None:
    """Warn of different patients whose names nearly agree, or whose images do."""
    patients = sorted({case.patient for case in cases if case.patient_from != "DICOM"})
    _warn_of_misspelt_names(patients)
    _warn_of_dated_names(patients)
    for a, b in combinations(cases, 2):
        if a.modality == b.modality and a.patient != b.patient and _alike(a, b):
            log.warning(
                "%s and %s have the same body size and intensities and may be one scan. If so, delete one of them.",
                a.source,
                b.source,
            )


def _warn_of_misspelt_names(patients: Sequence[str]) -> None:
    split = {name: (re.findall(r"\d+", key := patient_key(name)), _letters(key)) for name in patients}
    for one, other in combinations(patients, 2):
        (digits, letters), (other_digits, other_letters) = split[one], split[other]
        if digits == other_digits and _nearly(letters, other_letters):
            log.warning("The patients '%s' and '%s' differ by a letter. %s", one, other, ONE_PERSON)


def _warn_of_dated_names(patients: Sequence[str]) -> None:
    undated: dict[str, str] = {}
    for name in patients:
        before = undated.setdefault(patient_key(DATE.sub("", name).rstrip("_- ")), name)
        if before != name and any(letter.isdigit() for letter in DATE.sub("", name)):
            log.warning("The patients '%s' and '%s' differ by a date or a copy's number. %s", before, name, ONE_PERSON)


def _given(name: str) -> str:
    return "=" + unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _key_of(source: Source, channels: dict[str, str], given: set[str]) -> str:
    if source.patient_from in ("table", "DICOM") or _given(source.patient) in given:
        return _given(source.patient)
    return patient_key(channels.get(source.patient, source.patient))


def _channels(sources: Sequence[Source]) -> dict[str, str]:
    """Name with the number of a channel → name without it.

    A modality's numbers are channels if every case has 0000; a number is one, too, if another image has the name
    without it. Otherwise site1_0001 and site1_0002 are two patients.
    """
    keys = {patient_key(source.patient) for source in sources}
    found: dict[str, str] = {}
    for modality in ("mr", "ct"):
        names = {s.patient for s in sources if s.modality == modality and s.patient_from == "file name"}
        matches = {name: CHANNEL.fullmatch(name) for name in names}
        numbers: dict[str, set[str]] = {}
        for match in matches.values():
            if match:
                numbers.setdefault(match[1], set()).add(match[2])
        every = all(matches.values()) and all("0000" in own for own in numbers.values())
        usual = every and len(set(map(frozenset, numbers.values()))) == 1 and len(numbers) > 1
        for name, match in matches.items():
            if match and (usual or patient_key(match[1]) in keys):
                found[name] = match[1]
    return found


def _letters(key: str) -> str:
    decomposed = unicodedata.normalize("NFKD", re.sub(r"[\d-]+", "-", key))
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def _nearly(one: str, other: str) -> bool:
    """Whether names differ by accents alone, or by one letter that is missing, added, changed or exchanged."""
    if one == other:
        return True
    if min(len(one), len(other)) < SHORTEST or abs(len(one) - len(other)) > 1:
        return False
    start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    rest, other_rest = one[start:], other[start:]
    exchanged = rest[:2] == other_rest[:2][::-1] and rest[2:] == other_rest[2:]
    return exchanged or rest[1:] == other_rest[1:] or rest[1:] == other_rest or rest == other_rest[1:]


def _alike(a: Case, b: Case) -> bool:
    values = [(c.intensity_p01, c.intensity_p50, c.intensity_p99) for c in (a, b)]
    if any(value is None for own in values for value in own) or not np.allclose(a.body_extent_mm, b.body_extent_mm):
        return False
    one, other = np.array(values, dtype=float)
    return bool(np.abs(one - other).max() <= SAME_SHARE * np.abs(one).max())
