"""The resampling stage, cubic B-spline, against SimpleITK's of the same order: seconds, and HU between the results.

::

    python -m benchmarks.speed.resampling [--rounds 2]

Volumes of sharp-edged ellipsoids from -1000 to 2000 HU with noise, on grids of brain and pelvis: to the model's grid,
back, and from oblique grids to an axial one (which only an sCT that is wanted on axial slices takes; an oblique MR goes
to the model's grid along its own axes). SimpleITK's ResampleImageFilter with ``sitkBSpline3`` in one thread and in two;
creps works in one, except for grids turned about several axes, where it is measured in one and in two. Its volumes are
in SimpleITK's own memory already, and stay there: that is not timed. ``before`` is how creps sampled turned grids
until this was measured. Differences are those inside the source (the two differ in what lies beyond its edge), after
SimpleITK's overshoots are clipped to the source's range as creps' are; ``deep`` ones are 10 source voxels from the
edge. Writes ``results/resampling.json``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import SimpleITK as sitk

from benchmarks.common.timing import medians
from benchmarks.speed import before
from benchmarks.speed.results import save
from creps.preprocessing.crop import outside_extent
from creps.preprocessing.resample import model_grid, resample_onto, resample_turned
from creps.preprocessing.target_grid import planning_grid
from creps.volume import AXIAL, Volume

BRAIN, PELVIS = ((130, 240, 240), (1.3, 0.94, 0.94)), ((80, 512, 512), (3.0, 0.98, 0.98))
MODEL = {"brain": (1.0, 1.0, 1.0), "pelvis": (2.5, 1.0, 1.0)}
DEEP = 10


def ct_like(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], turn: np.ndarray) -> Volume:
    """Air, tissue, bone with sharp edges, noise of 20 HU, spots of metal-like contrast."""
    rng = np.random.default_rng(0)
    d, h, w = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    radius = np.sqrt(d[:, None, None] ** 2 + h[:, None] ** 2 + w**2)
    array = np.select([radius < 0.6, radius < 0.68, radius < 0.9], [40.0, 1500.0, -90.0], -1000.0).astype(np.float32)
    array += 20 * rng.standard_normal(shape, dtype=np.float32)
    array[rng.random(shape, dtype=np.float32) < 1e-4] = 2000
    return Volume(array.clip(-1000, 2000), spacing_mm, (7.0, -11.0, 5.0), turn @ AXIAL)


def turned(degrees: tuple[float, float, float]) -> np.ndarray:
    """Rotation about x, y and z."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        a, b = (i for i in range(3) if i != axis)
        one = np.eye(3)
        one[[a, b], [a, b]], one[a, b], one[b, a] = np.cos(angle), -np.sin(angle), np.sin(angle)
        matrix = matrix @ one
    return matrix


def simple_itk(volume: Volume, grid: Volume, threads: int) -> Callable[[], sitk.Image]:
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(volume.spacing_mm[::-1])
    image.SetOrigin(volume.origin_mm)
    image.SetDirection(volume.direction[:, ::-1].ravel())
    resampler = sitk.ResampleImageFilter()
    resampler.SetNumberOfThreads(threads)
    resampler.SetInterpolator(sitk.sitkBSpline3)
    resampler.SetSize(grid.shape[::-1])
    resampler.SetOutputSpacing(grid.spacing_mm[::-1])
    resampler.SetOutputOrigin(grid.origin_mm)
    resampler.SetOutputDirection(grid.direction[:, ::-1].ravel())
    return lambda: resampler.Execute(image)


def in_threads(count: int, run: Callable[[], Volume]) -> Volume:
    usual = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(count)
    try:
        return run()
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(usual)


def cases() -> dict[str, tuple[Volume, Volume, bool]]:
    """Name → source, grid, whether turned."""
    straight, found = np.eye(3), {}
    for name, (shape, spacing) in (("brain", BRAIN), ("pelvis", PELVIS)):
        scan = ct_like(shape, spacing, straight)
        model = model_grid(scan, MODEL[name])
        found[f"{name}: to the model's grid"] = (scan, model, False)
        if name == "brain":
            found[f"{name}: back to the scanner's"] = (resample_onto(scan, model), scan, False)
    for name, (shape, spacing), degrees in (
        ("brain: oblique about one axis", BRAIN, (12.0, 0.0, 0.0)),
        ("pelvis: oblique about one axis", ((80, 400, 400), (3.0, 1.0, 1.0)), (8.0, 0.0, 0.0)),
        ("brain: oblique about three axes", BRAIN, (12.0, 5.0, -4.0)),
    ):
        scan = ct_like(shape, spacing, turned(degrees))
        found[name] = (scan, planning_grid(scan, (spacing[0], 1.0, 1.0)).reoriented(scan.direction), True)
    return found


def difference_hu(ours: Volume, theirs: sitk.Image, source: Volume) -> dict[str, dict[str, float]]:
    gap = np.abs(ours.array - sitk.GetArrayFromImage(theirs).clip(source.array.min(), source.array.max()))
    d, h, w = source.to_patient_mm((DEEP, DEEP, DEEP)).tolist()
    inner = Volume(source.array[DEEP:-DEEP, DEEP:-DEEP, DEEP:-DEEP], source.spacing_mm, (d, h, w), source.direction)
    found = {}
    for name, where in (("inside", ~outside_extent(ours, source)), ("deep", ~outside_extent(ours, inner))):
        values = gap[where]
        found[name] = {"most": round(float(values.max()), 4), "p999": round(float(np.percentile(values, 99.9)), 5)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    rounds = parser.parse_args().rounds
    found: dict[str, Any] = {}
    for name, (source, grid, oblique) in cases().items():
        way = resample_turned if oblique else resample_onto
        runs: dict[str, Callable[[], object]] = {
            "creps": partial(in_threads, 1, partial(way, source, grid)),
            "SimpleITK, one thread": simple_itk(source, grid, 1),
            "SimpleITK, two threads": simple_itk(source, grid, 2),
        }
        if oblique:
            runs["creps, two threads"] = partial(in_threads, 2, partial(way, source, grid))
            runs["before"] = partial(before.resample_turned, source, grid)
        gaps = difference_hu(way(source, grid), runs["SimpleITK, one thread"](), source)  # type: ignore[arg-type]
        rows = medians(runs, rounds, reference="creps", warm_up=False)
        found[name] = {"from": source.shape, "to": grid.shape, "difference_hu": gaps, "rows": rows}
        print(f"{name}, {source.shape} to {grid.shape}")
        for row, values in rows.items():
            print(f"  {row:24s} {values['seconds']:7.2f} s  {values['times_reference']:6.2f} x creps")
        print(f"  HU between creps and SimpleITK: {gaps}", flush=True)
    save("resampling", cases=found)


if __name__ == "__main__":
    main()
