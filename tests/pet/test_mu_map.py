"""Attenuation at 511 keV: hand values, resolution, grid, both formats read back by other programs."""

import json
import shutil
import subprocess

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from creps.errors import InputError, SettingsError
from creps.io.itk import write_volume
from creps.pet.curve import mu_curve
from creps.pet.document import MuMapDocument
from creps.pet.interfile import write_interfile
from creps.pet.mu_map import FWHM_PER_SIGMA, attenuation_map, body_share, missing_mm
from creps.pet.output import MuMap, mu_map_of
from creps.volume import Volume
from tests.dicom_cases import mr_series
from tests.test_cli import run
from tests.ultrasound.heads import head, model

WATER_PER_CM = 0.096
"""NIST: 0.0958 cm⁻¹ of water at 511 keV."""


def grid(spacing_mm=(2.0, 2.1, 2.1), shape=(52, 50, 50), centre=(0.0, 0.0, 0.0), direction=None):
    empty = Volume(np.zeros(shape), spacing_mm, **({} if direction is None else {"direction": direction}))
    x, y, z = np.subtract(centre, empty.to_patient_mm([(n - 1) / 2 for n in shape])).tolist()
    return Volume(empty.array, spacing_mm, (x, y, z), empty.direction)


def whole(volume):
    return np.ones(volume.shape, dtype=bool)


def test_hand_values_of_water_bone_and_air():
    """Carney et al. 2006 at 120 kVp: 9.6e-5 (HU + 1000) up to 47 HU, 5.10e-5 (HU + 1000) + 4.71e-2 above."""
    curve = mu_curve()
    np.testing.assert_allclose(curve.attenuation([-1000, 0, 1000]), [0, WATER_PER_CM, 0.1491], atol=1e-7)
    np.testing.assert_allclose(curve.attenuation([-1024, -2000]), 0)
    np.testing.assert_allclose(curve.attenuation([-100, 40, 47]), [0.0864, 0.09984, 0.100497], atol=2e-5)
    hu = np.linspace(47, 3000, 99)
    np.testing.assert_allclose(curve.attenuation(hu), 5.10e-5 * (hu + 1000) + 4.71e-2, atol=1e-6)
    assert "Carney" in curve.source
    assert curve.kvp == 120


def test_uniform_tissue_keeps_its_value_and_outside_is_zero():
    water = Volume(np.zeros((40, 40, 40)), (3.0, 3.0, 3.0), (-58.5, -58.5, -58.5))
    mu = attenuation_map(water, whole(water), grid(), mu_curve())
    np.testing.assert_allclose(mu.array, WATER_PER_CM, atol=1e-5)
    beyond = attenuation_map(water, whole(water), grid(centre=(0, 0, 200)), mu_curve())
    assert (beyond.array == 0).all()


def test_the_map_is_as_sharp_as_the_pet():
    """A step between air and water becomes the integral of a Gaussian of that width."""
    step = Volume(np.where(np.arange(80) < 40, -1000.0, 0.0) * np.ones((6, 6, 80)), (1.0, 1.0, 1.0))
    for fwhm in (3.0, 6.0):
        mu = attenuation_map(step, whole(step), step, mu_curve(), fwhm).array[3, 3]
        expected = WATER_PER_CM * ndimage.gaussian_filter1d(
            (np.arange(800) >= 400).astype(float), 10 * fwhm / FWHM_PER_SIGMA
        )
        np.testing.assert_allclose(mu, expected[4:-5:10], atol=0.002)
    sharp = attenuation_map(step, whole(step), step, mu_curve(), 0.0).array[3, 3]
    assert set(sharp.tolist()) == {0.0, float(np.float32(WATER_PER_CM))}


