"""Who it is goes on unchanged in any script, or not at all."""

import re
import warnings

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from creps.errors import CrepsError, InputError
from creps.io.dicom.read.series import one_series
from creps.io.dicom.write.ct import write_ct
from creps.io.dicom.write.identity import SourceSeries
from creps.io.dicom.write.structures import write_structures
from creps.io.dicom.write.uids import IMPLEMENTATION_CLASS_UID, new_uid
from creps.volume import Volume
from tests.written_dicom import DERIVATION, NO_DICOMDIR, PATIENT, complaints, ct_volume, source_of, write_mr

MASK = np.zeros((4, 8, 8), bool)
MASK[:, 2:6, 2:6] = True


def written_files(folder, origin):
    volume = Volume(np.zeros(MASK.shape, np.float32))
    written = write_ct(folder, volume, origin, DERIVATION)
    write_structures(folder / "RS.dcm", {"BODY": MASK}, volume, written, origin, DERIVATION)
    return [*written.files, folder / "RS.dcm"]


@pytest.mark.parametrize(
    ("charset", "name", "id_issuer"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", "大学病院"),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう", "病院"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동", "병원"),
        ("ISO_IR 100", "Müßig^Jörg", "Universitätsklinik"),
        ("ISO_IR 101", "Wałęsa^Lech", "Łódź"),
        ("ISO_IR 144", "Люкceмбypг^Роза", "Больница"),
        ("ISO_IR 126", "Διονυσιος^Α", "Νοσοκομείο"),
        ("GB18030", "Wang^XiaoDong=王^小东", "医院"),
        ("ISO_IR 192", "Øster^Åse=山^小=홍^길", "Région Nord ☤"),
        (None, "Plain^Name", "Plain"),
    ],
)
def test_names_in_any_script_keep_their_bytes(tmp_path, charset, name, id_issuer):
    said = {"SpecificCharacterSet": charset, "PatientName": name, "IssuerOfPatientID": id_issuer}
    said |= {"InstitutionName": id_issuer, "ReferringPhysicianName": name, "StudyDescription": id_issuer}
    origin = source_of(tmp_path / "mr", **said)
    source = pydicom.dcmread(tmp_path / "mr" / "000.dcm")
    for path in written_files(tmp_path / "out", origin):
        data = pydicom.dcmread(path)
        assert data.get("SpecificCharacterSet") == source.get("SpecificCharacterSet")
        for attribute in ("PatientName", "IssuerOfPatientID", "ReferringPhysicianName", "StudyDescription"):
            assert data.get_item(attribute).value == source.get_item(attribute).value
        assert data.ContributingEquipmentSequence[0].InstitutionName == id_issuer
        assert str(data.PatientName) == name
    assert complaints(*sorted((tmp_path / "out").iterdir())) == []


def test_a_misspelt_character_set_becomes_unicode(tmp_path):
    def misspell(data, i):
        data.SpecificCharacterSet = "ISO_IR 100"
        data["PatientName"] = pydicom.DataElement("PatientName", "PN", "Müßig^Jörg".encode("latin-1"))
        data["SpecificCharacterSet"].value = "ISO IR 100"

    origin = source_of(tmp_path / "mr", change=misspell)
    for path in written_files(tmp_path / "out", origin):
        data = pydicom.dcmread(path)
        assert data.SpecificCharacterSet == "ISO_IR 192"
        assert str(data.PatientName) == "Müßig^Jörg"
    assert complaints(*sorted((tmp_path / "out").iterdir())) == []


def raw(attribute, vr, value, charset=None):
    def change(data, i):
        data[attribute] = pydicom.DataElement(attribute, vr, value)
        if charset is not None:
            data.SpecificCharacterSet = charset

    return change


def test_letters_without_a_declared_character_set_stay_as_they_are(tmp_path):
    undeclared = "Müßig^Jörg".encode("latin-1")
    origin = source_of(tmp_path / "mr", change=raw("PatientName", "PN", undeclared), StudyDescription="Hüfte")
    assert "StudyDescription" not in origin.kept  # only what says who it is
    for path in written_files(tmp_path / "out", origin):
        assert pydicom.dcmread(path).get_item("PatientName").value == undeclared


