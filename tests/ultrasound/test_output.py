"""Folders of acoustic maps from the command line and from Python, against what three programs say they read."""

import json

import nibabel
import numpy as np
import pytest

import creps
from creps.errors import InputError, OutputExistsError
from creps.io.itk import write_volume
from creps.ultrasound.document import PROGRAMS, TusDocument
from tests.test_cli import run
from tests.ultrasound.heads import head, model

FILES = {
    "hu.nii.gz", "skull.nii.gz", "density.nii.gz", "speed.nii.gz", "tus.json",
    "prestus/pseudoCT.nii.gz", "prestus/tissues_mask.nii.gz",
}  # fmt: skip


@pytest.fixture
def loaded(monkeypatch):
    """Every name of a model means one that draws bones."""
    monkeypatch.setattr("creps.api.load", lambda *_, **__: model(), raising=False)


@pytest.fixture(scope="module")
def mr(tmp_path_factory):
    path = tmp_path_factory.mktemp("mr") / "t1.nii.gz"
    write_volume(head()[0], path)
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory, mr):
    folder = tmp_path_factory.mktemp("maps")
    model().synthesize(mr, force=True).save(folder / "sct.nii.gz", tus=True, qa=False)
    return folder / "sct_tus"


def names(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_every_file_is_documented_and_there(written):
    assert names(written) == FILES
    document = TusDocument.model_validate(json.loads((written / "tus.json").read_text()))
    assert set(document.files) == FILES - {"tus.json"}
    assert {path for program in document.programs.values() for path in program.files.values()} <= FILES
    assert document.curves.name == "k-plan"
    assert document.provenance["notice"].startswith("Synthetic CT for research. Not for diagnosis")
    assert document.provenance["model"]["region"] == "head"
    record = json.loads((written.parent / "sct.json").read_text())
    assert record["tus"] == {"curves": "k-plan", "skull_ml": document.skull_ml, "notes": []}


def test_hu_lie_on_the_t1s_voxels(written, mr):
    """Same voxel centres, HU not clipped below 2000 (the range of the type and of the sCT), air exactly -1000."""
    hu, t1 = nibabel.load(written / "hu.nii.gz"), nibabel.as_closest_canonical(nibabel.load(mr))
    np.testing.assert_allclose(hu.affine, t1.affine, atol=1e-4)
    assert hu.shape == t1.shape
    assert hu.get_data_dtype() == np.int16
    values = np.asarray(hu.dataobj)
    assert values.min() == -1000
    assert values[0, 0, 0] == -1000
    assert values.max() == 1200


@pytest.mark.parametrize("name", sorted(FILES - {"tus.json"}))
def test_k_plan_and_prestus_find_ras_and_one_transform(written, name):
    """k-Plan, Coordinate systems: RAS+, sform used, a warning if sform and qform differ, shear not wanted.

    PRESTUS reorients to RAS+ itself (ensure_ras_plus); a file that is RAS+ passes unchanged.
    """
    image = nibabel.load(written / name)
    assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
    sform, qform = image.get_sform(coded=True), image.get_qform(coded=True)
    assert sform[1] > 0
    assert qform[1] > 0
    np.testing.assert_allclose(sform[0], qform[0], atol=1e-4)
    directions = image.affine[:3, :3] / np.linalg.norm(image.affine[:3, :3], axis=0)
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-5)


def test_k_plan_fills_with_the_lowest_value_which_is_air(written):
    """Coordinate systems: beyond the image k-Plan takes the minimum of the voxel data."""
    assert np.asarray(nibabel.load(written / "hu.nii.gz").dataobj).min() == -1000


def test_babelbrain_cuts_the_same_skull_at_300_hu(written):
    """BabelBrain 0.8.1: T1 of 1 mm cubes, CT in the T1's space, bone above 300 HU; density in kg/m³ above 1200."""
    image = nibabel.load(written / "hu.nii.gz")
    np.testing.assert_allclose(image.header.get_zooms(), 1, rtol=1e-3)
    bone = np.asarray(image.dataobj) > 300
    skull = np.asarray(nibabel.load(written / "skull.nii.gz").dataobj) > 0
    assert (bone & skull).sum() > 0.999 * bone.sum()  # but for specks below 1 ml
    bone &= skull
    density = np.asarray(nibabel.load(written / "density.nii.gz").dataobj)
    assert (density[bone] > 1150).all()
    assert (density[~skull] < 1150).all()


def test_prestus_finds_its_names_and_the_labels_of_charm(written):
    """PRESTUS 0.6.1: pseudoCT.nii.gz and tissues_mask.nii.gz on one grid; skull 4, and the brain in its bone mask."""
    pct, tissues = (nibabel.load(written / "prestus" / name) for name in ("pseudoCT.nii.gz", "tissues_mask.nii.gz"))
    assert pct.shape == tissues.shape
    np.testing.assert_array_equal(pct.affine, tissues.affine)
    assert len({round(float(zoom), 3) for zoom in pct.header.get_zooms()}) == 1  # it scales by the first alone
    labels = np.asarray(tissues.dataobj)
    skull = np.asarray(nibabel.load(written / "skull.nii.gz").dataobj) > 0
    np.testing.assert_array_equal(labels == 4, skull)
    assert set(np.unique(labels)) == {0, 2, 4, 5}
    np.testing.assert_array_equal(np.asarray(pct.dataobj), np.asarray(nibabel.load(written / "hu.nii.gz").dataobj))


def test_each_program_is_cited_by_version():
    assert set(PROGRAMS) == {"BabelBrain", "k-Plan", "PRESTUS"}
    for program in PROGRAMS.values():
        assert program.version
        assert program.source.startswith("https://")


