"""Objectives as settings: layers of weights, terms that go together, networks that they need."""

import pytest

from creps.errors import SettingsError
from creps.settings import load_settings, to_yaml
from creps.training.build import build_modules
from tests.conftest import TINY

OBJECTIVES = ("creps", "cyclegan", "cut", "supervised")


def weights(settings):
    named = {
        "adversarial": settings.adversarial.weight, "style": settings.creps.weight, "cycle": settings.cycle.weight,
        "identity": settings.cycle.identity_weight, "nce": settings.nce.weight,
        "nce_identity": settings.nce.identity_weight, "supervised": settings.supervised.weight,
        "anchor": settings.prior.weight, "smoothness": settings.prior.smoothness,
    }  # fmt: skip
    return {name: weight for name, weight in named.items() if weight}


def test_the_originals_weights():
    assert weights(load_settings(overrides={"objective": "creps"})) == {"adversarial": 1, "style": 20}
    cyclegan = load_settings(overrides={"objective": "cyclegan"})
    assert weights(cyclegan) == {"adversarial": 1, "cycle": 10, "identity": 5}
    cut = load_settings(overrides={"objective": "cut"})
    assert weights(cut) == {"adversarial": 1, "nce": 1, "nce_identity": 1}
    assert (cut.nce.temperature, cut.nce.patches, cut.nce.width) == (0.07, 256, 256)
    supervised = load_settings(overrides={"objective": "supervised"})
    assert weights(supervised) == {"supervised": 1}
    assert supervised.sampling.ct_positions == "colocated"


def test_naming_the_default_objective_changes_nothing():
    for preset in ("brain", "pelvis", "demo", "demo-paper", "demo-pelvis"):
        assert load_settings(preset, overrides={"objective": "creps"}) == load_settings(preset)


def test_single_values_and_files_win_so_that_terms_combine(tmp_path):
    combined = load_settings(overrides={"objective": "cut", "creps.weight": 20, "prior.smoothness": 1})
    expected = {"adversarial": 1, "style": 20, "nce": 1, "nce_identity": 1, "smoothness": 1}
    assert weights(combined) == expected
    (tmp_path / "s.yaml").write_text("creps: {weight: 20}\nprior: {smoothness: 1}\nnce: {identity_weight: 0}\n")
    del expected["nce_identity"]
    assert weights(load_settings(file=tmp_path / "s.yaml", overrides={"objective": "cut"})) == expected
    tied = load_settings(overrides={"nce.weight": 2})  # CREPs with PatchNCE as a tie
    assert (tied.objective, weights(tied)) == ("creps", {"adversarial": 1, "style": 20, "nce": 2})


