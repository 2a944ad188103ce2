"""Figures are arrays of pixels; one function writes them."""

import numpy as np
import pytest
from PIL import Image

from creps.figures import BONE_WINDOW_HU, Panel, comparison_figure, curves_figure, patch_row, synthesis_figure
from creps.figures.planes import GAP, HEAD_HEIGHT, TITLE_HEIGHT, WIDEST
from creps.io.picture import write_picture
from creps.volume import Volume


def cube(value=0.0, shape=(20, 30, 40), spacing=(4.0, 2.0, 1.0)):
    return Volume(np.full(shape, value, np.float32), spacing)


def test_grey_levels_follow_the_window():
    low, high = BONE_WINDOW_HU
    for value, grey in ((low - 1000, 0), ((low + high) / 2, 127), (high + 1000, 255)):
        picture = comparison_figure([[Panel(cube(value), "", BONE_WINDOW_HU)]], "", planes=(0,))
        assert picture.dtype == np.uint8
        centre = (HEAD_HEIGHT + TITLE_HEIGHT + 20, GAP + WIDEST // 2)
        assert picture[centre].tolist() == [grey] * 3


def test_panels_have_the_proportions_of_millimetres():
    picture = comparison_figure([[Panel(cube(5000.0), "", BONE_WINDOW_HU)]], "", planes=(0, 2))
    white = picture[:, GAP + WIDEST // 2, 0] == 255
    axial, sagittal = (white[top : top + size] for top, size in split(white))
    assert len(axial) / WIDEST == pytest.approx(60 / 60, abs=0.02)
    assert picture.shape[1] == WIDEST + 2 * GAP
    assert len(sagittal) / WIDEST == pytest.approx(80 / 60, abs=0.02)


def split(white):
    """Start and length of every run of white pixels that is longer than a letter."""
    edges = np.flatnonzero(np.diff(np.r_[False, white, False].astype(int)))
    return [(start, end - start) for start, end in zip(edges[::2], edges[1::2], strict=True) if end - start > 20]


def test_up_is_anterior_and_superior():
    volume = cube()
    volume.array[10:, :, :] = 3000  # superior half
    picture = comparison_figure([[Panel(volume, "", BONE_WINDOW_HU)]], "", planes=(1,))
    column = picture[HEAD_HEIGHT + TITLE_HEIGHT :, GAP + WIDEST // 2, 0]
    assert column[10] == 255
    assert column[-GAP - 10] < 100


def test_a_synthesis_has_three_rows_and_columns(tmp_path):
    picture = synthesis_figure(cube(1.0), cube(40.0), "case, head")
    single = comparison_figure([[Panel(cube(), "", (0, 1))]], "", planes=(0,))
    assert picture.shape[0] > 2 * single.shape[0]
    assert picture.shape[1] > 2 * single.shape[1]
    write_picture(picture, tmp_path / "new" / "p.png")
    with Image.open(tmp_path / "new" / "p.png") as image:
        assert np.array_equal(np.asarray(image), picture)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["p.png"]


def test_the_curves_are_a_picture(tmp_path):
    (tmp_path / "curves.csv").write_text("step,style,style_weight\n1,2.0,1\n2,1.0,1\n")
    picture = curves_figure(tmp_path / "curves.csv", "run")
    assert picture.shape == (234, 990, 3)
    assert picture.min() < 100


def test_a_row_of_patches():
    patch = np.zeros((8, 8, 8), np.float32)
    assert patch_row(patch, patch, patch).shape == (30, 180, 3)
