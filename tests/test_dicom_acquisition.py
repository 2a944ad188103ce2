"""What headers say of an acquisition: classic and enhanced, of several makers; nothing of the patient."""

import pytest
from pydicom import Dataset

from creps.errors import InputError
from creps.io.dicom.read.acquisition import IMPLANT_WORDS, Acquisition
from creps.io.dicom.read.series import one_series
from tests.test_dicom import real_series, stored, write_series  # noqa: F401
from tests.test_dicom_multiframe import item, write_enhanced


def of(folder, change=None, modality="MR", **values):
    """The acquisition of a classic series in whose slices values are set: one for all, or a list of one per slice."""

    def both(data, i):
        for name, value in values.items():
            setattr(data, name, value[i] if isinstance(value, list) and len(value) == 3 else value)
        if change:
            change(data, i)

    write_series(folder, stored((3, 5, 4)), modality=modality, change=both)
    return Acquisition.of(one_series(folder))


def test_a_classic_series(tmp_path):
    found = of(
        tmp_path / "s", BodyPartExamined="PROSTATE", ImageType="ORIGINAL\\PRIMARY\\M\\DIS2D", ScanningSequence="SE",
        SequenceVariant="SK\\SP", SequenceName="*tse2d1_25", ProtocolName="t2_tse_tra", SeriesDescription="t2 tra",
        ScanOptions="FS", EchoTime=[100, 104, 120], RepetitionTime=5660, InversionTime=None, MagneticFieldStrength=3,
        PatientPosition="FFS", Manufacturer="Siemens", SliceThickness=3,
    )  # fmt: skip
    assert found == Acquisition(
        modality="MR", body_part="PROSTATE", image_types=frozenset({"ORIGINAL", "PRIMARY", "M", "DIS2D"}),
        scanning_sequence="SE", sequence_variant="SK\\SP", sequence_name="*TSE2D1_25", protocol="T2_TSE_TRA",
        description="T2 TRA", scan_options="FS", echo_time_ms=104, repetition_time_ms=5660, field_strength_t=3,
        patient_position="FFS", manufacturer="SIEMENS", slice_thickness_mm=3, distortion_correction="2d",
    )  # fmt: skip


def test_a_header_that_says_nothing(tmp_path):
    assert of(tmp_path / "s", SeriesDescription="") == Acquisition()
    assert of(tmp_path / "ct", SeriesDescription="", modality="CT") == Acquisition(modality="CT")


def test_an_enhanced_object_in_the_same_terms(tmp_path):
    def change(data):
        data.EchoPulseSequence, data.PulseSequenceName, data.MagneticFieldStrength = "SPIN", "tse", 1.5
        data.ImageType, data.PatientPosition = ["ORIGINAL", "PRIMARY", "T2", "NONE"], "HFS"
        data.ContrastBolusAgentSequence = [item(CodeMeaning="Gadolinium")]
        shared = data.SharedFunctionalGroupsSequence[0]
        shared.MRTimingAndRelatedParametersSequence = [item(RepetitionTime=4000)]
        shared.MRModifierSequence = [item(InversionRecovery="YES", InversionTimes=[160.0, 180.0])]
        shared.FrameAnatomySequence = [item(AnatomicRegionSequence=[item(CodeMeaning="Brain")])]
        shared.MRDiffusionSequence = [item(DiffusionBValue=0.0)]

    def marks(i):
        return {
            "MREchoSequence": [item(EffectiveEchoTime=[80.0, 90.0, 95.0][i])],
            "MRImageFrameTypeSequence": [item(FrameType=["ORIGINAL", "PRIMARY", "T2", "FLUID_ATTENUATED"])],
        }

    path = write_enhanced(tmp_path / "x.dcm", stored((3, 5, 4)), modality="MR", marks=marks, change=change)
    assert Acquisition.of(one_series(path)) == Acquisition(
        body_part="BRAIN", image_types=frozenset({"ORIGINAL", "PRIMARY", "T2", "NONE", "FLUID_ATTENUATED"}),
        scanning_sequence="SE\\IR", pulse_sequence_name="TSE", description="HEAD", echo_time_ms=90,
        repetition_time_ms=4000, inversion_time_ms=160, field_strength_t=1.5, contrast_agent=True,
        patient_position="HFS", slice_thickness_mm=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("types", "maker", "correction"),
    [
        ("M\\DIS3D", "SIEMENS", "3d"), ("M\\DIS2D", "SIEMENS", "2d"), ("M\\ND\\NORM", "Siemens Healthineers", "none"),
        (["M\\DIS3D", "M\\DIS2D", "M\\DIS3D"], "SIEMENS", "2d"), (["M\\DIS3D", "M\\ND", "M"], "SIEMENS", "none"),
        (["M\\DIS3D", "M", "M\\DIS3D"], "SIEMENS", None), ("M\\ND", "GE MEDICAL SYSTEMS", None),
        ("M\\FFE", "Philips", None), (None, "", None),
    ],
)  # fmt: skip
def test_distortion_correction_is_told_by_the_least_corrected_slice(tmp_path, types, maker, correction):
    found = of(tmp_path / "s", ImageType=types, Manufacturer=maker)
    assert found.distortion_correction == correction


