"""How a volume is predicted: in which form, in which pieces, with how much memory."""

import logging
import math
from dataclasses import astuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from creps.errors import ModelError, SettingsError
from creps.inference.aggregation import slab_bytes
from creps.inference.executor import Executor, Pending
from creps.inference.prediction import lay_out, predict
from creps.inference.pruning import pruned
from creps.inference.sliding_window import predict_patches
from creps.inference.tiles import RIM, exact_tiles
from creps.machine import bf16_warning, resolve_precision
from creps.networks.build import build_generator
from creps.networks.folded import FoldedResidual
from creps.networks.generator import Generator
from creps.patches import PatchLocation, covering_grid, read_patch
from creps.settings import InferenceSettings, ResidualSettings, UNetSettings


def trained(**changes):
    """A small generator whose norms have statistics and weights of their own."""
    torch.manual_seed(1)
    generator = build_generator(ResidualSettings(**{"width": 4, "residual_blocks": 2} | changes))
    for module in generator.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
    return generator.eval()


@pytest.mark.parametrize("changes", [{}, {"norm": "none"}], ids=str)
@pytest.mark.parametrize("size", [(8, 10, 12), (7, 9, 10), (4, 4, 4)], ids=str)
def test_the_folded_generator_is_the_generator(changes, size):
    generator, mr = trained(**changes), torch.rand(2, 1, *size)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    with torch.no_grad():
        expected = generator(mr)
    torch.testing.assert_close(FoldedResidual(generator, torch.float32)(mr), expected, atol=1e-5, rtol=1e-5)
    halved = FoldedResidual(generator, torch.bfloat16)(mr)
    assert halved.dtype == torch.float32
    torch.testing.assert_close(halved, expected, atol=0.03, rtol=0.03)
    torch.testing.assert_close(dict(generator.state_dict()), before)  # its own weights are as they were


def test_the_folded_generator_gives_more_than_bfloat16_can_say():
    values = FoldedResidual(trained(), torch.bfloat16)(torch.rand(1, 1, 8, 8, 8))
    assert (values != values.bfloat16().float()).float().mean() > 0.9


def test_instance_norm_is_not_folded_and_runs_as_it_is():
    generator = trained(norm="instance")
    with pytest.raises(TypeError, match="InstanceNorm3d cannot be folded"):
        FoldedResidual(generator, torch.float32)
    assert generator.folded(torch.float32) is None
    executor, mr = Executor(generator, precision="fp32"), np.random.default_rng(0).random((2, 8, 8, 8), np.float32)
    assert executor.halo is None
    with torch.no_grad():
        expected = generator(torch.from_numpy(mr)[:, None])[:, 0].numpy()
    np.testing.assert_allclose(executor.start(mr).result(), expected, atol=1e-5)


@pytest.mark.parametrize("blocks", [1, 2, 3])
@pytest.mark.parametrize("odd", [0, 1])
def test_the_halo_is_how_far_a_voxel_sees(blocks, odd):
    generator = trained(residual_blocks=blocks, width=2, norm="none")
    for parameter in generator.parameters():
        parameter.data.abs_()  # nothing cancels, no ReLU hides anything
    side = 2 * (generator.halo + 5)
    mr = torch.rand(1, 1, side, side, side).requires_grad_()
    centre = side // 2 + odd
    generator(mr)[0, 0, centre, centre, centre].backward()
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        seen = np.flatnonzero(mr.grad[0, 0].abs().sum(dim=others).numpy())
        assert centre - seen[0] == generator.halo - (0 if odd else 1)
        assert seen[-1] - centre == generator.halo - (2 if odd else 1)


@given(
    st.tuples(*[st.integers(3, 90)] * 3),
    st.tuples(*[st.floats(0, 1)] * 6),
    st.integers(0, 40),
    st.integers(1, 10**6),
    st.sampled_from([2, 8, 16]),
)
@settings(max_examples=150, deadline=None)
def test_tiles_cover_the_extent_once_with_their_halo(shape, cuts, halo, most, stride):
    first = [int(c * (n - 1)) for c, n in zip(cuts[:3], shape, strict=True)]
    size = [1 + int(c * (n - f - 1)) for c, n, f in zip(cuts[3:], shape, first, strict=True)]
    extent, lattice = PatchLocation(tuple(first), tuple(size)), tuple(int(99 * c) for c in cuts[:3])
    counts = np.zeros([n + 2 * stride for n in shape], int)  # a stride more on each side
    rim = RIM + -RIM % stride
    for tile in exact_tiles(extent, halo, most, lattice, stride=stride):
        counts[tile.core.moved((stride,) * 3).slices] += 1
        for i in range(3):
            begin, end = tile.view.index[i], tile.view.index[i] + tile.view.size[i]
            assert (begin + lattice[i]) % stride == (end + lattice[i]) % stride == 0
            assert begin <= tile.core.index[i] - halo or first[i] - rim - stride < begin <= first[i] - rim
            stop = first[i] + size[i]
            assert end >= tile.core.index[i] + tile.core.size[i] + halo or stop + rim <= end < stop + rim + stride
    assert counts.max() == 1
    assert (counts[extent.moved((stride,) * 3).slices] == 1).all()


