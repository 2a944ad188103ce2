"""Checks of the cohort as a whole: outlying sizes, duplicate images, MRs in different units."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from creps.cohort.cohort import Case, Cohort, Failure, Modality
from creps.cohort.sources import Source
from creps.errors import CohortError, CrepsError, InputError
from creps.io.image import ImageHeader
from creps.preprocessing.plausibility import LOOKS_LIKE_CT, NO_CT, check_extent, check_mr_scale
from creps.settings import PreparationSettings

__all__ = [
    "Screened",
    "check_scale_of",
    "check_scales",
    "check_usable",
    "drop_badly_scaled",
    "drop_outliers",
    "log_notes",
    "screen",
]

log = logging.getLogger(__name__)

VOXEL_FACTOR = 50.0
"""A case with more than this many times the median voxel count of its modality is rejected before it is read."""

EXTENT_FACTOR = 5.0
"""A case this many times larger or smaller than the median of its modality has its spacing in another unit."""

INTENSITY_FACTOR = 10.0
"""With a fixed MR scale, the 99th percentiles of the MRs may differ by at most this factor."""

FEWEST = 3
"""Smallest number of cases to compare with their median."""

REMEDY_SCALE = (
    "Use preparation.mr_scale auto, which scales each MR separately, or rescale these MRs to the range of the others."
)


@dataclass(frozen=True)
class Screened:
    """The sources after their headers were checked.

    Attributes:
        sources: All of them; those that cannot be used have their `problem` set.
        largest_voxels: Largest number of voxels of a usable image.
        voxels: Number of voxels of all usable images.
        largest_mm3: Largest volume of a usable image, in mm³.
    """

    sources: tuple[Source, ...]
    largest_voxels: int
    voxels: int
    largest_mm3: float


def screen(sources: Sequence[Source]) -> Screened:
    """Check the headers; an unreadable header or an impossible or outlying size becomes the problem of its source."""
    headers: list[ImageHeader | None] = []
    marked: list[Source] = []
    for source in sources:
        found = _checked_header(source)
        headers.append(found if isinstance(found, ImageHeader) else None)
        marked.append(source if isinstance(found, ImageHeader) else replace(source, problem=found))
    checked = [
        source if header is None else replace(source, problem=_outlying(source, header, marked, headers))
        for source, header in zip(marked, headers, strict=True)
    ]
    usable = [h for s, h in zip(checked, headers, strict=True) if h is not None and s.problem is None]
    return Screened(
        tuple(checked),
        max((h.voxels for h in usable), default=0),
        sum(h.voxels for h in usable),
        max((float(np.prod(h.extent_mm)) for h in usable), default=0.0),
    )


def _checked_header(source: Source) -> ImageHeader | CrepsError:
    """The header of an image, or why it cannot be used."""
    if source.problem is not None:
        return source.problem
    try:
        header = source.image.header()
        if source.series is None:  # the headers of a series are checked when it is read
            check_extent(header.shape, header.extent_mm, source.name)
    except CrepsError as error:
        return error
    except OSError as error:
        return InputError(f"{source.name} cannot be opened ({error.strerror}).", "Check its permissions.")
    return header


def drop_outliers(
    cases: Sequence[Case], preparation: PreparationSettings
) -> tuple[list[Case], list[tuple[Case, CrepsError]]]:
    """Remove duplicate images, and MRs in other units than the rest.

    Returns:
        The cases to keep, and the removed ones with the reason.

    Raises:
        CohortError: with a fixed scale, if the MRs share no common range of values.
    """
    kept: list[Case] = []
    dropped: list[tuple[Case, CrepsError]] = []
    first: dict[tuple[Modality, str], Case] = {}
    for case in cases:
        before = first.setdefault((case.modality, case.prepared_sha256), case)
        if before is case:
            kept.append(case)
            continue
        dropped.append((case, _copy(before, case)))
    outliers = _mrs_in_other_units([c for c in kept if c.modality == "mr"], preparation)
    dropped += [(case, _other_units(case, kept)) for case in outliers]
    return [case for case in kept if case not in outliers], dropped


def drop_badly_scaled(
    cases: Sequence[Case], preparation: PreparationSettings
) -> tuple[list[Case], list[tuple[Case, CrepsError]]]:
    """Remove MRs that their scaling turned black, white or mostly 0.

    Returns:
        The cases to keep, and the removed ones with the reason.
    """
    kept: list[Case] = []
    dropped: list[tuple[Case, CrepsError]] = []
    for case in cases:
        try:
            check_scale_of(case, preparation)
        except InputError as error:
            dropped.append((case, error))
        else:
            kept.append(case)
    return kept, dropped


def check_scale_of(case: Case, preparation: PreparationSettings) -> None:
    """Check the scaling of a prepared MR; nothing is known of a CT, or of cases of old versions.

    Raises:
        InputError: it is black, saturated or negative.
    """
    low, middle, high = case.intensity_p01, case.intensity_p50, case.intensity_p99
    if case.modality != "mr" or case.mr_divisor is None or low is None or middle is None or high is None:
        return
    check_mr_scale((low, middle, high), case.mr_divisor, case.source, fixed=preparation.mr_scale != "auto")


def check_scales(cohort: Cohort) -> None:
    """Refuse a cohort, perhaps of an older version, with MRs that their scaling turned black, white or mostly 0.

    Raises:
        CohortError: names the first of them.
    """
    dropped = drop_badly_scaled(cohort.manifest.cases, cohort.manifest.preparation)[1]
    if dropped:
        case, error = dropped[0]
        raise CohortError(
            f"MR '{case.case}' of cohort {cohort.folder} cannot be trained on: {error.what}", error.remedy
        )


def log_notes(cases: Sequence[Case]) -> None:
    """Log what was changed in the images before they were prepared, and which assumptions they do not meet."""
    for case in cases:
        for note in (*case.notes, *case.warnings):
            log.warning("%s: %s", case.source, note)


def check_usable(cases: Sequence[Case], failures: Sequence[Failure], needed: Collection[Modality]) -> None:
    """Check that a cohort has the modalities that it needs.

    Raises:
        CohortError: one of them is missing; the message names the most likely reason.
    """
    for modality in sorted(needed, reverse=True):
        if any(case.modality == modality for case in cases):
            continue
        reasons = {m: [f for f in failures if f.modality == m] for m in ("mr", "ct")}
        if _all_say(reasons["mr"], LOOKS_LIKE_CT) and _all_say(reasons["ct"], NO_CT):
            raise CohortError(
                f"MR and CT are swapped: every MR {LOOKS_LIKE_CT}, and every CT {NO_CT} ({reasons['ct'][0].source}).",
                "Give MR first and CT second, or exchange them in the table.",
            )
        if reasons[modality]:
            worst = reasons[modality][0]
            raise CohortError(
                f"None of the {len(reasons[modality])} {modality.upper()} can be used. {worst.reason}",
                f"{worst.remedy} Prepared cases are kept for the next run.",
            )
        raise CohortError(f"The cohort has no {modality.upper()}.", "A cohort needs MR and CT, of different patients.")


def _all_say(failures: Sequence[Failure], words: str) -> bool:
    return bool(failures) and all(words in failure.reason for failure in failures)


def _outlying(
    source: Source, header: ImageHeader, sources: Sequence[Source], headers: Sequence[ImageHeader | None]
) -> CrepsError | None:
    """The size of an image that differs too much from the others of its modality, or None."""
    others = [h for s, h in zip(sources, headers, strict=True) if h is not None and s.modality == source.modality]
    if len(others) < FEWEST:
        return None
    usual = float(np.median([h.voxels for h in others]))
    if header.voxels > VOXEL_FACTOR * usual:
        return InputError(
            f"{source.name} has {header.voxels / 1e6:.3g} million voxels, {header.voxels / usual:.0f} times as many as"
            f" the cohort's median {source.modality.upper()} ({usual / 1e6:.3g} million).",
            "Check that it is a single scan of the region; if so, resample or crop it.",
        )
    extent, typical = max(header.extent_mm), float(np.median([max(h.extent_mm) for h in others]))
    if typical > 0 and min(header.spacing_mm) > 0 and not 1 / EXTENT_FACTOR < extent / typical < EXTENT_FACTOR:
        return InputError(
            f"{source.name} measures {extent:.3g} mm along its longest axis, the cohort's median"
            f" {source.modality.upper()} {typical:.3g} mm.",
            "Check the spacing in its header: it must be in mm, not cm or m.",
        )
    return None


def _copy(before: Case, case: Case) -> CrepsError:
    what = f"{case.source} is the same image as {before.source}"
    if before.patient != case.patient:
        return InputError(
            f"{what}, under another patient's name ('{case.patient}' and '{before.patient}').",
            "Delete one of them: a patient must not be in training and validation.",
        )
    return InputError(f"{what}.", "Delete one of them.")


def _bright(case: Case) -> float:
    return max(case.intensity_p99 or 0.0, 1e-9)


def _mrs_in_other_units(mrs: Sequence[Case], preparation: PreparationSettings) -> list[Case]:
    """With a fixed scale, the MRs far from the median, if they are few; none if all are close enough."""
    bright = np.array([_bright(case) for case in mrs])
    if preparation.mr_scale == "auto" or len(mrs) < 2 or bright.max() / bright.min() <= INTENSITY_FACTOR:
        return []
    away = np.abs(np.log(bright / np.median(bright)))
    outliers = [case for case, distance in zip(mrs, away, strict=True) if distance > np.log(INTENSITY_FACTOR)]
    rest = np.array([_bright(case) for case in mrs if case not in outliers])
    if not outliers or 3 * len(outliers) > len(mrs) or rest.max() / rest.min() > INTENSITY_FACTOR:
        low, high = mrs[int(bright.argmin())], mrs[int(bright.argmax())]
        raise CohortError(
            f"The MRs have different units, which a fixed preparation.mr_scale cannot reconcile: {low.source} reaches"
            f" {_bright(low):.3g}, {high.source} reaches {_bright(high):.3g} (99th percentile in the body).",
            REMEDY_SCALE,
        )
    return outliers


def _other_units(case: Case, cases: Sequence[Case]) -> CrepsError:
    usual = float(np.median([_bright(c) for c in cases if c.modality == "mr"]))
    return InputError(
        f"{case.source} has other units than the other MRs of the cohort: it reaches {_bright(case):.3g}, their median"
        f" {usual:.3g} (99th percentile in the body).",
        REMEDY_SCALE,
    )
