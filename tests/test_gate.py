"""The intake checks: each on an MR that has just that fault, and none on one that has none."""

import dataclasses
import json
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from creps.errors import InputError
from creps.intake.body_parts import regions_of
from creps.intake.features import features_of
from creps.intake.gate import IntakeResult, examine
from creps.intake.image_checks import cut_slices, measure_cuts
from creps.intake.profile import FLOORS, Scores, profile_from
from creps.intake.resemblance import check_greys
from creps.intake.score_checks import NO_CUT_EXPLAINS, check_scores
from creps.io.dicom.read.acquisition import Acquisition
from creps.io.itk import read_volume
from creps.preprocessing.preparation import prepare_mr
from creps.settings import PreparationSettings
from creps.volume import Volume
from tests.once import head_phantom, pelvis_phantom

HEAD = PreparationSettings(region="head", spacing_mm=(4, 4, 4), mr_scale="auto", remove_outside=True)
GOOD = Acquisition(
    modality="MR",
    body_part="HEAD",
    image_types=frozenset({"ORIGINAL", "PRIMARY", "M", "NORM", "DIS3D"}),
    scanning_sequence="GR\\IR",
    sequence_name="*TFL3D1",
    protocol="T1_MPRAGE_SAG",
    description="T1 MPRAGE",
    echo_time_ms=2.9,
    repetition_time_ms=2300.0,
    inversion_time_ms=900.0,
    distortion_correction="3d",
    slice_thickness_mm=1.0,
)


def measured(mr):
    prepared = prepare_mr(mr, HEAD, "an MR")
    return features_of(prepared.array, prepared.body, prepared.grid.spacing_mm)


@pytest.fixture(scope="module")
def profile():
    heads = (head_phantom([7, i], 4.0, ct=False, centre=i % 3).mr for i in range(6))
    return profile_from([(measured(mr), str(i)) for i, mr in enumerate(heads)])


@pytest.fixture(scope="module")
def head():
    return head_phantom([8, 0], 4.0, ct=False).mr


def gate_of(mr, profile=None, acquisition=GOOD, preparation=HEAD, recipe="anatomy"):
    return examine(mr, prepare_mr(mr, preparation, "an MR"), preparation, profile, acquisition, recipe)


def levels(gate):
    return {finding.check: finding.level for finding in gate.findings}


def of_header(head, recipe="anatomy", **changes):
    """Check → level for a head whose header says something else."""
    found = levels(gate_of(head, acquisition=dataclasses.replace(GOOD, **changes), recipe=recipe))
    assert found.pop("profile") == "note"
    return found


def test_a_good_mr_passes_without_a_word(head, profile):
    gate = gate_of(head, profile)
    assert gate.findings == ()
    assert gate.verdict == "passed"
    gate.raise_if_refused("the MR")


def test_a_refusal_names_every_reason_and_the_way_round(head, profile):
    pelvis = pelvis_phantom([8, 0], 4.0, ct=False).mr
    gate = gate_of(pelvis, profile, dataclasses.replace(GOOD, body_part="PELVIS"))
    assert gate.verdict == "refused"
    assert {"region", "size", "shape"} <= {finding.check for finding in gate.refusals}
    with pytest.raises(InputError) as caught:
        gate.raise_if_refused("scan.nii.gz")
    for finding in gate.refusals:
        assert finding.message in str(caught.value)
    assert str(caught.value).startswith("scan.nii.gz ")
    assert "force=True" in caught.value.remedy
    gate.raise_if_refused("scan.nii.gz", forced=True)


def test_the_record_is_plain_and_says_what_was_forced(head, profile):
    refused = gate_of(pelvis_phantom([8, 0], 4.0, ct=False).mr, profile)
    record = json.loads(json.dumps(refused.record(forced=True)))
    assert record["forced"] is True
    assert refused.overridden(forced=True)
    assert record["verdict"] == "refused"
    assert {"check", "level", "message", "remedy"} == set(record["findings"][0])
    assert record["findings"][0]["level"] == "refusal"  # the worst first
    assert {"contrast", "pattern", "shape", "size", "noise", "void", "weak"} == set(record["scores"])
    passed = gate_of(head, profile)
    assert passed.record(forced=True)["forced"] is False  # there was nothing to force
    assert not refused.overridden(forced=False)
    assert IntakeResult().record()["scores"] is None


