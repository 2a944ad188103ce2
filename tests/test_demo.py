import json

import numpy as np
import pytest

from creps.api import load
from creps.demo.run import DemoCohort, run_demo, score_table, shipped_model
from creps.errors import OutputExistsError
from creps.io.itk import read_volume
from creps.metrics.image import mean_absolute_error_hu
from creps.metrics.segmentation import bone_dice
from creps.phantom import head_patient

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("region", "recipes"), [("head", ["recipe anatomy"]), ("pelvis", ["recipe anatomy"])])
def test_the_demo_runs_end_to_end(tmp_path, region, recipes):
    overrides = {
        "training.steps": 2, "training.device": "cpu", "generator.width": 2, "generator.residual_blocks": 1,
        "discriminator.widths": [2, 2, 2], "creps.slice_step": 16, "preparation.spacing_mm": [6, 6, 6],
        "sampling.patch_size": [24, 24, 24], "creps.image_size": 32,
    }  # fmt: skip
    cohort = DemoCohort(region=region, mr_patients=2, ct_patients=2, test_patients=1, spacing_mm=5.0)
    result = run_demo(tmp_path / "demo", cohort=cohort, overrides=overrides)
    assert {"constant water", "histogram-matched MR", *recipes} <= set(result.scores)
    assert ("shipped model" in result.scores) == (region == "head")
    assert result.scores["constant water"]["bone_dice"] == 0
    assert result.scores["crude guess (no network)"]["bone_dice"] > 0
    assert result.picture.read_bytes().startswith(b"\x89PNG")
    saved = json.loads((tmp_path / "demo" / "scores.json").read_text())
    assert saved["scores"] == result.scores
    assert len(score_table(result.scores).splitlines()) == 1 + len(result.scores)
    patient = f"1{region[0].upper()}T001"
    sct = read_volume(tmp_path / "demo" / "sct" / "recipe_anatomy" / f"{patient}_sct.nii.gz")
    assert sct.same_grid_as(read_volume(tmp_path / "demo" / "phantom" / "test" / patient / "mr.nii.gz"))
    with pytest.raises(OutputExistsError):
        run_demo(tmp_path / "demo")


def test_the_shipped_model_puts_bone_where_bone_is():
    """On a phantom that neither training nor the demo has seen."""
    patient = head_patient(987654, 3.0)
    model = load(shipped_model())
    assert model.plan.recipe == "anatomy"
    result = model.synthesize(patient.mr, device="cpu")
    assert result.intake.verdict == "passed"
    sct = result.sct.array
    body, truth = patient.mask.array > 0, patient.ct_noise_free.array
    water = mean_absolute_error_hu(truth, np.zeros_like(truth), body)
    assert mean_absolute_error_hu(truth, sct, body) < 0.95 * water
    assert bone_dice(truth, sct, body) > 0.5
