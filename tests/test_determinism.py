"""The same gives the same. A sample of ``benchmarks/determinism``, which has the figures."""

import functools
import os
import random
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from benchmarks.determinism.compare import arrays_apart, documents_apart, hu_apart, weights_apart

import creps
from creps.cohort.prepare import prepare
from creps.io.itk import write_volume
from creps.preprocessing.bias import correct_bias_field
from creps.settings import load_settings
from creps.training.batches import batches
from creps.training.build import build_networks
from creps.training.processes import start_processes
from creps.training.run.train import train
from creps.training.sampling import PatchPairs, PatchSampler
from creps.training.simulation import growth, simulated_pairs
from creps.training.simulation.growth import Crowd
from creps.training.terms import draw_places
from tests.conftest import TINY, ball_head

STEPS = 2

CHANGES = {
    "recipe": "anatomy", "simulation.phantom_share": 1.0, "simulation.phantoms": 2, "training.seed": 3,
    "training.steps": STEPS,
}  # fmt: skip


def settings(**changes):
    return load_settings(overrides=TINY | changes)


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def read_batches(cohort, chosen, start=0):
    """All batches of a run from a step on."""
    sampling, training = chosen.sampling, chosen.training
    mrs, cts = (cohort.cases(kind, "train") for kind in ("mr", "ct"))
    sampler = PatchSampler(mrs, cts, sampling, training.seed, training.batch_size)
    pairs = PatchPairs(cohort, sampler, STEPS, simulated_pairs(chosen))
    return list(batches(pairs, training, start_processes(training), start))


def same_batches(one, other):
    return len(one) == len(other) > 0 and all(equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module", autouse=True)
def phantoms_grow_once():
    """The same ones are asked for again and again."""
    grow, code = functools.cache(Crowd.grow), functools.cache(growth._code_sha256)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Crowd, "grow", lambda crowd, number: grow(crowd, number))
        patch.setattr(growth, "_code_sha256", code)
        yield


@pytest.fixture(scope="module")
def anatomy():
    return settings(**CHANGES)


@pytest.mark.process
def test_batches_depend_on_seed_and_step_alone(cohort, anatomy):
    first = read_batches(cohort, anatomy)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002 - nothing may use them
    two = settings(**CHANGES | {"training.workers": 2})
    assert same_batches(first, read_batches(cohort, two))
    assert same_batches(first[1:], read_batches(cohort, anatomy, start=1))
    for name in ("mr", "ct", "simulated_mr", "simulated_ct"):
        steps = [batch[name] for batch in first]
        assert not torch.equal(steps[0], steps[1]), name
        assert not torch.equal(steps[0][0], steps[0][1]), name


def test_another_seed_changes_samples_phantoms_and_weights(cohort, anatomy):
    other = settings(**CHANGES | {"training.seed": 4})
    first, second = (read_batches(cohort, chosen)[0] for chosen in (anatomy, other))
    assert not any(torch.equal(first[name], second[name]) for name in ("mr", "ct", "simulated_mr", "simulated_ct"))
    people = [Crowd.of("head", (4.0, 4.0, 4.0), seed).grow(0) for seed in (3, 3, 4)]
    assert np.array_equal(people[0].tissues, people[1].tissues)
    assert not np.array_equal(people[0].tissues, people[2].tissues)
    built = [
        build_networks(start_processes(chosen.training), chosen, None).generator.state_dict()
        for chosen in (anatomy, anatomy, other)
    ]
    assert equal(built[0], built[1])
    assert not equal(built[0], built[2])
    drawn = [draw_places(seed, step, [1000], 20)[0] for seed, step in ((3, 1), (3, 1), (3, 2), (4, 1))]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[3])


def test_a_run_ignores_other_random_numbers_and_late_phantoms(cohort, tmp_path, monkeypatch, anatomy):
    """In the second run each phantom comes late, and the random numbers of all libraries stand elsewhere."""
    train(cohort, tmp_path / "first", anatomy)
    grow = growth.grow_into

    def late(*given):
        time.sleep(0.2)
        grow(*given)

    monkeypatch.setattr(growth, "grow_into", late)
    random.seed(2), np.random.seed(2), torch.manual_seed(2)  # noqa: NPY002
    train(cohort, tmp_path / "second", anatomy)
    assert weights_apart(tmp_path / "first", tmp_path / "second") == {"equal": True, "weights": 0.0}


def test_bias_correction_does_not_depend_on_the_threads_of_itk():
    """The filters within N4 take the global number, which differs from machine to machine, and with --jobs."""
    mr = ball_head(0)[0].array
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    try:
        corrected = []
        for threads in (1, 3):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
            corrected.append(correct_bias_field(mr, mr > 100, (4, 4, 4)))
            assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == threads
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    assert not np.array_equal(corrected[0], mr)
    assert np.array_equal(*corrected)


@pytest.mark.process
def test_a_cohort_is_the_same_by_two_processes_from_unsorted_folders(tmp_path, monkeypatch):
    for i in range(2):
        write_volume(ball_head(i)[0], tmp_path / "mr" / f"m{i}.nii.gz")
        write_volume(ball_head(10 + i)[1], tmp_path / "ct" / f"c{i}.nii.gz")
    sources = (tmp_path / "mr", tmp_path / "ct")
    chosen = settings(**{"preparation.spacing_mm": [5, 5, 5], "preparation.crop_margin_mm": 10})
    prepare(sources, tmp_path / "one", settings=chosen, jobs=1)
    listed, entries = Path.iterdir, os.listdir
    monkeypatch.setattr(Path, "iterdir", lambda folder: iter(sorted(listed(folder), reverse=True)))
    monkeypatch.setattr(os, "listdir", lambda *folder: sorted(entries(*folder), reverse=True))
    prepare(sources, tmp_path / "two", settings=chosen, jobs=2)
    assert arrays_apart(tmp_path / "one", tmp_path / "two") == {"equal": True, "same_document": True}


def test_an_sct_is_the_same_again_and_hardly_depends_on_batch_and_threads(demo_model):
    model, mr = creps.load(demo_model), ball_head(0)[0]

    def sct(batch_size, threads=1):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return model.synthesize(mr, force=True, precision="fp32", batch_size=batch_size).sct.array
        finally:
            torch.set_num_threads(before)

    first = sct(1)
    assert np.array_equal(first, sct(1))
    assert np.abs(first - sct(3)).max() < 0.05
    assert np.abs(first - sct(1, threads=2)).max() < 0.05


def test_differences_are_found(tmp_path):
    """The campaign can see what it looks for."""
    one, other = ball_head(0)[1], ball_head(0)[1]
    other.array[3, 4, 5] += 2
    for name, volume in (("a", one), ("b", other)):
        write_volume(volume, tmp_path / f"{name}.nii.gz")
    assert hu_apart(tmp_path / "a.nii.gz", tmp_path / "a.nii.gz")["equal"]
    assert hu_apart(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz") == {"equal": False, "most": 2.0, "mean": 7e-05}
    for name, text in (("a", '{"x": [1, {"y": 2}], "created": 1}'), ("b", '{"x": [1, {"y": 3}], "created": 2}')):
        (tmp_path / f"{name}.json").write_text(text)
    assert documents_apart(tmp_path / "a.json", tmp_path / "b.json") == {
        "same_document": False, "differs_in": [".x.1.y"],
    }  # fmt: skip
