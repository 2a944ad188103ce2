"""``creps prepare``: two folders of MR and CT of different patients → a prepared cohort."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from creps.data.cohort import Case, Cohort, Manifest, Modality, Split
from creps.data.sources import Source, find_sources
from creps.errors import OutputExistsError
from creps.io.atomic import atomic_folder
from creps.io.itk import read_volume
from creps.preprocessing.mask import body_box
from creps.preprocessing.preparation import prepare_ct, prepare_mr
from creps.provenance import provenance, sha256_file
from creps.settings import PreparationSettings, Settings

__all__ = ["prepare", "split_patients"]

Progress = Callable[[int, int, str], None]


def prepare(
    mr_folder: Path, ct_folder: Path, folder: Path, settings: Settings, progress: Progress | None = None
) -> Cohort:
    """Prepare a cohort, whole or not at all.

    Args:
        mr_folder: MR volumes, see `find_sources`.
        ct_folder: CT volumes in HU, of other patients, in any number.
        folder: The cohort to write.
        settings: What `settings.preparation` says is done.
        progress: Called with (cases done, cases in all, case).

    Returns:
        The cohort.

    Raises:
        InputError: a volume cannot be used, or `folder` is there already.
    """
    if folder.exists():
        raise OutputExistsError(f"{folder} is already there.", "Name another folder, or delete this one first.")
    sources: list[tuple[Modality, Source]] = [("mr", source) for source in find_sources(mr_folder, "mr")]
    sources += [("ct", source) for source in find_sources(ct_folder, "ct")]
    preparation = settings.preparation
    splits = split_patients(
        [[s.patient for m, s in sources if m == modality] for modality in ("mr", "ct")],
        preparation.validation_fraction,
        preparation.seed,
    )
    roots = {"mr": mr_folder, "ct": ct_folder}
    cases = []
    with atomic_folder(folder) as temporary:
        for modality in roots:
            (temporary / modality).mkdir()
            (temporary / f"{modality}_body").mkdir()
        for done, (modality, source) in enumerate(sources):
            if progress is not None:
                progress(done, len(sources), f"{modality} {source.case}")
            split = splits[source.patient]
            cases.append(_prepare_case(temporary, roots[modality], modality, source, split, preparation))
        if progress is not None:
            progress(len(sources), len(sources), "")
        manifest = Manifest(
            preset=settings.preset, preparation=preparation, cases=tuple(cases), provenance=provenance()
        )
        Cohort(temporary, manifest).save_manifest()
    return Cohort(folder, manifest)


def split_patients(patients: Sequence[Sequence[str]], fraction: float, seed: int) -> dict[str, Split]:
    """Assign every patient to one split, whichever modalities he or she has.

    Args:
        patients: For each modality its patients.
        fraction: Share that goes to validation: of each modality's own patients, rounded, at least one
            where there are two or more; none if 0.
        seed: Seed of the draw.
    """
    splits: dict[str, Split] = {}
    # the smaller group first: patients who have both modalities must not use up its validation or its training
    for stream, group in sorted(enumerate(patients), key=lambda item: len(set(item[1]))):
        names = sorted(set(group))
        order = np.random.default_rng([seed, stream]).permutation(len(names))
        wanted = min(max(1, round(fraction * len(names))), len(names) - 1) if fraction > 0 else 0
        wanted -= sum(splits.get(name) == "validation" for name in names)
        for name in (names[i] for i in order):
            if name in splits:
                continue
            splits[name] = "validation" if wanted > 0 else "train"
            wanted -= 1
    return splits


def _prepare_case(
    folder: Path, root: Path, modality: Modality, source: Source, split: Split, preparation: PreparationSettings
) -> Case:
    """Read, prepare and store one volume."""
    mask = read_volume(source.mask) if source.mask is not None else None
    step = prepare_mr if modality == "mr" else prepare_ct
    prepared = step(read_volume(source.path), preparation, str(source.path), mask)
    np.save(folder / modality / f"{source.case}.npy", prepared.array)
    np.save(folder / f"{modality}_body" / f"{source.case}.npy", prepared.body)
    return Case(
        case=source.case,
        patient=source.patient,
        modality=modality,
        split=split,
        shape=prepared.grid.shape,
        spacing_mm=prepared.grid.spacing_mm,
        origin_mm=prepared.grid.origin_mm,
        direction=tuple(prepared.grid.direction.ravel().tolist()),
        body=body_box(prepared.body),  # type: ignore[arg-type]
        mr_divisor=prepared.mr_divisor,
        source=source.path.relative_to(root).as_posix(),
        source_sha256=sha256_file(source.path),
        prepared_sha256=hashlib.sha256(prepared.array.tobytes() + prepared.body.tobytes()).hexdigest(),
    )
