"""Which checks there are: what each measures, on which side it has a limit, and what to do first if it is beyond."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["KINDS", "CheckKind"]


@dataclass(frozen=True)
class CheckKind:
    """One check of a measured number.

    Attributes:
        name: In the document.
        unit: Of the number; empty: none.
        sides: On which side it has limits: ``above``, ``below`` or both.
        smallest: The least that counts as usual spread, in the unit: so that a number that hardly varies among
            known-good syntheses does not fail others for next to nothing.
        tells: What the number is, as a sentence with ``{}`` for it.
        do: What to do first.
        tightness: The limits are this part of the common multiple of the usual spread from the median.
        fails: Whether it can fail; else it only warns.
        turning_point: A limit that follows from what the number means, in place of one from known-good syntheses.
    """

    name: str
    unit: str
    sides: tuple[str, ...]
    smallest: float
    tells: str
    do: str
    turning_point: float | None = None
    tightness: float = 1.0
    fails: bool = True


ABOVE, BELOW, BOTH = ("above",), ("below",), ("below", "above")
SEE_OUTLINE = "Compare the outline of sCT and MR; if the body mask is wrong, give one (--mask)."
SEE_PLACE = "Overlay the sCT on the MR: check that both are of one patient, in one place, left on the left."
SEE_BONE = "Compare the bone of the sCT with the dark bone of the MR there."
SEE_HU = "Check the sequence of the MR; compare doses with a bulk-density CT (--bulk-density)."
SEE_MR = "Inspect the MR for an implant or an artefact; there the sCT is a guess."

KINDS: tuple[CheckKind, ...] = (
    CheckKind("contour_mean", "mm", ABOVE, 0.5, "Skin of sCT and MR lie {} mm apart on average.", SEE_OUTLINE),
    CheckKind("contour_p95", "mm", ABOVE, 2.0, "95 % of the skin of sCT and MR lie within {} mm.", SEE_OUTLINE),
    CheckKind("shift", "mm", ABOVE, 0.5, "The edges of the sCT are displaced by {} mm against the MR's.", SEE_PLACE),
    CheckKind("edges_shared", "", BELOW, 0.05, "The edges of sCT and MR correlate with {}.", SEE_PLACE),
    CheckKind(
        "mirrored", "", BELOW, 0.01, "Edges fit the MR by {} better than with left and right exchanged.", SEE_PLACE, 0.0
    ),
    CheckKind("fat", "HU", BOTH, 10, "Fat under the skin has {} HU (median).", SEE_HU),
    CheckKind("soft_tissue", "HU", BOTH, 5, "Deep soft tissue has {} HU (median).", SEE_HU),
    CheckKind("bone", "HU", BOTH, 40, "Bone above 250 HU has {} HU (median).", SEE_HU),
    CheckKind("unevenness", "HU", BOTH, 2, "Deep soft tissue varies by {} HU from voxel to voxel.", SEE_HU),
    CheckKind("bone_share", "%", BOTH, 1, "{} % of the body is bone.", SEE_BONE),
    CheckKind("air_share", "%", BOTH, 1, "{} % of the body is air.", SEE_HU),
    CheckKind("fat_share", "%", BOTH, 2, "{} % of the body is fat.", SEE_HU),
    CheckKind("slice_step", "HU", ABOVE, 5, "From a slice to the next, soft tissue jumps by {} HU.", SEE_HU),
    CheckKind("plane_step", "HU", ABOVE, 5, "Across a plane, soft tissue jumps by {} HU, as at a seam.", SEE_HU),
    CheckKind("saturated", "%", ABOVE, 0.2, "{} % of the body has the lowest or highest HU an sCT can have.", SEE_HU),
    CheckKind("bone_continuity", "%", BELOW, 3, "{} % of the bone is in one piece.", SEE_BONE),
    CheckKind("bone_thickness", "mm", BOTH, 0.5, "Bone is {} mm thick (mean).", SEE_BONE),
    CheckKind("bone_at_skin", "%", ABOVE, 1, "{} % of the bone lies at the skin.", SEE_BONE),
    CheckKind("bone_missing", "ml", ABOVE, 0.4, "{} ml that look like bone in the MR are none in the sCT.", SEE_BONE),
    CheckKind(
        "bone_unexplained", "ml", ABOVE, 0.4, "{} ml of bone do not look like bone in the MR.", SEE_BONE, tightness=0.91
    ),
    CheckKind(
        "one_sided_bone",
        "ml",
        ABOVE,
        0.4,
        "{} ml of bone have no counterpart on the other side.",
        SEE_BONE,
        tightness=0.91,
    ),
    CheckKind(
        "bone_unlikely",
        "ml",
        ABOVE,
        0.3,
        "{} ml of bone look unlike most bone in the MR.",
        SEE_BONE,
        tightness=0.73,
        fails=False,
    ),
    CheckKind(
        "bone_without_edges",
        "ml",
        ABOVE,
        0.2,
        "{} ml of bone lie where the MR has no edge.",
        SEE_BONE,
        tightness=0.73,
        fails=False,
    ),
    CheckKind(
        "sides_differ", "HU", ABOVE, 10, "With the MR alike, left and right differ by {} HU.", SEE_BONE, tightness=0.91
    ),
    CheckKind(
        "one_sided_void",
        "ml",
        ABOVE,
        1,
        "{} ml without signal have no counterpart on the other side.",
        SEE_MR,
        tightness=1.18,
    ),
    CheckKind("air_in_signal", "ml", ABOVE, 1, "{} ml of air lie where the MR has signal.", SEE_MR),
    CheckKind("tissue_in_void", "ml", ABOVE, 1, "{} ml of soft tissue lie where the MR has no signal.", SEE_MR),
    CheckKind("void_radius", "mm", ABOVE, 2, "A ball of {} mm radius without signal fits into the MR's body.", SEE_MR),
    CheckKind("signal_beside", "%", ABOVE, 2, "Beside the body the MR has {} % of its signal.", SEE_MR),
    CheckKind("shading", "", ABOVE, 0.3, "One part of the body is {} times as bright as another in the MR.", SEE_MR),
    CheckKind(
        "bias_field", "%", ABOVE, 11, "The bias field of the MR varies by {} % in soft tissue.", SEE_MR, tightness=0.5
    ),
    CheckKind("noise", "%", ABOVE, 1.5, "The noise of the MR is {} % of its signal.", SEE_MR),
    CheckKind("anatomy", "", ABOVE, 0.2, "Where bone, air and body lie is {} times as far off as usual.", SEE_PLACE),
    CheckKind(
        "orientation",
        "",
        ABOVE,
        0.3,
        "Turned over or back to front, bone and air are {} nearer to usual.",
        SEE_PLACE,
        0.0,
    ),
    CheckKind(
        "cut_slices",
        "%",
        ABOVE,
        10,
        "In {} % of its slices the body reaches a side of the field of view.",
        "Use a larger field of view; dose there and beams through it are wrong.",
    ),
)
"""Checks with limits from known-good syntheses."""