def test_what_cannot_be_decoded_is_refused_or_left_out(tmp_path):
    bad = "Größe".encode("latin-1")
    with pytest.raises(InputError, match="SpecificCharacterSet does not decode") as caught:
        source_of(tmp_path / "id", change=raw("PatientID", "LO", bad, "ISO_IR 192"))
    assert "Gr" not in str(caught.value)
    with pytest.raises(InputError, match="SpecificCharacterSet does not decode"):
        source_of(tmp_path / "name", change=raw("PatientName", "PN", bad, "ISO_IR 192"))
    with pytest.raises(InputError, match="SpecificCharacterSet does not decode"):
        source_of(tmp_path / "set", change=raw("PatientName", "PN", bad, "KLINGON"))
    with pytest.raises(InputError, match="SpecificCharacterSet does not decode"):
        source_of(tmp_path / "control", change=raw("PatientID", "LO", "SECRET\x1542"))
    origin = source_of(tmp_path / "text", change=raw("StudyDescription", "LO", bad, "ISO_IR 192"))
    assert "StudyDescription" not in origin.kept

    def several(data, i):
        for attribute, vr in (("StudyID", "SH"), ("PositionReferenceIndicator", "LO"), ("Manufacturer", "LO")):
            raw(attribute, vr, bad, "ISO_IR 192")(data, i)

    origin = source_of(tmp_path / "several", change=several)
    assert origin.kept["StudyID"].is_empty
    assert origin.equipment.Manufacturer == "unknown"
    assert complaints(*written_files(tmp_path / "out", origin), allowed=[NO_DICOMDIR.pattern]) == []


def test_what_breaks_its_rules_is_left_out_and_never_repaired(tmp_path):
    write_mr(
        tmp_path / "mr",
        PatientSex="W", PatientAge="63", PatientBirthDate="31.07.1951", StudyTime="08:15",
        StudyID="a study ID that is too long", StudyDescription="one\\two", PatientPosition="HEAD",
        TimezoneOffsetFromUTC="CET", AcquisitionDate="yesterday", Manufacturer=None, BodyPartExamined="LEFT LEG",
        OtherPatientIDs="x" * 65, LongitudinalTemporalInformationModified="MAYBE",
        change=raw("AccessionNumber", "LO", "ACC-99"),
    )  # fmt: skip
    for path in (tmp_path / "mr").iterdir():
        path.write_bytes(path.read_bytes().replace(b"1.71", b"tall"))
    origin = SourceSeries.of(one_series(tmp_path / "mr", "mr"))
    for attribute in ("PatientSex", "PatientBirthDate", "StudyTime", "StudyID", "PatientPosition", "AccessionNumber"):
        assert origin.kept[attribute].is_empty
    absent = {"PatientAge", "PatientSize", "StudyDescription", "TimezoneOffsetFromUTC", "AcquisitionDate",
              "BodyPartExamined", "OtherPatientIDsSequence", "LongitudinalTemporalInformationModified"}  # fmt: skip
    assert not absent & set(origin.kept.dir())
    assert origin.equipment.Manufacturer == "unknown"
    assert complaints(*written_files(tmp_path / "out", origin), allowed=[NO_DICOMDIR.pattern]) == []


def test_an_identity_is_kept_whatever_it_looks_like(tmp_path):
    long_name, odd_id = "Da Silva " * 9 + "^Maria", "A/1\\B 2"
    origin = source_of(tmp_path / "mr", PatientName=long_name, PatientID=odd_id)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = pydicom.dcmread(written_files(tmp_path / "out", origin)[0])
        assert str(data.PatientName) == long_name
    assert list(data.PatientID) == ["A/1", "B 2"]
    other_vr = source_of(tmp_path / "vr", change=raw("PatientID", "SH", "SECRET-42"))
    assert pydicom.dcmread(written_files(tmp_path / "out3", other_vr)[0])["PatientID"].VR == "LO"
    nobody = source_of(tmp_path / "nobody", **dict.fromkeys(PATIENT))
    files = written_files(tmp_path / "out2", nobody)
    nameless = r"Warning - </(PatientID|StudyID|StudyDate|StudyTime).* - Missing attribute or value that would be"
    assert complaints(*files, allowed=[nameless]) == []