def test_neither_bed_nor_coil_is_in_the_map():
    ct = head()[1]
    bed = np.zeros(ct.shape, dtype=bool)
    bed[:, 108:111] = True
    ct.array[bed] = 400
    with_bed = attenuation_map(ct, whole(ct), grid(), mu_curve())
    without = attenuation_map(ct, ~bed, grid(), mu_curve())
    plain = attenuation_map(head()[1], whole(ct), grid(), mu_curve())
    assert np.abs(with_bed.array - plain.array).max() > 0.04
    np.testing.assert_allclose(without.array, plain.array, atol=1e-6)


def test_the_map_lies_on_the_pets_grid_in_any_orientation():
    ct = head()[1]
    ct.array[80:84, 56:60, 30:34] = 2500
    axial = grid()
    turned = axial.reoriented(axial.direction[:, [1, 2, 0]] * np.array([1, -1, 1]))
    a, b = (attenuation_map(ct, whole(ct), one, mu_curve()) for one in (axial, turned))
    assert b.same_grid_as(turned)
    np.testing.assert_allclose(b.reoriented(axial.direction).array, a.array, atol=1e-6)
    where = a.to_patient_mm(np.unravel_index(a.array.argmax(), a.shape))
    np.testing.assert_allclose(where, ct.to_patient_mm((81.5, 57.5, 31.5)), atol=2.1)


def test_overlap_is_the_share_of_the_body():
    ct = head()[1]
    body = ct.with_array((ct.array > -400).astype(np.float32))
    assert body_share(body, grid()) == 1
    assert body_share(body, grid(centre=(0, 0, 52))) == pytest.approx(0.5, abs=0.03)
    assert body_share(body, grid(centre=(0, 0, 300))) == 0


def test_a_pet_that_reaches_beyond_a_cut_patient_is_noted():
    ct = head(top_cut_mm=40)[1]  # of its head, 6 mm above the centre are left
    patient = ct.array > -400
    reach = grid().corners_mm(edges=True)[:, 2].max() - ct.corners_mm(edges=True)[:, 2].max()
    assert missing_mm(ct, patient, grid()) == pytest.approx(reach, abs=0.1)
    assert missing_mm(head()[1], head()[1].array > -400, grid(shape=(90, 90, 90))) == 0  # the head ends in air


@pytest.fixture
def loaded(monkeypatch):
    monkeypatch.setattr("creps.api.load", lambda *_, **__: model(), raising=False)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pet")
    write_volume(head()[0], folder / "mr.nii.gz")
    write_volume(grid(), folder / "pet.nii.gz")
    write_volume(grid(centre=(0, 0, 400)), folder / "apart.nii.gz")
    tilt = np.array([[0, 0, 1], [np.sin(0.2), np.cos(0.2), 0], [np.cos(0.2), -np.sin(0.2), 0]])
    write_volume(grid(direction=tilt), folder / "tilted.nii.gz")
    (folder / "falls.json").write_text(
        json.dumps(
            {"schema_version": 1, "name": "a", "source": "b", "hu": [-1000, 0, 1000], "mu_per_cm": [0, 0.096, 0.09]}
        )
    )
    return folder


