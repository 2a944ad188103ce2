"""What the patch feed reads, counted rather than timed."""

import mmap
import pickle

import numpy as np
import pytest
import torch

from creps.cohort import reader
from creps.cohort.cohort import Cohort, Manifest
from creps.cohort.reader import PatchReader
from creps.patches import PatchLocation, read_patch
from creps.settings import SamplingSettings, load_settings
from creps.training.build import build_networks, build_style
from creps.training.processes import start_processes
from creps.training.sampling import PatchPairs, PatchSampler
from creps.training.simulation import SimulatedPairs
from creps.training.step import TrainingStep
from creps.training.terms import images_used
from tests.conftest import TINY
from tests.test_sampling import case

SHAPE, PATCH = (20, 64, 512), (6, 8, 100)


@pytest.fixture
def cohort(tmp_path):
    rng = np.random.default_rng(0)
    cases = [case(f"{kind}{i}", kind, SHAPE) for kind in ("mr", "ct") for i in range(3)]
    for one in cases:
        for folder in (one.modality, f"{one.modality}_body"):
            (tmp_path / folder).mkdir(exist_ok=True)
        np.save(tmp_path / one.modality / f"{one.case}.npy", rng.random(SHAPE, dtype=np.float32))
        np.save(tmp_path / f"{one.modality}_body" / f"{one.case}.npy", rng.random(SHAPE) < 0.5)
    preparation = load_settings("demo").preparation
    return Cohort(
        tmp_path, Manifest(preset="demo", recipe="anatomy", preparation=preparation, cases=tuple(cases), provenance={})
    )


@pytest.fixture
def patches(cohort):
    settings = SamplingSettings(patch_size=PATCH)
    sampler = PatchSampler(cohort.cases("mr", "train"), cohort.cases("ct", "train"), settings, 0, 2)
    return PatchPairs(cohort, sampler, 50)


class Announced:
    """What is told of a map's use."""

    def __init__(self):
        self.ranges = []

    def madvise(self, option, start, length):
        if option == mmap.MADV_WILLNEED:
            self.ranges.append((start, start + length))


class Counted(np.ndarray):
    """An array that counts the bytes of what is taken out of it."""

    taken = 0

    def __getitem__(self, key):
        part = np.asarray(self)[key]
        Counted.taken += part.nbytes
        return part


def test_a_patch_takes_its_own_voxels_and_no_others(patches, monkeypatch):
    monkeypatch.setattr(Counted, "taken", 0)
    monkeypatch.setattr(reader, "read_patch", lambda array, where, fill: read_patch(array.view(Counted), where, fill))
    for k in range(40):
        patches[k]
    assert 0 < Counted.taken <= 40 * 2 * 4 * np.prod(PATCH)


def test_a_volume_is_opened_once_and_mapped(patches, monkeypatch):
    opened = []
    load = np.load
    monkeypatch.setattr(np, "load", lambda path, **how: opened.append((path, how["mmap_mode"])) or load(path, **how))
    for k in range(100):
        patches[k]
    assert len(opened) == len(set(opened)) == 6
    assert {mode for _, mode in opened} == {"r"}


def test_no_more_volumes_stay_open_than_a_process_may(cohort, monkeypatch):
    monkeypatch.setattr(reader, "KEPT", 2)
    read = PatchReader(cohort)
    where = PatchLocation((0, 0, 0), PATCH)
    for _ in range(2):
        for one in cohort.manifest.cases:
            np.testing.assert_array_equal(read.read(one, where, 0.0), cohort.array(one)[where.slices])
    assert len(read._open) == 2


@pytest.mark.skipif(not hasattr(mmap, "MADV_WILLNEED"), reason="systems that cannot be told")
@pytest.mark.parametrize("index", [(3, 5, 7), (-2, 60, 480), (0, 0, 0), (30, 0, 0)])
def test_the_rows_that_are_announced_hold_the_patch_and_little_more(cohort, index):
    array = cohort.array(cohort.manifest.cases[0])
    where, told = PatchLocation(index, PATCH), Announced()
    reader._announce(np.asarray(array), told, array.offset, where)
    marked = np.zeros(array.offset + array.nbytes, dtype=bool)
    for first, end in told.ranges:
        assert first % mmap.PAGESIZE == 0
        marked[first:end] = True
    wanted = np.zeros(array.nbytes, dtype=bool)
    wanted.view().reshape(*SHAPE, 4)[where.inside(SHAPE)] = True
    assert marked[array.offset :][wanted].all()
    rows = 4 * SHAPE[2] * PATCH[1]
    assert marked.sum() <= PATCH[0] * (rows + mmap.PAGESIZE)