def test_nested_items_keep_their_valid_parts(tmp_path):
    def change(data, i):
        other = pydicom.Dataset()
        other.PatientID, other.TypeOfPatientID, other.IssuerOfPatientID = "X-1", "TEXT", "Müller"
        other.PatientComments = "x" * 20000  # too long
        other.add_new(0x00090010, "LO", "PRIVATE")
        other.add_new(0x00091001, "LO", "secret")
        data.OtherPatientIDsSequence, data.SpecificCharacterSet = [other], "ISO_IR 100"

    origin = source_of(tmp_path / "mr", change=change, OtherPatientIDs=None)
    data = pydicom.dcmread(written_files(tmp_path / "out", origin)[0])
    (item,) = data.OtherPatientIDsSequence
    assert set(item.dir()) == {"PatientID", "TypeOfPatientID", "IssuerOfPatientID"}
    assert item.IssuerOfPatientID == "Müller"
    assert len(item) == 3
    assert complaints(*sorted((tmp_path / "out").iterdir())) == []


def test_a_multi_frame_mr_is_one_source(tmp_path):
    origin = source_of(tmp_path / "mr", multi_frame=True, AcquisitionDateTime="20240228082233.5+0100")
    assert len(origin.instances) == 1
    files = written_files(tmp_path / "out", origin)
    data = pydicom.dcmread(files[0])
    assert len(data.SourceImageSequence) == 1
    assert data.SourceImageSequence[0].ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.4.1"
    assert data.ContributingEquipmentSequence[0].ContributionDateTime == "20240228082233.5+0100"
    assert complaints(*files) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"PatientID": "OTHER"}, "more than one patient"),
        ({"PatientName": "Other^Name"}, "more than one patient"),
        ({"PatientBirthDate": "19000101"}, "more than one patient"),
        ({"StudyInstanceUID": generate_uid()}, "differ in StudyInstanceUID"),
        ({"FrameOfReferenceUID": None}, "differ in FrameOfReferenceUID"),
    ],
)
def test_two_patients_are_never_mixed(tmp_path, change, message):
    def spoil(data, i):
        if i == 1:
            for attribute, value in change.items():
                setattr(data, attribute, value)

    with pytest.raises(InputError, match=message) as caught:
        source_of(tmp_path / "mr", change=spoil)
    assert not re.search("OTHER|Other|SECRET|Doe|1900", str(caught.value))


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("StudyInstanceUID", "has no valid StudyInstanceUID"),
        ("FrameOfReferenceUID", "has no valid FrameOfReferenceUID.*or write the synthetic CT as a NIfTI file"),
        ("SOPInstanceUID", "without a valid SOPInstanceUID of their own"),
    ],
)
def test_what_nothing_can_be_made_from_is_refused(tmp_path, attribute, message):
    def spoil(data, i):
        if attribute == "SOPInstanceUID":
            data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        else:
            delattr(data, attribute)

    with pytest.raises(CrepsError, match=message):  # finding the series may refuse it first
        source_of(tmp_path / "mr", change=spoil)


def secrets(folder):
    """Every text of an MR that says who, where or when."""
    found = set()
    for path in folder.iterdir():
        for element in pydicom.dcmread(path).iterall():
            if element.VR in ("PN", "LO", "SH", "DA", "UI", "AS", "DT") or element.keyword in ("StudyTime", "DS"):
                values = element.value if element.VM > 1 else [element.value]
                found |= {part for value in values for part in re.split(r"[\^=]", str(value)) if len(part) > 2}
    return found - {"1.2.840.10008.5.1.4.1.1.4"}


@pytest.mark.parametrize("entropy", [None, ("a secret",)])
def test_a_pseudonym_leaves_nothing_of_the_patient(tmp_path, entropy):
    more = {
        "SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müßig^Jane", "ClinicalTrialSponsorName": "Sponsor",
        "ClinicalTrialSubjectID": "Subject", "DeidentificationMethod": "by hand", "TimezoneOffsetFromUTC": "+0545",
    }  # fmt: skip
    origin = source_of(tmp_path / "mr", **more)
    hidden = origin.deidentified("Case 007", entropy)
    files = written_files(tmp_path / "out", hidden)
    told = secrets(tmp_path / "mr")
    assert {"SECRET-42", "19510731", "Elsewhere Hospital", "Müßig", origin.study_uid, origin.frame_uid} <= told
    assert len(told) >= 30
    for path in files:
        content = path.read_bytes()
        for secret in told:
            for charset in ("utf-8", "latin-1"):
                assert secret.encode(charset) not in content, secret
        data = pydicom.dcmread(path)
        assert not [e for e in data.iterall() if e.VR in ("DA", "TM", "DT") and not e.is_empty]
        assert (data.PatientID, str(data.PatientName)) == ("Case 007", "Case 007^")
        assert data.PatientIdentityRemoved == "YES"
        assert data.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
        assert data.LongitudinalTemporalInformationModified == "REMOVED"
        assert data["PatientSex"].is_empty
        purposes = [e.PurposeOfReferenceCodeSequence[0].CodeValue for e in data.ContributingEquipmentSequence]
        assert purposes == ["109102", "109104"]
    image, structures = pydicom.dcmread(files[0]), pydicom.dcmread(files[-1])
    assert image.PatientPosition == "HFS"
    assert image.FrameOfReferenceUID == structures.FrameOfReferenceUID
    assert len(image.SourceImageSequence) == 3
    assert complaints(*files, allowed=[NO_DICOMDIR.pattern]) == []
    assert not re.search("SECRET|Jane|2.25|1.2", repr([origin, hidden]))