def test_what_was_written_for_another_objective_leaves_its_weights_behind(tmp_path):
    demo = load_settings("demo")
    assert weights(demo) == {"adversarial": 0.5, "style": 20, "anchor": 3, "smoothness": 1}
    cyclegan = load_settings("demo", overrides={"objective": "cyclegan"})
    assert weights(cyclegan) == {"adversarial": 1, "cycle": 10, "identity": 5}
    assert cyclegan.prior.warm_up_steps == 0
    assert (cyclegan.adversarial.loss, cyclegan.sampling.ct_positions) == ("least_squares", "matched")  # no weights
    supervised = load_settings("demo", overrides={"objective": "supervised"})
    assert supervised.sampling.ct_positions == "colocated"

    (tmp_path / "s.yaml").write_text(to_yaml(supervised))  # every value explicit
    again = load_settings(file=tmp_path / "s.yaml", overrides={"objective": "cut"})
    assert weights(again) == {"adversarial": 1, "nce": 1, "nce_identity": 1}
    assert again.sampling.ct_positions == "matched"  # the preset's
    assert again.training == supervised.training

    model = supervised.model_dump(exclude={"preset", "preparation"})
    tuned = load_settings(model=model, overrides={"objective": "creps"})
    assert weights(tuned) == {"adversarial": 1, "style": 20}
    assert load_settings(model=model).objective == "supervised"
    assert load_settings("brain", model=model).objective == "creps"  # a named preset's recipe


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("preset", ["brain", "demo"])
def test_a_written_file_gives_the_same_settings(tmp_path, objective, preset):
    settings = load_settings(preset, overrides={"objective": objective, "nce.features": "input"})
    (tmp_path / "s.yaml").write_text(to_yaml(settings))
    assert f"\nobjective: {objective}\n" in to_yaml(settings)
    assert load_settings(file=tmp_path / "s.yaml") == settings
    assert load_settings(file=tmp_path / "s.yaml", overrides={"objective": objective}) == settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "pix2pix"}, "'creps', 'cyclegan', 'cut' or 'supervised'"),
        ({"objective": "cut", "nce.weight": 0}, r"objective cut needs nce\.weight"),
        ({"objective": "cyclegan", "cycle.weight": 0}, r"objective cyclegan needs cycle\.weight"),
        ({"objective": "supervised", "supervised.weight": 0, "adversarial.weight": 1}, r"needs supervised\.weight"),
        ({"cycle.identity_weight": 1}, r"cycle\.identity_weight needs cycle\.weight"),
        ({"nce.identity_weight": 1}, r"nce\.identity_weight needs nce\.weight"),
        ({"objective": "cyclegan", "adversarial.weight": 0, "creps.weight": 1}, r"cycle\.weight needs adversarial"),
        ({"objective": "cut", "adversarial.weight": 0}, "nothing would be learnt"),
        (
            {
                "objective": "cyclegan",
                "discriminator.conditional": True,
                "sampling.ct_positions": "colocated",
            },
            "exclude each other",
        ),
        ({"supervised.weight": 1}, "ct_positions: colocated"),
        ({"objective": "supervised", "sampling.ct_positions": "matched"}, "ct_positions: colocated"),
        ({"adversarial.weight": 0, "creps.balance": "always"}, r"balance: always needs .* adversarial\.weight"),
        ({"objective": "cut", "creps.balance": "always"}, r"balance: always needs creps\.weight"),
        ({"objective": "supervised", "discriminator.conditional": True}, "there is no discriminator"),
        ({"objective": "supervised", "training.discriminator_learning_rate": 1e-3}, "there is no discriminator"),
        (
            {"objective": "cut", "nce.features": ["down", "block7"]},
            "names block7; there are input, .* block1 to block6",
        ),
        ({"objective": "cut", "nce.features": []}, "nce.features"),
        ({"objective": "cut", "nce.features": ["down", "down"]}, "twice"),
        ({"objective": "cut", "nce.patches": 1}, "nce.patches"),
    ],
)
def test_contradictions_are_refused_in_a_sentence(changes, message):
    with pytest.raises(SettingsError, match=message) as caught:
        load_settings(overrides=changes)
    assert "\n" not in str(caught.value)


def test_features_are_looked_at_only_where_they_are_used():
    load_settings(overrides={"generator.residual_blocks": 1})  # the default features name block4


@pytest.mark.parametrize(
    ("objective", "generators", "discriminators"),
    [
        ("creps", {"generator"}, {"discriminator"}),
        ("cyclegan", {"generator", "inverse_generator"}, {"discriminator", "mr_discriminator"}),
        ("cut", {"generator", "projector"}, {"discriminator"}),
        ("supervised", {"generator"}, set()),
    ],
)
def test_an_objective_has_the_networks_it_needs(objective, generators, discriminators):
    built = build_modules(load_settings(overrides=TINY | {"objective": objective}))
    assert [set(group) for group in built] == [generators, discriminators]


def test_changes_that_are_left_behind_are_named(tmp_path, caplog):
    file = tmp_path / "mine.yaml"
    changed = load_settings("demo", overrides={"prior.smoothness": 2.0})
    file.write_text(to_yaml(changed))
    with caplog.at_level("WARNING", "creps"):
        settings = load_settings(file=file, overrides={"objective": "cut"})
    assert settings.prior.smoothness == 0
    assert "prior.smoothness" in caplog.text
    assert "cycle.weight" not in caplog.text  # as in every file
    caplog.clear()
    load_settings(file=file)
    assert not caplog.text
