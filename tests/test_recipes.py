"""Recipes as settings: layers of defaults, what wins over them, terms that go together, networks that they need."""

import pytest

from creps.errors import SettingsError
from creps.settings import (
    Settings,
    leaf_fields,
    load_settings,
    preparation_mismatch,
    preset_names,
    refuse_without_effect,
    to_yaml,
)
from creps.settings.layers import preset_values
from creps.settings.recipes import RECIPES, TERM_WEIGHTS
from creps.training.build import build_modules
from tests.conftest import TINY_PAPER

PAPER = {
    "generator": {"width": 32, "residual_blocks": 6, "norm": "batch", "kind": "residual"},
    "discriminator": {
        "widths": (16, 32, 64, 64), "norm": "batch", "conditional": False,
    },
    "adversarial": {"loss": "bce", "weight": 1, "gradient_penalty": 0},
    "creps": {
        "weight": 20, "backbone": "convnext_tiny", "weights": "imagenet", "weights_sha256": None, "layers": None,
        "image_size": 224, "slice_step": 1, "gram": "slice", "content_weight": 0,
        "balance": "auto", "balance_steps": 20, "balance_ratio": 1,
    },
    "cycle": {"weight": 0, "identity_weight": 0},
    "nce": {"weight": 0, "identity_weight": 0},
    "supervised": {"weight": 0},
    "sampling": {"mr_positions": "grid", "ct_positions": "independent"},
    "training": {
        "epochs": 200, "steps": None, "batch_size": 8, "learning_rate": 1e-4, "discriminator_learning_rate": None,
        "beta1": 0.9, "weight_decay": 1e-3, "ema_decay": 0, "model": "last",
    },
    "inference": {"patch_overlap": None, "min_coverage": 2, "fusion": "upper_median"},
}  # fmt: skip
"""Hémon et al. 2023, and where the paper is silent what is taken for it: docs/concepts/method.md."""

PREPARATION = {
    "mr_scale": 1000, "mr_bias_correction": False, "remove_couch": False, "remove_outside": False,
    "crop_margin_mm": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("preset", "preparation", "patch"),
    [
        ("brain", {"region": "brain", "spacing_mm": (1, 1, 1)}, (66, 168, 168)),
        ("pelvis", {"region": "pelvis", "spacing_mm": (2.5, 1, 1)}, (32, 224, 224)),
    ],
)
def test_the_recipe_paper_is_the_paper(preset, preparation, patch):
    settings = load_settings(preset, overrides={"recipe": "paper"})
    values = settings.model_dump()
    expected = {**PAPER, "preparation": PREPARATION | preparation}
    expected["sampling"] = {**PAPER["sampling"], "patch_size": patch}
    for section, names in expected.items():
        assert {name: values[section][name] for name in names} == names, section
    assert values["simulation"] == {"weight": 0, "phantom_share": 0, "phantoms": 24}
    defaults = Settings.model_validate({**values, "preset": "brain", "preparation": {}, "sampling": {}})
    assert defaults == Settings() == load_settings("brain", overrides={"recipe": "paper"})


@pytest.mark.parametrize("preset", preset_names())
def test_every_recipe_goes_with_every_preset(preset):
    """Beside a preset each recipe is what it is alone, and the preset's size what it is with any."""
    for recipe, layer in RECIPES.items():
        size = preset_values(preset, recipe)
        settings = load_settings(preset, overrides={"recipe": recipe})
        values = settings.model_dump(mode="json")
        assert (settings.preset, settings.recipe) == (preset, recipe)
        for section, names in size.items():
            assert {name: values[section][name] for name in names} == names
        for section, names in layer.items():
            own = size.get(section, {})
            assert {name: values[section][name] for name in names if name not in own} == {
                name: value for name, value in names.items() if name not in own
            }
        alone = load_settings("brain", overrides={"recipe": recipe})
        assert weights(settings) == weights(alone)
    for section, names in preset_values(preset).items():
        assert not TERM_WEIGHTS.get(section, set()) & names.keys()
        if section != "preparation":  # phantoms have units of their own, whatever the recipe
            assert not any(names.keys() & layer.get(section, {}).keys() for layer in RECIPES.values())