def test_the_command_line_writes_nifti_and_interfile_of_one_map(loaded, files, tmp_path):
    target = tmp_path / "sct.nii.gz"
    words = ("-q", "synthesize", "head", files / "mr.nii.gz", "-o", target, "--qa", "off", "--force")
    assert run(*words, "--mu-map", files / "pet.nii.gz", "--pet-fwhm", "5") == 0
    folder = tmp_path / "sct_mumap"
    document = MuMapDocument.model_validate(json.loads((folder / "mumap.json").read_text()))
    assert {path.name for path in folder.iterdir()} == {*document.files, "mumap.json"}
    assert (document.fwhm_mm, document.curve.name, document.unit) == (5, "carney-2006", "cm-1")
    assert json.loads((tmp_path / "sct.json").read_text())["mumap"]["curve"] == "carney-2006"
    nifti = nibabel.load(folder / "mumap.nii.gz")
    np.testing.assert_allclose(nifti.affine, nibabel.load(files / "pet.nii.gz").affine, atol=1e-4)
    header, voxels = read_interfile(folder / "mumap.hv")
    upright = Volume.from_nibabel(nifti).reoriented()
    np.testing.assert_array_equal(voxels, upright.array)
    assert [float(header[f"first pixel offset (mm) [{i}]"]) for i in (1, 2, 3)] == pytest.approx(upright.origin_mm)
    brain = voxels[tuple(n // 2 for n in voxels.shape)]
    assert brain == pytest.approx(9.6e-5 * 1040, abs=1e-4)


def read_interfile(path):
    """The header's keys and the voxels, by the keys alone: nothing of creps."""
    lines = [line.split(":=", 1) for line in path.read_text(encoding="ascii").splitlines() if not line.startswith(";")]
    header = {key.strip().lstrip("!"): value.strip() for key, value in lines}
    assert lines[0][0].strip() == "!INTERFILE"
    assert header["number format"] == "float"
    order = {"LITTLEENDIAN": "<", "BIGENDIAN": ">"}[header["imagedata byte order"]]
    raw = np.fromfile(path.parent / header["name of data file"], f"{order}f{header['number of bytes per pixel']}")
    return header, raw.reshape([int(header[f"matrix size [{i}]"]) for i in (3, 2, 1)])


@pytest.mark.needs("medcon")
@pytest.mark.process
def test_xmedcon_reads_the_same_voxels_from_the_interfile(tmp_path):
    """XMedCon, a reader of its own, converts the Interfile to NIfTI."""
    values = np.random.default_rng(0).uniform(0, 0.2, (5, 6, 7)).astype(np.float32)
    write_interfile(Volume(values, (2.03125, 2.08626, 1.5), (-30, -20, 11)), tmp_path / "mumap.hv", "cm-1")
    subprocess.run(
        [shutil.which("medcon"), "-f", "mumap.hv", "-c", "nifti", "-o", "read", "-qs"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    image = nibabel.load(tmp_path / "read.nii")
    np.testing.assert_allclose(image.header.get_zooms(), (1.5, 2.08626, 2.03125), rtol=1e-5)
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, values)


def test_bad_input_is_a_sentence_and_leaves_nothing(loaded, files, tmp_path, capsys):
    target = tmp_path / "sct.nii.gz"
    words = ("-q", "synthesize", "head", files / "mr.nii.gz", "-o", target, "--qa", "off", "--force", "--mu-map")
    for message, pet, more in (
        ("lies apart from the MR", "apart.nii.gz", []),
        ("is oblique by", "tilted.nii.gz", []),
        ("mu_per_cm falls at 1000 HU", "pet.nii.gz", ["--mu-curve", files / "falls.json"]),
        ("The resolution of the PET is 90.0", "pet.nii.gz", ["--pet-fwhm", "90"]),
        ("does not exist", "none.nii.gz", []),
    ):
        assert run(*words, files / pet, *more) == 1
        assert message in capsys.readouterr().err
        assert not list(tmp_path.iterdir())
    assert run(*words, files) == 1
    assert "is a folder" in capsys.readouterr().err
    assert run("synthesize", "head", files / "mr.nii.gz", "-o", target, "--pet-fwhm", "5") == 2
    assert "--pet-fwhm goes with --mu-map" in capsys.readouterr().err
    two = ("synthesize", "head", files / "mr.nii.gz", files / "mr.nii.gz", "-o", tmp_path / "out")
    assert run(*two, "--mu-map", files / "pet.nii.gz") == 2
    assert "--mu-map goes with one input" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mu_per_cm": [0, 0.15, 0.2]}, "it gives water (0 HU) 0.15 cm⁻¹"),
        ({"mu_per_cm": [0, 9.6, 15]}, "cm⁻¹ from 0 to 0.6 are possible"),
        ({"hu": [-1000, 0]}, "mu_per_cm has 3 values for 2 HU"),
        ({"hu": [0, 500, 1000], "mu_per_cm": [0.096, 0.12, 0.15]}, "it gives air (-1000 HU) 0.096 cm⁻¹"),
        ({"hu": [-1000, 0, 47], "mu_per_cm": [0, 0.096, 0.1]}, "it gives bone (1000 HU) 0.1 cm⁻¹"),
    ],
)
def test_what_is_wrong_with_a_curve_is_a_sentence(tmp_path, change, message):
    good = {"schema_version": 1, "name": "a", "source": "b", "hu": [-1000, 0, 1000], "mu_per_cm": [0, 0.096, 0.15]}
    path = tmp_path / "site.json"
    path.write_text(json.dumps(good))
    assert mu_curve(path).attenuation([500.0])[0] == pytest.approx(0.123)
    path.write_text(json.dumps(good | change))
    with pytest.raises(SettingsError) as caught:
        mu_curve(path)
    assert message in str(caught.value)


def test_a_curve_may_lie_in_a_file_without_an_ending_and_never_nests_too_deep(tmp_path):
    path = tmp_path / "site"
    path.write_text(mu_curve().model_dump_json())
    assert mu_curve(path) == mu_curve()
    path.write_text("[" * 100_000)
    with pytest.raises(SettingsError, match="it is not a JSON"):
        mu_curve(path)


def test_wrong_arguments_are_named():
    with pytest.raises(SettingsError, match="Unknown attenuation curve 'burger'"):
        mu_curve("burger")
    with pytest.raises(SettingsError, match="of the type int"):
        mu_curve(3)
    with pytest.raises(InputError, match="The PET is of the type int"):
        mu_map_of(3)
    for value in (-1, 21, float("nan"), True, "5"):
        with pytest.raises(SettingsError, match="resolution of the PET"):
            MuMap(grid(), fwhm_mm=value)


def test_python_gives_the_map_and_saves_it_beside_the_sct(files, tmp_path):
    synthesis = model().synthesize(files / "mr.nii.gz", force=True)
    mu = synthesis.mu_map(files / "pet.nii.gz", fwhm_mm=6)
    wanted = mu_map_of(files / "pet.nii.gz", fwhm_mm=6)
    synthesis.save(tmp_path / "sct.nii.gz", mu_map=wanted, qa=False)
    written = nibabel.load(tmp_path / "sct_mumap" / "mumap.nii.gz")
    np.testing.assert_allclose(Volume.from_nibabel(written).array, mu.array, atol=1e-7)
    with pytest.raises(InputError, match="lies apart"):
        synthesis.mu_map(files / "apart.nii.gz")


def test_a_dicom_series_gets_the_map_in_a_folder_of_its_own(tmp_path):
    synthesis = model().synthesize(mr_series(tmp_path / "dicom"), force=True)
    pet = synthesis.sct
    path = synthesis.save(tmp_path / "sct", mu_map=pet, qa=False, structures=False)
    assert (path / "mumap" / "mumap.hv").is_file()
    synthesis.save(tmp_path / "sct", mu_map=pet, qa=False, structures=False, overwrite=True, pseudonym="X")
    document = json.loads((path / "mumap" / "mumap.json").read_text())
    assert "created" not in document["provenance"]


def test_a_deidentified_map_does_not_name_the_checksum_of_the_pet(tmp_path):
    synthesis = model().synthesize(mr_series(tmp_path / "dicom"), force=True)
    write_volume(synthesis.sct, tmp_path / "pet.nii.gz")
    for pseudonym, known in ((None, True), ("X", False)):
        path = synthesis.save(
            tmp_path / "sct", mu_map=tmp_path / "pet.nii.gz", qa=False, structures=False, overwrite=True,
            pseudonym=pseudonym,
        )  # fmt: skip
        document = MuMapDocument.model_validate(json.loads((path / "mumap" / "mumap.json").read_text()))
        assert (document.pet["sha256"] is not None) == known