def test_without_header_and_profile_one_note_each(head):
    assert levels(gate_of(head, acquisition=None)) == {"header": "note", "profile": "note"}


@pytest.mark.parametrize(
    ("said", "region", "level"),
    [
        ("HEAD", "brain", None), ("BRAIN", "head", None), ("HEADNECK", "head", None), ("SKULL", "brain", None),
        ("HEAD AND NECK", "brain", None), ("WHOLEBODY", "pelvis", None), ("PROSTATE", "pelvis", None),
        ("HIP", "pelvis", None), ("EXTREMITY", "pelvis", None), ("ABDOMENPELVIS", "pelvis", None),
        ("PELVIS", "head", "refusal"), ("PROSTATE", "brain", "refusal"), ("HEAD", "pelvis", "refusal"),
        ("KNEE", "pelvis", "refusal"), ("EXTREMITY", "head", "refusal"), ("CHEST", "brain", "refusal"),
        ("MIDDLEEARTH", "head", "note"), (None, "head", "note"), ("HEAD", "my region", "note"),
    ],
)  # fmt: skip
def test_region(head, said, region, level):
    preparation = HEAD.model_copy(update={"region": region})
    mr = pelvis_phantom([8, 0], 5.0, ct=False).mr if region == "pelvis" else head
    found = levels(gate_of(mr, acquisition=dataclasses.replace(GOOD, body_part=said), preparation=preparation))
    assert found.get("region") == level


def test_words_of_regions():
    assert regions_of("PELVIS/HIP") == {"pelvis"}
    assert regions_of("head_neck") == {"head", "neck"}
    assert regions_of("T-SPINE") == {"chest"}
    assert regions_of("") == regions_of("JOHN DOE") == frozenset()


@pytest.mark.parametrize(
    "change",
    [
        {"image_types": frozenset({"DERIVED", "PRIMARY", "DIFFUSION", "ADC"})}, {"diffusion": True},
        {"image_types": frozenset({"DERIVED", "SECONDARY", "MIP"})}, {"image_types": frozenset({"DERIVED", "T1 MAP"})},
        {"image_types": frozenset({"DERIVED", "PROJECTION IMAGE"})}, {"image_types": frozenset({"ORIGINAL", "P"})},
        {"image_types": frozenset({"DERIVED", "FAT"})}, {"description": "EP2D_DIFF_ADC", "scanning_sequence": "EP"},
        {"protocol": "HEAD_DWI_TRA", "description": "", "scanning_sequence": "", "echo_time_ms": None},
        {"modality": "CT"},
    ],
)  # fmt: skip
def test_no_picture_of_the_anatomy_is_refused(head, change):
    assert of_header(head, **change)["sequence"] == "refusal"


@pytest.mark.parametrize(
    "change",
    [
        {"description": "TOF 3D"},
        {"scanning_sequence": "EP\\GR"},
        {"protocol": "SWI_TRA", "description": ""},
        {"description": "T1 MPRAGE MIP"},
        {"description": "AAHEAD_SCOUT"},
    ],
)
def test_unusual_sequences_are_warned_of(head, change):
    assert of_header(head, **change)["sequence"] == "warning"


