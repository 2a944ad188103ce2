"""Each recipe learns, saves and resumes all of its networks, and does so in parts as well."""

import csv
import json

import pytest
import torch

from creps.cohort.cohort import Cohort, load_cohort
from creps.cohort.prepare import prepare
from creps.errors import CohortError, CrepsError, SettingsError
from creps.io.itk import write_volume
from creps.losses.contrastive import patch_nce
from creps.model import latest_checkpoint, load_tensors
from creps.networks.discriminator import PatchDiscriminator
from creps.networks.projector import Projector
from creps.settings import load_settings, to_yaml
from creps.training.build import build_networks, build_style
from creps.training.memory import _kept, estimate_memory
from creps.training.passes import Part
from creps.training.processes import start_processes
from creps.training.run.starting_point import settings_of
from creps.training.run.train import train
from creps.training.state import load_companions
from creps.training.step import TrainingStep
from tests.conftest import TINY_PAPER, ball_head
from tests.test_cli import run

NAMES = ("anatomy", "paper", "cyclegan", "cut", "supervised")

RECIPES = {
    "anatomy": {"recipe": "anatomy"},
    "cyclegan": {"recipe": "cyclegan"},
    "cyclegan, least squares, R1": {
        "recipe": "cyclegan", "adversarial.loss": "least_squares", "adversarial.gradient_penalty": 1.0,
        "generator.norm": "instance", "inference.fusion": "median", "discriminator.norm": "none",
    },
    "cut": {"recipe": "cut"},
    "cut, bf16": {"recipe": "cut", "training.precision": "bf16"},
    "cut with style": {"recipe": "cut", "creps.weight": 20},
    "cyclegan with PatchNCE and style": {"recipe": "cyclegan", "creps.weight": 20, "nce.weight": 1},
    "supervised": {"recipe": "supervised"},
    "style alone": {"adversarial.weight": 0},
    "cut, activations again": {"recipe": "cut", "training.checkpoint_activations": True},
}  # fmt: skip


def first_moment(state):
    """Of AdamW, or of Muon."""
    return state["exp_avg"] if "exp_avg" in state else state["momentum"]


def settings(**changes):
    return load_settings(overrides=TINY_PAPER | changes)


def trainer(chosen):
    processes = start_processes(chosen.training)
    style = build_style(chosen)
    networks = build_networks(processes, chosen, style)
    return networks, TrainingStep(processes, networks, style, chosen)


def batch(size=2):
    torch.manual_seed(0)
    return torch.rand(size, 1, 24, 24, 24) * 2, torch.rand(size, 1, 24, 24, 24) * 4 - 1


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Cohort:
    """Four people with an MR and a CT each, on the same grid."""
    folder = tmp_path_factory.mktemp("pairs")
    for i in range(4):
        mr, ct = ball_head(i)
        write_volume(mr, folder / "mr" / f"p{i}.nii.gz")
        write_volume(ct, folder / "ct" / f"p{i}.nii.gz", integer=True)
    prepare((folder / "mr", folder / "ct"), folder / "cohort", settings=load_settings(overrides=TINY_PAPER))
    return load_cohort(folder / "cohort")


@pytest.mark.parametrize("changes", RECIPES.values(), ids=RECIPES.keys())
def test_every_parameter_of_every_network_learns(changes):
    networks, step = trainer(settings(**changes))
    before = {k: p.clone() for name, m in networks.named().items() for k, p in m.named_parameters(prefix=name)}
    for number in (1, 2):
        step(*batch(), number)
    after = {k: p for name, m in networks.named().items() for k, p in m.named_parameters(prefix=name)}
    for optimizer, group in (
        (networks.generator_optimizer, networks.generators),
        (networks.discriminator_optimizer, networks.discriminators),
    ):
        for key, parameter in group.named_parameters():
            state = optimizer.state[parameter]  # of AdamW, or of Muon
            assert state["exp_avg_sq" if "exp_avg_sq" in state else "momentum"].abs().sum() > 0, key
            assert not torch.equal(after[key], before[key]), key
            assert torch.isfinite(after[key]).all(), key
    assert all(p.requires_grad for p in after.values())


def test_without_an_adversarial_term_nothing_judges():
    networks, step = trainer(settings(recipe="supervised"))
    report = step(*batch(), 1)
    assert set(report.terms) == {"supervised"}
    assert networks.discriminator_optimizer is None
    assert not list(networks.discriminators.parameters())
    _, step = trainer(settings(**{"adversarial.weight": 0}))
    report = step(*batch(), 1)
    assert set(report.terms) == {"style"}
    assert report.weights["style"] == 20  # nothing to balance against
    trainer(settings(**{"recipe": "supervised", "sampling.patch_size": [8, 8, 8]}))  # too small only for a judge


