"""Making a model one that ships: it has seen phantoms only, is stored small, scored as stored, and described."""

import json

import numpy as np
import pytest
import torch
from benchmarks.gpu.origin import site_sha256
from benchmarks.shipping.evidence import lines_of, on_unseen_family
from benchmarks.shipping.origin import check_origin
from benchmarks.shipping.ship import ship

from creps.cohort.prepare import prepare
from creps.demo import patients
from creps.io.itk import read_volume, write_volume
from creps.model import WEIGHTS, Plan, load_tensors
from creps.phantom import write_cohort
from creps.provenance import sha256_file
from creps.settings import load_settings
from creps.shipped import catalogue
from creps.training.run.folder import cases_sha256
from tests.conftest import tiny
from tests.data.model_folders import FOLDER
from tests.once import head_phantom


def plan_of(cohort, **training):
    settings = tiny()
    record = {"cohort": {"cases_sha256": cases_sha256(cohort)}, "settings": settings.model_dump(mode="json")}
    return Plan(
        preparation=cohort.manifest.preparation,
        generator=settings.generator,
        patch_size=settings.sampling.patch_size,
        inference=settings.inference,
        training=record | training,
    )


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms")
    write_cohort(folder / "p", mr_patients=1, ct_patients=1, test_patients=0, spacing_mm=5.0, seed=3)
    spacing = {"preparation.spacing_mm": [6, 6, 6]}
    return folder / "p", prepare(folder / "p" / "train.csv", folder / "c", settings=load_settings(overrides=spacing))


def test_a_model_that_has_seen_phantoms_only_passes(phantoms):
    folder, cohort = phantoms
    phrase = check_origin(plan_of(cohort), cohort.folder, [folder])
    assert phrase.startswith("digital phantoms only: 1 MR and 1 CT")


def test_a_model_that_has_seen_anything_else_does_not_ship(phantoms, cohort, tmp_path):
    folder, of_phantoms = phantoms
    with pytest.raises(SystemExit, match=r"are no phantoms\. Models that ship"):
        check_origin(plan_of(cohort), cohort.folder, [folder])
    with pytest.raises(SystemExit, match="is not the cohort that the model was trained on"):
        check_origin(plan_of(cohort), of_phantoms.folder, [folder])
    with pytest.raises(SystemExit, match="was not written by 'creps phantom'"):
        check_origin(plan_of(cohort), cohort.folder, [tmp_path])
    other = plan_of(of_phantoms, started_from={"weights_sha256": "0" * 64})
    with pytest.raises(SystemExit, match="started from a model that does not ship"):
        check_origin(other, of_phantoms.folder, [folder])


def test_a_model_without_a_cohort_must_say_that_it_saw_phantoms_only(phantoms):
    plan = plan_of(phantoms[1])
    with pytest.raises(SystemExit, match="was trained on a cohort: name it"):
        check_origin(plan, None, [])
    record = plan.training | {"cohort": None}
    with pytest.raises(SystemExit, match="does not say that every patch was of a phantom"):
        check_origin(plan.model_copy(update={"training": record}), None, [])
    record["settings"]["simulation"] |= {"phantom_share": 1.0, "phantoms": 40}
    phrase = check_origin(plan.model_copy(update={"training": record}), None, [])
    assert phrase == "digital phantoms only: 40, imaged anew for every patch"


@pytest.mark.slow
def test_the_cohort_of_a_gpu_job_is_grown_again(tmp_path, phantoms):
    sizes = {"site_people": 1, "model_mm": {"head": [5.0] * 3}, "model_patch": {"head": [32] * 3}, "device": "cpu"}
    results = tmp_path / "results.json"
    results.write_text(json.dumps({"sizes": sizes}))
    plan = plan_of(phantoms[1])
    simulation = {"simulation": {"phantom_share": 1.0, "phantoms": 40}}
    record = plan.training | {"settings": plan.training["settings"] | simulation}
    with pytest.raises(SystemExit, match="are not the cohort that the model was trained on"):
        check_origin(plan.model_copy(update={"training": record}), None, [], results)
    record["cohort"] = {"cases_sha256": site_sha256(results, "head")}
    phrase = check_origin(plan.model_copy(update={"training": record}), None, [], results)
    assert phrase == "digital phantoms only: 40, imaged anew for every patch"
    before = plan.model_copy(update={"training": record, "weights_sha256": "a" * 64})
    folder, cohort = phantoms
    after = plan_of(cohort, started_from={"weights_sha256": "a" * 64})
    assert "after others" in check_origin(after, cohort.folder, [folder], results, [before])
    with pytest.raises(SystemExit, match="started from a model that does not ship"):
        check_origin(after, cohort.folder, [folder], results, [before.model_copy(update={"weights_sha256": "b" * 64})])
    record["settings"]["simulation"]["phantom_share"] = 0.9
    with pytest.raises(SystemExit, match="does not say that every patch was of a phantom"):
        check_origin(plan.model_copy(update={"training": record}), None, [], results)