@pytest.mark.parametrize(("shape", "spacing"), [((180, 240, 200), (1, 1, 1)), ((90, 300, 400), (2.5, 1, 1))])
def test_the_u_net_predicts_a_whole_body_in_one_piece(shape, spacing):
    """With the memory that a pass may take by default; with little memory there are more tiles, all within it."""
    executor = Executor(build_generator(UNetSettings()), precision="fp32")
    body = np.zeros(shape, bool)
    body[tuple(slice(n // 12, -n // 12) for n in shape)] = True
    whole = lay_out(shape, spacing, body, (96, 128, 112), executor, single(extent="body", memory_gb=4.0))
    assert len(whole.tiles) == 1
    assert whole.pass_bytes <= 4.1e9
    less = lay_out(shape, spacing, body, (96, 128, 112), executor, single(extent="body", memory_gb=1.5))
    assert len(less.tiles) > 1
    assert less.pass_bytes <= 1.6e9


def single(**changes):
    return InferenceSettings(fusion="single", precision="fp32", device="cpu", **changes)


@pytest.mark.parametrize("shape", [(40, 44, 48), (37, 41, 35)], ids=str)
def test_a_single_pass_in_tiles_is_the_whole_at_once(shape):
    executor = Executor(trained(residual_blocks=1), precision="fp32")
    mr = np.random.default_rng(0).random(shape, np.float32)
    body = np.zeros(shape, bool)
    body[5:-4, 6:-3, 2:-6] = True
    padded = np.pad(mr, [(RIM, RIM + n % 2) for n in shape])
    whole = executor.start(padded[None]).result()[0][tuple(slice(RIM, RIM + n) for n in shape)]
    few = lay_out(shape, (1, 1, 1), body, (8, 8, 8), executor, single(extent="volume"))
    assert len(few.tiles) == 1
    np.testing.assert_allclose(predict(executor, mr, few, single())[0], whole, atol=1e-5)
    small = single(extent="body", memory_gb=executor.bytes_at_peak(38**3) / 1e9)
    many = lay_out(shape, (1, 1, 1), body, (8, 8, 8), executor, small, margin_mm=1.0)
    assert len(many.tiles) > 1
    sct, _ = predict(executor, mr, many, small)
    box = tuple(slice(i - i % 2 - RIM, i + n + (i + n) % 2 + RIM) for i, n in zip(*astuple(many.extent), strict=True))
    seen = read_patch(mr, PatchLocation(tuple(b.start for b in box), tuple(b.stop - b.start for b in box)), fill=None)
    once = executor.start(seen[None]).result()[0]
    inside = tuple(slice(i - b.start, i - b.start + n) for b, i, n in zip(box, *astuple(many.extent), strict=True))
    np.testing.assert_allclose(sct[many.extent.slices], once[inside], atol=1e-5)
    assert np.isnan(sct[0]).all()  # outside the body's box


def test_a_single_pass_needs_a_bounded_view():
    shape = (8, 8, 8)
    executor = Executor(trained(norm="instance"), precision="fp32")
    with pytest.raises(SettingsError, match="instance norm a voxel sees all"):
        lay_out(shape, (1, 1, 1), np.ones(shape, bool), shape, executor, single())


def test_a_single_pass_runs_a_fraction_of_the_voxels():
    """The paper's pelvis on the grid of its preset: what the network has to do, counted."""
    shape, spacing = (100, 400, 500), (2.5, 1.0, 1.0)
    executor, body = Executor(build_generator(ResidualSettings()), precision="bf16"), np.ones(shape, bool)
    voxels = {
        fusion: lay_out(shape, spacing, body, (32, 224, 224), executor, InferenceSettings(fusion=fusion)).record()
        for fusion in ("single", "median")
    }
    assert voxels["single"]["voxels_per_voxel"] < 1.5
    assert voxels["median"]["voxels"] > 5 * voxels["single"]["voxels"]


@given(st.integers(0, 99), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_patches_are_left_out_only_where_nothing_is_lost(seed, least):
    rng = np.random.default_rng(seed)
    shape, patch = tuple(rng.integers(5, 30, 3)), tuple(rng.integers(2, 6, 3) * 2)
    body = np.zeros(shape, bool)
    for _ in range(3):
        corner = [int(rng.integers(n)) for n in shape]
        body[tuple(slice(c, c + 6) for c in corner)] = True
    whole = covering_grid(shape, patch, min_coverage=least)
    grid = pruned(whole, body, least)
    counts = np.zeros(shape, int)
    for place in grid.locations_in_volume:
        counts[place.inside(shape)] += 1
    np.testing.assert_array_equal(counts, grid.coverage_map)
    assert counts[body].min() >= least
    for index in grid.left_out:
        box = grid.in_volume(PatchLocation(index, patch)).inside(shape)
        held = body[box]
        assert not held.any() or counts[box][held].min() >= least
    if least == 1:  # no rim: every voxel of the body has all its predictions
        np.testing.assert_array_equal(counts[body], whole.coverage_map[body])


@pytest.mark.parametrize("cut_off", [(False, False), (True, False), (False, True), (True, True)], ids=str)
def test_a_slice_more_takes_no_prediction_from_the_others(cut_off):
    """Where the patient is cut off, the outer row of patches stays, whichever it is."""
    counts = []
    for more in range(9):
        grid = covering_grid((40 + more, 30, 30), (16, 12, 12), first=(-more, 0, 0))
        kept = pruned(grid, np.ones(grid.shape, bool), 2, cut_off)
        counts.append(kept.coverage_map[more:])
    same = [np.array_equal(one, counts[0]) for one in counts]
    assert all(same) == cut_off[0]
    assert min(count.min() for count in counts) >= 2


def test_the_brain_presets_patches():
    """Forwards for the volume of the benchmark, counted: with and without what is idle."""
    shape, patch = (168, 256, 256), (66, 168, 168)
    whole = covering_grid(shape, patch)
    body = np.zeros(shape, bool)
    body[8:160, 30:226, 40:216] = True
    assert len(whole.locations) == 63
    assert len(pruned(whole, None, 2).locations) == 53
    box = covering_grid((152, 196, 176), patch)
    assert len(pruned(box, body[8:160, 30:226, 40:216], 2).locations) == 24


class Counting(Generator):
    """Adds 1 to its input, cannot hold more than `most` patches."""

    def __init__(self, most=99, error=None):
        super().__init__()
        self.most, self.batches, self.error = most, [], error or torch.OutOfMemoryError("CUDA out of memory")

    def forward(self, x):
        self.batches.append(len(x))
        if len(x) > self.most:
            raise self.error
        return x + 1


def test_a_batch_that_does_not_fit_is_halved(caplog):
    network, mr = Counting(most=2), np.random.default_rng(0).random((12, 8, 8), np.float32)
    places = covering_grid(mr.shape, (4, 4, 4)).locations_in_volume
    with caplog.at_level(logging.WARNING, "creps"):
        predictions = list(predict_patches(Executor(network, precision="fp32"), mr, places, batch_size=8))
    assert len(predictions) == len(places)
    assert network.batches[:3] == [8, 4, 2]
    assert max(network.batches[3:]) == 2
    assert "continuing with 2" in caplog.text
    with pytest.raises(ModelError, match="does not fit into the device's memory"):
        list(predict_patches(Executor(Counting(most=0), precision="fp32"), mr, places, batch_size=8))


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("MPS backend out of memory"), RuntimeError("CUDNN_STATUS_ALLOC_FAILED")],
    ids=["numpy", "MPS", "cuDNN"],
)
def test_other_words_for_too_little_memory_are_understood(error):
    network, mr = Counting(most=2, error=error), np.ones((12, 8, 8), np.float32)
    places = covering_grid(mr.shape, (4, 4, 4)).locations_in_volume
    executor = Executor(network, precision="fp32")
    assert len(list(predict_patches(executor, mr, places, batch_size=4))) == len(places)
    network.error = RuntimeError("something else")
    with pytest.raises(RuntimeError, match="something else"):
        list(predict_patches(executor, mr, places, batch_size=4))


def test_every_patch_goes_through_the_network_once():
    network, mr = Counting(), np.ones((20, 20, 20), np.float32)
    executor, chosen = Executor(network, precision="fp32"), InferenceSettings(extent="body", batch_size=3)
    layout = lay_out(mr.shape, (1, 1, 1), mr > 0, (8, 8, 8), executor, chosen)
    sct, _ = predict(executor, mr, layout, chosen)
    assert sum(network.batches) == layout.record()["count"]
    assert len(network.batches) == math.ceil(layout.record()["count"] / 3)
    assert (sct == 2).all()


def test_memory_grows_with_the_slab_and_not_with_the_patches():
    executor, chosen = Executor(build_generator(ResidualSettings(width=8)), precision="bf16"), InferenceSettings()

    def laid_out(*shape):
        return lay_out(shape, (1, 1, 1), np.ones(shape, bool), (16, 32, 32), executor, chosen)

    short, tall, wide = laid_out(40, 64, 64), laid_out(400, 64, 64), laid_out(40, 64, 128)
    assert len(tall.pieces) > 8 * len(short.pieces)
    assert tall.slab_bytes == short.slab_bytes == 4 * 8 * 16 * 64 * 64
    assert tall.pass_bytes == short.pass_bytes
    assert wide.slab_bytes == 2 * short.slab_bytes == slab_bytes(wide.grid)
    two_maps, mr_twice, gaps, buffers = 2 * 8 * 2, 4 + 2, 2 * 8 * 2, 16 << 20
    assert short.pass_bytes == short.batch_size * 16 * 32 * 32 * (two_maps + mr_twice + gaps) + buffers


@pytest.mark.parametrize(("memory_gb", "batch"), [(None, 16), (0.001, 1), (0.003, 4)])
def test_the_batch_goes_by_memory(memory_gb, batch):
    executor = Executor(build_generator(ResidualSettings(width=8)), precision="bf16")
    chosen, shape = InferenceSettings(memory_gb=memory_gb), (64, 64, 64)
    assert lay_out(shape, (1, 1, 1), np.ones(shape, bool), (16, 32, 32), executor, chosen).batch_size == batch


@pytest.mark.parametrize(
    ("flags", "chosen"), [((True, False), "bf16"), ((False, True), "bf16"), ((False, False), "fp32")]
)
def test_bf16_is_chosen_only_where_there_are_units_for_it(monkeypatch, flags, chosen):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: flags[0])
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: flags[1])
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    assert resolve_precision("auto", torch.device("cpu")) == chosen
    assert resolve_precision("bf16", torch.device("cpu")) == "bf16"
    assert resolve_precision("fp32", torch.device("cpu")) == "fp32"
    assert resolve_precision("auto", torch.device("mps")) == "fp32"
    assert (bf16_warning("bf16", torch.device("cpu")) is None) == (chosen == "bf16")
    assert all(bf16_warning(name, torch.device("cpu")) is None for name in ("auto", "fp32"))


