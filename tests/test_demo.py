import json

import pytest

from creps.demo import DemoCohort, run_demo, score_table
from creps.errors import OutputExistsError
from creps.io.itk import read_volume


def test_the_demo_runs_end_to_end(tmp_path):
    overrides = {
        "training.steps": 2, "training.device": "cpu", "generator.width": 2, "generator.residual_blocks": 1,
        "discriminator.widths": [2, 2, 2], "creps.slice_step": 16, "preparation.spacing_mm": [6, 6, 6],
        "sampling.patch_size": [24, 24, 24], "creps.image_size": 32,
    }  # fmt: skip
    cohort = DemoCohort(mr_patients=2, ct_patients=2, test_patients=1, spacing_mm=5.0)
    result = run_demo(tmp_path / "demo", cohort=cohort, overrides=overrides)
    assert {"constant water", "histogram-matched MR", "demo recipe", "paper's recipe"} <= set(result.scores)
    assert result.scores["constant water"]["bone_dice"] == 0
    assert result.scores["histogram-matched MR"]["bone_dice"] > 0
    assert result.picture.read_bytes().startswith(b"\x89PNG")
    saved = json.loads((tmp_path / "demo" / "scores.json").read_text())
    assert saved["scores"] == result.scores
    assert len(score_table(result.scores).splitlines()) == 1 + len(result.scores)
    sct = read_volume(tmp_path / "demo" / "sct" / "demo_recipe" / "1HT001_sct.nii.gz")
    assert sct.same_grid_as(read_volume(tmp_path / "demo" / "phantom" / "test" / "1HT001" / "mr.nii.gz"))
    with pytest.raises(OutputExistsError):
        run_demo(tmp_path / "demo")