def test_anatomy_is_what_is_taken_where_none_is_named():
    for preset in preset_names():
        assert load_settings(preset) == load_settings(preset, overrides={"recipe": "anatomy"})
        assert load_settings(preset).recipe == "anatomy"


def test_recipes_set_only_settings_that_exist():
    known = {(section, name) for section, name, _ in leaf_fields()}
    assert {(s, name) for layer in RECIPES.values() for s, names in layer.items() for name in names} <= known


@pytest.mark.parametrize("preset", ["brain", "pelvis"])
def test_every_recipe_but_the_papers_scales_each_mr_and_removes_the_couch(preset):
    for recipe in RECIPES:
        preparation = load_settings(preset, recipe=recipe).preparation
        expected = (1000.0, False) if recipe == "paper" else ("auto", True)
        assert (preparation.mr_scale, preparation.remove_couch) == expected


def test_a_cohort_brings_its_recipe_and_another_one_is_reported():
    paper = load_settings("pelvis", recipe="paper")
    assert load_settings(prepared=paper) == paper
    assert preparation_mismatch(paper, paper) is None
    anatomy = load_settings(prepared=paper, recipe="anatomy")
    assert anatomy.preparation == paper.preparation
    assert preparation_mismatch(anatomy, paper) == (
        "The cohort was prepared for recipe paper, but the training uses recipe anatomy: preparation.mr_scale is 1000, "
        "not auto and preparation.remove_couch is false, not true. To prepare it again, run "
        "'creps prepare SOURCES -o COHORT -p pelvis --recipe anatomy'."
    )
    ours = load_settings()
    assert preparation_mismatch(load_settings(prepared=ours, recipe="cut"), ours) is None  # prepared alike
    chosen = load_settings(overrides={"preparation.mr_scale": 500})  # the user's own choice for that recipe
    assert preparation_mismatch(load_settings(prepared=chosen), chosen) is None
    demo = load_settings("demo")
    assert preparation_mismatch(load_settings(prepared=demo, recipe="paper"), demo) is None


def weights(settings):
    named = {
        "adversarial": settings.adversarial.weight, "style": settings.creps.weight, "cycle": settings.cycle.weight,
        "identity": settings.cycle.identity_weight, "nce": settings.nce.weight,
        "nce_identity": settings.nce.identity_weight, "supervised": settings.supervised.weight,
        "simulation": settings.simulation.weight,
    }  # fmt: skip
    return {name: weight for name, weight in named.items() if weight}


def test_the_originals_weights():
    assert weights(load_settings(overrides={"recipe": "paper"})) == {"adversarial": 1, "style": 20}
    cyclegan = load_settings(overrides={"recipe": "cyclegan"})
    assert weights(cyclegan) == {"adversarial": 1, "cycle": 10, "identity": 5}
    cut = load_settings(overrides={"recipe": "cut"})
    assert weights(cut) == {"adversarial": 1, "nce": 1, "nce_identity": 1}
    assert (cut.nce.temperature, cut.nce.patches, cut.nce.width) == (0.07, 256, 256)
    supervised = load_settings(overrides={"recipe": "supervised"})
    assert weights(supervised) == {"supervised": 1}
    assert supervised.sampling.ct_positions == "colocated"