@pytest.mark.slow
def test_the_command_line_writes_all_or_nothing(loaded, mr, tmp_path, capsys):
    target = tmp_path / "sct.nii.gz"
    words = ("-q", "synthesize", "head", mr, "-o", target, "--for", "tus", "--qa", "off", "--force")
    assert run(*words, "--acoustic-curves", "aubry-2003") == 0
    assert names(tmp_path / "sct_tus") == FILES
    assert json.loads((tmp_path / "sct.json").read_text())["tus"]["curves"] == "aubry-2003"
    assert run(*words) == 1
    assert "already exists" in capsys.readouterr().err
    assert run(*words, "--overwrite") == 0
    assert json.loads((tmp_path / "sct_tus" / "tus.json").read_text())["curves"]["name"] == "k-plan"
    plain = [word for word in words if word not in ("--for", "tus")]
    assert run(*plain, "--overwrite") == 0
    assert not (tmp_path / "sct_tus").exists()  # it belonged to the sCT that was replaced


def test_a_folder_of_someone_else_is_never_replaced(loaded, mr, tmp_path, capsys):
    (tmp_path / "sct_tus").mkdir()
    (tmp_path / "sct_tus" / "mine.txt").write_text("mine")
    words = ("-q", "synthesize", "head", mr, "-o", tmp_path / "sct.nii.gz", "--for", "tus", "--overwrite", "--force")
    assert run(*words) == 1
    assert "other than an sCT" in capsys.readouterr().err
    assert (tmp_path / "sct_tus" / "mine.txt").is_file()
    assert not (tmp_path / "sct.nii.gz").exists()


def test_results_of_a_simulation_beside_the_maps_are_never_deleted(mr, tmp_path):
    synthesis, target = model().synthesize(mr, force=True), tmp_path / "sct.nii.gz"
    synthesis.save(target, tus=True, qa=False)
    field = tmp_path / "sct_tus" / "prestus" / "field.nii.gz"
    field.write_text("hours of simulation")
    with pytest.raises(OutputExistsError, match=r"something other than an sCT \(prestus/field.nii.gz\)"):
        synthesis.save(target, tus=True, qa=False, overwrite=True)
    assert names(tmp_path / "sct_tus") == FILES | {"prestus/field.nii.gz"}
    synthesis.save(target, qa=False, overwrite=True)  # the maps were of the sCT that is replaced
    assert names(tmp_path / "sct_tus") == {"prestus/field.nii.gz"}


def test_bad_input_is_a_sentence_and_leaves_nothing(loaded, tmp_path, capsys, monkeypatch):
    cut, coarse, curves = tmp_path / "cut.nii.gz", tmp_path / "coarse.nii.gz", tmp_path / "falls.json"
    write_volume(head(top_cut_mm=20)[0], cut)
    write_volume(head((2.0, 2.0, 2.0))[0], coarse)
    curves.write_text(json.dumps({"hu": [0, 1]}))
    whole = tmp_path / "whole.nii.gz"
    write_volume(head()[0], whole)
    for message, path, more in (
        ("cuts the vertex", cut, []),
        ("is too coarse", coarse, []),
        ("cannot be used", whole, ["--acoustic-curves", curves]),
    ):
        out = tmp_path / "out" / "sct.nii.gz"
        assert run("-q", "synthesize", "head", path, "-o", out, "--for", "tus", "--force", *more) == 1
        assert message in capsys.readouterr().err
        assert not out.exists()
    monkeypatch.setattr("creps.api.load", lambda *_, **__: model("pelvis"), raising=False)
    assert run("-q", "synthesize", "pelvis", whole, "-o", out, "--for", "tus", "--force") == 1
    assert "no skull" in capsys.readouterr().err
    assert run("synthesize", "head", whole, "-o", out, "--acoustic-curves", "k-plan") == 2
    assert "--acoustic-curves goes with --for tus" in capsys.readouterr().err


def test_a_coarser_t1_may_ask_for_an_upright_grid_of_1_mm(loaded, tmp_path):
    path, target = tmp_path / "mr.nii.gz", tmp_path / "sct.nii.gz"
    write_volume(head((1.4, 1.0, 1.0))[0], path)
    grid = ("--grid", "planning", "--spacing", "1,1,1")
    assert run("-q", "synthesize", "head", path, "-o", target, "--for", "tus", "--qa", "off", "--force", *grid) == 0
    hu = nibabel.load(tmp_path / "sct_tus" / "hu.nii.gz")
    np.testing.assert_allclose(hu.header.get_zooms(), 1, rtol=1e-5)


def test_python_gives_the_maps_and_refuses_as_the_command_does(mr):
    synthesis = model().synthesize(mr, force=True)
    maps = synthesis.ultrasound("aubry-2003")
    assert maps.curves.name == "aubry-2003"
    assert maps.hu.array.shape == synthesis.sct.array.shape
    coarse = model().synthesize(head((2.0, 2.0, 2.0))[0], force=True)
    with pytest.raises(InputError, match="spacing of the sCT of the MR is too coarse"):
        coarse.ultrasound()


def test_saving_maps_refuses_what_is_there(mr, tmp_path):
    synthesis = model().synthesize(mr, force=True)
    synthesis.save(tmp_path / "sct.nii.gz", tus="k-plan", qa=False)
    with pytest.raises(OutputExistsError):
        synthesis.save(tmp_path / "sct.nii.gz", tus=True, qa=False)
    with pytest.raises(creps.CrepsError, match="Unknown acoustic curves 'none'"):
        synthesis.save(tmp_path / "other.nii.gz", tus="none")
