"""Published figures to stand beside a comparison: other patients, other plans, other engines."""

from __future__ import annotations

from creps.dose.plan import DosePlan

__all__ = ["Published", "published_for"]

Published = dict[str, str]
"""What was measured, its value, and where it was published."""

PHOTONS: tuple[Published, ...] = (
    {
        "what": "dose difference of the PTV, brain and pelvis",
        "value": "at most 2 % for 95 % of patients, proposed as a criterion",
        "source": "Korsholm et al., Radiat Oncol 2014;9:16",
    },
    {
        "what": "gamma 2 %/2 mm, photons, abdomen, head and neck, thorax",
        "value": "98.3 % (best of task 1, supervised)",
        "source": "SynthRAD2025 challenge",
    },
)

PROTONS: tuple[Published, ...] = (
    {
        "what": "range error of 200 MeV spots in the pelvis, pix2pix with an MAE of 49 HU",
        "value": "-1.0 ± 2.2 mm; more than 5 mm for 4.5 % of the spots",
        "source": "Acta Oncol 2023;62:1461, doi 10.1080/0284186X.2023.2256967",
    },
    {
        "what": "target dose of brain IMPT plans, supervised GAN",
        "value": "below 0.5 % of the prescription (mean absolute difference)",
        "source": "PMC7286008",
    },
)


def published_for(plan: DosePlan) -> tuple[Published, ...]:
    """The figures for a plan's radiation.

    Examples:
        >>> from creps.dose.plan import default_plan
        >>> published_for(default_plan("brain"))[0]["source"]
        'Korsholm et al., Radiat Oncol 2014;9:16'
    """
    return PHOTONS if plan.radiation == "photons" else PROTONS