def test_a_reader_that_has_volumes_open_goes_to_another_process(patches):
    first = patches[0]
    again = pickle.loads(pickle.dumps(patches))[0]
    assert all((first[name] == again[name]).all() for name in first)


BATCH_NORM = {"generator.kind": "residual", "generator.norm": "batch"}
USED = {
    "anatomy": ({"recipe": "anatomy", "generator.kind": "unet"}, set()),
    "anatomy with batch norm": ({"recipe": "anatomy"} | BATCH_NORM, {"mr"}),
    "simulation and a style": ({"recipe": "anatomy", "creps.weight": 1.0}, {"mr", "ct"}),
    "paper": ({"recipe": "paper"}, {"mr", "ct"}),
    "cyclegan": ({"recipe": "cyclegan"}, {"mr", "ct"}),
    "cut": ({"recipe": "cut"}, {"mr", "ct"}),
    "simulation and PatchNCE": (
        {"recipe": "cut", "adversarial.weight": 0, "nce.identity_weight": 0, "simulation.weight": 1},
        {"mr"},
    ),
    "supervised": ({"recipe": "supervised"}, {"mr", "ct"}),
}


def settings_of(changes):
    own = {name: value for name, value in TINY.items() if name != "recipe"}
    if changes.get("generator.kind") == "unet":
        own = {name: value for name, value in own.items() if not name.startswith("generator.")} | {
            "generator.width": 4,
            "generator.levels": 2,
            "generator.fine": 4,
        }
    return load_settings(overrides=own | changes)


def trained(chosen, dropped):
    """Every weight and statistic after two steps, without the images that are dropped."""
    processes = start_processes(chosen.training)
    style = build_style(chosen)
    networks = build_networks(processes, chosen, style)
    step = TrainingStep(processes, networks, style, chosen)
    rng, reports = torch.Generator().manual_seed(0), []
    for number in (1, 2):
        patches = {name: torch.rand(2, 1, 24, 24, 24, generator=rng) for name in ("mr", "ct", "s_mr", "s_ct")}
        mr, ct = (torch.empty(2, 0) if name in dropped else patches[name] for name in ("mr", "ct"))
        reports.append(step(mr, ct, number, (patches["s_mr"], patches["s_ct"])).terms)
    state = {f"{name}.{key}": v for name, net in networks.named().items() for key, v in net.state_dict().items()}
    return step.reads, state, reports


@pytest.mark.parametrize("recipe", USED)
def test_every_recipe_names_the_images_that_it_uses(recipe):
    changes, used = USED[recipe]
    assert images_used(settings_of(changes), statistics=changes.get("generator.norm") == "batch") == used


@pytest.mark.parametrize("recipe", [name for name, (_, used) in USED.items() if len(used) < 2])
def test_a_step_is_the_same_without_the_images_that_it_does_not_use(recipe):
    changes, used = USED[recipe]
    chosen = settings_of(changes)
    reads, whole, reports = trained(chosen, ())
    assert reads == used
    _, without, others = trained(chosen, {"mr", "ct"} - used)
    assert reports == others
    assert all(torch.equal(value, without[name]) for name, value in whole.items())


@pytest.mark.parametrize("name", ["mr", "ct"])
def test_an_image_that_is_used_must_be_there(name):
    with pytest.raises((RuntimeError, ValueError, IndexError)):
        trained(settings_of({"recipe": "paper"}), {name})


def test_only_what_is_used_is_read_and_the_draws_stay(patches, monkeypatch):
    simulated = SimulatedPairs(PATCH, (1.0, 1.0, 1.0), outside=False)
    alone = PatchPairs(patches.cohort, patches.sampler, 50, simulated, frozenset())
    every = PatchPairs(patches.cohort, patches.sampler, 50, simulated)
    read, original = [], PatchReader.read
    monkeypatch.setattr(
        PatchReader, "read", lambda self, case, *a, **k: read.append(case.modality) or original(self, case, *a, **k)
    )
    for k in range(4):
        sample = alone[k]
        assert sample.keys() == {"simulated_mr", "simulated_ct"}
        assert set(read) == {"ct"}  # what the pair is painted over
        assert all(torch.equal(value, every[k][name]) for name, value in sample.items())
        read.clear()