@pytest.mark.parametrize(
    ("check", "change"),
    [
        ("contrast agent", {"contrast_agent": True}), ("contrast agent", {"description": "T1_TSE_KM"}),
        ("fat suppression", {"scan_options": "PFP\\FS"}), ("fat suppression", {"description": "T2_STIR_COR"}),
        ("fat suppression", {"description": "T1 FAT SAT"}), ("fat suppression", {"inversion_time_ms": 160.0}),
        ("fat suppression", {"image_types": frozenset({"DERIVED", "DIXON", "WATER"}), "distortion_correction": "3d"}),
        ("ultra-short echo", {"echo_time_ms": 0.07}),
        ("ultra-short echo", {"sequence_name": "PETRA", "echo_time_ms": None}),
    ],
)  # fmt: skip
def test_what_anatomy_assumes_is_warned_of_and_only_noted_for_other_recipes(head, check, change):
    assert of_header(head, **change) == {check: "warning"}
    assert of_header(head, recipe="cut", **change) == {check: "note"}
    assert of_header(head, recipe=None, **change) == {check: "note"}


@pytest.mark.parametrize(("correction", "level"), [("3d", None), ("2d", "note"), ("none", "warning"), (None, "note")])
def test_distortion(head, correction, level):
    assert of_header(head, distortion_correction=correction).get("distortion") == level


def test_words_that_speak_of_an_implant(head):
    assert of_header(head, implant_words=True) == {"implant": "warning"}


def test_no_free_text_of_the_header_is_repeated(head):
    secret = dict.fromkeys(("protocol", "description", "sequence_name", "body_part"), "DOE^JANE 1950 ADC")
    silent = dataclasses.replace(GOOD, scanning_sequence="", echo_time_ms=None)
    gate = gate_of(head, acquisition=dataclasses.replace(silent, **secret, implant_words=True, contrast_agent=True))
    assert gate.refusals
    assert not any(word in str(finding) for finding in gate.findings for word in ("DOE", "JANE", "1950"))


def stack(spacing, direction=None):
    """A ball of 4 cm radius in 10 cm."""
    shape = [max(4, round(100 / s)) for s in spacing]
    index = np.indices(shape)
    distance = sum(((i - (n - 1) / 2) * s) ** 2 for i, n, s in zip(index, shape, spacing, strict=True))
    array = np.where(distance < 40**2, 500.0, 5.0) + np.random.default_rng(0).uniform(0, 2, shape)
    return Volume(array, spacing, **({} if direction is None else {"direction": direction}))


@pytest.mark.parametrize(
    ("spacing", "model", "level"),
    [
        ((2, 1, 1), (1, 1, 1), None), ((4.9, 1, 1), (1, 1, 1), None), ((5, 1, 1), (1, 1, 1), "warning"),
        ((6, 2, 2), (3, 3, 3), None), ((8, 2, 2), (3, 3, 3), "warning"), ((10, 2, 2), (4, 4, 4), "refusal"),
        ((9.9, 2, 2), (4, 4, 4), None), ((12, 2, 2), (2, 1, 1), "refusal"), ((2, 2, 5), (2, 2, 2), "warning"),
    ],
)  # fmt: skip
def test_spacing(spacing, model, level):
    preparation = HEAD.model_copy(update={"spacing_mm": tuple(float(s) for s in model)})
    assert levels(gate_of(stack(tuple(map(float, spacing))), preparation=preparation)).get("spacing") == level


def test_thick_slices_count_however_near_they_lie_and_however_the_stack_is_turned():
    coronal = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])  # slices from front to back
    preparation = HEAD.model_copy(update={"spacing_mm": (1.0, 4.0, 1.0)})
    for direction, level in ((None, "warning"), (coronal, None)):
        mr = stack((3.0, 2.0, 2.0), direction)
        thick = dataclasses.replace(GOOD, slice_thickness_mm=6.0)
        assert levels(gate_of(mr, preparation=preparation, acquisition=thick)).get("spacing") == level


def cut_shares(body, spacing_mm):
    """Share of the slices with body that are cut on any side, and deeply on two opposite ones."""
    cuts = cut_slices(body, spacing_mm)
    return cuts.share(cuts.some), cuts.share(cuts.both)


