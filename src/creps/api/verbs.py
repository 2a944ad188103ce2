"""Prepare, train, evaluate: the verbs of the command line as functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from creps.api.arguments import Image, Progress, Slurm, as_path, check_flags, check_progress, optional_path
from creps.cluster.runner import slurm_runner
from creps.cohort.cohort import Cohort
from creps.errors import InputError, SettingsError, file_errors_explained
from creps.settings import Settings

if TYPE_CHECKING:
    from creps.api.model import Model
    from creps.evaluation.options import Register
    from creps.evaluation.results import CohortEvaluation, Evaluation

__all__ = ["evaluate", "prepare", "train"]


@file_errors_explained
def prepare(
    sources: Path | str | Sequence[Path | str],
    output: Path | str,
    *,
    preset: str | None = None,
    recipe: str | None = None,
    settings: Settings | Path | str | None = None,
    overrides: Mapping[str, Any] | None = None,
    model: Path | str | None = None,
    jobs: int | None = None,
    resume: bool = False,
    series: str | None = None,
    progress: Progress | None = None,
    slurm: Slurm | None = None,
) -> Cohort:
    """Prepare MR and CT of different patients for training.

    Args:
        sources: A CSV table, a folder with a folder per patient, or (folder of MRs, folder of CTs).
        output: Cohort folder to write.
        preset: Preset that the settings start from, such as ``brain`` or ``pelvis``.
        recipe: Recipe to prepare for; default: ``anatomy``. ``paper`` is the exact preparation of the paper.
        settings: All settings, or a YAML file with some.
        overrides: Single settings: ``{"preparation.spacing_mm": [2, 2, 2]}``.
        model: Prepare as this model was (a shipped name or a folder); excludes other preparation settings.
        jobs: Processes; None: as many as cores and memory allow.
        resume: Continue from the cohort in `output`: prepare what is missing or changed.
        series: Where a patient has several DICOM series, the one whose description holds this text.
        progress: Called with (images done, images in all, name of the image).
        slurm: Spread the images over jobs of SLURM, instead of `jobs`: a YAML file, or options by name, such as
            ``{"partition": "cpu", "shards": 20}``.

    Returns:
        The cohort; `Cohort.failures` lists the images that could not be prepared.

    Raises:
        InputError: the sources cannot be used, or `output` is there already.
        SettingsError: an unknown or wrong setting.
        CohortError: no MR or no CT is left.
        ClusterError: SLURM is missing, refuses the jobs, or cannot start them.
        RunInterruptedError: Ctrl-C cancelled the jobs of SLURM; the same call goes on.

    Examples:
        >>> spacing = {"preparation.spacing_mm": [6, 6, 6]}
        >>> cohort = creps.prepare(("heads/mr", "heads/ct"), "another cohort", overrides=spacing)
        >>> len(cohort.manifest.cases), len(cohort.failures())
        (4, 0)
    """
    from creps.cohort.prepare import prepare as run

    check_flags(resume=resume)
    check_progress(progress)
    if slurm is not None and jobs is not None:
        raise SettingsError("'jobs' is for this machine, but 'slurm' is given as well.", "Give shards and cpus in it.")
    like = None
    if model is not None:
        from creps.training.run.starting_point import preparation_settings_of  # imports torch

        like = preparation_settings_of(model)
    with slurm_runner(slurm, "prepare", as_path(output, "The cohort")) as runner:
        return run(
            sources if not isinstance(sources, (Path, str)) else as_path(sources, "The source"),
            as_path(output, "The cohort"),
            preset=preset,
            recipe=recipe,
            settings=settings,
            overrides=overrides,
            like=like,
            jobs=jobs,
            resume=resume,
            series=series,
            progress=progress,
            runner=runner,
        )


@file_errors_explained
def train(
    cohort: Cohort | Path | str,
    output: Path | str,
    *,
    recipe: str | None = None,
    preset: str | None = None,
    settings: Settings | Path | str | None = None,
    overrides: Mapping[str, Any] | None = None,
    model: Path | str | None = None,
    resume: bool = False,
) -> Model:
    """Train a model on a prepared cohort.

    Args:
        cohort: The cohort or its folder.
        output: Run folder to write: model, checkpoints, curves, pictures, ``report.html``.
        recipe: Training method: ``anatomy``, ``paper``, ``cyclegan``, ``cut`` or ``supervised``; default: the one that
            the cohort was prepared for.
        preset: Preset that the settings start from; default: the cohort's.
        settings: All settings, or a YAML file with some.
        overrides: Single settings: ``{"training.steps": 100}``.
        model: Shipped name, model, run or checkpoint to start from (fine-tuning), with its settings.
        resume: Continue from the last checkpoint in `output`, if there is one.

    Returns:
        The trained model.

    Raises:
        SettingsError: an unknown or wrong setting, or settings that do not fit the cohort.
        CohortError: the cohort is missing or damaged.
        RunInterruptedError: a signal ended the run early; it can be resumed.
        TrainingError: memory runs out, or the weights are no longer finite.

    Examples:
        >>> small = {"generator.width": 8, "generator.levels": 2, "sampling.patch_size": [16, 16, 16]}
        >>> small["simulation.phantoms"] = 1
        >>> model = creps.train("cohort", "run", overrides={**small, "training.steps": 1, "training.batch_size": 2})
        >>> model.plan.recipe, model.plan.training["steps"]
        ('anatomy', 1)
    """
    from creps.api.model import load
    from creps.report.training import write_training
    from creps.training.run.train import train as run

    check_flags(resume=resume)
    cohort = cohort if isinstance(cohort, Cohort) else as_path(cohort, "The cohort")
    folder = run(
        cohort,
        as_path(output, "The output"),
        settings,
        recipe=recipe,
        preset=preset,
        overrides=overrides,
        model=model,
        resume=resume,
        report=write_training,
    )
    return load(folder)


@file_errors_explained
def evaluate(
    sct: Image,
    ct: Image,
    *,
    mask: Image | None = None,
    labels: Image | None = None,
    label_names: Mapping[int, str] | Path | str | None = None,
    truth: str | None = None,
    resample: bool = False,
    register: Register | None = None,
    against: Path | str | None = None,
    progress: Progress | None = None,
    slurm: Slurm | None = None,
) -> Evaluation | CohortEvaluation:
    """Score a synthetic CT, or a folder of them, against the true CT.

    Args:
        sct: Synthetic CT in HU: a volume, a file or a DICOM folder; or a folder with the sCTs of many cases.
        ct: True CT in HU of the same kind.
        mask: Region to score, on the grid of either (one case); default: the body found in the true CT.
        labels: Class number of every voxel (one case), or the name of the label volumes in a folder of cases.
        label_names: Name of every class number, or the JSON file with them; needed with `labels`.
        truth: Name of the true CTs in a folder of cases; default: ``ct``.
        resample: Bring the CT onto the sCT's grid.
        register: ``rigid`` or ``rigid-centres``: register the CT to the sCT first, which hides position errors.
        against: Folder of another model's sCTs of the same cases, or the JSON of its evaluation, to compare with.
        progress: Called with (cases done, cases in all, case), for folders.
        slurm: Spread the cases of a folder over jobs of SLURM, as in `prepare`.

    Returns:
        An `Evaluation` of one case, or a `CohortEvaluation` of a folder of them.

    Raises:
        InputError: an image cannot be read or is not in HU, grids differ, or no case could be scored.
        SettingsError: options that contradict each other, or that only folders or only single cases have.
        ClusterError: as in `prepare`.
        RunInterruptedError: as in `prepare`.

    Examples:
        >>> evaluation = creps.evaluate("sct.nii.gz", "ct.nii.gz")
        >>> evaluation.values["mae_hu"] > 0
        True
    """
    from creps.evaluation.batch import evaluate_folder
    from creps.evaluation.evaluate import evaluate as run
    from creps.evaluation.matching import holds_cases
    from creps.evaluation.options import EvaluationOptions

    check_flags(resample=resample)
    check_progress(progress)
    options = EvaluationOptions(mask, labels, label_names, resample, register, truth)
    folders = [isinstance(one, (Path, str)) and holds_cases(as_path(one, "An image")) for one in (sct, ct)]
    if all(folders):
        other = optional_path(against, "The other model")
        with slurm_runner(slurm, "evaluate", str(sct)) as runner:
            return evaluate_folder(str(sct), str(ct), options, against=other, progress=progress, runner=runner)
    if slurm is not None:
        raise InputError("Jobs of SLURM score a folder of cases, but one sCT is given.", "Leave 'slurm' out.")
    if any(folders):
        folder, single = (sct, "ct") if folders[0] else (ct, "sct")
        raise InputError(
            f"{folder} is a folder of cases, but {single} is one image.", "Give two images, or two folders."
        )
    if against is not None:
        raise InputError("Two models are compared on a folder of cases, but one sCT is given.", "Give folders.")
    options.check_pair()
    return run(sct, ct, options)
