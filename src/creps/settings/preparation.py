"""Settings of the preparation of volumes for a network."""

from __future__ import annotations

from typing import Literal

from creps.settings.fields import Fraction, NotNegative, Positive, Section, Seed, SpacingMm

__all__ = ["PreparationSettings"]


class PreparationSettings(Section):
    """How volumes become network input; stored with the cohort and with the model."""

    region: str = "brain"
    """Body region: one model per region (paper, section 2.1)."""
    spacing_mm: SpacingMm = (1.0, 1.0, 1.0)
    """Voxel spacing (D, H, W) in mm after cubic B-spline resampling (paper, section 2.2: brain 1x1x1; pelvis 1x1x2.5 with 2.5 along the depth)."""
    mr_scale: Literal["auto"] | Positive = 1000.0
    """Divisor of the MR, which is then clipped to [0, 2] (paper, section 2.2: 1000); `auto` maps the 99.5th percentile inside the body of each volume to 2, for scanners with other units."""
    mr_bias_correction: bool = False
    """Correct the MR's bias field with N4 before scaling, in training and in synthesis; takes from seconds to a minute per volume (paper: not mentioned)."""
    remove_couch: bool = False
    """Remove couch, headrest and immobilisation mask from the CTs: everything outside the body becomes air; the MR stays as it is (paper: not mentioned)."""
    remove_outside: bool = False
    """Set everything outside the body mask to background (CT: air, which removes couch and mask as well; MR: 0), in training and in synthesis (paper: not mentioned)."""
    crop_margin_mm: NotNegative | None = None
    """Crop volumes to the body's box with this margin: smaller cohorts and fewer empty patches, in training and in synthesis; null keeps the whole volume (paper: not mentioned)."""
    validation_fraction: Fraction = 0.1
    """Fraction of the patients (of MR and of CT) held out for validation; at least one of each where there are two or more."""
    seed: Seed = 0
    """Seed of the split into training and validation patients."""
