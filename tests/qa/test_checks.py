import json
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.qa.mr_failures import MR_FAILURES
from benchmarks.qa.sct_failures import SCT_FAILURES
from scipy import ndimage

from creps import hu
from creps.errors import CrepsError, InputError
from creps.phantom import head_patient
from creps.qa.document import QaReport, read_report
from creps.qa.examine import IntakeSummary, check_sct
from creps.qa.kinds import KINDS
from creps.qa.limits import LIMITS_FILE, Range, distances_of, limits_of, read_limits
from creps.qa.measures import bone as bone_measures
from creps.qa.measures import tissue
from creps.volume import AXIAL, Volume


@pytest.fixture(scope="module")
def head():
    """MR, aligned CT in the place of an sCT, and body of a phantom that no limit comes from."""
    grown = head_patient(3, 4.0, centre=0)
    return grown.mr, grown.ct_noise_free, grown.mask


@pytest.fixture(scope="module")
def good(head):
    return check_sct(*head, "head")


@pytest.fixture(scope="module")
def other():
    return head_patient(11, 4.0, mr=True, centre=1).ct_noise_free


def test_a_good_sct_passes_every_check(good):
    assert good.result == "pass", [(check.name, check.value) for check in (*good.of("fail"), *good.of("warn"))]
    assert not good.of("fail")
    assert not good.of("warn")
    assert {check.name for check in good.checks} == {kind.name for kind in KINDS} | {"fat_published", "field_of_view"}
    assert good.known_good == read_limits().regions["head"].cases >= 30
    assert "clinical" in good.scope
    assert "does not" in good.scope


@pytest.mark.parametrize(
    ("kind", "size", "caught_by"),
    [
        ("shift", 6, {"shift"}),
        ("mirror", 1, {"mirrored"}),  # the outline and the HU of a mirrored head are much as they were
        ("collapsed model", 90, {"bone_share", "fat", "bone"}),
        ("swapped patient", 1, {"contour_mean", "contour_p95", "edges_shared", "bone_missing", "one_sided_bone"}),
        ("bone hallucinated", 10, {"one_sided_bone", "bone_unexplained"}),
        ("seam", 80, {"slice_step", "plane_step"}),
    ],
)
def test_failures_of_the_sct_fail_the_check_that_is_for_them(head, other, kind, size, caught_by):
    mr, sct, body = head
    broken = SCT_FAILURES[kind](sct, size, np.random.default_rng([1, 5]), other)
    report = check_sct(mr, broken, body, "head")
    failed = {check.name for check in report.of("fail")}
    assert failed & caught_by, failed
    assert report.result == "fail"


