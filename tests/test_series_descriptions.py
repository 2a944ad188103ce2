"""Series descriptions as scanners and people write them, and what the gate makes of each: no false alarm, no miss.

Written after the defaults of the makers' protocols and the conversion heuristics of dcm2niix and heudiconv.
"""

import dataclasses

import pytest

from creps.intake.header_checks import check_header
from creps.io.dicom.read.acquisition import Acquisition
from creps.io.dicom.read.sequence_words import lists_several, topics_of
from creps.io.dicom.read.wording import is_negated, split_words

GE, SIEMENS, PHILIPS, CANON = "GE MEDICAL SYSTEMS", "SIEMENS", "PHILIPS", "CANON_MEC"

SPGR = {"scanning_sequence": "GR", "acquisition_type": "3D", "echo_time_ms": 3.1}
MPRAGE = {**SPGR, "scanning_sequence": "GR\\IR", "inversion_time_ms": 900.0}
TSE = {"scanning_sequence": "SE", "acquisition_type": "2D", "echo_time_ms": 96.0}
SE = {**TSE, "echo_time_ms": 11.0}
EPI = {"scanning_sequence": "EP\\SE", "acquisition_type": "2D", "echo_time_ms": 78.0}
FLAIR = {"scanning_sequence": "SE\\IR", "echo_time_ms": 110.0, "inversion_time_ms": 2500.0}
NOTHING: dict[str, object] = {}

