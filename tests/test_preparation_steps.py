"""Receive field, couch and crop: in the preparation, and back on the MR's grid."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creps.model import Model
from creps.preprocessing.bias import correct_bias_field
from creps.preprocessing.crop import crop_box, cropped, outside_extent
from creps.preprocessing.mask import body_mask_mr
from creps.preprocessing.morphology import body_box
from creps.preprocessing.preparation import prepare_ct, prepare_mr
from creps.settings import InferenceSettings, PreparationSettings
from creps.synthesis.options import SynthesisOptions
from creps.synthesis.synthesize import synthesize
from creps.volume import Volume
from tests.conftest import ball_head
from tests.test_synthesize import Identity, plan


def field(shape):
    d, h, w = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    return np.exp(0.45 * d - 0.3 * h + 0.35 * w**2)


def variation(values):
    return values.std() / values.mean()


@pytest.fixture
def fewer_iterations(monkeypatch):
    monkeypatch.setattr("creps.preprocessing.bias.ITERATIONS", (30, 30, 20))


def test_a_smooth_field_is_corrected_out(fewer_iterations):
    mr = ball_head(0)[0]
    shaded = mr.array * field(mr.shape)
    body = body_mask_mr(mr)
    brain = (mr.array > 595) & (mr.array < 625) & body
    corrected = correct_bias_field(shaded, body, mr.spacing_mm)
    assert variation(mr.array[brain]) < 0.05 < 0.12 < variation(shaded[brain])
    assert variation(corrected[brain]) < 0.4 * variation(shaded[brain])
    ratio = np.log(shaded[brain] / corrected[brain])
    assert abs(ratio.mean()) < 0.15  # 1 on average: a fixed divisor keeps its meaning


def test_the_field_is_corrected_in_training_and_synthesis_alike(fewer_iterations):
    mr = ball_head(0)[0]
    shaded = mr.with_array(mr.array * field(mr.shape))
    options = {"spacing_mm": (4.0, 4.0, 4.0), "mr_scale": "auto"}
    off = prepare_mr(shaded, PreparationSettings(**options), "x")
    on = prepare_mr(shaded, PreparationSettings(**options, mr_bias_correction=True), "x")
    brain = (mr.array > 595) & (mr.array < 625) & off.body
    assert variation(on.array[brain]) < 0.7 * variation(off.array[brain])
    assert on.intensity == off.intensity  # the source's own values
    sct = synthesize(Model(plan(mr_scale="auto", mr_bias_correction=True), Identity()), shaded).sct
    np.testing.assert_allclose(sct.array, np.clip(on.array * 1000, -1024, 3000), atol=0.01)


def test_too_little_to_estimate_a_field_from_changes_nothing():
    array = np.ones((6, 6, 6), np.float32)
    assert correct_bias_field(array, np.ones((6, 6, 6), bool), (4, 4, 4)) is array


def test_the_couch_becomes_air_in_ct_only():
    mr, ct = ball_head(0, shape=(30, 60, 50))
    array = ct.array.copy()
    array[:, 56:58, 5:45] = 300
    settings = PreparationSettings(spacing_mm=(4, 4, 4), mr_scale="auto", remove_couch=True)
    prepared = prepare_ct(ct.with_array(array), settings, "x")
    assert (prepared.array[~prepared.body] == -1).all()
    assert (prepared.array[:, 56:58] == -1).all()
    other = settings.model_copy(update={"remove_couch": False})
    assert (prepare_ct(ct.with_array(array), other, "x").array[:, 56:58] > 0).any()
    np.testing.assert_array_equal(prepare_mr(mr, settings, "x").array, prepare_mr(mr, other, "x").array)


@given(st.tuples(*[st.integers(2, 9)] * 3), st.tuples(*[st.floats(0.5, 4)] * 3), st.floats(0, 9), st.data())
def test_a_crop_holds_body_and_margin_and_stays_in_place(shape, spacing, margin, data):
    body = np.zeros(shape, dtype=bool)
    first = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    last = tuple(data.draw(st.integers(f, n - 1)) for f, n in zip(first, shape, strict=True))
    body[tuple(slice(f, e + 1) for f, e in zip(first, last, strict=True))] = True
    volume = Volume(np.arange(body.size, dtype=np.float32).reshape(shape), spacing, (5.0, -3.0, 8.0))
    box = crop_box(body, spacing, margin)
    part = cropped(volume, box)
    for axis, (f, e) in enumerate(body_box(body)):
        assert box[axis].start == 0 or (f - box[axis].start) * spacing[axis] >= margin - 1e-3
        assert box[axis].stop == shape[axis] or (box[axis].stop - e) * spacing[axis] >= margin - 1e-3
    index = [b.start for b in box]
    np.testing.assert_allclose(part.to_patient_mm([0, 0, 0]), volume.to_patient_mm(index), atol=1e-5)
    outside = np.ones(shape, dtype=bool)
    outside[box] = False
    np.testing.assert_array_equal(outside_extent(volume, part), outside)


@pytest.mark.parametrize("spacing", [(4.0, 4.0, 4.0), (3.0, 5.0, 4.0)])
@pytest.mark.parametrize("margin", [0.0, 10.0])
def test_an_sct_of_a_cropped_mr_equals_the_other_in_the_body_and_is_air_beyond(spacing, margin):
    mr, ct = ball_head(0)
    oblique = np.array([[0.1, 0.0, 0.995], [0.0, 1.0, 0.0], [0.995, 0.0, -0.1]])
    turned = Volume(mr.array, mr.spacing_mm, (3, 4, 5), oblique).reoriented(oblique[:, [1, 2, 0]])
    chosen = InferenceSettings(precision="fp32")
    inside = ct.array > -400
    mask = turned.with_array(Volume(inside, mr.spacing_mm, (3, 4, 5), oblique).reoriented(turned.direction).array)
    whole, part = (
        synthesize(
            Model(plan(spacing, crop_margin_mm=crop), Identity()), turned, chosen, SynthesisOptions(mask=mask)
        ).sct
        for crop in (None, margin)
    )
    assert part.same_grid_as(turned)
    one, other = whole.reoriented(oblique), part.reoriented(oblique)
    prepared = prepare_mr(turned, PreparationSettings(spacing_mm=spacing, crop_margin_mm=margin), "x", mask)
    beyond_crop = outside_extent(other, prepared.grid)
    assert beyond_crop.any()
    assert (other.array[beyond_crop] == -1000).all()
    assert not (inside & beyond_crop).sum() > 0.002 * inside.sum()
    deep = inside & ~beyond_crop
    deep[[0, -1]] = False
    difference = np.abs(one.array - other.array)[deep]
    if margin:
        assert np.percentile(difference, 99) < 2.0  # what the spline sees of the edge two voxels away
    else:
        assert np.percentile(difference, 50) < 5.0
    assert np.percentile(difference, 25) < 0.05


def test_crops_of_training_and_synthesis_are_the_same():
    mr, ct = ball_head(0)
    settings = PreparationSettings(spacing_mm=(4, 4, 4), crop_margin_mm=8.0, mr_scale="auto")
    for step, volume in ((prepare_mr, mr), (prepare_ct, ct)):
        whole = step(volume, settings.model_copy(update={"crop_margin_mm": None}), "x")
        part = step(volume, settings, "x")
        assert part.array.shape == part.body.shape == part.grid.shape < whole.array.shape
        assert part.body.sum() == whole.body.sum()
        assert part.intensity == whole.intensity
        margins = [(f, n - e) for (f, e), n in zip(body_box(part.body), part.body.shape, strict=True)]
        assert all(0 <= low <= 2 and 0 <= high <= 2 for low, high in margins)