def test_bone_on_one_side_alone_is_named_with_its_place(head):
    """The slice is that of the sCT, the position that of the ball."""
    mr, sct, body = head
    centre = np.array([round(0.7 * sct.shape[0]), sct.shape[1] // 2, round(0.62 * sct.shape[2])])
    near = np.linalg.norm((np.indices(sct.shape).T - centre) * 4.0, axis=-1).T < 15
    check = check_sct(mr, sct.with_array(np.where(near, 500, sct.array)), body, "head").check("one_sided_bone")
    assert check.result == "fail"
    assert abs(check.slice - centre[0]) <= 4
    assert np.linalg.norm(np.array(check.position_mm) - sct.to_patient_mm(centre)) < 16


@pytest.mark.parametrize(
    ("kind", "size", "caught_by"),
    [
        ("noise x5", 8, {"noise", "signal_beside"}),
        ("metal void", 25, {"void_radius", "one_sided_void"}),
        ("motion", 9, {"signal_beside", "noise", "contour_p95"}),
    ],
)
def test_artefacts_of_the_mr_fail_even_with_a_right_sct(head, kind, size, caught_by):
    mr, sct, body = head
    report = check_sct(MR_FAILURES[kind](mr, size, np.random.default_rng(2), 0), sct, body, "head")
    assert {check.name for check in report.of("fail")} & caught_by


@pytest.mark.parametrize("axis", [0, 1])
def test_a_patient_upside_down_or_back_to_front_is_seen(head, axis):
    turned = [volume.with_array(np.flip(volume.array, axis).copy()) for volume in head]
    assert check_sct(*turned, "head").check("orientation").result == "fail"


def test_a_cut_field_of_view_is_seen(head):
    cut = [Volume(volume.array[:, :, :32].copy(), volume.spacing_mm) for volume in head]
    assert check_sct(*cut, "head").check("cut_slices").result == "fail"


def test_each_remaining_number_has_a_failure(head, good):
    """Saturation, air, fat and holes, made directly."""
    mr, sct, body = head
    inner = ndimage.binary_erosion(body.array > 0.5, iterations=5)
    cases = {
        "saturated": np.where(inner & (sct.array > 300), 3000, sct.array),
        "air_in_signal": np.where(inner & (mr.array > np.median(mr.array[inner])), -1000, sct.array),
        "unevenness": sct.array + 60 * np.random.default_rng(0).standard_normal(sct.shape) * inner,
        "soft_tissue": sct.array + 60 * inner,
        "bone_continuity": np.where((np.indices(sct.shape)[0] % 4 == 0) & (sct.array > 150), 40, sct.array),
        "bone_thickness": np.where(ndimage.grey_dilation(sct.array, 5) > 300, 700, sct.array),
        "bone_at_skin": np.where((body.array > 0) & ~ndimage.binary_erosion(body.array > 0), 700, sct.array),
    }
    for name, array in cases.items():
        assert good.check(name).result == "pass"
        assert check_sct(mr, sct.with_array(array), body, "head").check(name).result == "fail", name


def test_spacing_orientation_and_obliquity_change_little(head, good):
    """The same images turned about, on other axes, and the sCT on a finer grid."""
    mr, sct, body = head
    oblique = np.array([[0.1, 0.0, 0.995], [0.0, 1.0, 0.0], [0.995, 0.0, -0.1]])
    oblique /= np.linalg.norm(oblique, axis=0)
    placed = [Volume(v.array, v.spacing_mm, (5.0, -7.0, 11.0), oblique) for v in head]
    turned = [v.reoriented(v.direction[:, [2, 0, 1]] * np.array([1, -1, 1])) for v in placed]
    fine = Volume(sct.array.repeat(2, 0), (2.0, 4.0, 4.0), (0.0, 0.0, -1.0), AXIAL)
    centred = [Volume(v.array, v.spacing_mm) for v in (mr, body)]
    for volumes in (placed, turned, (centred[0], fine, centred[1])):
        report = check_sct(volumes[0], volumes[1], volumes[2], "head")
        assert report.result == "pass", [(c.name, c.value) for c in (*report.of("fail"), *report.of("warn"))]
        for name, tolerance in {"contour_mean": 0.3, "bone_share": 1.0, "shift": 0.6, "fat": 8.0}.items():
            assert report.check(name).value == pytest.approx(good.check(name).value, abs=tolerance), name


def test_the_slice_is_one_of_the_scts_own(head):
    mr, sct, body = head
    array = sct.array.copy()
    array[38:] += 80.0 * (body.array[38:] > 0)
    sagittal = sct.with_array(array).reoriented(AXIAL[:, [2, 1, 0]])
    check = check_sct(mr, sagittal, body, "head").check("slice_step")
    assert check.result == "fail"
    index = np.linalg.solve(sagittal.direction * sagittal.spacing_mm, np.array(check.position_mm) - sagittal.origin_mm)
    assert check.slice == pytest.approx(index[0], abs=0.51)


def test_the_intake_counts_and_its_absence_does_not(head):
    report = check_sct(*head, "head", IntakeSummary("refused", 3.2, left_out_ml=9.0))
    assert report.result == "fail"
    assert report.check("intake").value == 3.2
    assert report.check("left_out").result == "warn"
    assert check_sct(*head, "head", IntakeSummary("warned")).check("intake").result == "warn"
    passed = check_sct(*head, "head", IntakeSummary("passed"))
    assert passed.result == "pass"


def test_a_region_without_known_good_syntheses_says_so(head):
    report = check_sct(*head, "knee")
    assert report.known_good is None
    assert {check.name for check in report.of("not checked")} == {kind.name for kind in KINDS}
    assert check_sct(*head, "brain").known_good == check_sct(*head, "head").known_good


def test_an_empty_mask_and_an_empty_sct(head):
    mr, sct, body = head
    with pytest.raises(ValueError, match="empty"):
        check_sct(mr, sct, body.with_array(np.zeros(body.shape)), "head")
    air = check_sct(mr, sct.with_array(np.full(sct.shape, hu.AIR)), body, "head")
    assert air.result == "fail"
    assert {"air_share", "bone_share", "edges_shared"} <= {check.name for check in air.of("fail")}


def test_the_document_is_read_back_and_damage_is_named(good, tmp_path):
    path = tmp_path / "qa.json"
    good.write(path)
    assert read_report(path) == good
    content = json.loads(path.read_text())
    assert content["schema_version"] == 1
    for change, words in (({"schema_version": 9}, "schema version 9"), ({"result": "fine"}, "damaged")):
        path.write_text(json.dumps(content | change))
        with pytest.raises(InputError, match=words):
            read_report(path)
    with pytest.raises(KeyError):
        good.check("nothing")
    assert QaReport.model_validate(content).of("pass")


def test_limits_are_so_many_spreads_from_the_median():
    values = [float(v) for v in range(101)]
    found = limits_of({"fat": values, "shift": [1.0] * 30, "noise": [1.0] * 19}, 2, 3)
    assert found["fat"] == Range(median=50, warn_below=-40, fail_below=-85, warn_above=140, fail_above=185)
    assert found["shift"] == Range(median=1, warn_above=2, fail_above=2.5)  # the smallest spread is 0.5 mm
    assert "noise" not in found  # too few
    assert limits_of({"mirrored": [0.1] * 20}, 2, 3)["mirrored"].fail_below == 0
    stricter = next(kind for kind in KINDS if kind.name == "sides_differ")
    expected = 50 + 2 * stricter.tightness * 45
    assert limits_of({"sides_differ": values}, 2, 3)["sides_differ"].warn_above == pytest.approx(expected)
    levels = [found["fat"].level(value) for value in (-86, -41, 50, 141, 186)]
    assert levels == ["fail", "warn", "pass", "warn", "fail"]


def test_distance_of_the_anatomy_is_a_root_mean_square():
    usual, spread = np.zeros(36), np.full(36, 0.5)
    found = distances_of(np.ones(36), usual, spread)
    assert found == {"anatomy": 2.0, "orientation": 0.0}
    lying = np.zeros((3, 4, 3))
    lying[:, 0] = 1
    expected = lying[:, ::-1].ravel()
    assert distances_of(lying.ravel(), expected, spread)["orientation"] == pytest.approx(np.sqrt(2))


def test_limits_that_ship_are_complete_and_damaged_ones_refused(tmp_path):
    limits = read_limits()
    for region in ("head", "pelvis"):
        assert set(limits.regions[region].checks) == {kind.name for kind in KINDS}
    assert sum(one.cases for one in limits.regions.values()) >= 60
    damaged = tmp_path / "limits.json"
    damaged.write_text(LIMITS_FILE.read_text().replace('"times_warn"', '"times_warned"'))
    with pytest.raises(CrepsError, match="damaged"):
        read_limits(damaged)


def test_other_limits_can_be_given(head):
    limits = read_limits()
    strict = {name: one.model_copy(update={"fail_above": -1e9}) for name, one in limits.regions["head"].checks.items()}
    changed = limits.regions["head"].model_copy(update={"checks": strict})
    report = check_sct(*head, "head", limits=limits.model_copy(update={"regions": {"head": changed}}))
    assert len(report.of("fail")) >= len(KINDS)


def test_every_kind_is_worded_for_a_reader():
    for kind in KINDS:
        assert kind.tells.count("{}") == 1
        assert kind.tells.endswith(".")
        assert kind.do.endswith(".")
        assert set(kind.sides) <= {"above", "below"}
        assert kind.sides
        assert replace(kind, smallest=kind.smallest).smallest > 0


@pytest.mark.parametrize("size", [1, 2, 5, 12])
@pytest.mark.parametrize("fill", ["air", "water", "bone", "noise"])
def test_odd_scenes_give_a_report_and_no_error(size, fill):
    """Small and uniform volumes, a body that fills them: checks without anything to measure are not checked."""
    rng = np.random.default_rng(size)
    shape = (size, size + 1, size + 2)
    level = {"air": -1000.0, "water": 0.0, "bone": 900.0}.get(fill)
    sct = rng.normal(0, 500, shape) if level is None else np.full(shape, level)
    for body in (np.ones(shape), rng.random(shape) > 0.5, np.eye(1, sct.size).reshape(shape)):
        if body.any():
            mr = Volume(rng.random(shape) * (fill != "air"), (3.0, 3.0, 3.0))
            report = check_sct(mr, mr.with_array(sct), mr.with_array(body), "head", IntakeSummary("passed"))
            assert report.result in ("pass", "warn", "fail")
            assert not [check for check in report.checks if check.message.startswith("Not measured")]
            json.dumps(report.model_dump(mode="json"), allow_nan=False)
    assert report.summary() is None or report.summary().startswith("QA ")


def test_a_defect_in_one_check_is_recorded_and_the_others_go_on(head, good, monkeypatch, caplog):
    def broken(_):
        raise ZeroDivisionError("no voxels")

    monkeypatch.setattr(bone_measures, "unsupported", broken)
    monkeypatch.setattr(tissue, "by_place", broken)
    monkeypatch.setattr(tissue, "levels", broken)
    report = check_sct(*head, "head")
    missing = {"bone_unlikely", "bone_without_edges", "anatomy", "orientation", "fat", "fat_published"}
    assert missing < {check.name for check in report.of("not checked")}
    for name in missing:
        assert "ZeroDivisionError: no voxels" in report.check(name).message
    assert report.check("shift") == good.check("shift")
    assert report.result == "pass"
    lines = [record.getMessage() for record in caplog.records]
    assert lines.count("QA did not measure bone_unlikely, bone_without_edges: ZeroDivisionError: no voxels") == 1
    json.dumps(report.model_dump(mode="json"), allow_nan=False)
