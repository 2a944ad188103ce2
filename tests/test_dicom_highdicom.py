"""highdicom, an independent reader, sees the same voxels at the same places."""

import highdicom
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from creps.errors import InputError
from creps.io.dicom.read.series import find_series, one_series
from creps.io.dicom.read.volume import read_series
from creps.io.dicom.write.ct import write_ct
from creps.volume import Volume
from tests.test_dicom import real_series  # noqa: F401 - a fixture
from tests.written_dicom import DERIVATION, rotation, source_of


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    return source_of(tmp_path_factory.mktemp("mr"))


def by_highdicom(files):
    """Its volume as one of ours: its affine maps (slice, row, column) to DICOM's LPS."""
    found = highdicom.get_volume_from_series([pydicom.dcmread(path) for path in files])
    spacing = np.linalg.norm(found.affine[:3, :3], axis=0)
    return Volume(found.array, tuple(spacing), tuple(found.affine[:3, 3]), found.affine[:3, :3] / spacing)


def same(ours, theirs, tolerance_mm=1e-3):
    turned = theirs.reoriented(ours.direction)
    assert ours.same_grid_as(turned, tolerance_mm)
    np.testing.assert_allclose(ours.array, turned.array, atol=1e-3)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    angles=st.tuples(*[st.floats(-3.1, 3.1)] * 3),
    spacing=st.tuples(st.floats(0.5, 4), st.floats(0.5, 2), st.floats(0.5, 2)),
    flip=st.booleans(),
)
def test_a_written_ct(tmp_path_factory, origin, angles, spacing, flip):
    values = np.rint(np.random.default_rng(0).normal(0, 300, (4, 6, 5)))
    direction = rotation(*angles) * ([-1, 1, 1] if flip else [1, 1, 1])
    sct = Volume(values, spacing, (-20.0, 33.5, 7.25), direction)
    written = write_ct(tmp_path_factory.mktemp("ct"), sct, origin, DERIVATION)
    theirs = by_highdicom(written.files)
    same(sct, theirs)
    same(read_series(one_series(written.files[0].parent)), theirs)


def test_the_real_series(real_series):  # noqa: F811
    """A CT with missing slices is refused by both."""
    found = find_series(real_series)
    assert len(found) > 2
    for series in found:
        if "utrecht" in str(series.folder):
            with pytest.raises(InputError, match="misses 29 slices"):
                read_series(series)
            with pytest.raises(ValueError, match=r"(?i)spac|volume"):
                by_highdicom(series.files)
        else:
            same(read_series(series), by_highdicom(series.files), tolerance_mm=0.01)
