"""Whether two versions of creps give the same results, and whether the newer one is as quick.

    python -m benchmarks.compatibility.equal FORMER CURRENT --work FOLDER

FORMER and CURRENT are checkouts. Both run the same command lines on phantoms, with every setting named, and what they
write is compared: arrays of `phantom` and `prepare`, weights after 20 steps of every recipe, voxels of `synthesize`,
figures of `evaluate`, pixels and attributes of an exported CT and RTSTRUCT. Then `--help`, `import creps` and synthesis
are timed in turn. Exit code 1 if an output differs.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.compatibility.outputs import COMPARISONS
from benchmarks.compatibility.pace import paced
from benchmarks.compatibility.version import Version

ALIKE = {
    "preparation.region": "head", "preparation.spacing_mm": "4,4,4", "preparation.mr_scale": "auto",
    "preparation.remove_outside": "true", "preparation.remove_couch": "true", "preparation.seed": "0",
}  # fmt: skip
SMALL = {
    "generator.width": "4", "generator.residual_blocks": "1", "sampling.patch_size": "24,24,24",
    "training.batch_size": "2", "training.steps": "20", "training.log_every": "10", "training.validate_every": "20",
    "training.precision": "fp32", "training.device": "cpu", "training.seed": "0", "inference.precision": "fp32",
    "inference.device": "cpu",
}  # fmt: skip
ADVERSARIAL = {"discriminator.widths": "4,4,4"}
PERCEPTUAL = {
    "creps.weights": "random", "creps.layers": "features.1.0.block.5", "creps.image_size": "null",
    "creps.slice_step": "8",
}  # fmt: skip
RECIPES = {
    "anatomy": {},
    "paper": ADVERSARIAL | PERCEPTUAL,
    "cyclegan": ADVERSARIAL,
    "cut": ADVERSARIAL | {"nce.features": "input,stem,down,block1", "nce.patches": "32", "nce.width": "8"},
}
"""Recipe → settings beside `SMALL`; all the others stay as the recipe and the preset have them."""


def run_all(version: Version, folder: Path) -> None:
    """Every command, unless an earlier call did; results lie in `folder`."""
    phantom = ["phantom", folder / "phantom", "--mr", 3, "--ct", 3, "--test", 1, "--seed", 0, "--spacing", 4]
    version.run(*phantom, writes=folder / "phantom")
    version.run("prepare", folder / "phantom" / "train.csv", "-o", folder / "cohort", "-p", "demo", "--jobs", 1,
                options=ALIKE, writes=folder / "cohort")  # fmt: skip
    for recipe, own in RECIPES.items():
        run = folder / f"run_{recipe}"
        version.run("train", folder / "cohort", "-o", run, "--recipe", recipe, options=SMALL | own, writes=run)
    (mr,) = (folder / "phantom" / "test").glob("*/mr.nii.gz")
    sct = folder / "sct_shipped.nii.gz"
    on_cpu = {"inference.device": "cpu", "inference.precision": "fp32"}
    version.run("synthesize", version.shipped_model(), mr, "-o", sct, options=on_cpu, writes=sct)
    trained = folder / "sct_trained.nii.gz"
    version.run("synthesize", folder / "run_anatomy", mr, "-o", trained, "--force", options=on_cpu, writes=trained)
    figures = folder / "figures.json"
    version.run("evaluate", sct, mr.with_name("ct.nii.gz"), "--mask", mr.with_name("mask.nii.gz"), "--json", figures,
                writes=figures)  # fmt: skip
    labelled = folder / "figures_labels.json"
    version.run("evaluate", sct, mr.with_name("ct.nii.gz"), "--labels", mr.with_name("labels.nii.gz"), "--label-names",
                folder / "phantom" / "phantom.json", "--json", labelled, writes=labelled)  # fmt: skip
    dicom = folder / "dicom"
    version.write_dicom(mr, folder / "mr_dicom")
    version.run("synthesize", version.shipped_model(), folder / "mr_dicom", "-o", dicom, "--stable-uids",
                options=on_cpu, writes=dicom)  # fmt: skip


def main() -> int:
    """Run both and compare; 1 if something differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("former", type=Path)
    parser.add_argument("current", type=Path)
    parser.add_argument(
        "--work", type=Path, required=True, help="for what both write; kept, and reused by another call"
    )
    parser.add_argument("--pairs", type=int, default=7, help="timings of each; 0 times nothing")
    parser.add_argument("-o", "--output", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    folders = [options.work.resolve() / name for name in ("former", "current")]
    versions = [Version(path) for path in (options.former, options.current)]
    for version, folder in zip(versions, folders, strict=True):
        folder.mkdir(parents=True, exist_ok=True)
        run_all(version, folder)
    rows = [(name, difference(*folders)) for name, difference in COMPARISONS.items()]
    for name, found in rows:
        print(f"{name:<34} {'equal' if not found else 'DIFFERENT: ' + '; '.join(found[:6])}", flush=True)
    times = paced(versions, folders, options.pairs)
    for name, time in times.items():
        print(f"{name:<34} {time['former_s']:.3f} s -> {time['current_s']:.3f} s CPU, ratio {time['ratio']:.3f}")
    if options.output:
        result = {"outputs": {name: found or "equal" for name, found in rows}, "times": times, "pairs": options.pairs}
        options.output.write_text(json.dumps(result, indent=1) + "\n")
    return int(any(found for _, found in rows))


if __name__ == "__main__":
    sys.exit(main())
