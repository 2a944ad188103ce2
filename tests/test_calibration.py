"""The fit of a calibration on data whose truth is known, its document, and the mean error of slices."""

import doctest
import json

import numpy as np
import pytest

import creps.inference.calibration
import creps.qa.uncertainty.fit
import creps.qa.uncertainty.slices
from creps.errors import ModelError
from creps.inference.calibration import CALIBRATION, Calibration, ClassCalibration, read_calibration
from creps.metrics.tissues import TISSUE_WINDOWS_HU
from creps.qa.uncertainty.fit import LEVELS, Sample, fit_class, fit_classes, sample_of
from creps.qa.uncertainty.slices import errors_by_slice
from creps.volume import Volume

ONE = ClassCalibration(voxels=9, spread_hu=(10, 20), half_width_hu=(15, 25), error_hu=(5, 9))


def calibration(**changes):
    classes = dict.fromkeys(TISSUE_WINDOWS_HU, ONE)
    return Calibration(**{"confidence": 0.9, "weights_sha256": "abc", "classes": classes} | changes)


def test_examples():
    for module in (creps.inference.calibration, creps.qa.uncertainty.fit, creps.qa.uncertainty.slices):
        failed, _ = doctest.testmod(module)
        assert not failed


def test_a_spread_is_read_between_levels_and_grows_beyond_them():
    width, error = ONE.read(np.array([0, 10, 12, 20, 30], np.float32))
    np.testing.assert_allclose(width, [15, 15, 17, 25, 37.5])
    np.testing.assert_allclose(error, [5, 5, 5.8, 9, 13.5])


def test_each_tissue_has_its_own_widths():
    classes = {
        name: ClassCalibration(voxels=1, spread_hu=(1,), half_width_hu=(number,), error_hu=(number / 2,))
        for number, name in enumerate(TISSUE_WINDOWS_HU)
    }
    found = calibration(classes=classes)
    width, error = found.read(np.array([-1000, -100, 40, 300, 900], np.float32), np.ones(5, np.float32))
    np.testing.assert_allclose(width, [0, 1, 2, 3, 4])
    np.testing.assert_allclose(error, [0, 0.5, 1, 1.5, 2])
    with pytest.raises(ValueError, match="shapes differ"):
        found.read(np.zeros(2, np.float32), np.zeros(3, np.float32))


def errors_in_proportion(count, seed):
    """Errors that are half-normal with the spread as their scale."""
    rng = np.random.default_rng(seed)
    spread = rng.uniform(5, 100, count)
    return spread, np.abs(rng.normal(0, spread))


@pytest.mark.parametrize("confidence", [0.5, 0.9])
def test_other_voxels_of_the_same_kind_are_covered_as_stated(confidence):
    fitted = fit_class(*errors_in_proportion(60_000, 1), confidence)
    spread, error = errors_in_proportion(60_000, 2)
    width, expected = fitted.read(spread.astype(np.float32))
    assert abs((error <= width).mean() - confidence) < 0.01
    assert expected.mean() == pytest.approx(error.mean(), rel=0.02)
    for low in range(5, 100, 19):  # misses at every level: at most twice as many as stated
        level = (spread >= low) & (spread < low + 19)
        assert (error <= width)[level].mean() > 1 - 2 * (1 - confidence) - 0.03


def test_intervals_that_follow_the_spread_are_narrower_than_a_constant_one():
    spread, error = errors_in_proportion(60_000, 3)
    width, _ = fit_class(spread, error).read(spread.astype(np.float32))
    assert width.mean() < 0.9 * np.quantile(error, (error <= width).mean())


def test_a_spread_that_says_nothing_gives_the_conformal_quantile():
    """The ceil((n + 1) 0.9)-th smallest of 1 ... 99 is 90 (Angelopoulos & Bates 2023, section 1)."""
    error = np.random.default_rng(0).permutation(np.arange(1.0, 100.0))
    fitted = fit_class(np.full(99, 7.0), error)
    assert fitted.spread_hu == (7.0,)
    assert fitted.half_width_hu == (90.0,)
    assert fitted.error_hu == (50.0,)


def test_widths_never_fall_where_errors_do():
    rng = np.random.default_rng(0)
    spread = rng.uniform(5, 100, 20_000)
    fitted = fit_class(spread, np.abs(rng.normal(0, 100 - spread)))
    assert len(fitted.spread_hu) == LEVELS
    assert np.diff(fitted.half_width_hu).min() >= 0
    assert np.diff(fitted.error_hu).min() >= 0
    with pytest.raises(ValueError, match="no voxel"):
        fit_class(np.zeros(0), np.zeros(0))


