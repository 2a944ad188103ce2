"""What a recipe assumes of every MR, and warnings for MRs whose header or file name contradicts it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from creps.cohort.cohort import Case
from creps.cohort.sources import Source
from creps.io.dicom.read.acquisition import Acquisition
from creps.io.dicom.read.bone_and_fat import is_fat_suppressed, is_ultrashort
from creps.io.dicom.read.sequence_words import WEIGHTINGS, Topics, topics_of, topics_of_series
from creps.io.dicom.read.wording import split_words
from creps.io.documents import read_json
from creps.io.itk import stem
from creps.settings import Settings

__all__ = ["with_warnings"]

OTHER_RECIPES = "or use recipe cut, cyclegan or paper."

SHORT_WORDS = frozenset({"FS", "WE", "SFS", "SPECIAL"})
"""Words for fat suppression that may be a person's initials: in a file name they need a weighting beside them."""


def with_warnings(cases: Sequence[Case], sources: Sequence[Source], settings: Settings) -> list[Case]:
    """Add warnings about their sequences to the cases, for a recipe that learns from simulated MRs.

    Args:
        cases: Prepared cases; warnings of an earlier preparation are replaced.
        sources: Where they came from.
        settings: Which recipe it is.
    """
    by_name = {(source.modality, source.case): source for source in sources}
    simulates = settings.simulation.weight > 0
    return [
        case.model_copy(
            update={
                "warnings": tuple(_warnings(by_name[case.modality, case.case], settings.recipe))
                if simulates and case.modality == "mr"
                else ()
            }
        )
        for case in cases
    ]


def _warnings(source: Source, recipe: str) -> Iterator[str]:
    for where, acquisition, topics in _descriptions(source):
        short, suppressed = is_ultrashort(acquisition, topics), is_fat_suppressed(acquisition, topics)
        if short:
            yield (
                f"By {where} its echo time is ultra-short (UTE, ZTE), so bone has signal, but recipe {recipe} assumes"
                f" that compact bone is dark. Leave it out, {OTHER_RECIPES}"
            )
        if suppressed:
            yield (
                f"By {where} fat is suppressed (STIR, SPAIR, Dixon water, fat saturation), but recipe {recipe} assumes"
                " that fat has signal. Use the series without suppression or the in-phase Dixon image, "
                f"{OTHER_RECIPES}"
            )
        if short or suppressed:
            return


def _descriptions(source: Source) -> Iterator[tuple[str, Acquisition, Topics]]:
    """Where an acquisition is described, and what is said there: the most reliable description first."""
    if source.acquisition is not None:
        yield "its DICOM header", source.acquisition, topics_of_series(source.acquisition)
    if source.series is not None:
        return
    name = stem(source.path)
    sidecar = source.path.with_name(f"{name}.json")
    acquisition = _of_sidecar(sidecar)
    if acquisition is not None:
        yield f"{sidecar.name}", acquisition, topics_of_series(acquisition)
    yield "its file name", acquisition or Acquisition(), _topics_of_file(name)


def _topics_of_file(name: str) -> Topics:
    """The topics of a file name."""
    topics = topics_of(name)
    if topics & WEIGHTINGS or not SHORT_WORDS.intersection(split_words(name)):
        return topics
    return topics_of(" ".join(word for word in split_words(name) if word not in SHORT_WORDS))


def _of_sidecar(path: Path) -> Acquisition | None:
    """The JSON file that converters write beside a volume (BIDS: times in seconds); None if there is none to read."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict):
        return None
    return Acquisition(
        image_types=frozenset(_text(content, "ImageType").split("\\")) - {""},
        sequence_name=_text(content, "SequenceName"),
        pulse_sequence_name=_text(content, "PulseSequenceName"),
        protocol=_text(content, "ProtocolName"),
        description=_text(content, "SeriesDescription"),
        scan_options=_text(content, "ScanOptions"),
        manufacturer=_text(content, "Manufacturer"),
        echo_time_ms=_milliseconds(content, "EchoTime"),
        inversion_time_ms=_milliseconds(content, "InversionTime"),
    )


def _text(content: dict[str, Any], name: str) -> str:
    """A text, or several joined by a backslash, in capitals."""
    value = content.get(name)
    values = value if isinstance(value, list) else [value]
    return "\\".join(str(one).upper() for one in values if isinstance(one, str))


def _milliseconds(content: dict[str, Any], name: str) -> float | None:
    value = content.get(name)
    return 1000.0 * value if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None