def test_shares_of_cut_slices_are_closed_forms():
    body = np.zeros((10, 60, 60), dtype=bool)
    body[:, 5:55, 5:55] = True
    assert cut_shares(body, (4, 4, 4)) == (0, 0)
    body[:3, 5:55, :] = True  # the lowest three of ten slices, 200 mm on both sides
    assert cut_shares(body, (4, 4, 4)) == (0.3, 0.3)
    assert cut_shares(body, (4, 1, 1)) == (0, 0)  # 50 mm are a nose or an ear
    assert cut_shares(body, (4, 1.5, 1.5)) == (0.3, 0)  # 75 mm are a cut, but not a deep one
    assert cut_shares(np.zeros_like(body), (4, 4, 4)) == (0, 0)
    assert cut_shares(np.ones_like(body), (4, 1.2, 1.2)) == (1, 1)  # a field of view of 72 mm in the midst of a body
    front = np.zeros_like(body)
    front[:5, :40, 5:55] = True
    assert cut_shares(front, (4, 4, 4)) == (1, 0)  # of the slices with body


def cropped(mr, axis, first, last):
    kept = [slice(None)] * 3
    kept[axis] = slice(first, last)
    return Volume(mr.array[tuple(kept)], mr.spacing_mm)


def test_a_body_that_is_cut_off_is_warned_of_and_refused_when_both_sides_are(head):
    assert "field of view" not in levels(gate_of(head))
    middle = head.shape[2] // 2
    assert levels(gate_of(cropped(head, 2, middle - 10, None)))["field of view"] == "warning"
    both = cropped(head, 2, middle - 12, middle + 12)
    assert levels(gate_of(both))["field of view"] == "refusal"
    assert "field of view" not in levels(gate_of(cropped(head, 0, 12, 40)))  # every scan ends somewhere


def test_a_crop_to_the_body_is_no_cut(head):
    tight = HEAD.model_copy(update={"crop_margin_mm": 0.0})
    assert "field of view" not in levels(gate_of(head, preparation=tight))
    middle = head.shape[2] // 2
    cut = cropped(head, 2, middle - 12, middle + 12)
    assert levels(gate_of(cut, preparation=tight))["field of view"] == "refusal"


def test_a_model_of_cut_bodies_only_warns_of_them(head, profile):
    middle = head.shape[2] // 2
    cut = cropped(head, 2, middle - 12, middle + 12)
    assert levels(gate_of(cut, profile))["field of view"] == "refusal"
    used_to_it = profile.model_copy(update={"cut_share": 0.5})
    assert levels(gate_of(cut, used_to_it))["field of view"] == "warning"