def test_single_values_and_files_win_so_that_terms_combine(tmp_path):
    combined = load_settings(overrides={"recipe": "cut", "creps.weight": 20, "simulation.weight": 1})
    expected = {"adversarial": 1, "style": 20, "nce": 1, "nce_identity": 1, "simulation": 1}
    assert weights(combined) == expected
    (tmp_path / "s.yaml").write_text("creps: {weight: 20}\nsimulation: {weight: 1}\nnce: {identity_weight: 0}\n")
    del expected["nce_identity"]
    assert weights(load_settings(file=tmp_path / "s.yaml", overrides={"recipe": "cut"})) == expected
    tied = load_settings(overrides={"recipe": "paper", "nce.weight": 2})  # CREPs with PatchNCE as a tie
    assert weights(tied) == {"adversarial": 1, "style": 20, "nce": 2}


def test_what_was_written_for_another_recipe_is_left_behind(tmp_path):
    anatomy = load_settings("demo", overrides={"training.weight_decay": 0.5})
    (tmp_path / "s.yaml").write_text(to_yaml(anatomy))  # every value explicit
    for recipe in ("paper", "cyclegan", "cut", "supervised"):
        expected = load_settings("demo", overrides={"recipe": recipe, "training.weight_decay": 0.5})
        assert load_settings(file=tmp_path / "s.yaml", overrides={"recipe": recipe}) == expected
        (tmp_path / "back.yaml").write_text(to_yaml(expected))
        assert load_settings(file=tmp_path / "back.yaml", overrides={"recipe": "anatomy"}) == anatomy


def test_a_model_brings_its_recipe_or_its_shape_alone():
    base = load_settings(overrides=TINY_PAPER | {"recipe": "supervised", "training.weight_decay": 0.5})
    model = base.model_dump(exclude={"preset", "preparation"})
    same = load_settings(model=model)
    assert (same.recipe, weights(same), same.training) == ("supervised", {"supervised": 1}, base.training)
    paper = load_settings(model=model, overrides={"recipe": "paper"})
    assert weights(paper) == {"adversarial": 1, "style": 20}
    assert paper.sampling == load_settings(overrides=TINY_PAPER).sampling
    assert paper.training.weight_decay == 0.5
    anatomy = load_settings("brain", model=model)  # a named preset: nobody names a recipe
    assert anatomy == load_settings(overrides={"generator": model["generator"]})


def test_the_shape_of_a_model_stands_whatever_a_recipe_says(monkeypatch):
    monkeypatch.setitem(RECIPES, "cut", {**RECIPES["cut"], "generator": {"norm": "instance"}})
    model = load_settings(overrides=TINY_PAPER).model_dump(exclude={"preset", "preparation"})
    assert load_settings(overrides={"recipe": "cut"}).generator.norm == "instance"
    assert load_settings(model=model, overrides={"recipe": "cut"}).generator.norm == "batch"
    changes = {"recipe": "cut", "nce.features": "input"}
    assert load_settings("brain", model=model, overrides=changes).generator.norm == "batch"


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("preset", ["brain", "demo"])
def test_a_written_file_gives_the_same_settings(tmp_path, recipe, preset):
    settings = load_settings(preset, overrides={"recipe": recipe, "nce.features": "input"})
    (tmp_path / "s.yaml").write_text(to_yaml(settings))
    assert f"\nrecipe: {recipe}\n" in to_yaml(settings)
    assert load_settings(file=tmp_path / "s.yaml") == settings
    assert load_settings(file=tmp_path / "s.yaml", overrides={"recipe": recipe}) == settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": "pix2pix"}, "'anatomy', 'paper', 'cyclegan', 'cut' or 'supervised'"),
        ({"recipe": "cut", "nce.weight": 0}, r"recipe cut needs nce\.weight"),
        ({"recipe": "cyclegan", "cycle.weight": 0}, r"recipe cyclegan needs cycle\.weight"),
        ({"recipe": "supervised", "supervised.weight": 0, "adversarial.weight": 1}, r"needs supervised\.weight"),
        ({"cycle.identity_weight": 1}, r"cycle\.identity_weight needs cycle\.weight"),
        ({"nce.identity_weight": 1}, r"nce\.identity_weight needs nce\.weight"),
        ({"recipe": "cyclegan", "adversarial.weight": 0, "creps.weight": 1}, r"cycle\.weight needs adversarial"),
        ({"recipe": "cut", "adversarial.weight": 0}, "nothing would be learnt"),
        (
            {
                "recipe": "cyclegan",
                "discriminator.conditional": True,
                "sampling.ct_positions": "colocated",
            },
            "exclude each other",
        ),
        ({"supervised.weight": 1}, "ct_positions: colocated"),
        ({"recipe": "supervised", "sampling.ct_positions": "matched"}, "ct_positions: colocated"),
        ({"adversarial.weight": 0, "creps.balance": "always"}, r"balance: always needs .* adversarial\.weight"),
        ({"recipe": "cut", "creps.balance": "always"}, r"balance: always needs creps\.weight"),
        ({"recipe": "supervised", "discriminator.conditional": True}, "there is no discriminator"),
        ({"recipe": "supervised", "training.discriminator_learning_rate": 1e-3}, "there is no discriminator"),
        (
            {"recipe": "cut", "nce.features": ["down", "block7"]},
            "names block7; there are input, .* block6",
        ),
        ({"recipe": "cut", "nce.features": []}, "nce.features"),
        ({"recipe": "cut", "nce.features": ["down", "down"]}, "twice"),
        ({"recipe": "cut", "nce.patches": 1}, "nce.patches"),
    ],
)
def test_contradictions_are_refused_in_a_sentence(changes, message):
    with pytest.raises(SettingsError, match=message) as caught:
        load_settings(overrides=changes)
    assert "\n" not in str(caught.value)


