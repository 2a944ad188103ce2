"""What the patch feed reads, counted rather than timed."""

import mmap
import pickle

import numpy as np
import pytest

from creps.cohort import reader
from creps.cohort.cohort import Cohort, Manifest
from creps.cohort.reader import PatchReader
from creps.patches import PatchLocation, read_patch
from creps.settings import SamplingSettings, load_settings
from creps.training.sampling import PatchPairs, PatchSampler
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
