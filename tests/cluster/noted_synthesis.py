"""Synthesis with notes of what was done; it kills its job twice."""

from dataclasses import dataclass

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