def test_a_scan_in_a_phantoms_place_is_found(phantoms, tmp_path):
    """Its hash would agree with its own file: it is grown again."""
    _, cohort = phantoms
    write_cohort(tmp_path / "p", mr_patients=1, ct_patients=0, test_patients=0, spacing_mm=5.0, seed=4)
    (scan,) = (tmp_path / "p").rglob("mr.nii.gz")
    volume = read_volume(scan)
    write_volume(volume.with_array(volume.array[::-1].copy()), scan, integer=True)
    with pytest.raises(SystemExit, match="is not the phantom that its seed gives"):
        check_origin(plan_of(cohort), cohort.folder, [tmp_path / "p"])


@pytest.mark.slow
def test_a_shipped_folder_is_small_scored_and_described(tmp_path, monkeypatch):
    monkeypatch.setattr(patients, "cores", lambda: 1)
    folder = ship(FOLDER / "unet", "tiny", trained_on="nothing, only phantoms", patients=1, profiled=2, into=tmp_path)
    assert "tiny/MODEL_CARD.md" in catalogue.verify(tmp_path)
    kernels = [tensor for tensor in load_tensors(folder / WEIGHTS).values() if tensor.ndim > 1]
    assert {tensor.dtype for tensor in kernels} == {torch.bfloat16}
    scores = json.loads((folder / catalogue.SCORES).read_text())
    assert scores["weights_sha256"] == sha256_file(folder / WEIGHTS)
    assert set(scores["scores"]) == {"tiny", "constant water"}
    monkeypatch.setattr(catalogue, "SHIPPED", tmp_path)
    (model,) = catalogue.models()
    assert (model.name, model.network, model.trained_on) == ("tiny", "unet", "nothing, only phantoms")
    assert catalogue.table([model]).splitlines()[1].startswith("tiny")


def test_a_card_tells_what_others_than_its_own_phantoms_showed():
    scores = {
        "unseen_family": {"people": 2, "mae_hu": 90.4, "worst_mae_hu": 99.6, "bone_dice": 0.7, "water_mae_hu": 170.2},
        "real_scans": {"heads": 5.0, "fewest_rays": 0.966, "most_deep_bone": 0.033, "skull_dice": 0.668},
    }
    family, heads = lines_of(scores)
    assert "2 people" in family
    assert "MAE 90 HU (worst 100; constant water 170), bone Dice 0.70" in family
    assert "97 % of the rays" in heads.replace("  ", " ")
    assert "3.3 % of the vault's inside" in heads
    hips = {"hips": 3.0, "cts": 3.0, "bone_share": 0.041, "bone_share_of_cts": 0.0497}
    assert "4.1 % of the body is bone; in 3 CTs of other people it is 5.0 %" in lines_of({"real_scans": hips})[0]
    assert lines_of({}) == []


def test_the_family_is_scored_beside_water(tmp_path):
    person = head_phantom([9, 9], 5.0)
    folder = tmp_path / "test" / "one"
    folder.mkdir(parents=True)
    for name in ("mr", "ct_noise_free", "mask"):
        write_volume(getattr(person, name), folder / f"{name}.nii.gz")
    found = on_unseen_family(FOLDER / "unet", tmp_path)
    inside = person.mask.array > 0
    assert found["people"] == 1
    assert found["water_mae_hu"] == pytest.approx(np.abs(person.ct_noise_free.array[inside]).mean(), abs=0.2)
    assert found["worst_mae_hu"] == pytest.approx(found["mae_hu"], abs=0.2)
