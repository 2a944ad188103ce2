"""A second kind of generator, and a cascade of two networks, are a settings class, a network and a registry line."""

from typing import Literal

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import creps
from creps.errors import CrepsError, SettingsError
from creps.inference.executor import Executor
from creps.model import Model, Plan
from creps.networks.build import GENERATORS, build_generator
from creps.networks.generator import Generator, InferenceForm
from creps.settings import AnyGenerator, GeneratorSettings, ResidualSettings, leaf_fields, load_settings, to_yaml
from creps.settings.fields import Count
from tests.conftest import TINY, ball_head

ABSENT = ("generator", "discriminator", "creps", "nce")
"""Sections of `TINY` that the recipe anatomy does without, and the one that is chosen here."""

CASCADE = {
    "kind": "cascade",
    "first": {"kind": "residual", "width": 2, "residual_blocks": 1},
    "second": {"kind": "toy", "channels": 3},
}


class Toy(Generator):
    """Only what must be there: a forward pass."""

    def __init__(self, channels):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv3d(1, channels, 3, padding=1), nn.ReLU(), nn.Conv3d(channels, 1, 1))

    def forward(self, mr):
        return self.layers(mr)


class InTurn(InferenceForm):
    def __init__(self, parts):
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, mr):
        for part in self.parts:
            mr = part(mr)
        return mr

    def bytes_at_peak(self, voxels):
        return max(part.bytes_at_peak(voxels) for part in self.parts)


class Cascade(Generator):
    """Two networks of any kind, one after the other, with all that a generator can offer."""

    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = build_generator(first), build_generator(second)
        self.width = max(self.first.width, self.second.width)

    @property
    def halo(self):
        halos = (self.first.halo, self.second.halo)
        return None if None in halos else sum(halos)

    def stages(self, size):
        return [*self.first.stages(size), *self.second.stages(size)]

    def folded(self, dtype):
        parts = [self.first.folded(dtype), self.second.folded(dtype)]
        return None if None in parts else InTurn(parts)


@pytest.fixture
def kinds(monkeypatch):
    """Both kinds made known, for one test."""
    known = dict(GeneratorSettings.KINDS)

    class ToySettings(GeneratorSettings):
        """Two convolutions."""

        kind: Literal["toy"] = "toy"
        channels: Count = 2

    class CascadeSettings(GeneratorSettings):
        """Two generators, one after the other."""

        kind: Literal["cascade"] = "cascade"
        first: AnyGenerator = ResidualSettings()
        second: AnyGenerator = ResidualSettings()

    monkeypatch.setitem(GENERATORS, "toy", Toy)
    monkeypatch.setitem(GENERATORS, "cascade", Cascade)
    yield
    GeneratorSettings.KINDS.clear()
    GeneratorSettings.KINDS.update(known)


@pytest.mark.parametrize("chosen", [{"kind": "toy", "channels": 3}, CASCADE], ids=["toy", "cascade"])
def test_a_new_kind_goes_all_the_way(kinds, cohort, tmp_path, chosen):
    overrides = {
        **{key: value for key, value in TINY.items() if key.partition(".")[0] not in ABSENT},
        "recipe": "anatomy",
        "generator": chosen,
        "inference.fusion": "median",  # a single pass needs a halo
        "training.steps": 2,
        "training.checkpoint_activations": True,
    }
    overrides = {key: value for key, value in overrides.items() if not key.startswith("preparation.")}
    model = creps.train(cohort, tmp_path / "run", overrides=overrides)
    assert model.plan.generator.model_dump() == chosen | model.plan.generator.model_dump()
    names = list(model.generator.state_dict())
    if chosen is CASCADE:
        assert {name.partition(".")[0] for name in names} == {"first", "second"}
    again = creps.load(model.save(tmp_path / "again"))
    assert again.plan == model.plan
    assert again.plan.generator == model.plan.generator
    mr = ball_head(0)[0]
    a, b = (one.synthesize(mr, force=True).sct.array for one in (model, again))
    np.testing.assert_array_equal(a, b)
    assert np.ptp(a) > 0
    exported = again.export(tmp_path / "m.onnx")
    patch = np.random.default_rng(0).random((1, 1, 9, 10, 11), np.float32)
    (theirs,) = onnxruntime.InferenceSession(str(exported.path)).run(None, {"mr": patch})
    with torch.inference_mode():
        np.testing.assert_allclose(theirs, again.generator(torch.from_numpy(patch)).numpy(), atol=1e-4)
    longer = {"training.steps": 3}
    assert creps.train(cohort, tmp_path / "tuned", model=model_folder(tmp_path), overrides=longer).plan.generator == (
        model.plan.generator
    )