@pytest.mark.parametrize(
    ("recipe", "term"),
    [
        ("cyclegan", "cycle_mr"),
        ("cyclegan", "cycle_ct"),
        ("cut", "nce"),
        ("supervised", "supervised"),
        ("anatomy", "simulated"),
    ],
)
def test_the_recipes_own_term_falls(recipe, term):
    """On images that can be learnt: a CT that is the MR upside down in grey value."""
    changes = {
        "recipe": recipe,
        "training.learning_rate": 3e-3,
        "generator.norm": "instance",
        "inference.fusion": "median",
    }
    _, step = trainer(settings(**changes, **{"discriminator.norm": "none"}))
    torch.manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.rand(2, 1, 6, 6, 6), size=(24, 24, 24), mode="trilinear")
    mr, ct = 2 * smooth, 3 - 4 * smooth
    values = [float(step(mr, ct, number, (mr, ct)).terms[term]) for number in range(1, 31)]
    assert sum(values[-3:]) < 0.8 * sum(values[:3])


@pytest.mark.parametrize("recipe", ["cyclegan", "cut", "anatomy"])
@pytest.mark.parametrize("changes", [{"training.accumulate": 2}, {"training.checkpoint_activations": True}])
def test_other_ways_to_the_same_gradients(recipe, changes):
    same = {
        "recipe": recipe, "generator.norm": "instance", "inference.fusion": "median", "discriminator.norm": "none",
        "training.batch_size": 4,
        "adversarial.gradient_penalty": 0.5,
    }  # fmt: skip
    results = []
    for extra in ({}, changes):
        networks, step = trainer(settings(**same | extra))
        reports = [step(*batch(4), number, batch(4)) for number in (1, 2)]
        results.append((networks, reports))
    (ours, ours_reports), (theirs, theirs_reports) = results
    for mine, other in zip(ours_reports, theirs_reports, strict=True):
        assert mine.terms.keys() == other.terms.keys()
        for name, value in mine.terms.items():
            torch.testing.assert_close(value, other.terms[name], rtol=2e-3, atol=1e-6, msg=name)
    for group, optimizer in (("generators", "generator_optimizer"), ("discriminators", "discriminator_optimizer")):
        moments = [
            [first_moment(getattr(n, optimizer).state[p]) for p in getattr(n, group).parameters()]
            for n in (ours, theirs)
        ]
        for a, b in zip(*moments, strict=True):
            torch.testing.assert_close(a, b, rtol=2e-3, atol=2e-3 * float(a.abs().max()))


@pytest.mark.parametrize("recipe", NAMES)
def test_every_recipe_resumes_bit_for_bit(pairs, tmp_path, recipe):
    changes = {
        "recipe": recipe, "training.checkpoint_every": 2, "training.ema_decay": 0.9, "training.precision": "bf16",
        "adversarial.gradient_penalty": 0.5, "training.schedule": "constant",
    }  # fmt: skip
    train(pairs, tmp_path / "straight", settings(**changes, **{"training.steps": 4}))
    train(pairs, tmp_path / "cut", settings(**changes, **{"training.steps": 2}))
    train(pairs, tmp_path / "cut", settings(**changes, **{"training.steps": 4}), resume=True)
    straight, cut = (
        load_tensors(tmp_path / run / "checkpoints" / "step_00000004" / "training.safetensors")
        for run in ("straight", "cut")
    )
    assert straight.keys() == cut.keys()
    for name, value in straight.items():
        assert torch.equal(value, cut[name]), name
    saved = {name.partition(".")[0] for name in straight}
    assert saved >= {"generator", "generator_optimizer", "averaged", "balance"}
    assert ("inverse_generator" in saved, "mr_discriminator" in saved) == 2 * (recipe == "cyclegan",)
    assert ("projector" in saved) == (recipe == "cut")
    assert ("discriminator" in saved, "discriminator_optimizer" in saved) == 2 * (
        recipe not in ("supervised", "anatomy"),
    )
    rows = list(csv.DictReader((tmp_path / "cut" / "curves.csv").read_text().splitlines()))
    own = {"anatomy": "simulated", "paper": "style", "cyclegan": "cycle_ct", "cut": "nce", "supervised": "supervised"}[
        recipe
    ]
    assert all(float(row[own]) > 0 and float(row[f"{own}_weight"]) > 0 for row in rows)


def test_every_recipe_is_an_option_of_the_command_line(pairs, tmp_path, capsys):
    (tmp_path / "s.yaml").write_text(to_yaml(settings(**{"training.steps": 1})))
    plain = ["train", pairs.folder, "-s", tmp_path / "s.yaml", "-o"]
    for recipe in NAMES:  # the file names paper, so that its weights stay behind
        assert run(*plain, tmp_path / recipe, "--recipe", recipe) == 0
        record = json.loads((tmp_path / recipe / "record.json").read_text())
        assert record["settings"]["recipe"] == recipe
    assert run(*plain, tmp_path / "cut", "--resume", "auto", "--recipe", "cyclegan") == 1
    assert "started with recipe cut" in capsys.readouterr().err


