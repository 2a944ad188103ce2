"""Cycle, PatchNCE and supervised terms against direct formulas."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from creps.losses.contrastive import at_places, patch_nce
from creps.losses.distance import absolute_distance
from creps.networks.projector import Projector
from creps.networks.residual import ResidualGenerator
from creps.settings import load_settings
from creps.training.build import build_networks
from creps.training.passes import Part, Passes, Synthetic
from creps.training.processes import start_processes
from creps.training.terms import active_terms, contrast, draw_places
from tests.conftest import TINY_PAPER

SIZE = (2, 1, 24, 24, 24)


def passes_of(**changes):
    chosen = load_settings(overrides=TINY_PAPER | changes)
    processes = start_processes(chosen.training)
    return Passes(processes.device, build_networks(processes, chosen, None), chosen)


def part_of(seed=0):
    torch.manual_seed(seed)
    mr, ct = torch.rand(SIZE) * 2, torch.rand(SIZE) * 4 - 1
    return Part(mr, ct, mr, ct)


def added(passes, part):
    synthetic = passes.synthesize(part)
    return {
        name: (value, weight)
        for term in active_terms(passes.settings)
        for name, value, weight in term.compute(passes, part, synthetic, 1)
    }


def test_patch_nce_is_the_papers_formula():
    rng = np.random.default_rng(0)
    query, key = (v / np.linalg.norm(v, axis=2, keepdims=True) for v in rng.normal(size=(2, 3, 5, 4)))
    losses = []
    for q, k in zip(query, key, strict=True):
        for s in range(5):
            similarity = np.exp([q[s] @ k[other] / 0.1 for other in range(5)])
            losses.append(-np.log(similarity[s] / similarity.sum()))
    ours = patch_nce(torch.from_numpy(query), torch.from_numpy(key), 0.1)
    assert float(ours) == pytest.approx(np.mean(losses), rel=1e-5)


def test_patch_nce_knows_its_bounds():
    apart = torch.eye(6)[None].repeat(2, 1, 1)  # six places, each like nothing but itself
    assert float(patch_nce(apart, apart, 0.5)) == pytest.approx(-math.log(math.e**2 / (math.e**2 + 5)), rel=1e-6)
    assert float(patch_nce(apart, apart)) < 1e-5
    alike = torch.ones(1, 6, 4) / 2
    assert float(patch_nce(alike, alike)) == pytest.approx(math.log(6), rel=1e-6)
    assert float(patch_nce(apart, apart.flip(1))) > 10  # every place taken for another


def test_features_at_places():
    features = torch.arange(2 * 3 * 2 * 4 * 5.0).view(2, 3, 2, 4, 5)
    places = torch.tensor([0, 39, 7, 23])
    assert torch.equal(at_places(features, places), features.flatten(2)[:, :, places].transpose(1, 2))
    strided = features.contiguous(memory_format=torch.channels_last_3d)
    assert torch.equal(at_places(strided, places), at_places(features, places))


@given(st.integers(0, 99), st.integers(1, 99), st.lists(st.integers(1, 5000), min_size=1, max_size=4))
def test_places_depend_on_seed_and_step_alone(seed, step, sizes):
    places = draw_places(seed, step, sizes, 64)
    assert [len(p) for p in places] == [min(64, size) for size in sizes]
    for p, size, again in zip(places, sizes, draw_places(seed, step, sizes, 64), strict=True):
        assert torch.equal(p, again)
        assert len(p.unique()) == len(p)
        assert 0 <= int(p.min()) <= int(p.max()) < size


def test_places_are_drawn_anew_for_each_step_and_stage():
    (first, second), (third, _) = (draw_places(0, step, [4000, 4000], 64) for step in (1, 2))
    assert not torch.equal(first, second)
    assert not torch.equal(first, third)


def test_heads_have_unit_length():
    heads = Projector({"input": 1, "stem": 4}, 8)
    for out in heads({"input": torch.rand(2, 5, 1) + 1, "stem": torch.rand(2, 5, 4)}).values():
        assert out.shape == (2, 5, 8)
        torch.testing.assert_close(out.norm(dim=2), torch.ones(2, 5))


def test_features_are_those_of_the_forward_pass():
    generator = ResidualGenerator(4, 3, norm="instance")
    names = ("block2", "input", "down", "stem")
    image = torch.rand(1, 1, 10, 12, 14)
    block2, same, down, stem = generator.features(image, names).values()
    assert same is image
    assert torch.equal(stem, generator.stem(image))
    assert torch.equal(down, generator.down(stem))
    assert torch.equal(block2, generator.blocks[1](generator.blocks[0](down)))
    assert [f.shape[1] for f in (block2, same, down, stem)] == list(generator.feature_channels(names).values())
    generator.checkpoint_activations = True
    assert torch.equal(generator.features(image, ["block2"])["block2"], block2)


def test_cycle_terms_are_those_of_cyclegan():
    passes, part = (
        passes_of(recipe="cyclegan", **{"generator.norm": "instance", "discriminator.norm": "none"}),
        part_of(),
    )
    there, back = passes.networks.generator, passes.networks.inverse_generator
    terms = added(passes, part)
    expected = {
        "cycle_mr": (back(there(part.mr)) - part.mr).abs().mean(),
        "cycle_ct": (there(back(part.ct)) - part.ct).abs().mean(),
        "identity_mr": (back(part.mr) - part.mr).abs().mean(),
        "identity_ct": (there(part.ct) - part.ct).abs().mean(),
    }
    for name, value in expected.items():
        torch.testing.assert_close(terms[name][0], value)
        assert terms[name][1] == (10 if name.startswith("cycle") else 5)
    for name, discriminator, fake in (
        ("adversarial", "discriminator", there(part.mr)),
        ("adversarial_mr", "mr_discriminator", back(part.ct)),
    ):
        logits = passes.networks.discriminators[discriminator](fake)
        torch.testing.assert_close(terms[name][0], -torch.log(torch.sigmoid(logits)).mean())
    assert terms.keys() == expected.keys() | {"adversarial", "adversarial_mr"}


def test_contrast_is_patch_nce_of_the_heads_features():
    passes, part = passes_of(recipe="cut", **{"generator.norm": "instance"}), part_of()
    generator, heads = passes.networks.generator, passes.networks.projector.heads.values()
    sct, names = generator(part.mr), ("input", "stem", "down", "block1")
    stages = [(part.mr, sct)]
    for stage in (generator.stem, generator.down, generator.blocks[0]):
        stages.append(tuple(stage(image) for image in stages[-1]))
    losses = []
    sizes = [stage[0][0, 0].numel() for stage in stages]
    for (source, output), head, places in zip(stages, heads, draw_places(0, 1, sizes, 32), strict=True):
        k, q = (torch.nn.functional.normalize(head(x.flatten(2)[:, :, places].mT), dim=2) for x in (source, output))
        likely = (q @ k.mT / 0.07).log_softmax(dim=2)
        losses.append(-likely.diagonal(dim1=1, dim2=2).mean())
    terms = added(passes, part)
    assert passes.settings.nce.features == names
    torch.testing.assert_close(terms["nce"][0], torch.stack(losses).mean())
    assert terms.keys() == {"adversarial", "nce", "nce_identity"}


def test_contrast_teaches_generator_and_heads_but_not_through_the_source():
    passes, part = passes_of(recipe="cut"), part_of()
    source = part.mr.clone().requires_grad_()
    sct = torch.rand(SIZE, requires_grad=True)
    contrast(passes, sct, source, 1).backward()
    assert source.grad is None
    assert float(sct.grad.abs().sum()) > 0
    generator = passes.networks.generator
    for module in (generator.stem, generator.down, generator.blocks[0], passes.networks.generators["projector"]):
        assert all(float(p.grad.abs().sum()) > 0 for p in module.parameters())
    assert all(p.grad is None for p in generator.head.parameters())  # features end before it


@pytest.mark.parametrize("recipe", ["cyclegan", "cut"])
def test_running_statistics_are_those_of_a_generators_own_input(recipe):
    """CT in the identity terms, and the sCT on its way back, must not move them: synthesis sees MR."""
    passes, alone, part = passes_of(recipe=recipe), passes_of(), part_of()
    added(passes, part)
    alone.generate(alone.networks.generator, part.mr)
    for (name, ours), theirs in zip(
        passes.networks.generator.named_buffers(), alone.networks.generator.buffers(), strict=True
    ):
        if "running" in name:
            assert torch.equal(ours, theirs), name
    if recipe == "cyclegan":
        norm = passes.networks.inverse_generator.stem[1]
        before = norm.running_mean.clone()
        passes.generate(passes.networks.inverse_generator, part.ct)
        assert not torch.equal(norm.running_mean, before)


def test_the_supervised_term_is_the_distance_to_the_ct():
    passes, part = passes_of(recipe="supervised"), part_of()
    sct = part.ct + 0.25
    (term,) = active_terms(passes.settings)
    (one,) = term.compute(passes, part, Synthetic(sct, None), 1)
    assert (one[0], one[2]) == ("supervised", 1)
    assert float(one[1]) == pytest.approx(0.25, rel=1e-5)
    assert float(absolute_distance(part.ct, part.ct)) == 0
