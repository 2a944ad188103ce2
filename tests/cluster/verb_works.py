"""The work of two verbs, with notes of what was done; some of it kills its job."""

from dataclasses import dataclass

from creps.evaluation.batch import _Scoring
from creps.synthesis.work import SynthesisWork
from tests.cluster.works import kill_this_job, note, notes


@dataclass(frozen=True)
class NotedSynthesis(SynthesisWork):
    """Synthesizes; the job dies once before ``m1``, and once after ``m2`` is written but before that is stored."""

    def do(self, task):
        case, book = task.source.label, task.target.parent.parent / "book"
        if case == "m1" and "lost" not in notes(book):
            note(book, "lost")
            kill_this_job()
        outcome = super().do(task)
        note(book, case)
        if case == "m2":
            kill_this_job()
        return outcome


@dataclass(frozen=True)
class NotedScoring(_Scoring):
    """Scores."""

    def do(self, task):
        note(task.sct.parent.parent / "book", task.case)
        return super().do(task)