def test_supervision_without_pairs_is_refused(cohort, tmp_path):
    with pytest.raises(CohortError, match=r"no CT of the same name and grid.*recipe"):
        train(cohort, tmp_path / "run", settings(recipe="supervised"))


def test_a_broken_second_discriminator_is_named(cohort, tmp_path, monkeypatch):
    original = PatchDiscriminator.forward

    def forward(self, image):
        is_mr = bool((image.detach() >= 0).all())
        return original(self, image) * (float("nan") if is_mr else 1)

    monkeypatch.setattr(PatchDiscriminator, "forward", forward)
    with pytest.raises(CrepsError, match="step 1 the loss term 'd_real_mr' is nan"):
        train(cohort, tmp_path / "run", settings(recipe="cyclegan"))


def test_a_fine_tuned_model_takes_all_of_its_networks_along(cohort, tmp_path):
    train(cohort, tmp_path / "base", settings(recipe="cyclegan"))
    chosen = load_settings(prepared=cohort.settings(), model=settings_of(tmp_path / "base"))
    assert (chosen.recipe, chosen.cycle.weight) == ("cyclegan", 10)
    before = load_tensors(tmp_path / "base" / "checkpoints" / "step_00000003" / "training.safetensors")
    changes = {"recipe": "cyclegan", "training.learning_rate": 1e-9, "training.steps": 1}
    train(cohort, tmp_path / "tuned", settings(**changes), model=tmp_path / "base")
    after = load_tensors(tmp_path / "tuned" / "checkpoints" / "step_00000001" / "training.safetensors")
    for name in (
        "inverse_generator.stem.0.weight",
        "mr_discriminator.layers.0.weight",
        "discriminator.layers.0.weight",
    ):
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-6)
    train(cohort, tmp_path / "plain", settings(**{"training.steps": 1}), model=tmp_path / "base")  # to fewer networks
    with pytest.raises(SettingsError, match="started with recipe cyclegan"):
        train(cohort, tmp_path / "tuned", settings(**{"training.steps": 2}), resume=True)


@pytest.mark.parametrize("recipe", ["cyclegan", "cut", "supervised"])
def test_the_estimate_counts_every_pass(recipe):
    chosen = settings(**{"recipe": recipe, "generator.width": 8, "sampling.patch_size": [32, 48, 40]})
    _, step = trainer(chosen)
    mr, ct = torch.rand(2, 1, 32, 48, 40), torch.rand(2, 1, 32, 48, 40)

    def forward():
        part = Part(mr, ct, mr, ct)
        synthetic = step.passes.synthesize(part)
        return [list(term.compute(step.passes, part, synthetic, 1)) for term in step.terms]

    estimate = estimate_memory(chosen, None)
    counted = estimate.generator + estimate.adversarial + estimate.further
    assert counted == pytest.approx(_kept(forward), rel=0.15)
    assert "perceptual network" not in estimate.describe()
    assert ("further passes" in estimate.describe()) == (recipe not in ("supervised", "anatomy"))


def test_the_estimate_knows_what_many_places_take():
    def further(places):
        chosen = settings(**{"recipe": "cut", "nce.patches": places, "nce.width": 64})
        return estimate_memory(chosen, None).further

    def kept(places):
        heads = Projector({"input": 1, "stem": 4, "down": 8, "block1": 8}, 64)
        samples = {"input": torch.rand(2, places, 1), "stem": torch.rand(2, places, 4)}
        samples |= {stage: torch.rand(2, places, 8) for stage in ("down", "block1")}
        return _kept(lambda: [patch_nce(q, q.detach()) for q in heads(samples).values()])

    for few, many in ((32, 256), (256, 1024)):  # two patches, two terms
        assert further(many) - further(few) == pytest.approx(2 * (kept(many) - kept(few)), rel=0.1)


def test_heads_of_other_stages_are_not_taken_along(tmp_path, cohort):
    cut = {"recipe": "cut", "nce.features": ["input", "down", "block1"]}
    first = train(cohort, tmp_path / "first", settings(**cut)).parent
    swapped = settings(**cut | {"nce.features": ["input", "block1", "down"]})
    networks = build_networks(start_processes(swapped.training), swapped, None)
    before = {key: value.clone() for key, value in networks.projector.state_dict().items()}
    taken = load_companions(latest_checkpoint(first), networks)
    assert taken == ["projector", "discriminator"]
    saved = load_tensors(latest_checkpoint(first) / "training.safetensors")
    for key, value in networks.projector.state_dict().items():  # by their names, not by their places
        assert torch.equal(value, saved[f"projector.{key}"])
        assert not torch.equal(value, before[key])