# maker, SeriesDescription, ProtocolName, facts → letters: R refused, S sequence warned of, A agent, F fat suppressed, U
# ultra-short echo.
SERIES = [
    # examinations' names in ProtocolName
    (GE, "AX T1 FSPGR 3D", "BRAIN STROKE T1 T2 DWI", SPGR, ""),
    (GE, "AX T1 FSPGR 3D", "BRAIN STROKE T1 T2 DWI", NOTHING, ""),
    (GE, "SAG T1 BRAVO", "BRAIN W WO CONTRAST", MPRAGE, ""),
    (GE, "AX T2 FRFSE", "BRAIN MRA TOF ROUTINE", TSE, ""),
    (GE, "AX T2 FLAIR", "BRAIN TUMOR PERFUSION DWI GD", FLAIR, ""),
    (GE, "AX T1 SE", "ORBITS FS GD", SE, ""),
    (GE, "AX T1", "FMRI MAPPING", SE, ""),
    (GE, "3D AX T1 STEALTH", "BRAINLAB STEREO GADO", SPGR, ""),
    (SIEMENS, "T1_MPRAGE_SAG_P2_ISO", "T1_MPRAGE_SAG_P2_ISO", MPRAGE, ""),
    (SIEMENS, "T1_MPRAGE", "FMRI_T1_MPRAGE", MPRAGE, ""),
    (SIEMENS, "T1 MPRAGE", "HEAD_DWI_TRA", MPRAGE, ""),
    (SIEMENS, "T1 MPRAGE", "AAHEAD_SCOUT", MPRAGE, ""),
    (CANON, "SAG T1 3D", "STROKE DWI FLAIR T2* MRA", SPGR, ""),
    (PHILIPS, "ST1W_3D_TFE", "ST1W_3D_TFE", MPRAGE, ""),
    (PHILIPS, "T2W_TSE AX", "T2W_TSE", TSE, ""),
    ("", "", "BRAIN T1 T2 FLAIR DWI SWI", NOTHING, ""),
    # negated fat suppression
    (GE, "AX T1 NO FS", "PELVIS", SE, ""),
    (GE, "AX T1 NO FAT SAT", "PELVIS", SE, ""),
    (GE, "AX T1 W/O FAT SAT", "PELVIS", SE, ""),
    (GE, "AX T2 NON FS", "PELVIS", TSE, ""),
    (GE, "AX T2 NON-FATSAT", "PELVIS", TSE, ""),
    (SIEMENS, "T2_TSE_TRA_NON_FS", "T2_TSE_TRA", TSE, ""),
    (SIEMENS, "T1_TSE_TRA_OHNE_FS", "T1_TSE_TRA", SE, ""),
    (SIEMENS, "T1 OHNE FETTSÄTTIGUNG", "T1", SE, ""),
    (PHILIPS, "T1 SANS FATSAT", "T1", SE, ""),
    (PHILIPS, "T1 SENZA FS", "T1", SE, ""),
    (PHILIPS, "T1 SIN SUPRESION GRASA", "T1", SE, ""),
    (PHILIPS, "T1 ZONDER VETSUPPRESSIE", "T1", SE, ""),
    (CANON, "T2 AX FS OFF", "T2", TSE, ""),
    (CANON, "T1 SE FATSAT=OFF", "T1", SE, ""),
    (SIEMENS, "T1 WITHOUT FAT SUPPRESSION", "T1", SE, ""),
    # negated and earlier contrast agents
    (GE, "AX T1 PRE GD", "BRAIN", SE, ""),
    (GE, "AX T1 PRE", "BRAIN", SE, ""),
    (GE, "AX T1 PRE-CONTRAST", "BRAIN", SE, ""),
    (GE, "AX T1 C-", "BRAIN", SE, ""),
    (GE, "T1 -C", "BRAIN", SE, ""),
    (GE, "AX T1 WITHOUT CONTRAST", "BRAIN", SE, ""),
    (GE, "AX T1 W/O GAD", "BRAIN", SE, ""),
    (GE, "AX T1 NO IV CONTRAST", "BRAIN", SE, ""),
    (SIEMENS, "T1_TSE_TRA_OHNE_KM", "T1_TSE_TRA", SE, ""),
    (SIEMENS, "T1 SE TRA VOR KM", "T1 SE TRA", SE, ""),
    (SIEMENS, "T1 SE NATIV", "T1", SE, ""),
    (SIEMENS, "T1 TRA KEIN KM", "T1", SE, ""),
    (PHILIPS, "T1 SANS GADO", "T1", SE, ""),
    (PHILIPS, "T1 AVANT GADO", "T1", SE, ""),
    (PHILIPS, "T1 SENZA MDC", "T1", SE, ""),
    (PHILIPS, "T1 SIN CONTRASTE", "T1", SE, ""),
    (PHILIPS, "T1W SEM CONTRASTE", "T1W", SE, ""),
    (PHILIPS, "T1W ZONDER CONTRAST", "T1W", SE, ""),
    (CANON, "T1 BEZ KONTRASTU", "T1", SE, ""),
    (CANON, "T1 PRZED GD", "T1", SE, ""),
    # other words that look like it
    (GE, "AX T1 FSE", "KNEE", SE, ""),
    (GE, "COR T2 FRFSE POST FOSSA", "BRAIN", TSE, ""),
    (GE, "SAG T1 FSPGR POST OP", "BRAIN", SPGR, ""),
    (SIEMENS, "T2 NO MIP", "T2", TSE, ""),
    (SIEMENS, "T1_VIBE_DIXON_TRA_IN", "T1_VIBE_DIXON_TRA", SPGR, ""),
    (PHILIPS, "T1 FFE NO DWI", "T1 FFE", SPGR, ""),
    (SIEMENS, "SUB-01_T1W", "T1W", MPRAGE, ""),
    (SIEMENS, "T2_SPACE_DARK-FLUID_SAG_P2_ISO", "T2_SPACE", FLAIR, ""),
    (SIEMENS, "T1_SPACE_SAG", "T1_SPACE_SAG", SE, ""),
    (GE, "SAG CUBE T2", "BRAIN", TSE, ""),
    (GE, "ACCELERATED SAG IR-FSPGR", "ADNI3", MPRAGE, ""),
    # diffusion and what is made of it
    (SIEMENS, "EP2D_DIFF_3SCAN_TRACE_P2_ADC", "EP2D_DIFF_3SCAN_TRACE_P2", EPI, "R"),
    (SIEMENS, "EP2D_DIFF_TRA_TRACEW", "EP2D_DIFF_TRA", EPI, "R"),
    (SIEMENS, "RESOLVE_4SCAN_TRA_P2", "RESOLVE_4SCAN", {"scanning_sequence": "EP"}, "R"),
    (SIEMENS, "TRA", "EP2D_DIFF_MDDW_20_P2", EPI, "R"),
    (GE, "AX DWI", "BRAIN", EPI, "R"),
    (GE, "AX DWI 1000B", "BRAIN STROKE", NOTHING, "R"),
    (GE, "AX DWI PROPELLER", "BRAIN", TSE, "R"),
    (GE, "DADC MAP", "BRAIN", NOTHING, "R"),
    (GE, "FA MAP", "BRAIN DTI", EPI, "R"),
    (PHILIPS, "DWI_SSH B1000", "DWI_SSH", {**TSE, "echo_time_ms": 72.0}, "R"),
    (PHILIPS, "DTI_HIGH_ISO", "DTI_HIGH_ISO", NOTHING, "R"),
    (CANON, "DIFFUSION TRA", "HEAD", EPI, "R"),
    ("", "DIFUSION AXIAL", "", NOTHING, "R"),
    ("", "", "HEAD_DWI_TRA", NOTHING, "R"),
    # doubtful, and sequences for other ends
    (SIEMENS, "LOCALIZER", "LOCALIZER", {"scanning_sequence": "GR"}, "S"),
    (SIEMENS, "AAHEAD_SCOUT_64CH-HEAD-COIL", "AAHEAD_SCOUT", SPGR, "S"),
    (GE, "3PL LOC SSFSE", "BRAIN", TSE, "S"),
    (PHILIPS, "SURVEY", "SURVEY", {"scanning_sequence": "GR"}, "S"),
    (SIEMENS, "EP2D_BOLD_REST", "EP2D_BOLD_REST", {"scanning_sequence": "EP"}, "S"),
    (SIEMENS, "GRE_FIELD_MAPPING", "GRE_FIELD_MAPPING", {"scanning_sequence": "GR"}, "S"),
    (SIEMENS, "TOF_3D_MULTI-SLAB", "TOF_3D", SPGR, "S"),
    (GE, "3D TOF COW", "BRAIN", SPGR, "S"),
    (SIEMENS, "SWI_IMAGES", "SWI", SPGR, "S"),
    (PHILIPS, "SWIP", "SWIP", SPGR, "S"),
    (SIEMENS, "PCASL_3D_TRA", "PCASL", NOTHING, "S"),
    (SIEMENS, "MIP TRA", "T1_VIBE", SPGR, "S"),
    (SIEMENS, "T2* TRA HEMO", "T2*", {"scanning_sequence": "GR"}, "S"),
    (GE, "AX T1 DWI REFERENCE", "BRAIN", SPGR, "S"),
    # fat suppression
    (GE, "AX T1 FS", "PELVIS", SE, "F"),
    (GE, "AX T2 FAT SAT", "PELVIS", TSE, "F"),
    (GE, "WATER: AX T1 LAVA FLEX", "LIVER", {**SPGR, "image_types": frozenset({"WATER"})}, "F"),
    (SIEMENS, "T2_STIR_COR", "T2_STIR_COR", {**TSE, "inversion_time_ms": 160.0}, "F"),
    (SIEMENS, "T2_TIRM_COR", "T2_TIRM_COR", TSE, "F"),
    (SIEMENS, "T1_TSE_FS_TRA", "T1_TSE_FS_TRA", SE, "F"),
    (SIEMENS, "T1_VIBE_DIXON_TRA_W", "T1_VIBE_DIXON_TRA", NOTHING, "F"),
    (SIEMENS, "T1 FETTGESÄTTIGT", "T1", SE, "F"),
    (PHILIPS, "T2W_SPAIR", "T2W_SPAIR", TSE, "F"),
    (PHILIPS, "T1 FAT-SUPPRESSED", "T1", SE, "F"),
    (CANON, "T2 FATSAT AX", "T2", TSE, "F"),
    ("", "T1 SANS GADO FATSAT", "", SE, "F"),
    (SIEMENS, "T1 TRA", "T1 TRA", {**SE, "scan_options": "PFP\\FS"}, "F"),
    (PHILIPS, "T1 FS", "T1 FS", {**SE, "fat_suppressed": False}, ""),
    # contrast agents
    (GE, "AX T1 POST GD", "BRAIN", SE, "A"),
    (GE, "AX T1 +C", "BRAIN", SE, "A"),
    (GE, "AX T1 C+", "BRAIN", SE, "A"),
    (GE, "AX T1 POST", "BRAIN", SE, "A"),
    (GE, "AX T1 WITH CONTRAST", "BRAIN", SE, "A"),
    (GE, "AX T1 NO FS POST GD", "BRAIN", SE, "A"),
    (GE, "AX T1 FS POST GD", "BRAIN", SE, "AF"),
    (SIEMENS, "T1_TSE_TRA_KM", "T1_TSE_TRA", SE, "A"),
    (SIEMENS, "T1 TRA NACH KM", "T1 TRA", SE, "A"),
    (SIEMENS, "T1 MPRAGE MIT KONTRASTMITTEL", "T1 MPRAGE", MPRAGE, "A"),
    (PHILIPS, "T1 GADO", "T1", SE, "A"),
    (PHILIPS, "T1 AVEC CONTRASTE", "T1", SE, "A"),
    (PHILIPS, "T1 DOPO MDC", "T1", SE, "A"),
    (PHILIPS, "T1 CON CONTRASTE", "T1", SE, "A"),
    (PHILIPS, "T1 PRE", "T1", {**SE, "contrast_agent": True}, "A"),
    # ultra-short echoes: the echo time decides
    (SIEMENS, "PETRA", "PETRA", {"echo_time_ms": 0.07}, "U"),
    (GE, "ZTE BONE", "MSK", NOTHING, "U"),
    (GE, "UTE SECOND ECHO", "MSK", {"echo_time_ms": 2.4}, ""),
]  # fmt: skip

