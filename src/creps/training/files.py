"""Names of the files in the folder of a run; imports nothing, so that reading a run needs no torch.

::

    settings.yaml                    every setting
    record.json                      versions, hashes, cohort, sessions (from step, to step, how each ended)
    log.txt  curves.csv  curves.png  pictures/  tensorboard/
    report.html  report.json         the run on one page, rewritten while it continues
    checkpoints/step_00000500/       to continue from
    phantoms/                        people to learn from; until the run is finished
    last/  ema/  best/               models: last weights, their moving average, lowest validation score
    model/                           the one to use: a copy of one of these
"""

from __future__ import annotations

__all__ = [
    "BEST",
    "CHECKPOINTS",
    "CURVES",
    "CURVES_PICTURE",
    "LOG",
    "MODEL",
    "PHANTOMS",
    "PICTURES",
    "RECORD",
    "REPORT",
    "SETTINGS",
]

SETTINGS = "settings.yaml"
RECORD = "record.json"
LOG = "log.txt"
CURVES, CURVES_PICTURE = "curves.csv", "curves.png"
PICTURES = "pictures"
REPORT = "report.html"
CHECKPOINTS = "checkpoints"
PHANTOMS = "phantoms"
BEST, MODEL = "best", "model"
