"""Write the page of the docs about GPUs from the kept results; nothing on it is typed by hand but the words.

python -m benchmarks.gpu.page                   # docs/gpu.md from benchmarks/gpu/results/*.json
python -m benchmarks.gpu.page OUT/results.json  # keep these results first, under the name of their GPU
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from benchmarks.gpu.parts import PARTS

from creps.io.atomic import atomic_file, write_json

HERE = Path(__file__).parent
KEPT = HERE / "results"
PAGE = HERE.parents[1] / "docs" / "gpu.md"

HEAD = """<!-- Written by benchmarks/gpu/page.py from the results beside it: change those, or that. -->
# On a GPU

What creps takes on one GPU: the paper's presets at full size, a synthesis, what limits a step, and a training of some
minutes scored against known truth. Taken by one command of at most nine minutes, see
[benchmarks/gpu](../benchmarks/gpu/README.md). **Not for diagnosis. Not a medical device.**
"""
NOTHING = "Not yet measured: no results of a GPU are kept."

Table = list[str]


def main() -> None:
    for name in sys.argv[1:]:
        keep(Path(name))
    write_page(KEPT, PAGE)
    print(PAGE)


def keep(file: Path) -> None:
    """Copy results into the repository, under the name of their GPU; a later run on the same kind replaces them."""
    results = json.loads(file.read_text(encoding="utf-8"))
    if results.get("rehearsal") or not results.get("device"):
        sys.exit(f"{file} holds no results of a GPU. Run the job on one, without --rehearse.")
    slug = re.sub(r"[^a-z0-9]+", "-", results["device"]["name"].lower()).strip("-")
    write_json(KEPT / f"{slug}.json", results)


def write_page(kept: Path, page: Path) -> None:
    """Write the page from a folder of results."""
    results = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(kept.glob("*.json"))]
    lines = [HEAD, *(line for one in results for line in section(one))] if results else [HEAD, NOTHING]
    with atomic_file(page) as temporary:
        temporary.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def section(results: dict[str, Any]) -> list[str]:
    """The results of one GPU."""
    device, versions = results["device"], results["versions"]
    found = {name: part.get("result", {}) for name, part in results["parts"].items()}
    lines = [f"## {device['name']}", ""]
    lines += [
        f"{device.get('gpu_memory_gb', '?')} GB, {device['cores']} cores; torch {device['torch']}, CUDA "
        f"{device.get('cuda')}, cuDNN {device.get('cudnn')}, creps {versions['creps']}; {results['created'][:10]}, "
        f"{results['seconds']:.0f} s in all.",
        "",
    ]
    lines += unfinished(results["parts"])
    for title, make in TABLES.items():
        table = make(found)
        lines += [f"### {title}", "", *(table or ["Not yet measured."]), ""]
    return lines


def unfinished(parts: dict[str, Any]) -> list[str]:
    """The parts that did not come to their end, and why."""
    rows = [
        f"- `{part.name}`: {parts[part.name]['status']}, {parts[part.name].get('reason')}"
        for part in PARTS
        if part.name in parts and parts[part.name]["status"] != "done"
    ]
    return ["Not every part came to its end; what it had measured is below:", "", *rows, ""] if rows else []


def paper_table(found: dict[str, Any]) -> Table:
    """The paper's presets, from their training."""
    rows = []
    for preset in ("brain", "pelvis"):
        one = found.get(f"paper-{preset}", {})
        if one.get("seconds_per_step") is None:
            continue
        memory, watched, moved = one.get("memory", {}), one.get("second_session", {}), one.get("weights_moved", {})
        rows.append(
            [
                preset,
                f"{one['batch']} × {'×'.join(map(str, one['patch']))}",
                one["steps"],
                number(one["seconds_per_step"], 3),
                number(one["images_per_second"], 1),
                f"{number(one.get('peak_memory_gb'), 1)} ({number(memory.get('estimate_gb'), 1)})",
                percent(watched.get("wait_share")),
                f"{percent(moved.get('generator'))} / {percent(moved.get('discriminator'))}",
                resumed(one),
            ]
        )
    names = ["preset", "batch × patch", "steps", "s a step", "patches/s", "peak GB (estimate)", "waits for patches"]
    names += ["weights moved: generator / discriminator", "killed and resumed"]
    words = [
        "Recipe `paper`, perceptual features random and seeded: the loss is not the paper's, its cost is. The first "
        "session is killed, the second one resumes at the checkpoint.",
        "",
    ]
    return [*words, *table(names, rows)] if rows else []


def resumed(one: dict[str, Any]) -> str:
    """Where a run was killed and went on."""
    if not one.get("resumed_at_the_checkpoint"):
        return "not resumed"
    return f"after step {one['killed_after_checkpoint_of_step']}, went on at {one['first_step_after_resuming']}"