@pytest.mark.parametrize(("most", "chosen"), [("AVX2", "fp32"), ("avx512_core", "fp32"), ("AVX512_CORE_AMX", "bf16")])
def test_bf16_is_not_chosen_where_its_units_may_not_be_used(monkeypatch, most, chosen):
    """PyTorch still says that they are there, and would be tens of times slower."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", most)
    assert resolve_precision("auto", torch.device("cpu")) == chosen
    assert bf16_warning("bf16", torch.device("cuda")) is None


@pytest.mark.parametrize("bad", [[float("nan")], [float("inf")], [float("inf"), float("-inf")]])
def test_values_that_are_not_finite_are_found_wherever_they_are(bad):
    values = torch.ones(1, 8, 9, 10)
    values.view(-1)[11 : 11 + len(bad)] = torch.tensor(bad)
    with pytest.raises(ModelError, match="NaN or infinite"):
        Pending(values, None).result()


def test_large_finite_values_are_finite():
    assert Pending(torch.full((1, 8, 8, 8), 3e38), None).result().max() > 2e38


class Ramp(Generator):
    """Adds a constant that grows with every batch."""

    def __init__(self, step):
        super().__init__()
        self.step, self.calls = step, 0

    def forward(self, x):
        self.calls += 1
        return x + self.step * (self.calls - 1)


@pytest.mark.parametrize("fusion", ["upper_median", "median", "mean", "gaussian"])
@pytest.mark.parametrize("extent", ["volume", "body"])
def test_predictions_that_agree_have_no_spread(fusion, extent):
    mr = np.random.default_rng(0).random((21, 18, 19), np.float32)
    body = np.zeros(mr.shape, bool)
    body[4:17, 5:12, 3:15] = True
    executor, chosen = Executor(Ramp(0.0), precision="fp32"), InferenceSettings(fusion=fusion, extent=extent)
    layout = lay_out(mr.shape, (1, 1, 1), body, (8, 8, 8), executor, chosen, spread=True)
    value, spread = predict(executor, mr, layout, chosen, spread=True)
    np.testing.assert_array_equal(np.isnan(value), np.isnan(spread))
    np.testing.assert_allclose(value[body], mr[body], atol=1e-6)
    assert (spread[body] == 0).all()


@given(st.tuples(*[st.integers(9, 20)] * 3), st.tuples(*[st.integers(2, 4)] * 3), st.floats(0.1, 9))
@settings(max_examples=25, deadline=None)
def test_the_spread_is_half_the_range_of_the_predictions(shape, halves, step):
    patch = tuple(2 * n for n in halves)
    executor, chosen = Executor(Ramp(step), precision="fp32"), InferenceSettings(batch_size=1, min_coverage=1)
    layout = lay_out(shape, (1, 1, 1), np.ones(shape, bool), patch, executor, chosen, spread=True)
    _, spread = predict(executor, np.zeros(shape, np.float32), layout, chosen, spread=True)
    first, last = np.full(shape, np.inf), np.full(shape, -np.inf)
    for number, place in enumerate(layout.grid.locations_in_volume):
        box = place.inside(shape)
        first[box], last[box] = np.minimum(first[box], number), np.maximum(last[box], number)
    np.testing.assert_allclose(spread, (last - first) / 2 * step, rtol=1e-4, atol=1e-4)
    covered_once = layout.grid.coverage_map == 1
    assert (spread[covered_once] == 0).all()
    assert (spread[~covered_once] > 0).all()


def test_the_value_does_not_depend_on_the_spread_and_its_memory_is_counted():
    mr, chosen = np.random.default_rng(0).random((20, 20, 20), np.float32), InferenceSettings(batch_size=1)

    def predicted(**wanted):
        executor = Executor(Ramp(0.5), precision="fp32")
        layout = lay_out(mr.shape, (1, 1, 1), mr > 0, (8, 8, 8), executor, chosen, **wanted)
        return predict(executor, mr, layout, chosen, **wanted), layout.total_bytes

    ((alone, none), less), ((value, _), more) = predicted(), predicted(spread=True)
    assert none is None
    np.testing.assert_array_equal(alone, value)
    assert more - less == 4 * mr.size
    with pytest.raises(SettingsError, match="predicts every voxel once"):
        lay_out(mr.shape, (1, 1, 1), mr > 0, (8, 8, 8), Executor(trained(), spread=True), single(), spread=True)


class Doubtful(Generator):
    """Predicts the MR, and a tenth of it as the spread."""

    halo = 2
    yields_spread = True

    def forward(self, mr):
        return mr.clone()

    def with_spread(self, mr):
        return torch.cat([mr, mr / 10], dim=1)


@pytest.mark.parametrize("fusion", ["single", "upper_median", "median", "mean", "gaussian"])
@pytest.mark.parametrize("memory_gb", [None, 3e-5])
def test_a_network_that_knows_its_spread_tells_it_with_every_fusion(fusion, memory_gb):
    mr = np.random.default_rng(0).random((40, 18, 19), np.float32)
    chosen = InferenceSettings(fusion=fusion, precision="fp32", memory_gb=memory_gb)

    def predicted(*, spread):
        executor = Executor(Doubtful(), precision="fp32", spread=spread)
        layout = lay_out(mr.shape, (1, 1, 1), mr > 0, (8, 8, 8), executor, chosen, spread=spread)
        return *predict(executor, mr, layout, chosen, spread=spread), layout

    (alone, none, fewer), (value, spread, layout) = predicted(spread=False), predicted(spread=True)
    assert none is None
    np.testing.assert_array_equal(alone, value)
    np.testing.assert_allclose(spread, mr / 10, atol=1e-6)  # the predictions agree
    assert layout.total_bytes > fewer.total_bytes
    assert (len(layout.pieces) > 1) == (fusion != "single" or memory_gb is not None)


def test_what_a_network_doubts_and_where_predictions_differ_add_up():
    class Both(Ramp):
        yields_spread = True

        def with_spread(self, mr):
            return torch.cat([self(mr), torch.full_like(mr, 0.3)], dim=1)

    mr, chosen = np.zeros((12, 12, 12), np.float32), InferenceSettings(batch_size=1, min_coverage=1)
    spreads = []
    for network in (Ramp(0.1), Both(0.1)):
        executor = Executor(network, precision="fp32", spread=True)
        layout = lay_out(mr.shape, (1, 1, 1), mr == 0, (8, 8, 8), executor, chosen, spread=True)
        spreads.append(predict(executor, mr, layout, chosen, spread=True)[1])
    assert spreads[0].max() > 0.1
    np.testing.assert_allclose(spreads[1], np.sqrt(spreads[0] ** 2 + 0.3**2), rtol=1e-5)