LETTERS = {
    ("sequence", "refusal"): "R", ("sequence", "warning"): "S", ("contrast agent", "warning"): "A",
    ("fat suppression", "warning"): "F", ("ultra-short echo", "warning"): "U",
}  # fmt: skip


def verdict(maker, description, protocol, facts):
    said = Acquisition(
        body_part="HEAD", distortion_correction="3d", manufacturer=maker, description=description, protocol=protocol
    )
    found = check_header(dataclasses.replace(said, **facts), "head", "anatomy")
    return "".join(sorted(LETTERS[(one.check, one.level)] for one in found))


@pytest.mark.parametrize(("maker", "description", "protocol", "facts", "wanted"), SERIES)
def test_verdict(maker, description, protocol, facts, wanted):
    assert verdict(maker, description, protocol, facts) == wanted


def test_the_table_has_enough_of_either_kind():
    innocent = sum(not wanted for *_, wanted in SERIES)
    assert innocent >= 40
    assert len(SERIES) - innocent >= 40


def test_what_was_set_at_the_scanner_outweighs_the_words():
    assert verdict(GE, "AX T1 FSPGR DWI", "", SPGR) == "S"  # a doubt, but no refusal
    assert verdict(GE, "AX DWI", "", SPGR) == "S"
    assert verdict(GE, "AX T1 FSPGR 3D", "", {**SPGR, "diffusion": True}) == "R"
    assert verdict(SIEMENS, "T1 MPRAGE", "", {**MPRAGE, "image_types": frozenset({"ADC"})}) == "R"


def test_negations():
    assert is_negated(split_words("T1 w/o fat sat"), 2, 2)
    assert is_negated(split_words("FS off"), 0)
    assert not is_negated(split_words("no FS T1 post GD"), 4)
    assert not is_negated(split_words("T1 FS"), 1)
    assert split_words("T1_tse_nonFS ohne Fettsättigung") == ["T1", "TSE", "NONFS", "OHNE", "FETTSATTIGUNG"]
    assert topics_of("T1 w/wo contrast") == {"T1"}
    assert lists_several(topics_of("BRAIN T1 T2 DWI"))
    assert not lists_several(topics_of("T2 FLAIR"))