def test_features_are_looked_at_only_where_they_are_used():
    load_settings(
        overrides={"generator.kind": "residual", "generator.residual_blocks": 1}
    )  # the default features name block4


@pytest.mark.parametrize(
    ("recipe", "generators", "discriminators"),
    [
        ("paper", {"generator"}, {"discriminator"}),
        ("cyclegan", {"generator", "inverse_generator"}, {"discriminator", "mr_discriminator"}),
        ("cut", {"generator", "projector"}, {"discriminator"}),
        ("supervised", {"generator"}, set()),
    ],
)
def test_a_recipe_has_the_networks_it_needs(recipe, generators, discriminators):
    built = build_modules(load_settings(overrides=TINY_PAPER | {"recipe": recipe}))
    assert [set(group) for group in built] == [generators, discriminators]


def test_changes_that_are_left_behind_are_named(tmp_path, caplog):
    file = tmp_path / "mine.yaml"
    changed = load_settings("demo", overrides={"recipe": "paper", "simulation.weight": 2.0})
    file.write_text(to_yaml(changed))
    with caplog.at_level("WARNING", "creps"):
        settings = load_settings(file=file, overrides={"recipe": "cut"})
    assert settings.simulation.weight == 0
    assert "simulation.weight" in caplog.text
    assert "cycle.weight" not in caplog.text  # as in every file
    caplog.clear()
    load_settings(file=file)
    assert not caplog.text


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("creps.weights", "anatomy"),
        ("adversarial.gradient_penalty", "anatomy"),
        ("discriminator.norm", "supervised"),
        ("nce.width", "paper"),
    ],
)
def test_options_that_would_do_nothing_are_refused(name, recipe):
    settings = load_settings(overrides={"recipe": recipe})
    with pytest.raises(SettingsError, match=f"{name} has no effect"):
        refuse_without_effect([name], settings)


def test_options_that_do_something_are_not():
    refuse_without_effect(["creps.weights", "adversarial.loss"], load_settings(overrides={"recipe": "paper"}))
    refuse_without_effect(["creps.weight", "adversarial.weight", "training.steps"], load_settings())
    refuse_without_effect(["creps.weights", "creps.weight"], load_settings(overrides={"creps.weight": 20.0}))
