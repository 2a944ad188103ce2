"""A case with every part, made by hand: files as creps writes them."""

import hashlib
import json
from pathlib import Path

import numpy as np
from PIL import Image

from creps.io.itk import write_volume
from creps.provenance import provenance
from creps.qa.document import QaCheck, QaReport
from creps.qa.limits import Range
from creps.volume import Volume
from tests.conftest import ball_head

HOSTILE = "<script>alert(1)</script></script><img src=x onerror=alert(2)>\"'‮evil‬" + "long " * 500


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def qa_report(**changes) -> QaReport:
    failed = QaCheck(
        name="one_sided_void",
        result="fail",
        value=12.5,
        unit="ml",
        limits=Range(median=2.0, warn_below=None, fail_below=None, warn_above=5.0, fail_above=6.0),
        message="12.5 ml without signal have no counterpart.",
        do="Inspect the MR for an implant.",
        slice=12,
        position_mm=(48.0, 60.0, 48.0),
    )
    passed = QaCheck(name="soft_tissue", result="pass", value=31.0, unit="HU", message="Deep soft tissue has 31 HU.")
    about = {"result": "fail", "region": "head", "known_good": 46, "checks": (failed, passed), "seconds": 0.1}
    return QaReport(**{**about, "provenance": provenance(), **changes})


def dose_document(sct_sha256: str) -> dict:
    dvh = {"d98_gy": 1.94, "d95_gy": 1.97, "mean_gy": 1.99}
    return {
        "schema_version": 1,
        "scope": "A plan of a research engine.",
        "reference": "ct",
        "plan": {"radiation": "photons", "region": "brain"},
        "beams": [],
        "density_table": {},
        "outside": "air",
        "grid": {},
        "target": {
            "name": "PTV <b>",
            "prescription_gy": 2.0,
            "error_percent": 0.65,
            "voxels": 700,
            "mean_difference_percent": -0.6,
            "isocentre_difference_percent": -0.5,
            "conformity_ct": 0.69,
            "conformity_sct": 0.7,
        },
        "structures": {"PTV <b>": {"volume_ml": 11.5, "ct": dvh, "sct": dvh, "difference": dict.fromkeys(dvh, 0.0)}},
        "synthrad_dvh": 0.03,
        "gamma": {"2%/2mm": 0.9876},
        "ranges": [],
        "flags": [],
        "notes": [],
        "published": [],
        "inputs": {"sct": {"file": "sct.nii.gz", "sha256": sct_sha256}},
        "seconds": 1.0,
        "provenance": provenance(),
    }


def write_case_files(folder: Path, name: str = "sct", *, seed: int = 3) -> dict[str, Path]:
    """An sCT with record, QA, uncertainty; its MR, its CT, a dose comparison and an evaluation."""
    mr, ct = ball_head(seed)
    sct = ct.with_array(ct.array + 20.0)
    files = {key: folder / f"{key}.nii.gz" for key in ("mr", "ct")}
    files["sct"] = folder / f"{name}.nii.gz"
    for volume, key in ((mr, "mr"), (ct, "ct"), (sct, "sct")):
        write_volume(volume, files[key], integer=True)
    half = np.where(sct.array > -500, 40.0, 0.0)
    write_volume(sct.with_array(half), folder / f"{name}_uncertainty.nii.gz", integer=True)
    record = {
        **provenance(),
        "model": {"weights_sha256": "a" * 64, "region": "head", "recipe": "anatomy"},
        "input": {"file": "DOE_JANE_mr.nii.gz", "sha256": sha256(files["mr"])},
        "uncertainty": {"confidence": 0.9, "predicted_mae_hu": 61.2},
        "gate": {"verdict": "passed", "findings": [{"level": "warning", "message": HOSTILE, "remedy": "Look."}]},
        "mr": {"shape": [30, 34, 28], "spacing_mm": [4.0, 4.0, 4.0]},
        "grid": {"shape": [30, 34, 28], "spacing_mm": [4.0, 4.0, 4.0]},
        "sct_hu": {name: float(getattr(sct.array, name)()) for name in ("min", "max", "mean")},
        "overrides": [],
        "seconds": 3.2,
    }
    (folder / f"{name}.json").write_text(json.dumps(record))
    qa_report().write(folder / f"{name}_qa.json")
    files["dose"] = folder / f"{name}_dose"
    files["dose"].mkdir()
    (files["dose"] / "dose.json").write_text(json.dumps(dose_document(sha256(files["sct"]))))
    for picture in ("dvh", "gamma"):
        Image.fromarray(np.full((40, 60, 3), 200, np.uint8)).save(files["dose"] / f"{picture}.png")
    files["evaluation"] = folder / f"{name}_scores.json"
    values = {"mae_hu": 20.0, "bias_hu": 20.0, "bone_dice": 0.97, "mae_fat_hu": 18.0, "bias_fat_hu": 3.0}
    inputs = {"sct": {"file": "sct.nii.gz", "sha256": sha256(files["sct"])}}
    case = {"case": "DOE_JANE", "values": values, "missing": {}, "inputs": inputs, "notes": []}
    files["evaluation"].write_text(json.dumps({"schema": 1, "cases": [case]}))
    return files


def shifted(volume: Volume, millimetres: float) -> Volume:
    x, y, z = volume.origin_mm
    return Volume(volume.array, volume.spacing_mm, (x + millimetres, y, z), volume.direction)