def test_siemens_keeps_the_image_type_of_enhanced_frames_apart(tmp_path):
    def change(data):
        data.Manufacturer = "Siemens HealthCare GmbH"
        for frame in data.PerFrameFunctionalGroupsSequence:
            private = Dataset()
            block = private.private_block(0x0021, "SIEMENS MR SDI 02", create=True)
            block.add_new(0x75, "CS", ["ORIGINAL", "PRIMARY", "M", "ND"])
            frame.private_block(0x0021, "SIEMENS MR SDI 02", create=True)
            frame.add_new(0x002111FE, "SQ", [private])

    path = write_enhanced(tmp_path / "x.dcm", stored((3, 5, 4)), modality="MR", change=change)
    assert Acquisition.of(one_series(path)).distortion_correction == "none"


def b_value(group, creator, element, kind, value):
    return lambda data, _: data.private_block(group, creator, create=True).add_new(element, kind, value)


@pytest.mark.parametrize("agent", ["without contrast", "Ohne KM", "sans gado"])
def test_an_agent_that_was_not_given(tmp_path, agent):
    assert not of(tmp_path / "s", ContrastBolusAgent=agent).contrast_agent


@pytest.mark.parametrize(
    ("values", "change", "diffusion"),
    [
        ({"DiffusionBValue": [0.0, 800.0, 0.0]}, None, True), ({"DiffusionBValue": 0.0}, None, False),
        ({"ImageType": "DERIVED\\PRIMARY\\ADC"}, None, True), ({"ImageType": "A\\B\\TRACEW"}, None, True),
        ({"ImageType": "DERIVED\\PRIMARY\\ADCS"}, None, False),
        ({"SequenceName": "*ep_b1000t"}, None, True), ({"SequenceName": "*re_b0_1000"}, None, True),
        ({"SequenceName": "*ep_b0"}, None, False), ({"SequenceName": "*tse2d1_25"}, None, False),
        ({}, b_value(0x0019, "SIEMENS MR HEADER", 0x0C, "IS", 800), True),
        ({}, b_value(0x0019, "SOMEBODY", 0x0C, "IS", 800), False),
        ({}, b_value(0x2001, "Philips Imaging DD 001", 0x03, "FL", 800.0), True),
        ({}, b_value(0x2001, "Philips Imaging DD 001", 0x03, "FL", 0.0), False),
        ({}, b_value(0x0043, "GEMS_PARM_01", 0x39, "IS", [10**9 + 800, 8, 0, 0]), True),
        ({}, b_value(0x0043, "GEMS_PARM_01", 0x39, "IS", [10**9, 8, 0, 0]), False),
        ({"DiffusionBValue": 0.0}, b_value(0x0019, "SIEMENS MR HEADER", 0x0C, "IS", 800), False),
    ],
)  # fmt: skip
def test_diffusion_is_a_b_value_or_a_type(tmp_path, values, change, diffusion):
    assert of(tmp_path / "s", change, **values).diffusion is diffusion


