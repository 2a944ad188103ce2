"""One MR of a batch: the case, what is done for it, and what became of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from creps.errors import CrepsError, InputError, ModelError
from creps.io.dicom.write.identity import SourceSeries
from creps.io.image import ImageSource
from creps.io.itk import suffix
from creps.io.stamp import stamp
from creps.model import Model
from creps.parallel import Work, WorkerDied
from creps.qa.document import QaReport, read_report
from creps.settings import InferenceSettings
from creps.synthesis.options import OutputOptions, SynthesisOptions
from creps.synthesis.outputs import qa_file, record_file
from creps.synthesis.synthesize import synthesize_source
from creps.synthesis.writing import write_synthesis

__all__ = ["Outcome", "Progress", "SynthesisCase", "SynthesisWork", "synthesize_and_write"]

Progress = Callable[[int, int, str], None]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SynthesisCase:
    """One MR of a batch; it travels to another process or machine by pickle.

    Attributes:
        source: The MR.
        target: Where its sCT goes: a volume file, or the folder of a DICOM series.
        options: What decides its voxels; the grid is named.
        output: How it is written.
    """

    source: ImageSource
    target: Path
    options: SynthesisOptions
    output: OutputOptions


@dataclass(frozen=True)
class Outcome:
    """What became of one MR.

    Attributes:
        mr: The MR, as it was given.
        target: The file or folder that was written; None if the MR failed.
        error: Why there is no sCT; None if there is one.
        qa: The checks of the sCT; None if there is no sCT, or they were not asked for.
    """

    mr: Path
    target: Path | None = None
    error: CrepsError | None = None
    qa: QaReport | None = None


@dataclass(frozen=True)
class SynthesisWork(Work[SynthesisCase, Outcome]):
    """Synthesizes a case; an MR that cannot be used is an outcome, a wrong setting is raised.

    Attributes:
        model: The trained model.
        settings: Overlap, fusion, device, precision; None: the plan's.
        progress: Called with (patches done, patches of this MR, its name).
    """

    model: Model
    settings: InferenceSettings | None = None
    progress: Progress | None = None

    def do(self, task: SynthesisCase) -> Outcome:
        """Read, synthesize, write and check one case."""
        try:
            qa = synthesize_and_write(self.model, task, self.settings, self.progress)
        except (InputError, ModelError) as error:
            return Outcome(task.source.path, error=error)
        return Outcome(task.source.path, task.target, qa=qa)

    def lost(self, task: SynthesisCase, died: WorkerDied) -> Outcome:
        """The case without an sCT."""
        error = InputError(f"The process that synthesized {task.source.name} {died.how}.", died.remedy)
        return Outcome(task.source.path, error=error)

    def key(self, task: SynthesisCase) -> str:
        """The model, the settings, the options, the target, and the files of the MR as they are now."""
        model = [self.model.plan.model_dump_json(), repr(self.model.calibration), repr(self.settings)]
        files = [stamp(path) for path in (task.source.path, task.options.mask) if isinstance(path, Path)]
        series = "" if task.source.series is None else task.source.series.uid
        return json.dumps([*model, *files, series, str(task.target.absolute()), repr(task.options), repr(task.output)])

    def failed(self, result: Outcome) -> bool:
        """Whether there is no sCT."""
        return result.error is not None

    def trace(self, task: SynthesisCase) -> str | None:
        """Size and time of the file that is written last."""
        last = task.target if suffix(task.target) else record_file(task.target)
        return f"{last.stat().st_size} {last.stat().st_mtime_ns}" if last.is_file() else None

    def found(self, task: SynthesisCase) -> Outcome | None:
        """The sCT at the target, if this model made it with these checks."""
        if self.trace(task) is None:
            return None
        try:
            record = json.loads(record_file(task.target).read_text(encoding="utf-8"))
            if record["model"]["weights_sha256"] != self.model.plan.weights_sha256:
                return None
            qa = read_report(qa_file(task.target)) if task.output.qa else None
        except (OSError, ValueError, KeyError, TypeError, CrepsError):
            return None
        _log_checks(task.target, qa)
        return Outcome(task.source.path, task.target, qa=qa)


def synthesize_and_write(
    model: Model, case: SynthesisCase, settings: InferenceSettings | None, progress: Progress | None
) -> QaReport | None:
    """Read, synthesize, write and check one case; return the checks, if they were asked for."""
    report = None if progress is None else lambda done, total: progress(done, total, case.source.label)
    series = None if suffix(case.target) else case.source.series
    identity = None if series is None else SourceSeries.of(series)  # an unusable identity is refused before computing
    result = synthesize_source(model, case.source, settings, case.options, report)
    write_synthesis(result, case.target, case.output, identity)
    log.info("%s: %.1f s", case.target, result.record["seconds"])
    if not case.output.qa:
        return None
    _log_checks(case.target, result.qa)
    return result.qa


def _log_checks(target: Path, qa: QaReport | None) -> None:
    """Log the checks that failed or warned."""
    if qa is not None and (summary := qa.summary()) is not None:
        log.warning("%s: %s", target, summary)