def synthesis_table(found: dict[str, Any]) -> Table:
    """A whole synthesis."""
    one = found.get("sct", {})
    rows = [
        [
            way,
            row["patches"],
            number(row["seconds"], 2),
            number(row["first_seconds"], 2),
            number(row["peak_memory_gb"], 2),
        ]
        for way, row in one.get("rows", {}).items()
    ]
    if not rows:
        return []
    shape, spacing = ("×".join(map(str, one["shape"])), one["spacing_mm"][0])
    words = [f"A head of {shape} voxels at {spacing:g} mm, full width, from the MR in memory to the sCT in HU.", ""]
    return [*words, *table(["way", "forward pieces", "seconds", "first one", "peak GB"], rows)]


def limits_table(found: dict[str, Any]) -> Table:
    """What limits a step."""
    one, peak, compiled = found.get("limits", {}), found.get("peak", {}), found.get("compile", {})
    if "seconds_per_step" not in one:
        return []
    convolutions, profile = one.get("convolutions", {}), one.get("profile", {})
    whole = convolutions.get("kinds") == convolutions.get("kinds_timed")
    rows = [
        ["a step, patches already on the GPU", f"{number(one['seconds_per_step'], 3)} s"],
        [
            "the same, cuDNN searching for its algorithms",
            f"{number(one.get('seconds_per_step_with_cudnn_search'), 3)} s",
        ],
        [
            "its convolutions alone, with the best algorithms",
            number(convolutions.get("seconds_with_best_algorithms"), 3),
        ],
        [
            "their share of the step" + ("" if whole else " (not all were timed)"),
            percent(convolutions.get("share_of_the_step")),
        ],
        ["floating-point work of a step", f"{number(one.get('tflop_per_step'), 1)} TFLOP"],
        ["measured bf16 matrix peak", f"{number(peak.get('bf16_matrix_tflops'), 0)} TFLOP/s"],
        ["share of that peak", percent(one.get("share_of_bf16_matrix_peak"))],
        ["GPU busy while profiled", percent(profile.get("busy_share"))],
        *([f"time in: {kind}", percent(share)] for kind, share in profile.get("by_kind", {}).items()),
        ["`torch.compile`: a step", f"{number(compiled.get('seconds_per_step_compiled'), 3)} s"],
        ["`torch.compile`: times as fast", number(compiled.get("times_as_fast"), 2)],
        ["`torch.compile`: seconds to compile", number(compiled.get("compile_seconds"), 0)],
    ]
    return ["Preset `brain`, recipe `paper`.", "", *table(["", ""], rows)]


def training_table(found: dict[str, Any]) -> Table:
    """The training side by side."""
    trained, scored = found.get("train", {}), found.get("score", {})
    rows = []
    for arm, means in scored.get("means", {}).items():
        for when, mean in means.items():
            figures = [number(mean["mae_hu"], 1), number(mean["bias_hu"], 1), number(mean["bone_dice"], 3)]
            rows.append([arm, when, mean["steps"], mean["patients"], *figures])
    if not rows:
        return []
    water = sum(scored["water"]) / len(scored["water"])
    waits = [f"{arm} {percent(one.get('wait_share'))}" for arm, one in trained.get("arms", {}).items()]
    words = [
        "The default recipe and the supervised bound on the same GPU at the same time: "
        f"{number(trained.get('seconds'), 0)} s, {trained.get('region')} phantoms at {trained.get('spacing_mm'):g} mm. "
        "Scored on held-out phantoms, in the body, against the CT without noise; constant water has an MAE of "
        f"{water:.1f} HU. Share of the time in which a training waited for patches: {', '.join(waits)}. "
        "Steps are those of the weights that were scored.",
        "",
    ]
    return [*words, *table(["recipe", "when", "steps", "patients", "MAE (HU)", "bias (HU)", "bone Dice"], rows)]


def monai_table(found: dict[str, Any]) -> Table:
    """The loop beside MONAI's."""
    one = found.get("monai", {})
    rows = [[name, number(seconds, 3)] for name, seconds in one.get("seconds", {}).items()]
    if not rows:
        return []
    shape = "×".join(map(str, one["shape"]))
    words = [
        f"From the prepared MR ({shape}) to the fused volume; MONAI {one['monai']}, overlap of half a patch. Rows of"
    ]
    words += ["the body predict less than MONAI does.", ""]
    return [*words, *table(["loop", "seconds"], rows)]


TABLES = {
    "The paper's presets at full size": paper_table,
    "A synthetic CT": synthesis_table,
    "What limits a step": limits_table,
    "A training of some minutes": training_table,
    "The same network in MONAI's loop": monai_table,
}


def table(names: list[str], rows: list[list[Any]]) -> Table:
    """A table in Markdown."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in [names, ["---"] * len(names), *rows]]
    return [line.replace("|  |", "| |") for line in lines]


def number(value: float | None, digits: int) -> str:
    """With so many digits after the point, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def percent(value: float | None) -> str:
    """A share."""
    return "–" if value is None else f"{100 * value:.3g} %"


if __name__ == "__main__":
    main()
