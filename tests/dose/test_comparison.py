"""The whole way with the real engine: command line, Python, outputs, interruption."""

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks.dose.bodies import one_beam
from PIL import Image

import creps
from creps.api.dose import plan_of
from creps.dose.document import read_dose_document
from creps.dose.plan import default_plan
from creps.errors import SettingsError
from creps.io.itk import read_volume, write_volume
from creps.volume import Volume
from tests.test_cli import run

pytestmark = [pytest.mark.needs("pyRadPlan"), pytest.mark.slow]

PLAN = "region: brain\nradiation: protons\ngantry_degrees: [0, 90]\ndose_grid_mm: 4\nspot_mm: 8\niterations: 15\n"


@pytest.fixture(scope="module")
def head(tmp_path_factory) -> Path:
    """A cylinder of brain in a skull: its CT, an sCT with too soft a skull, target and organ."""
    folder = tmp_path_factory.mktemp("head")
    z, y, x = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in (24, 46, 40)], indexing="ij")
    r = np.sqrt((x / 16) ** 2 + (y / 20) ** 2)
    noise = np.random.default_rng(0).normal(0, 8, x.shape)
    ct = np.clip(np.select([r < 0.8, r < 0.93, r < 1], [30.0, 900.0, -50.0], -1000.0) + noise, -1024, 2000)
    sct = np.where((r >= 0.8) & (r < 0.93), 0.5 * ct, ct)
    write = {"ct": ct, "sct": sct, "masks/PTV": (x + 4) ** 2 + y**2 + z**2 < 25, "masks/organ": (x - 8) ** 2 + y**2 < 9}
    for name, array in write.items():
        write_volume(Volume(np.asarray(array, np.float32), (4.0, 4.0, 4.0)), folder / f"{name}.nii.gz")
    (folder / "plan.yaml").write_text(PLAN)
    return folder


@pytest.fixture(scope="module")
def outcome(head):
    """One run of the command line."""
    images = [head / "ct.nii.gz", head / "sct.nii.gz"]
    code = run(
        *("-q", "dose", *images, "--structures", head / "masks", "--plan", head / "plan.yaml", "-o", head / "out")
    )
    return code, head / "out"


def test_the_command_writes_document_doses_and_pictures(outcome):
    code, out = outcome
    assert code == 0
    assert {path.name for path in out.iterdir()} == {
        *("dose.json", "dose_ct.nii.gz", "dose_sct.nii.gz", "wash_ct.png", "wash_sct.png", "difference.png"),
        *("dvh.png", "gamma.png"),
    }
    for path in out.glob("*.png"):
        picture = np.asarray(Image.open(path))
        assert picture.shape[0] > 300
        assert picture.std() > 10, f"{path.name} is empty"


def test_the_document_agrees_with_the_doses_that_were_written(outcome):
    _, out = outcome
    document = read_dose_document(out / "dose.json")
    ct, sct = (read_volume(out / f"dose_{name}.nii.gz").array for name in ("ct", "sct"))
    high = ct >= 0.9 * 2.0
    assert document.target.voxels == int(high.sum()) > 100
    assert document.target.error_percent == pytest.approx(100 * np.abs(ct - sct)[high].mean() / 2.0, rel=1e-3)
    assert document.structures["PTV"].ct["mean_gy"] == pytest.approx(2.0, abs=0.1)
    assert document.structures["organ"].ct["mean_gy"] < 1.0
    assert document.beams[1]["gantry_degrees"] == 90.0
    assert document.plan.iterations == 15
    assert "passed" not in (out / "dose.json").read_text()
    assert document.provenance["versions"]["pyRadPlan"][0].isdigit()
    assert not {str(out.parent), "nii.gz/"} & set(json.dumps(document.model_dump(mode="json")).split('"'))


def test_a_softer_skull_lets_protons_further(outcome):
    """900 HU against 450 HU over 0.13 of the radius: about 10 mm of skull in front, 8 at the side."""
    ranges = read_dose_document(outcome[1] / "dose.json").ranges
    density = np.interp([900, 450], [0, 100, 350, 3000], [1, 1.095, 1.199, 2.505])
    for beam, skull_mm in zip(ranges, (0.13 * 80, 0.13 * 64), strict=True):
        assert beam.mean_mm == pytest.approx(skull_mm * (density[0] - density[1]), abs=0.8)
        assert beam.rays_without_range == 0


def test_an_existing_folder_is_kept(outcome, head, capsys):
    images = [head / "ct.nii.gz", head / "sct.nii.gz"]
    before = (outcome[1] / "dose.json").read_bytes()
    code = run("dose", *images, "--structures", head / "masks", "--region", "brain", "-o", outcome[1])
    assert code == 1
    assert "already exists. Add --overwrite" in capsys.readouterr().err
    assert (outcome[1] / "dose.json").read_bytes() == before


def test_an_interruption_leaves_nothing_behind(head, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("creps.dose.engine.Engine.optimised", interrupted)
    images = [head / "ct.nii.gz", head / "sct.nii.gz"]
    before = set(head.iterdir())
    code = run("-q", "dose", *images, "--structures", head / "masks", "--plan", head / "plan.yaml", "-o", head / "new")
    assert code == 130
    assert set(head.iterdir()) == before


def test_a_bulk_density_ct_flags_what_differs_by_more_than_2_percent(head):
    """Two bulk CTs of 0 HU and of 120 HU: the photon dose behind 70 mm differs by more than 2 %."""
    ct = read_volume(head / "ct.nii.gz")
    bulk = ct.with_array(np.where(ct.array > -500, 0.0, -1000.0))
    seen: list[int] = []
    plan = one_beam("photons", dose_grid_mm=4.0)
    structures = {"PTV": read_volume(head / "masks" / "PTV.nii.gz")}

    result = creps.compare_dose(bulk, ct, structures, plan=plan, bulk=True, progress=lambda *step: seen.append(step[0]))
    assert result.document.reference == "bulk"
    assert any("mean dose of the target differs by -" in flag for flag in result.document.flags)
    assert seen == sorted(seen)
    assert seen[-1] == 100
    assert result.ct_dose.same_grid_as(result.sct_dose)
    assert set(result.figures()) == {"wash_ct", "wash_sct", "difference", "dvh", "gamma"}
    assert not result.document.ranges


def test_a_plan_needs_a_region(tmp_path):
    with pytest.raises(SettingsError, match="No region is given"):
        plan_of(None, None, None)
    with pytest.raises(SettingsError, match="already has a region"):
        plan_of(default_plan("brain"), "pelvis", None)