@pytest.mark.parametrize(
    ("agent", "given"),
    [("Gadovist", True), ("GADAVIST 0.1 MMOL/KG", True), ("NONE", False), ("none", False), ("", False), ("No", False)],
)
def test_contrast_agent(tmp_path, agent, given):
    assert of(tmp_path / "s", ContrastBolusAgent=agent).contrast_agent is given


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"StudyDescription": "Hüft-TEP rechts"}, True), ({"SeriesDescription": "t1_SEMAC_tra"}, True),
        ({"ProtocolName": "Pelvis Metal"}, True), ({"MedicalAlerts": ["none", "PACEMAKER", "x"]}, True),
        ({"AdditionalPatientHistory": "aneurysm clip 2011"}, True),
        ({"RequestedProcedureDescription": "MRI after stent."}, True),
        ({"StudyDescription": "Steps in clipping"}, False), ({"ProtocolName": "implantation"}, False),
        ({"StudyDescription": "Prostate", "ProtocolName": "t2"}, False),
        ({"MedicalAlerts": "No pacemaker, no implants"}, False), ({"SeriesDescription": "ohne Metall"}, False),
        ({"SeriesDescription": "no FS, hip prosthesis"}, True),
        ({"StudyDescription": "study of Clip", "PatientName": "Clip^Ann"}, False),
    ],
)  # fmt: skip
def test_implants_are_whole_words(tmp_path, values, found):
    def change(data, i):
        data.SpecificCharacterSet = "ISO_IR 192"

    values = {"MedicalAlerts": "", **values}
    alerts = values.pop("MedicalAlerts")

    def both(data, i):
        change(data, i)
        data.MedicalAlerts = alerts

    assert of(tmp_path / "s", both, **values).implant_words is found
    assert all(word == word.casefold() for word in IMPLANT_WORDS)


def test_a_field_in_gauss_and_numbers_that_are_none(tmp_path):
    found = of(tmp_path / "s", MagneticFieldStrength=15000, EchoTime=[None, 5, None])
    assert (found.field_strength_t, found.echo_time_ms) == (1.5, 5)


def test_nothing_of_the_patient_is_kept(tmp_path):
    found = of(
        tmp_path / "s", SeriesDescription="T2 Doe SECRET_42", ProtocolName="jane^head", OtherPatientIDs="SECRET-42"
    )
    assert (found.description, found.protocol) == ("T2 ... ..._42", "...^HEAD")
    assert not any(word in repr(found).upper() for word in ("DOE", "SECRET", "JANE"))


def test_a_file_that_is_gone(tmp_path):
    folder = write_series(tmp_path / "s", stored())
    series = one_series(folder).without_headers()
    (folder / "002.dcm").unlink()
    with pytest.raises(InputError, match="A file of DICOM series 'head' cannot be read"):
        Acquisition.of(series)


def test_real_headers(real_series):  # noqa: F811
    pelvis = Acquisition.of(one_series(next(real_series.glob("prostatex*"))))
    assert pelvis.distortion_correction == "2d"
    assert (pelvis.body_part, pelvis.patient_position, pelvis.field_strength_t) == ("PROSTATE", "FFS", 3)
    assert pelvis.echo_time_ms == 104
    assert not pelvis.diffusion
    assert not pelvis.implant_words
    leg = Acquisition.of(one_series(next(real_series.glob("ibsi*")), "mr"))
    assert (leg.scanning_sequence, leg.distortion_correction, leg.echo_time_ms) == ("SE", None, None)
    assert "STS" not in repr(leg)
