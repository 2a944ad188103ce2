"""Images and structures that do not belong together: a sentence each, and nothing written."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.dose.bodies import SHAPE, image, one_beam, scene, target, volume, water

from creps.dose import engine as engine_module
from creps.dose.compare import DoseOptions, compare_dose
from creps.dose.density import DEFAULT_TABLE
from creps.dose.engine import Engine
from creps.dose.images import read_ct
from creps.dose.memory import check_memory, matrix_bytes
from creps.dose.scene import build_scene
from creps.dose.structures import find_structures
from creps.dose.writing import check_output
from creps.errors import InputError, OutputExistsError, SettingsError
from creps.io.itk import write_volume
from creps.volume import Volume


def built(ct, sct, structures):
    return build_scene(ct, sct, structures, one_beam("photons"), DEFAULT_TABLE)


def lopsided():
    """A body with dense bone on the left alone."""
    array = water()
    array[6:-6, 20:50, 5:9] = 900.0
    return array


def test_a_mirrored_ct_is_refused():
    with pytest.raises(InputError, match=r"the CT looks mirrored left-right .* if one is mirrored"):
        scene(lopsided()[:, :, ::-1], lopsided(), "photons")
    scene(lopsided(), lopsided(), "photons")


def test_a_body_elsewhere_is_refused():
    moved = Volume(water(), (2.0, 2.0, 2.0), (30.0, 60.0, 0.0))
    elsewhere = replace(image(water(), "the CT"), volume=moved)
    with pytest.raises(InputError, match=r"overlap by a Dice of only 0\."):
        built(elsewhere, image(water(), "the sCT"), {"PTV": target()})


def test_images_of_other_parts_are_refused():
    above = replace(image(water(), "the CT"), volume=Volume(water(), (2.0, 2.0, 2.0), (0.0, 0.0, 500.0)))
    with pytest.raises(InputError, match="different parts of the patient"):
        built(above, image(water(), "the sCT"), {"PTV": target()})


def test_frames_of_reference_must_agree_unless_told_otherwise():
    ct, sct = image(water(), "ct folder", "1.2.3"), image(water(), "sct folder", "1.2.4")
    with pytest.raises(InputError, match=r"sct folder is in another frame of reference than ct folder\. .*--any-frame"):
        built(ct, sct, {"PTV": target()})
    build_scene(ct, sct, {"PTV": target()}, one_beam("photons"), DEFAULT_TABLE, any_frame=True)


@pytest.mark.parametrize(
    ("mask", "what"),
    [
        (np.zeros(SHAPE), "Structure 'PTV' is empty"),
        (np.pad(np.ones((1, 1, 1)), [(15, 14), (36, 35), (15, 14)]), "1 voxels on a dose grid of 2 mm, too few"),
    ],
)
def test_an_empty_or_tiny_target_is_refused(mask, what):
    ct = image(water(), "the CT")
    with pytest.raises(InputError, match=what):
        built(ct, ct, {"PTV": volume(mask)})


def test_structures_outside_the_images_are_refused():
    far = Volume(np.ones((4, 4, 4)), (2.0, 2.0, 2.0), (900.0, 0.0, 0.0))
    ct = image(water(), "the CT")
    with pytest.raises(InputError, match="'PTV' lies outside"):
        built(ct, ct, {"PTV": far})


def test_a_target_in_air_is_refused():
    beside = np.zeros(SHAPE)
    beside[10:20, 0:7, 10:20] = 1
    ct = image(water(), "the CT")
    with pytest.raises(InputError, match=r"Only 0 % of the target 'PTV' lie in the body of the CT\."):
        built(ct, ct, {"PTV": volume(beside)})


def test_an_organ_that_is_no_structure_is_refused():
    ct = image(water(), "the CT")
    plan = one_beam("photons", target="PTV", organs=("rectm",))
    with pytest.raises(SettingsError, match=r"no structure 'rectm' to report\. Correct organs in the plan file"):
        build_scene(ct, ct, {"PTV": target(), "rectum": target()}, plan, DEFAULT_TABLE)


def test_an_image_given_as_a_mask_is_refused():
    ct = image(water(), "the CT")
    with pytest.raises(InputError, match=r"mask 'PTV' is not a mask: it has values from -1000 to 0\."):
        built(ct, ct, {"PTV": volume(water())})


def test_masks_in_a_folder_are_checked(tmp_path):
    ct = image(water(), "the CT")
    body = ct.volume.array > -500
    with pytest.raises(InputError, match="contains no mask"):
        find_structures(tmp_path, ct, body, ct.volume)
    with pytest.raises(InputError, match=r"does not exist\. Give an RTSTRUCT file, or a folder"):
        find_structures(tmp_path / "missing", ct, body, ct.volume)
    write_volume(volume(water()), tmp_path / "PTV.nii.gz")
    with pytest.raises(InputError, match=r"PTV\.nii\.gz is an image, not a structure set\."):
        find_structures(tmp_path / "PTV.nii.gz", ct, body, ct.volume)
    with pytest.raises(InputError, match=r"PTV\.nii\.gz is not a mask"):
        find_structures(tmp_path, ct, body, ct.volume)
    write_volume(target(), tmp_path / "PTV.nii.gz")
    write_volume(volume(body), tmp_path / "body.nii.gz")
    found = find_structures(tmp_path, ct, body, ct.volume)
    assert list(found) == ["PTV"]
    assert found["PTV"].sum() == pytest.approx(target().array.sum(), rel=1e-5)


def test_an_sct_that_is_no_ct_is_refused():
    ct = volume(water())
    with pytest.raises(InputError, match="NaN or infinite"):
        read_ct(ct.with_array(np.full(ct.shape, np.nan)), "sCT")
    with pytest.raises(InputError, match="not a bulk-density CT"):
        read_ct(ct.with_array(np.full(ct.shape, 40.0)), "bulk-density CT", bulk=True)
    with pytest.raises(InputError, match="the sCT is not a CT in HU"):
        read_ct(ct, "sCT")
    assert read_ct(ct, "bulk-density CT", bulk=True).volume.shape == ct.shape


def test_a_missing_engine_is_one_sentence(monkeypatch):
    monkeypatch.setattr(engine_module, "installed_version", lambda name: "2.13.0" if name == "pydantic" else None)
    with pytest.raises(
        SettingsError, match=r"pyRadPlan is not installed\. Install it with: pip install 'creps\[dose\]'"
    ):
        Engine(scene(water(), water(), "photons"), one_beam("photons"))


def test_nothing_is_read_if_a_package_is_missing(monkeypatch):
    monkeypatch.setattr(engine_module, "installed_version", lambda name: None if name == "pymedphys" else "2.13.0")
    with pytest.raises(SettingsError, match="pymedphys, which computes gamma, is not installed"):
        compare_dose("missing.nii.gz", "missing.nii.gz", "missing", DoseOptions(one_beam("photons")))


def test_a_pydantic_that_breaks_the_engine_is_refused(monkeypatch):
    monkeypatch.setattr(engine_module, "installed_version", lambda _: "2.14.4")
    with pytest.raises(SettingsError, match=r"does not work with pydantic 2\.14\.4"):
        Engine(scene(water(), water(), "photons"), one_beam("photons"))


def test_an_engine_that_fails_to_import_is_a_sentence(monkeypatch):
    monkeypatch.setattr(engine_module, "installed_version", lambda _: "2.13.0")
    monkeypatch.setitem(sys.modules, "pyRadPlan", None)
    monkeypatch.setitem(sys.modules, "pyRadPlan.core", None)
    with pytest.raises(SettingsError, match="cannot be imported"):
        Engine(scene(water(), water(), "photons"), one_beam("photons"))


def test_memory_is_estimated_and_refused_beforehand(monkeypatch):
    there, plan = scene(water(), water(), "photons"), one_beam("photons")
    assert matrix_bytes(there, plan, 2000) > 1.9 * matrix_bytes(there, plan, 1000) - 400 * there.grid.array.size
    monkeypatch.setattr("creps.dose.memory.available_bytes", lambda: 1000)
    with pytest.raises(InputError, match=r"may need .* GB; 0\.0 GB are free"):
        check_memory(there, plan, 1000)


def test_outputs_never_replace_anything_else(tmp_path):
    folder = tmp_path / "out"
    check_output(folder)
    folder.mkdir()
    with pytest.raises(OutputExistsError, match="already exists"):
        check_output(folder)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other things"):
        check_output(folder, overwrite=True)
    with pytest.raises(InputError, match="holds the input"):
        check_output(tmp_path, [folder / "notes.txt"], overwrite=True)
    with pytest.raises(InputError, match="takes no new entries"):
        check_output(folder / "notes.txt" / "out")


def test_options_that_would_do_nothing_are_refused(monkeypatch):
    monkeypatch.setattr("creps.dose.compare.check_engine", lambda: None)
    ct = image(water(), "the CT")
    with pytest.raises(SettingsError, match="neither image is one"):
        compare_dose(ct, ct, {"PTV": target()}, DoseOptions(one_beam("photons"), fill_gaps=True))
    with pytest.raises(SettingsError, match="no surrounding 'couch'"):
        DoseOptions(one_beam("photons"), outside="couch")
