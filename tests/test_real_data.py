"""The main path on real scans: only where the shared folder lies beside the project, as in CI."""

import json

import numpy as np
import pytest

import creps
from creps.cohort.cohort import load_cohort
from creps.cohort.prepare import prepare
from creps.io.itk import read_volume
from creps.preprocessing.mask import body_mask_ct, body_mask_mr
from creps.preprocessing.plausibility import check_ct, check_mr
from creps.preprocessing.resample import resample
from creps.settings import load_settings
from creps.training.run.train import train

REGIONS = ["head", "pelvis"]


@pytest.mark.parametrize("region", REGIONS)
def test_every_volume_reads_with_a_plausible_body(shared, region):
    files = sorted((shared / "data" / region).glob("[cm][rt]/*.nii.gz"))
    assert len(files) >= 8
    for path in files:
        volume = read_volume(path)
        is_mr = path.parent.name == "mr"
        (check_mr if is_mr else check_ct)(volume, str(path))
        upright = resample(volume.reoriented(), (4, 4, 4))
        assert 0.1 < (body_mask_mr if is_mr else body_mask_ct)(upright).mean() < 0.97, path.name
        assert upright.reoriented(volume.direction).array.min() >= volume.array.min()


@pytest.mark.parametrize("region", REGIONS)
def test_the_verbs_on_real_scans(shared, region, tmp_path):
    overrides = {
        "preparation.spacing_mm": [5, 5, 5], "training.steps": 2, "training.device": "cpu", "inference.device": "cpu",
        "sampling.patch_size": [24, 32, 32], "generator.width": 4, "creps.slice_step": 8,
    }  # fmt: skip
    data = shared / "data" / region
    prepare((data / "mr", data / "ct"), tmp_path / "c", settings=load_settings("demo", overrides=overrides))
    cohort = load_cohort(tmp_path / "c")
    assert len(cohort.manifest.cases) == len(list(data.glob("[cm][rt]/*.nii.gz")))
    for case in cohort.cases("mr", "train"):  # scanners that run to 215 and to 1658 land in one range
        inside = np.asarray(cohort.array(case))[cohort.body(case)]
        assert 0.15 < np.median(inside) < 1.6, case.case
    model = train(cohort, tmp_path / "run", load_settings(overrides=overrides, prepared=cohort.settings()))
    source = sorted((data / "mr").iterdir())[0]
    inference = load_settings("demo").inference.model_dump()
    creps.load(model).synthesize(source, **inference).save(tmp_path / "sct.nii.gz")
    sct = read_volume(tmp_path / "sct.nii.gz")
    assert sct.same_grid_as(read_volume(source))
    assert -1024 <= sct.array.min() < sct.array.max() <= 3000
    assert json.loads((tmp_path / "sct.json").read_text())["patches"]["coverage_min"] >= 2
