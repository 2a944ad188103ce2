"""``creps demo``: the first look with shipped models, adaptation to a scanner, and training from scratch."""

import json

import numpy as np
import pytest

from creps import phantom
from creps.api import load
from creps.demo import first_look as module
from creps.demo.adaptation import AdaptationOptions, Adapted, adapt
from creps.demo.first_look import FirstLook, first_look, models_of
from creps.demo.full import DemoCohort, run_demo
from creps.demo.patients import Order, grow_all, mean_scores, phantom_spacing_mm, read_patients, score_table
from creps.demo.scanners import UNSEEN_SCANNERS, unseen_scanner
from creps.errors import OutputExistsError, SettingsError
from creps.io.itk import read_volume
from creps.metrics.image import mean_absolute_error_hu
from creps.metrics.segmentation import bone_dice
from creps.phantom import head_patient
from tests.test_cli import run

QUICK = AdaptationOptions(
    steps=2,
    mr_patients=1,
    ct_patients=1,
    test_patients=1,
    phantoms=1,
    overrides={"training.device": "cpu", "sampling.patch_size": [16, 16, 16], "training.precision": "fp32"},
)


@pytest.fixture
def coarse(monkeypatch):
    """Phantoms that grow in a fraction of the time."""
    monkeypatch.setattr("creps.demo.adaptation.SPACING_MM", 5.0)
    monkeypatch.setattr(module, "phantom_spacing_mm", lambda _: 5.0)


@pytest.mark.slow
def test_the_first_look_scores_draws_and_adapts(tmp_path, coarse):
    look = first_look(tmp_path / "demo", models_of("head"), unseen_scanner("north"), patients=1, options=QUICK, jobs=1)
    assert set(look.scores) == {"head: constant water", "head: shipped model head"}
    assert look.scores["head: constant water"]["bone_dice"] == 0
    assert look.scores["head: shipped model head"]["mae_hu"] < look.scores["head: constant water"]["mae_hu"]
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in look.pictures)
    assert [picture.name for picture in look.pictures] == ["first-look.png", "adaptation.png"]
    saved = json.loads((tmp_path / "demo" / "scores.json").read_text())
    assert saved["scores"] == look.scores
    assert saved["adaptation"]["scanner"] == "north"
    assert set(saved["adaptation"]["patients"]) == {"north-test1"}
    assert saved["adaptation"]["before"] != saved["adaptation"]["after"]
    assert "before" in look.text()
    assert load(look.adapted.model).plan.training["started_from"]["weights_sha256"] == load("head").plan.weights_sha256
    cohort = json.loads((tmp_path / "demo" / "adaptation" / "cohort" / "manifest.json").read_text())
    kinds = {case["patient"]: case["modality"] for case in cohort["cases"]}
    assert kinds == {"north-mr1": "mr", "north-ct1": "ct"}  # nobody has both: no pairs
    with pytest.raises(OutputExistsError):
        first_look(tmp_path / "demo", models_of("head"), None)
    with pytest.raises(OutputExistsError):
        adapt("head", unseen_scanner("north"), tmp_path / "demo", QUICK)


@pytest.mark.slow
def test_the_command_looks_without_adapting(tmp_path, coarse, capsys, monkeypatch):
    monkeypatch.setattr("creps.demo.patients.cores", lambda: 1)
    assert run("-q", "demo", "-o", tmp_path / "d", "--region", "head", "--scanner", "none") == 0
    out = capsys.readouterr().out
    assert "head: shipped model head" in out
    assert "picture: " in out
    assert run("-q", "demo", "-o", tmp_path / "d") == 1
    assert "already exists" in capsys.readouterr().err


