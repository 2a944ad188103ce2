"""From the parts of a case to its page: tables, pictures and charts for the template."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from creps.dose.document import PICTURES
from creps.evaluation.definitions import METRICS, metric
from creps.evaluation.results import Evaluation
from creps.qa.document import QaCheck
from creps.qa.limits import Range
from creps.report import charts
from creps.report.case import case_report
from creps.report.document import Report
from creps.report.images import CaseImages, Shown
from creps.report.page import check_page, figure, png_data, render, write_page
from creps.report.parts import CaseParts, OtherFiles, gather_case
from creps.report.viewer import ViewerData, viewer_data
from creps.synthesis.outputs import report_file

__all__ = ["case_page", "write_beside", "write_case"]

OBLIQUE_DEGREES = 1.0
"""From which on the page says that its planes are oblique."""

NAMED = re.compile("|".join(rf"\b{one.name}\b" for one in METRICS))
"""Names of metrics within a definition."""


def write_case(
    parts: CaseParts, page: Path, *, title: str = "", names: bool = False, overwrite: bool = False
) -> Report:
    """Write the report of a case: an HTML page and its JSON.

    Args:
        parts: The parts of the case.
        page: Where, ending with .html.
        title: Its heading.
        names: Show the names of files and of the patient.
        overwrite: Replace an earlier report.

    Returns:
        What the report says.

    Raises:
        OutputExistsError: something is there and may not be replaced.
        InputError: the place cannot be written to.
    """
    check_page(page, overwrite=overwrite)
    report = case_report(parts, title, names=names)
    write_page(page, report, case_page(parts, report))
    return report


def write_beside(sct: Path, mr: Path, series: str | None = None, *, overwrite: bool = False) -> Report:
    """Write the report of an sCT that was just written, without names, where `report_file` says.

    Args:
        sct: A volume file, or the folder of a DICOM series that creps wrote.
        mr: The MR it was made from: a volume file or a DICOM folder.
        series: Which DICOM series of that folder.
        overwrite: Replace an earlier report.

    Raises:
        CrepsError: the sCT or the MR cannot be read, or the page cannot be written.
    """
    parts = gather_case(sct, OtherFiles(mr=mr, series=series))
    return write_case(parts, report_file(sct), overwrite=overwrite)


def case_page(parts: CaseParts, report: Report) -> str:
    """The page of a case.

    Args:
        parts: The parts of the case.
        report: What it says.
    """
    images = CaseImages(parts)
    data = viewer_data(images)
    return render(
        report,
        "case",
        viewer=True,
        planes=images.planes(),
        scales=_scales(images.shown),
        viewer_json=_embedded(data.content),
        voxels=_voxels(data),
        oblique=f"{images.oblique_degrees:.0f}" if images.oblique_degrees >= OBLIQUE_DEGREES else "",
        histogram=_histogram(images),
        tissues=[] if parts.evaluation is None else list(_tissues(parts.evaluation)),
        metrics=[] if parts.evaluation is None else list(_metrics(parts.evaluation)),
        checks=[] if parts.qa is None else [_row(check, data) for check in parts.qa.checks],
        scope="" if parts.qa is None else parts.qa.scope,
        thumbnails=list(_thumbnails(parts, images, data)),
        dose=None if parts.dose is None else _dose(parts),
        made=list(_made(report.content)),
    )


def _embedded(content: object) -> str:
    """JSON that may stand within a script element: nothing in it ends the element or starts a comment."""
    return json.dumps(content).replace("<", "\\u003c")


def _scales(shown: list[Shown]) -> str:
    captions = {
        "difference": "Differences from −300 (purple) over 0 (white) to 300 HU (orange).",
        "uncertainty": "Uncertainty from 0 (blue) to 300 HU (yellow).",
    }
    return " ".join(captions[one.key] for one in shown if one.key in captions)


def _voxels(data: ViewerData) -> str:
    """Size of the viewer's voxels, and what they are the mean of, as a sentence."""
    depth, height, width = (f"{one:.3g}" for one in data.grid.spacing_mm)
    sizes = f"Slices of {depth} mm, in the slice {height} × {width} mm"
    d, h, w = data.factors
    if data.factors == (1, 1, 1):
        return f"{sizes}, as in the sCT."
    means = f"the means of {d} × {h} × {w} voxels of the sCT (slices, rows, columns)"
    return f"{sizes}: {means}, so values are smoother than in the files."


def _histogram(images: CaseImages) -> str:
    inside = images.inside
    if not inside.any():
        return ""
    found = {one.name: one.volume.array[inside] for one in images.shown if one.key in ("sct", "ct")}
    return charts.histogram(found)


def _tissues(evaluation: Evaluation) -> Iterator[tuple[str, float | None, float | None]]:
    for name, mae in evaluation.values.items():
        if name.startswith("mae_") and name != "mae_hu":
            tissue = name.removeprefix("mae_").removesuffix("_hu")
            yield tissue.replace("_", " "), mae, evaluation.values.get(f"bias_{tissue}_hu")


def _metrics(evaluation: Evaluation) -> Iterator[tuple[str, float | str | None, str, str]]:
    for name, value in evaluation.values.items():
        if name.startswith(("mae_", "bias_")) and name not in ("mae_hu", "bias_hu"):
            continue
        about = metric(name)
        yield about.label, value, about.unit, evaluation.missing.get(name) or _defined(about.definition)


