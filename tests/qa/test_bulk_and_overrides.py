from types import SimpleNamespace

import numpy as np
import pytest

from creps import hu
from creps.cli.verbs.synthesize import _hu
from creps.errors import InputError, SettingsError
from creps.io.itk import read_volume, write_volume
from creps.synthesis.bulk import BulkDensities, bulk_density
from creps.synthesis.options import OutputOptions, SynthesisOptions
from creps.synthesis.overrides import Override, overridden, overrides_of, resolve_overrides
from creps.synthesis.writing import _bulk
from creps.volume import Volume


@pytest.fixture
def mr():
    return Volume(np.ones((6, 8, 10)), (3.0, 2.0, 2.0), (1.0, 2.0, 3.0))


def box(mr):
    array = np.zeros(mr.shape)
    array[1:3, 2:4, 2:7] = 1
    return mr.with_array(array)


def test_classes_of_bulk_densities_at_their_bounds():
    sct_hu = np.array([[[-1024.0, -301, -300, -201, -200, -21, -20, 250, 251, 3000]]])
    found = bulk_density(sct_hu, np.ones_like(sct_hu, dtype=bool), BulkDensities(1, 2, 3, 4))
    assert found.tolist() == [[[4, 4, 1, 1, 3, 3, 1, 1, 2, 2]]]
    outside = bulk_density(sct_hu, np.zeros_like(sct_hu, dtype=bool), BulkDensities())
    assert set(outside.ravel()) == {-1000.0}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"bone": 4000}, "bone is 4000"),
        ({"bone": float("nan")}, "bone is nan"),
        ({"bone": "300"}, "bone is 300"),
        ({"bone": True}, "bone is True"),
        ({"skull": 300}, "Unknown class 'skull'"),
        (None, "The bulk densities are None"),
        ("bone", "The bulk densities are 'bone'"),
    ],
)
def test_bulk_densities_out_of_range_are_one_sentence(given, words):
    with pytest.raises(SettingsError, match=words):
        BulkDensities.of(given)


def test_bulk_densities_as_a_user_writes_them():
    assert BulkDensities.of(given=False) is None
    assert BulkDensities.of(given=True) == BulkDensities(0, 300, -100, -1000)
    assert BulkDensities.of({"bone": 500}).record() == {"body": 0, "bone": 500, "fat": -100, "air": -1000}
    with pytest.raises(InputError, match="'bulk' is of the type bool"):
        OutputOptions(bulk=True)


def test_an_override_of_a_mask_sets_its_voxels_and_is_recorded(mr, tmp_path):
    write_volume(box(mr), tmp_path / "gold.nii.gz")
    overrides = overrides_of({str(tmp_path / "gold.nii.gz"): 3000, box(mr): -50})
    resolved = resolve_overrides(overrides, mr, mr, None)
    sct = mr.with_array(np.full(mr.shape, 40.0))
    changed, where = overridden(sct, resolved)
    assert set(changed.array[box(mr).array > 0]) == {-50.0}  # the later one counts
    assert set(changed.array[box(mr).array == 0]) == {40.0}
    np.testing.assert_array_equal(where, box(mr).array > 0)
    assert [one.record["hu"] for one in resolved] == [3000.0, -50.0]
    assert resolved[0].record["ml"] == pytest.approx(20 * 12 / 1000)
    assert len(resolved[0].record["mask"]) == 64
    assert resolved[1].record["mask"] == "in memory"
    assert overridden(sct, []) == (sct, None)


def test_a_mask_is_brought_onto_another_grid(mr):
    finer = Volume(np.zeros((12, 16, 20)), (1.5, 1.0, 1.0), (0.5, 1.5, 2.25))
    (found,) = resolve_overrides(overrides_of({box(mr): 0}), mr, finer, None)
    assert found.record["ml"] == pytest.approx(0.24, rel=0.2)


def test_bad_overrides_are_one_sentence_each(mr, tmp_path):
    elsewhere = Volume(np.ones(mr.shape), mr.spacing_mm, (50.0, 0.0, 0.0))
    write_volume(mr, tmp_path / "mr.nii.gz")
    cases = {
        "on a different grid": lambda: resolve_overrides(overrides_of({elsewhere: 0}), mr, mr, None),
        "mask of an override is empty": lambda: resolve_overrides(
            overrides_of({mr.with_array(np.zeros(mr.shape)): 0}), mr, mr, None
        ),
        "No structure set is given for the structure 'Bladder'": lambda: overrides_of({"Bladder": 0}),
        "type list": lambda: overrides_of([("Bladder", 0)]),
        "No override names a structure": lambda: overrides_of({"gold.nii.gz": 0}, "RS.dcm"),
        "no mask and no structure": lambda: Override(0),
        "mask is of the type int": lambda: Override(0, mask=3),
        "is not an RT Structure Set": lambda: resolve_overrides(
            overrides_of({"Bladder": 0}, tmp_path / "mr.nii.gz"), mr, mr, None
        ),
        "An override is of the type dict": lambda: SynthesisOptions(overrides=({"a": 1},)),
    }
    for words, call in cases.items():
        with pytest.raises(InputError, match=words):
            call()
    with pytest.raises(SettingsError, match="HU of an override is 5000"):
        Override(5000, mask=box(mr))
    low, high = hu.STORED_RANGE
    assert Override(low, mask=box(mr)).hu == low
    assert Override(high, mask=box(mr)).hu == high
    assert read_volume(tmp_path / "mr.nii.gz").shape == mr.shape


def test_an_override_counts_in_the_bulk_densities_where_it_is_what_was_predicted(mr):
    where = box(mr).array > 0
    sct = mr.with_array(np.where(where, 40.0, 0.0))
    result = SimpleNamespace(sct=sct, predicted=sct, overridden=where, body_mask=lambda: np.ones(mr.shape, dtype=bool))
    bulk = _bulk(result, BulkDensities(body=7)).array
    assert set(bulk[where]) == {40.0}
    assert set(bulk[~where]) == {7.0}


def test_of_a_name_given_twice_the_last_one_wins_and_comes_last():
    assert list(_hu(None, None, ("A=40", "B=0", "A=50")).items()) == [("B", 0.0), ("A", 50.0)]