def test_intensities_and_size_out_of_distribution(head, profile):
    top = float(np.percentile(head.array, 95))
    assert levels(gate_of(head.with_array(np.minimum(head.array, top / 4)), profile)).get("contrast") == "refusal"
    half = cropped(head, 0, head.shape[0] // 2, None)
    assert levels(gate_of(half, profile))["size"] == "refusal"
    grown = Volume(head.array, tuple(1.3 * s for s in head.spacing_mm))
    assert levels(gate_of(grown, profile))["size"] in ("warning", "refusal")
    assert "mm" in next(f.message for f in gate_of(grown, profile).findings if f.check == "size")


def test_a_large_void_is_warned_of(head, profile):
    index = np.indices(head.shape)
    middle = [n * share for n, share in zip(head.shape, (0.65, 0.5, 0.5), strict=True)]
    distance = sum(((i - m) * s) ** 2 for i, m, s in zip(index, middle, head.spacing_mm, strict=True))
    holed = head.with_array(np.where(distance < 25**2, 0.02 * head.array, head.array))
    assert levels(gate_of(holed, profile))["void"] == "warning"
    assert "void" not in levels(gate_of(head, profile))


def test_few_training_patients_are_noted_and_contrast_does_not_refuse(head, profile):
    weak = profile_from([(case, str(i)) for i, case in enumerate(profile.cases[:2])])
    top = float(np.percentile(head.array, 95))
    found = levels(gate_of(head.with_array(np.minimum(head.array, top / 4)), weak))
    assert found["contrast"] == "warning"
    assert found["profile"] == "note"
    pelvis = levels(gate_of(pelvis_phantom([8, 0], 4.0, ct=False).mr, weak, None))
    assert "refusal" in (pelvis["size"], pelvis["shape"])


def test_inverted_contrast_is_refused_by_contrast_and_pattern_together(head, profile):
    def level(contrast, pattern, *, weak=False):
        parts = {"contrast": contrast, "pattern": pattern, "shape": 0.0, "size": 0.0, "noise": 9.0, "void": 0.0}
        found = check_scores(Scores(parts, weak), profile.cases[0], profile)
        return {finding.check: finding.level for finding in found if finding.level != "note"}

    assert level(2.1, 2.1) == {"contrast": "refusal", "pattern": "refusal", "noise": "warning"}
    assert level(2.1, 1.0) == {"contrast": "warning", "noise": "warning"}
    assert level(2.1, 1.9) == {"contrast": "warning", "pattern": "warning", "noise": "warning"}
    assert level(2.6, 1.0) == {"contrast": "refusal", "noise": "warning"}
    assert level(2.6, 2.6, weak=True) == {"contrast": "warning", "pattern": "warning", "noise": "warning"}


def test_the_docs_state_the_thresholds_of_the_code():
    page = (Path(__file__).resolve().parents[1] / "docs" / "concepts" / "gate.md").read_text(encoding="utf-8")
    stated = re.findall(r"^\| `(\w+)\.(\w+)` \| ([\d.]+) \|$", page, flags=re.MULTILINE)
    assert len(stated) >= 15
    for module, constant, number in stated:
        assert float(number) == getattr(import_module(f"creps.intake.{module}"), constant), constant
    floors = dict(re.findall(r"^\| `(\w+)` \|.*\| ([\d.]+) \|$", page, flags=re.MULTILINE))
    assert {part: float(floor) for part, floor in floors.items()} == FLOORS


def test_real_heads_and_hips(shared):
    """A model of real heads refuses real hips; a head left out is not refused."""
    volumes = {
        region: [read_volume(path) for path in sorted((shared / "data" / region / "mr").glob("*.nii.gz"))]
        for region in ("head", "pelvis")
    }
    features = [(measured(mr), str(i)) for i, mr in enumerate(volumes["head"])]
    for i, mr in enumerate(volumes["head"]):
        assert not gate_of(mr, profile_from(features[:i] + features[i + 1 :]), None).refusals
    known = profile_from(features)
    for mr in volumes["pelvis"]:
        assert gate_of(mr, known, None).refusals


@pytest.mark.parametrize(("region", "said"), [("pelvis", "ABDOMEN"), ("pelvis", "LSPINE"), ("head", "CSPINE")])
def test_a_neighbouring_region_is_warned_of(head, region, said):
    preparation = HEAD.model_copy(update={"region": region})
    (finding,) = gate_of(head, None, dataclasses.replace(GOOD, body_part=said), preparation).warnings
    assert finding.check == "region"


def test_a_stored_profile_is_what_this_version_makes_of_its_cases():
    from creps.model import load_plan

    intake = load_plan(Path(__file__).parent / "data" / "former").intake
    again = profile_from([(case, str(i)) for i, case in enumerate(intake.cases)])
    assert again.usual == pytest.approx(intake.usual)


def scaled(mr, factor):
    return Volume(mr.array, tuple(factor * s for s in mr.spacing_mm))


def test_a_head_is_no_pelvis_whatever_the_profile_says(head):
    """Hips of phantoms are as large as heads, so a model of pelves knows such outlines."""
    preparation = HEAD.model_copy(update={"region": "pelvis"})
    (found,) = gate_of(head, acquisition=None, preparation=preparation).refusals
    assert found.check == "region"
    assert "So does a head" in found.message
    pelvis = pelvis_phantom([8, 0], 5.0, ct=False).mr
    assert not gate_of(pelvis, acquisition=None, preparation=preparation).refusals


def test_vessels_after_gadolinium_are_warned_of(head):
    """A vessel of 4 ml deep in the upper head, 2.5 times as bright as the brain: no other check has it."""
    body = prepare_mr(head, HEAD, "an MR").body
    top = int(np.flatnonzero(body.any(axis=(1, 2)))[-1])
    lit = head.array.copy()
    middle = tuple(n // 2 for n in lit.shape[1:])
    there = (slice(top - 16, top - 8), slice(middle[0], middle[0] + 4), slice(middle[1], middle[1] + 2))
    lit[there] = 2.5 * np.median(lit[top - 16 : top - 8][body[top - 16 : top - 8]])
    checks = [found.check for found in gate_of(dataclasses.replace(head, array=lit)).warnings]
    assert checks == ["bright spots"]
    assert not gate_of(head).warnings


def test_a_child_is_told_by_its_build_and_not_by_a_cut(head, profile):
    gate = gate_of(scaled(head, 0.83), profile)
    (found,) = [one for one in gate.findings if one.check == "build"]
    assert "may be a child's" in found.message
    middle = head.shape[2] // 2
    assert "build" not in levels(gate_of(cropped(head, 2, middle - 12, None), profile))


def test_cuts_of_an_mr_do_not_depend_on_the_models_spacing(head):
    cut = cropped(head, 2, head.shape[2] // 2 - 12, None)
    messages = set()
    for spacing in (2.0, 3.0, 4.0):
        preparation = HEAD.model_copy(update={"spacing_mm": (spacing,) * 3})
        gate = gate_of(cut, preparation=preparation)
        messages |= {one.message for one in gate.findings if one.check == "field of view"}
    (message,) = messages
    assert re.search(r"in \d+ of \d+ axial slices of 3 mm \(\d+ %\)", message)


def test_bright_fluid_is_another_sequence_than_the_trainings(head, profile):
    features = measured(head)
    bright = features.model_copy(update={"greys": (1.15, -1.6)})
    assert not check_greys(features, profile)
    (found,) = check_greys(bright, profile)
    assert found.level == "refusal"
    assert "as T2 is where the training is T1" in found.message
    of_t2 = tuple(case.model_copy(update={"greys": (1.1, -1.5)}) for case in profile.cases)
    t2 = profile.model_copy(update={"cases": of_t2})
    assert "where the training is T2" in check_greys(features, t2)[0].message


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_padding_beside_a_cut_does_not_hide_it(head, noise):
    """A head cut on both sides by a quarter of its width, as it is and with 20 voxels of padding on each side."""
    body = prepare_mr(head, HEAD, "an MR").body
    inside = np.flatnonzero(body.any(axis=(0, 1)))
    quarter = (inside[-1] - inside[0]) // 4
    array = head.array[:, :, inside[0] + quarter : inside[-1] - quarter]
    rng = np.random.default_rng(0)
    wide = np.abs(rng.normal(0, noise, (*array.shape[:2], array.shape[2] + 40))).astype(np.float32)
    wide[:, :, 20:-20] = array
    for given in (array, wide):
        mr = Volume(given, head.spacing_mm)
        cuts = measure_cuts(mr, prepare_mr(mr, HEAD, "an MR"))
        assert cuts.share(cuts.both) > 0.5


def test_a_cut_explains_outline_and_size_and_comes_first(head, profile):
    parts = {"contrast": 0.5, "pattern": 0.5, "shape": 2.6, "size": 2.6, "noise": 0.1, "void": 0.1}
    scores, features = Scores(parts, weak=False), measured(head)
    assert {one.level for one in check_scores(scores, features, profile)} == {"refusal"}
    cut = check_scores(scores, features, profile, cut=True)
    assert {one.level for one in cut} == {"warning"}
    assert all("cut field of view" in one.message for one in cut)
    another_part = Scores(parts | {"shape": NO_CUT_EXPLAINS, "size": NO_CUT_EXPLAINS}, weak=False)
    assert "refusal" in {one.level for one in check_scores(another_part, features, profile, cut=True)}