def _row(check: QaCheck, data: ViewerData) -> dict[str, Any]:
    return {
        "level": check.result,
        "name": check.name.replace("_", " "),
        "value": check.value,
        "unit": check.unit,
        "limits": "" if check.limits is None else _limits(check.limits),
        "message": check.message,
        "slice": "" if check.slice is None else check.slice,
        "voxel": "" if check.position_mm is None else data.voxel_at(check.position_mm),
    }


def _defined(definition: str) -> str:
    """A definition that names other metrics by their label."""
    return NAMED.sub(lambda found: metric(found.group()).label, definition)


def _limits(limits: Range) -> str:
    warn = [
        f"{sign} {figure(end)}" for sign, end in (("<", limits.warn_below), (">", limits.warn_above)) if end is not None
    ]
    fail = [
        f"{sign} {figure(end)}" for sign, end in (("<", limits.fail_below), (">", limits.fail_above)) if end is not None
    ]
    return f"{' or '.join(warn) or '–'} / {' or '.join(fail) or '–'}"


def _thumbnails(parts: CaseParts, images: CaseImages, data: ViewerData) -> Iterator[dict[str, Any]]:
    for check in () if parts.qa is None else parts.qa.checks:
        if check.result in ("fail", "warn") and check.position_mm is not None:
            uris = [images.thumbnail(check.position_mm, key) for key in ("sct", "mr")]
            yield {
                "name": check.name.replace("_", " "),
                "level": check.result,
                "slice": "–" if check.slice is None else check.slice,
                "voxel": data.voxel_at(check.position_mm),
                "uris": [uri for uri in uris if uri is not None],
            }


def _dose(parts: CaseParts) -> dict[str, Any]:
    dose = parts.dose
    if dose is None:
        return {}
    keys, against = sorted({key for one in dose.structures.values() for key in one.ct}), dose.reference_name
    pairs = [
        ("plan", f"{dose.plan.radiation}, {dose.plan.prescription_gy:g} Gy per fraction to {dose.target.name}"),
        ("target dose error", f"{dose.target.error_percent:.2f} % of the prescription, against the {against}"),
        ("mean dose, sCT − CT", f"{dose.target.mean_difference_percent:+.2f} %"),
        ("isocentre, sCT − CT", f"{dose.target.isocentre_difference_percent:+.2f} %"),
        *((f"gamma {name}", "–" if one is None else f"{100 * one:.1f} %") for name, one in dose.gamma.items()),
        *(
            (
                f"range error, beam at {beam.gantry_degrees:g}°",
                "–" if beam.mean_mm is None else f"{beam.mean_mm:+.2f} mm",
            )
            for beam in dose.ranges
        ),
        *((one["what"], f"{one['value']} ({one['source']})") for one in dose.published),
    ]
    rows = [
        [
            name,
            one.volume_ml,
            *(f"{one.ct[key]:.3f} ({one.difference[key]:+.3f})" if key in one.ct else None for key in keys),
        ]
        for name, one in dose.structures.items()
    ]
    pictures = [{"uri": png_data(data), "alt": PICTURES[name]} for name, data in parts.dose_pictures.items()]
    head = ["structure", "volume, ml", *(f"{key.removesuffix('_gy')}, Gy (sCT − {against})" for key in keys)]
    return {"scope": dose.scope, "pairs": pairs, "head": head, "rows": rows, "pictures": pictures}


def _made(content: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """What the record of the synthesis says, as rows."""
    yield from content.get("names", {}).items()
    record = content.get("record") or {}
    model, mr, grid, patches = (record.get(key) or {} for key in ("model", "mr", "grid", "patches"))
    rows = {
        "model": f"{model.get('region', '?')}, recipe {model.get('recipe', '?')}" if model else None,
        "weights (SHA-256)": model.get("weights_sha256"),
        "MR (SHA-256)": (record.get("input") or {}).get("sha256"),
        "MR grid": _grid(mr),
        "sCT grid": _grid(grid),
        "intake": (record.get("gate") or {}).get("verdict"),
        "intake overridden": "yes" if (record.get("gate") or {}).get("forced") else None,
        "scan": _scanner(record.get("acquisition") or {}),
        "device": f"{patches['device']}, {patches.get('precision', '?')}" if "device" in patches else None,
        "seconds": record.get("seconds"),
        "synthesized": record.get("created"),
        "versions": ", ".join(f"{name} {found}" for name, found in (record.get("versions") or {}).items()),
    }
    yield from ((name, value) for name, value in rows.items() if value not in (None, ""))


def _grid(about: Mapping[str, Any]) -> str | None:
    if not about.get("shape") or not about.get("spacing_mm"):
        return None
    shape = " × ".join(str(one) for one in about["shape"])
    return f"{shape} voxels of {' × '.join(f'{one:.3g}' for one in about['spacing_mm'])} mm (D, H, W)"


def _scanner(acquisition: Mapping[str, Any]) -> str | None:
    """What the DICOM headers say of the scan, in a line."""
    units = {
        "manufacturer": "{}",
        "field_strength_t": "{} T",
        "scanning_sequence": "sequence {}",
        "repetition_time_ms": "TR {} ms",
        "echo_time_ms": "TE {} ms",
        "inversion_time_ms": "TI {} ms",
        "slice_thickness_mm": "slices of {} mm",
    }
    found = [text.format(acquisition[key]) for key, text in units.items() if acquisition.get(key) not in (None, "")]
    return ", ".join(found) or None