def model_folder(tmp_path):
    return str(tmp_path / "run")


def test_a_cascade_of_bounded_networks_has_a_halo_and_a_fast_form(kinds):
    settings = GeneratorSettings.model_validate(
        {"kind": "cascade", "first": {"width": 2, "residual_blocks": 1}, "second": {"width": 3, "residual_blocks": 2}}
    )
    torch.manual_seed(0)
    cascade = build_generator(settings).eval()
    assert (cascade.halo, cascade.width) == (11 + 15, 3)
    executor = Executor(cascade, precision="fp32")
    assert isinstance(executor.network, InTurn)
    mr = np.random.default_rng(0).random((2, 12, 10, 8), np.float32)
    with torch.no_grad():
        expected = cascade(torch.from_numpy(mr)[:, None])[:, 0].numpy()
    np.testing.assert_allclose(executor.start(mr).result(), expected, atol=1e-5)
    cascade.checkpoint_activations = True
    image = torch.from_numpy(mr)[:, None].requires_grad_()
    torch.testing.assert_close(cascade(image), torch.from_numpy(expected)[:, None], atol=1e-5, rtol=1e-5)


def test_a_generator_of_which_nothing_is_known_runs_as_it_is(kinds):
    executor = Executor(build_generator(GeneratorSettings.model_validate({"kind": "toy"})), precision="fp32")
    assert executor.halo is None
    assert isinstance(executor.network, Toy)
    assert executor.bytes_at_peak(1000) == 8000
    with pytest.raises(NotImplementedError, match="neither forward nor stages"):
        Generator()(torch.zeros(1, 1, 4, 4, 4))


def test_settings_know_every_kind(kinds, tmp_path):
    plain = load_settings(recipe="paper", overrides={"generator.width": 5})  # without a kind
    assert plain.generator == ResidualSettings(width=5)
    toy = load_settings("demo", overrides={"generator.kind": "toy", "generator.channels": 4})  # not the preset's width
    assert (toy.generator.kind, toy.generator.channels) == ("toy", 4)
    (tmp_path / "s.yaml").write_text(to_yaml(toy))
    assert load_settings(file=tmp_path / "s.yaml") == toy
    cascade = load_settings(overrides={"generator": CASCADE})
    (tmp_path / "c.yaml").write_text(to_yaml(cascade))
    assert load_settings(file=tmp_path / "c.yaml").generator.second.channels == 3
    assert {"kind", "width", "channels", "first"} <= {
        name for section, name, _ in leaf_fields() if section == "generator"
    }
    for overrides, message in (
        ({"generator.kind": "moon"}, "no generator of kind 'moon'; the kinds are residual, unet, toy, cascade"),
        ({"generator.kind": "toy", "generator.width": 3}, "generator.width"),
        ({"recipe": "cut", "generator.kind": "toy"}, "nce.features names input; there are none"),
        ({"generator": {**CASCADE, "second": {"channels": 3}}}, "channels"),
    ):
        with pytest.raises(SettingsError, match=message):
            load_settings(overrides=overrides)


def test_a_kind_without_a_network_is_named(kinds, monkeypatch):
    monkeypatch.delitem(GENERATORS, "toy")
    with pytest.raises(CrepsError, match="no generator of kind 'toy'"):
        build_generator(GeneratorSettings.model_validate({"kind": "toy"}))


def test_a_plan_keeps_the_fields_of_its_kind(kinds):
    settings = load_settings(overrides={"generator": CASCADE})
    plan = Plan(
        preparation=settings.preparation,
        generator=settings.generator,
        patch_size=(8, 8, 8),
        inference=settings.inference,
    )
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    assert Model(plan, build_generator(plan.generator)).plan.generator.first.width == 2
