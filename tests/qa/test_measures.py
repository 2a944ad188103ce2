"""Measures of bone, voids and bias fields on small scenes whose values follow from their geometry."""

import numpy as np
import pytest

from creps import hu
from creps.qa.measures import bone, signal, symmetry
from creps.qa.scene import GRID_MM, Scene
from creps.volume import Volume

SHAPE = (36, 44, 42)
VOXEL_ML = GRID_MM**3 / 1000


def ellipsoid(scale=1.0, centre=(17.5, 21.5, 20.5), radii=(15, 18, 16)):
    places = np.indices(SHAPE).T - np.asarray(centre)
    return (np.square(places / (scale * np.asarray(radii))).sum(axis=-1) < 1).T


def ball(centre, mm):
    return (np.linalg.norm((np.indices(SHAPE).T - np.asarray(centre)) * GRID_MM, axis=-1) < mm).T


def scene(mr=None, sct=None, body=None):
    """A head that is the same left and right: fat, a dark shell of bone, bright tissue."""
    body = ellipsoid() if body is None else body
    shell = ellipsoid(0.85) & ~ellipsoid(0.7)
    texture = np.random.default_rng(0).normal(1, 0.02, SHAPE)
    mr = np.where(shell, 0.2, 1.0) * body * texture if mr is None else mr
    sct = np.where(shell, 700.0, np.where(body, 40.0, hu.AIR)) if sct is None else sct
    grid = Volume(np.zeros(SHAPE, np.float32), (GRID_MM,) * 3)
    return Scene(grid, mr.astype(np.float32), sct.astype(np.float32), body, np.ones(SHAPE, bool))


@pytest.fixture(scope="module")
def head():
    return scene()


def test_a_ball_of_bone_in_uniform_tissue_is_unsupported(head):
    centre = (17, 21, 26)
    added = ball(centre, 13)
    wrong = scene(sct=np.where(added, 500.0, head.sct_hu))
    before, after = bone.unsupported(head), bone.unsupported(wrong)
    for name in ("bone_unlikely", "bone_without_edges"):
        assert after[name].value > before[name].value + 3, name
        assert after[name].value <= 125 * VOXEL_ML  # what a 20 mm cube holds
        assert np.abs(np.subtract(after[name].place, centre)).max() <= 1


def test_bone_that_the_mr_shows_is_supported(head):
    """The same ball counts less than half as much if the MR is dark there."""
    added = ball((17, 21, 26), 13)
    right = scene(mr=np.where(added, 0.2, head.mr), sct=np.where(added, 700.0, head.sct_hu))
    wrong = scene(sct=np.where(added, 700.0, head.sct_hu))
    seen, unseen = (bone.unsupported(one)["bone_unlikely"].value for one in (right, wrong))
    assert seen < 0.5 * unseen


def test_no_bone_has_no_support_to_measure(head):
    found = bone.unsupported(scene(sct=np.full(SHAPE, 40.0)))
    assert {one.value for one in found.values()} == {None}
    assert head.bone.any()


def test_a_void_on_one_side_is_measured_in_ml(head):
    void = ball((17, 21, 12), 12)
    found = symmetry.one_sided(scene(mr=np.where(void, 0.0, head.mr)))["one_sided_void"]
    assert symmetry.one_sided(head)["one_sided_void"].value == pytest.approx(0, abs=0.1)
    assert found.value == pytest.approx(void.sum() * VOXEL_ML, rel=0.05)
    assert np.abs(np.subtract(found.place, (17, 21, 12))).max() <= 1


def test_a_void_at_the_skin_counts_though_the_body_ends_there(head):
    """The mask of the body leaves the void out: what is left is a dent."""
    void = ball((17, 21, 35), 20)
    dented = scene(mr=np.where(void, 0.0, head.mr), body=head.body & ~void)
    assert symmetry.one_sided(dented)["one_sided_void"].value > 5


def test_voids_on_both_sides_match(head):
    void = ball((17, 21, 12), 12) | ball((17, 21, 29), 12)
    assert symmetry.one_sided(scene(mr=np.where(void, 0.0, head.mr)))["one_sided_void"].value == pytest.approx(
        0, abs=0.1
    )


def test_noise_beside_the_body_does_not_hide_a_void(head):
    """A noise floor of 8 % lies above the threshold of a noiseless void."""
    void = ball((17, 21, 12), 12)
    noisy = np.maximum(np.where(void, 0.0, head.mr), 0.08)
    found = symmetry.one_sided(scene(mr=noisy))["one_sided_void"]
    assert found.value == pytest.approx(void.sum() * VOXEL_ML, rel=0.05)


def test_a_hole_in_the_skull_makes_the_sides_differ(head):
    hole = ball((17, 21, 34), 22) & head.bone
    found = symmetry.sides(scene(sct=np.where(hole, 40.0, head.sct_hu)))
    assert symmetry.sides(head).value < 2
    assert found.value > 50
    assert np.linalg.norm(np.subtract(found.place, (17, 21, 34))) <= 4


def test_a_hole_that_the_mr_shows_as_well_is_no_difference(head):
    hole = ball((17, 21, 34), 22) & head.bone
    sct = np.where(hole, 40.0, head.sct_hu)
    seen = symmetry.sides(scene(mr=np.where(hole, 1.0, head.mr), sct=sct)).value
    assert seen < 0.5 * symmetry.sides(scene(sct=sct)).value


def test_a_bias_field_has_the_deviation_that_was_put_in(head):
    """Linear across the head: its standard deviation in the tissue that is looked at follows from its places."""
    inner = ellipsoid(0.7)
    slope = 0.03 * (np.indices(SHAPE)[2] - 20.5)
    expected = 100 * slope[inner].std()
    found = signal.bias_field(scene(mr=head.mr * np.exp(slope))).value
    assert signal.bias_field(head).value < 1
    assert found == pytest.approx(expected, rel=0.15)


def test_a_bias_field_needs_soft_tissue():
    assert signal.bias_field(scene(sct=np.full(SHAPE, 700.0))).value is None