def test_a_region_without_a_shipped_model_is_said(monkeypatch):
    monkeypatch.setattr(module, "models", list)
    with pytest.raises(
        SettingsError, match=r"No model of the pelvis ships with creps\. Train one with creps demo --full"
    ):
        models_of("pelvis")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--full", "--scanner", "east"], "--full adapts nothing"),
        (["--scanner", "none", "--steps", "3"], "--scanner none trains nothing"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(options, message, tmp_path, capsys):
    assert run("-q", "demo", "-o", tmp_path / "d", *options) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


def test_the_unseen_scanners_are_unlike_those_of_the_phantoms_and_fixed():
    known = [centre for region in phantom.REGIONS.values() for centre in region.mr_centres]
    assert [scanner.name for scanner in UNSEEN_SCANNERS] == ["north", "east", "south"]
    assert len({scanner.seed for scanner in UNSEEN_SCANNERS}) == 3
    for scanner in UNSEEN_SCANNERS:
        centre = scanner.centre
        assert all((c.tesla, c.sequence, c.te_ms) != (centre.tesla, centre.sequence, centre.te_ms) for c in known)
        assert max(scanner.voxel_mm) <= 4
    with pytest.raises(SettingsError, match="Choose one of: north, east, south"):
        unseen_scanner("west")


def test_the_command_offers_every_scanner():
    from creps.cli.verbs.demo import SCANNERS

    assert list(SCANNERS) == [scanner.name for scanner in UNSEEN_SCANNERS]


def test_an_unseen_scanner_images_the_patients_it_is_told_to(tmp_path):
    """The same person by another scanner: another MR, the same CT grid of voxels of that scanner."""
    north = unseen_scanner("north")
    orders = [Order("mr", "head", (1, 2), 5.0, scanner=north.centre, ct=False), Order("both", "head", (1, 2), 5.0)]
    grow_all([(tmp_path, order) for order in orders], jobs=1)
    assert sorted(path.name for path in (tmp_path / "mr").iterdir()) == ["mask.nii.gz", "mr.nii.gz"]
    (patient,) = read_patients([tmp_path / "both"])
    mr = read_volume(tmp_path / "mr" / "mr.nii.gz")
    assert mr.spacing_mm == pytest.approx((6, 5, 5))
    assert patient.mr.spacing_mm == pytest.approx((5, 5, 5))
    again = mean_scores([patient], [patient.ct_noise_free.array])
    assert again["mae_hu"] == 0
    assert again["bone_dice"] == 1


def test_phantoms_are_as_coarse_as_the_models_coarsest_axis():
    assert phantom_spacing_mm((3, 2, 2)) == 3
    assert phantom_spacing_mm((9, 2, 2)) == 5


def test_an_adaptation_counts_who_got_better_and_who_worse():
    def rows(*errors):
        return [{"mae_hu": error, "mae_noisy_hu": error, "bias_hu": 0.0, "bone_dice": 0.5} for error in errors]

    class Named:
        def __init__(self, name):
            self.name = name

    def adapted(*after):
        return Adapted(
            "x",
            None,
            [Named(i) for i in "abcd"],
            ([], []),
            rows(100, 100, 100, 100),
            rows(*after),
            ["passed"] * 4,
            1,
        )

    record = adapted(80, 99.5, 120, 90).record()
    assert (record["better"], record["worse"]) == (0.5, 0.25)
    assert record["mae_ratio"] == pytest.approx((80 + 99.5 + 120 + 90) / 400)
    assert record["patients"]["c"]["after"]["mae_hu"] == 120
    assert "nothing gained" not in FirstLook({}, adapted(80, 99.5, 120, 90), [], {}).text()
    assert "nothing gained" in FirstLook({}, adapted(100, 99.5, 101, 102), [], {}).text()


def test_options_of_the_adaptation_become_settings():
    settings = AdaptationOptions(steps=8, learning_rate=3e-5, overrides={"training.model": "best"}).settings()
    assert settings["training.steps"] == 8
    assert settings["training.learning_rate"] == 3e-5
    assert settings["training.model"] == "best"


@pytest.mark.slow
@pytest.mark.parametrize("region", ["head", "pelvis"])
def test_the_full_demo_runs_end_to_end(tmp_path, region):
    overrides = {
        "training.steps": 2, "training.device": "cpu", "generator.width": 2, "generator.residual_blocks": 1,
        "discriminator.widths": [2, 2, 2], "creps.slice_step": 16, "preparation.spacing_mm": [6, 6, 6],
        "sampling.patch_size": [24, 24, 24], "creps.image_size": 32,
    }  # fmt: skip
    cohort = DemoCohort(region=region, mr_patients=2, ct_patients=2, test_patients=1, spacing_mm=5.0)
    recipes = ("anatomy", "paper") if region == "head" else ("anatomy",)
    result = run_demo(tmp_path / "demo", cohort=cohort, overrides=overrides, recipes=recipes)
    assert {"constant water", "histogram-matched MR", *(f"recipe {name}" for name in recipes)} <= set(result.scores)
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


@pytest.mark.slow
def test_the_shipped_model_puts_bone_where_bone_is():
    """On a phantom that neither training nor the demo has seen."""
    patient = head_patient(987654, 3.0)
    model = load("head")
    assert model.plan.recipe == "anatomy"
    result = model.synthesize(patient.mr, device="cpu")
    assert result.intake.verdict == "passed"
    sct = result.sct.array
    body, truth = patient.mask.array > 0, patient.ct_noise_free.array
    water = mean_absolute_error_hu(truth, np.zeros_like(truth), body)
    assert mean_absolute_error_hu(truth, sct, body) < 0.95 * water
    assert bone_dice(truth, sct, body) > 0.5