def test_a_tissue_with_few_voxels_takes_all_tissues_together():
    spread, error = errors_in_proportion(10_000, 4)
    classes = np.full(10_000, 2)
    classes[:100] = 4
    fitted = fit_classes([Sample(classes, spread, error)])
    assert set(fitted) == set(TISSUE_WINDOWS_HU)
    assert fitted["soft"].voxels == 9900
    assert fitted["cortical_bone"].voxels == fitted["air"].voxels == 0
    assert fitted["air"].half_width_hu == fit_class(spread, error).half_width_hu


def test_a_sample_counts_the_body_where_there_is_a_spread():
    sct = np.array([-1000, 40, 40, 900], np.float32).reshape(1, 1, 4)
    spread = np.array([10, 0, 20, 30], np.float32).reshape(1, 1, 4)
    ct = np.array([-900, 40, 30, 800], np.float32).reshape(1, 1, 4)
    body = np.array([True, True, True, False]).reshape(1, 1, 4)
    sample = sample_of(sct, spread, ct, body, [0])
    assert sample.classes.tolist() == [0, 2]
    assert sample.spread_hu.tolist() == [10, 20]
    assert sample.error_hu.tolist() == [100, 10]
    with pytest.raises(ValueError, match="no voxel of the body has a spread"):
        sample_of(sct, 0 * spread, ct, body, [0])


def test_many_voxels_of_a_case_are_thinned_to_the_same_number(monkeypatch):
    monkeypatch.setattr(creps.qa.uncertainty.fit, "VOXELS_PER_CASE", 50)
    sct = np.repeat(np.array([40, 900], np.float32), [900, 30]).reshape(1, 1, -1)
    sample = sample_of(sct, np.ones_like(sct), sct + 5, np.ones(sct.shape, bool), [0])
    assert np.bincount(sample.classes).tolist() == [0, 0, 50, 0, 30]


def test_slices_of_a_turned_grid_have_their_own_voxels():
    """A sagittal sCT of an axial model: its slices run from right to left."""
    rng = np.random.default_rng(0)
    grid = Volume(rng.uniform(0, 9, (4, 5, 6)), (3.0, 2.0, 2.0), (-5.0, 4.0, 8.0))
    body = rng.random((4, 5, 6)) > 0.3
    sagittal = grid.reoriented(grid.direction[:, [2, 0, 1]])
    found = errors_by_slice(grid.array, body, grid, sagittal)
    expected = [grid.array[:, :, w][body[:, :, w]].mean() for w in range(6)]
    np.testing.assert_allclose(found, expected, atol=0.051)
    backwards = grid.reoriented(grid.direction * np.array([-1.0, 1.0, 1.0]))
    found = errors_by_slice(grid.array, body, grid, backwards)
    np.testing.assert_allclose(found, [grid.array[d][body[d]].mean() for d in (3, 2, 1, 0)], atol=0.051)


def test_without_a_body_no_slice_has_an_error():
    grid = Volume(np.zeros((2, 2, 2)))
    assert errors_by_slice(grid.array, np.zeros((2, 2, 2), bool), grid, grid) == [None, None]


def test_a_calibration_is_read_as_it_was_written(tmp_path):
    assert read_calibration(tmp_path, "abc") is None
    (tmp_path / CALIBRATION).write_text(calibration().model_dump_json())
    assert read_calibration(tmp_path, "abc") == calibration()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights_sha256": "other"}, "measured with other weights"),
        ({"schema_version": 2}, "schema version 2"),
        ({"confidence": 1.5}, "damaged .confidence"),
        ({"classes": {"soft": ONE.model_dump()}}, "its tissues are not air"),
        ({"classes": dict.fromkeys(TISSUE_WINDOWS_HU, ONE.model_dump() | {"spread_hu": (20, 10)})}, "do not rise"),
        ({"classes": dict.fromkeys(TISSUE_WINDOWS_HU, ONE.model_dump() | {"error_hu": (9, 5)})}, "falls with rising"),
        ({"classes": dict.fromkeys(TISSUE_WINDOWS_HU, ONE.model_dump() | {"error_hu": (9,)})}, "differ in length"),
        ({"classes": dict.fromkeys(TISSUE_WINDOWS_HU, ONE.model_dump() | {"spread_hu": (-1, 1)})}, "damaged"),
        ({"extra": 1}, "damaged .extra"),
    ],
)
def test_a_calibration_that_cannot_be_used_is_one_sentence_and_a_remedy(tmp_path, change, message):
    content = json.loads(calibration().model_dump_json()) | change
    (tmp_path / CALIBRATION).write_text(json.dumps(content))
    with pytest.raises(ModelError, match=message) as raised:
        read_calibration(tmp_path, "abc")
    assert CALIBRATION in str(raised.value)
    (tmp_path / CALIBRATION).write_text("{")
    with pytest.raises(ModelError, match="run 'creps calibrate'"):
        read_calibration(tmp_path, "abc")
