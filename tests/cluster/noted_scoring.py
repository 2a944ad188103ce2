"""Scoring with notes of what was done."""

from dataclasses import dataclass

from creps.evaluation.batch import _Scoring
from tests.cluster.works import note


@dataclass(frozen=True)
class NotedScoring(_Scoring):
    """Scores."""

    def do(self, task):
        note(task.sct.parent.parent / "book", task.case)
        return super().do(task)