def test_a_pseudonym_in_another_script(tmp_path):
    hidden = source_of(tmp_path / "mr").deidentified("Fall_Ä1")
    files = written_files(tmp_path / "out", hidden)
    data = pydicom.dcmread(files[0])
    assert (data.SpecificCharacterSet, data.PatientID) == ("ISO_IR 192", "Fall_Ä1")
    assert complaints(*files, allowed=[NO_DICOMDIR.pattern]) == []


def test_replaced_uids_are_random_or_the_same_again(tmp_path):
    origin = source_of(tmp_path / "mr")

    def uids(hidden):
        return [hidden.study_uid, hidden.frame_uid, hidden.series_uid, *(uid for _, uid in hidden.instances)]

    first, second = uids(origin.deidentified("p1")), uids(origin.deidentified("p1"))
    assert len({*uids(origin), *first, *second}) == 18
    assert uids(origin.deidentified("p1", ["s"])) == uids(origin.deidentified("p2", ["s"]))
    assert not set(uids(origin.deidentified("p1", ["s"]))) & set(uids(origin.deidentified("p1", ["t"])))


@pytest.mark.parametrize("name", ["", " ", "x" * 64, "a\\b", "a=b", "a\nb"])
def test_a_pseudonym_that_cannot_be_written(tmp_path, name):
    with pytest.raises(InputError, match="pseudonym cannot be written"):
        source_of(tmp_path / "mr").deidentified(name)


@pytest.mark.parametrize("name", ["SECRET-42", "the secret", "jane1", "Case DOE", "dr"])
def test_a_pseudonym_that_gives_the_patient_away(tmp_path, name):
    with pytest.raises(InputError, match="contains the patient's ID, birth date, accession number or part of the name"):
        source_of(tmp_path / "mr").deidentified(name)


def test_uids_are_valid():
    assert pydicom.uid.UID(IMPLEMENTATION_CLASS_UID).is_valid
    for uid in (new_uid(None), new_uid(["a"], "b")):
        assert pydicom.uid.UID(uid).is_valid
        assert len(uid) <= 44
    assert new_uid(["a", "b"], "c") != new_uid(["a"], "b", "c")
    assert new_uid(None, "a") != new_uid(None, "a")


def test_uids_with_leading_zeros_stay_as_they_are(tmp_path):
    def old_style(data, i):
        for name in ("StudyInstanceUID", "FrameOfReferenceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            element = pydicom.DataElement(name, "UI", f"1.02.{len(name)}.{i * (name[:3] == 'SOP'):03d}")
            data[name] = element
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID

    origin = source_of(tmp_path / "mr", change=old_style)
    files = written_files(tmp_path / "out", origin)
    assert (origin.study_uid, origin.frame_uid) == ("1.02.16.000", "1.02.19.000")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in files:
            assert pydicom.dcmread(path).FrameOfReferenceUID == "1.02.19.000"
        assert pydicom.dcmread(files[0]).SourceImageSequence[2].ReferencedSOPInstanceUID == "1.02.14.002"


def test_an_unreadable_header(tmp_path):
    series = one_series(write_mr(tmp_path / "mr"), "mr").without_headers()
    series.files[1].unlink()
    with pytest.raises(InputError, match="cannot be read as DICOM"):
        SourceSeries.of(series)


def test_nothing_warns(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        origin = source_of(tmp_path / "mr", PatientName="x" * 80)
        write_ct(tmp_path / "ct", ct_volume(), origin, DERIVATION)
