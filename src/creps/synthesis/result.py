"""`Synthesis`: a synthetic CT and how it was made."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from creps.intake.gate import IntakeResult
from creps.io.image import ImageSource
from creps.preprocessing.target_grid import bring_onto
from creps.synthesis.derived import Derived
from creps.volume import Mask, Volume

if TYPE_CHECKING:
    from creps.qa.document import QaReport

__all__ = ["Synthesis"]


@dataclass(frozen=True)
class Synthesis:
    """A synthetic CT and how it was made.

    Attributes:
        sct: In HU, on the grid that was asked for.
        record: Model, settings, intake checks, coverage, versions and times, as plain JSON values.
        intake: Findings of the intake checks.
        body: The patient as found in the MR, 1 inside and 0 outside, on the model's grid.
        mr: The MR it was made from.
        source: The file or DICOM series of that MR; None for a volume in memory.
        spread: In HU, on the grid of `sct`: how far the value of each voxel may be off, not calibrated. With classes,
            the standard deviation of the voxel's distribution; where predictions overlap, half their range; of both,
            the root of the sum of squares. None unless it was asked for.
        uncertainty: In HU, on the grid of `sct`: half the width of the interval around the sCT that is to hold 90 % of
            the true values of each tissue, as far as patients are like what the model was calibrated on; 0 where
            nothing was predicted, and where an override set the HU. The record's ``uncertainty`` has the MAE that it
            lets expect. None unless it was asked for.
        predicted: The sCT without the overrides; None if there are none.
        overridden: (D, H, W) of `sct`: the voxels that overrides set; None without overrides.
        derived: What is written beside the sCT, made of it.
    """

    sct: Volume
    record: dict[str, Any]
    intake: IntakeResult
    body: Volume
    mr: Volume
    source: ImageSource | None = None
    spread: Volume | None = None
    uncertainty: Volume | None = None
    predicted: Volume | None = None
    overridden: Mask | None = None
    derived: tuple[Derived, ...] = ()

    @cached_property
    def qa(self) -> QaReport:
        """The checks of the sCT, as predicted, against its MR; computed when it is asked for, and once.

        Examples:
            >>> report = creps.load("model").synthesize("mr.nii.gz").qa
            >>> report.result in ("pass", "warn", "fail")
            True
        """
        from creps.qa.examine import IntakeSummary, check_sct

        refused = {finding.check for finding in self.intake.refusals}
        summary = IntakeSummary(
            verdict=self.intake.verdict,
            largest_score=None if self.intake.scores is None else self.intake.scores.largest,
            left_out_ml=self.record["mr"]["left_out_ml"],
            cuts_allowed="field of view" not in refused,
        )
        sct = self.sct if self.predicted is None else self.predicted
        return check_sct(self.mr, sct, self.body, self.record["model"]["region"], summary)

    def body_mask(self) -> Mask:
        """(D, H, W) of `sct`: the patient as found in the MR.

        Examples:
            >>> synthesis = creps.load("model").synthesize("mr.nii.gz")
            >>> synthesis.body_mask().shape == synthesis.sct.shape
            True
        """
        return np.asarray(bring_onto(self.body, self.sct, 0.0).array > 0.5)
