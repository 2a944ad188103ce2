"""Curves from HU to density and speed of sound: their stated values, and what is refused."""

import json

import numpy as np
import pytest

from creps.errors import SettingsError
from creps.ultrasound.curves import acoustic_curves, stated_curves

GOOD = {
    "schema_version": 1,
    "name": "site",
    "source": "our phantom",
    "hu": [0, 1000, 2000],
    "density_kg_m3": [1000, 1600, 2200],
    "speed_m_s": [1500, 2300, 3100],
    "soft_tissue": {"density_kg_m3": 1050, "speed_m_s": 1550},
    "water": {"density_kg_m3": 1000, "speed_m_s": 1500},
    "air": {"density_kg_m3": 1.2, "speed_m_s": 343},
}


def test_every_stated_curve_reads_and_names_its_source():
    assert stated_curves() == ("aubry-2003", "k-plan")
    for name in stated_curves():
        curves = acoustic_curves(name)
        assert curves.name == name
        assert any(year in curves.source for year in ("2003", "0.6.1"))


def test_k_plan_speed_is_its_line_over_density():
    """c = 1.33 rho + 167; density through (60, 1060), (1000, 1530), (1950, 2150), which hold beyond the last."""
    curves = acoustic_curves("k-plan")
    hu = np.linspace(60, 1950, 50)
    np.testing.assert_allclose(curves.speed(hu), 1.33 * curves.density(hu) + 167, rtol=1e-5)
    np.testing.assert_allclose(curves.density([60, 530, 1000, 1950, 3000]), [1060, 1295, 1530, 2150, 2150])


def test_aubry_mixes_water_and_bone_by_porosity():
    curves, hu = acoustic_curves("aubry-2003"), np.array([0.0, 250.0, 1000.0, 2000.0])
    porosity = 1 - np.clip(hu, 0, 1000) / 1000
    np.testing.assert_allclose(curves.density(hu), porosity * 1000 + (1 - porosity) * 2100)
    np.testing.assert_allclose(curves.speed(hu), porosity * 1500 + (1 - porosity) * 2900)


def test_bone_is_never_slower_or_lighter_than_water():
    curves = acoustic_curves("k-plan")
    assert curves.density([-900.0])[0] >= curves.water.density_kg_m3
    assert curves.speed([-900.0])[0] >= curves.water.speed_m_s


def test_a_sites_own_curves_are_read(tmp_path):
    path = tmp_path / "site.json"
    path.write_text(json.dumps(GOOD))
    assert acoustic_curves(path).density([500.0])[0] == 1300
    assert acoustic_curves(str(path)).skull_above_hu == 300


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"density_kg_m3": [1000, 1600, 1500]}, "is not monotonic: density_kg_m3 falls at 2000 HU"),
        ({"speed_m_s": [1500, 1400, 3100]}, "is not monotonic: speed_m_s falls at 1000 HU"),
        ({"hu": [0, 0, 2000]}, "is not monotonic: its HU do not rise"),
        ({"density_kg_m3": [1.0, 1.6, 2.2]}, "kg/m³ from 900 to 4000 are possible"),
        ({"speed_m_s": [1500, 3100]}, "speed_m_s has 2 values for 3 HU"),
        ({"speed_m_s": [1500, float("nan"), 3100]}, "NaN or infinite"),
        ({"source": ""}, "source: string should have at least 1 character"),
        ({"colour": "red"}, "colour: extra inputs are not permitted"),
        ({"hu": [0], "density_kg_m3": [1000], "speed_m_s": [1500]}, "no two points"),
    ],
)
def test_what_is_wrong_with_curves_is_a_sentence(tmp_path, change, message):
    path = tmp_path / "site.json"
    path.write_text(json.dumps(GOOD | change))
    with pytest.raises(SettingsError, match=r"site\.json cannot be used") as caught:
        acoustic_curves(path)
    assert message in str(caught.value)
    assert "never falling" in caught.value.remedy


def test_files_that_are_no_curves_are_refused(tmp_path):
    (tmp_path / "text.json").write_text("hello")
    (tmp_path / "list.json").write_text("[1]")
    for name, message in (("text.json", "not a JSON file"), ("list.json", "no JSON object"), ("none.json", "be read")):
        with pytest.raises(SettingsError, match=message):
            acoustic_curves(tmp_path / name)
    with pytest.raises(SettingsError, match="Unknown acoustic curves 'kplan'"):
        acoustic_curves("kplan")
    with pytest.raises(SettingsError, match="of the type int"):
        acoustic_curves(3)
