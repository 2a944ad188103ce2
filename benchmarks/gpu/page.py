"""Write the page of the docs about GPUs from the kept results; nothing on it is typed by hand but the words.

python -m benchmarks.gpu.page                   # docs/gpu.md from benchmarks/gpu/results/*.json
python -m benchmarks.gpu.page OUT/results.json  # keep these results first, under the name of their GPU and the job
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from creps.io.atomic import atomic_file, write_json

HERE = Path(__file__).parent
KEPT = HERE / "results"
PAGE = HERE.parents[1] / "docs" / "gpu.md"

HEAD = """<!-- Written by benchmarks/gpu/page.py from the results beside it: change those, or that. -->
# On a GPU

What some minutes of one GPU bring: models taught by phantoms alone, every recipe on
[the unseen family](../benchmarks/unseen/README.md), and what the paper's presets, a synthesis and a step take.
Two commands of at most nine minutes each, see [benchmarks/gpu](../benchmarks/gpu/README.md). **Not for diagnosis.
Not a medical device.**
"""
NOTHING = "Not yet measured: no results of a GPU are kept."

Table = list[str]


def main() -> None:
    for name in sys.argv[1:]:
        keep(Path(name))
    write_page(KEPT, PAGE)
    print(PAGE)


def keep(file: Path) -> None:
    """Copy results into the repository, under the name of their GPU and job.

    A later run of the job on the same kind of GPU replaces them. Parts that it lacks, or did not finish, stay.
    """
    results = json.loads(file.read_text(encoding="utf-8"))
    if results.get("rehearsal") or not results.get("device"):
        sys.exit(f"{file} holds no results of a GPU. Run the job on one, without --rehearse.")
    slug = re.sub(r"[^a-z0-9]+", "-", results["device"]["name"].lower()).strip("-")
    target = KEPT / f"{slug}-{results['job']}.json"
    if target.is_file():
        results["parts"] = with_earlier(json.loads(target.read_text(encoding="utf-8"))["parts"], results["parts"])
    write_json(target, results)


def with_earlier(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Parts, with those of an earlier run where this one measured nothing."""
    return now | {name: part for name, part in before.items() if measured(part) and not measured(now.get(name, {}))}


def measured(part: dict[str, Any]) -> bool:
    """Whether a part came to its end, or to scores."""
    return part.get("status") == "done" or "means" in (part.get("result") or {})


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
    of_creps = "" if versions["creps"] == "not installed" else f", creps {versions['creps']}"
    lines = [f"## {device['name']}, job `{results['job']}`", ""]
    lines += [
        f"{device.get('gpu_memory_gb', '?')} GB, {device['cores']} cores; torch {device['torch']}, CUDA "
        f"{device.get('cuda')}, cuDNN {device.get('cudnn')}{of_creps}; last run on {results['created'][:10]}.",
        "",
    ]
    lines += unfinished(results["parts"])
    for title, make in TABLES[results["job"]].items():
        table = make(found)
        lines += [f"### {title}", "", *(table or ["Not yet measured."]), ""]
    return lines


def unfinished(parts: dict[str, Any]) -> list[str]:
    """The parts that did not come to their end, and why."""
    rows = [
        f"- `{name}`: {part['status']}, {part.get('reason')}"
        for name, part in parts.items()
        if part["status"] != "done"
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
            f"{number(convolutions.get('seconds_with_best_algorithms'), 3)} s",
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
    ]
    if compiled:
        rows += [
            ["`torch.compile`: a step", f"{number(compiled.get('seconds_per_step_compiled'), 3)} s"],
            ["`torch.compile`: times as fast", number(compiled.get("times_as_fast"), 2)],
            ["`torch.compile`: seconds to compile", number(compiled.get("compile_seconds"), 0)],
        ]
    return ["Preset `brain`, recipe `paper`.", "", *table(["", ""], rows)]


def models_table(found: dict[str, Any]) -> Table:
    """The models that were trained to be shipped, scored where they have not learned."""
    trained, scored = found.get("models", {}), found.get("score", {})
    if not trained.get("arms"):
        return []
    pace = [
        f"{region} at {'×'.join(f'{step:g}' for step in one['spacing_mm'])} mm: {one['steps']} steps of "
        f"{one['batch']} pairs, {number(one.get('seconds_per_step'), 3)} s each, "
        f"{one.get('new_batches', one['steps'])} of them of new pairs, {percent(one.get('wait_share'))} waiting"
        for region, one in trained["arms"].items()
    ]
    words = [
        f"Recipe `anatomy`, phantoms alone, no CT of a patient; all regions at the same time on one GPU, "
        f"{number(trained.get('seconds'), 0)} s. {'; '.join(pace)}.",
    ]
    rows = []
    for region, means in scored.get("means", {}).items():
        for who, mean in means.items():
            water = scored["water"][f"{region}, {who}"]
            rows.append([region, who, mean["patients"], mean["steps"], *scores(mean), number(average(water), 1)])
    if not rows:
        return [*words, "", LATER]
    words += ["In the body, against the CT without noise.", ""]
    return [*words, *table(["region", "people", "n", "steps", *SCORES, "water's MAE"], rows)]


def unseen_table(found: dict[str, Any]) -> Table:
    """Every recipe on the unseen family."""
    rows = []
    for name, one in found.items():
        if not name.startswith("table-") or "means" not in one:
            continue
        rows.append([one["region"], one["seed"], "water", "–", "–", number(average(one["water"]), 1), *["–"] * 5])
        for arm, means in one["means"].items():
            if "end" in means:
                mean, trained = means["end"], one["arms"].get(arm, {})
                pace = number(trained.get("seconds_per_step"), 3)
                rows.append([one["region"], one["seed"], f"`{arm}`", mean["steps"], pace, *scores(mean)])
    words = [
        "All arms of a region and a seed learn from the same site at the same time on one GPU. `supervised` is the "
        "bound: it sees registered pairs. `phantoms` is `anatomy` without any CT of the site.",
        "",
    ]
    return [*words, *table(["region", "seed", "arm", "steps", "s a step", *SCORES], rows)] if rows else []


def curves_table(found: dict[str, Any]) -> Table:
    """How far the supervised bound still moved."""
    rows = []
    for name, one in found.items():
        means = one.get("means", {}).get("supervised", {}) if name.startswith("table-") else {}
        for mean in sorted(means.values(), key=lambda mean: mean["steps"]):
            figures = [number(mean["mae_hu"], 1), number(mean["bone_dice"], 3)]
            rows.append([one["region"], one["seed"], mean["steps"], mean["patients"], *figures])
    return table(["region", "seed", "steps", "n", "MAE (HU)", "bone Dice"], rows) if rows else []


LATER = (
    "Scored afterwards, on a CPU: [the rows of the GPU](ablation.md#phantoms-as-teachers). The shipped models go on "
    "from these."
)

SCORES = ("MAE (HU)", "median", "worst", "bias (HU)", "bone Dice", "worst Dice")


def scores(mean: dict[str, float]) -> list[str]:
    """The figures of `SCORES`."""
    errors = [number(mean[name], 1) for name in ("mae_hu", "mae_hu_median", "mae_hu_worst", "bias_hu")]
    return [*errors, *(number(mean[name], 3) for name in ("bone_dice", "bone_dice_worst"))]


def average(values: list[float]) -> float | None:
    """Of some figures."""
    return sum(values) / len(values) if values else None


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
    "models": {
        "Models taught by phantoms alone": models_table,
        "The paper's presets at full size": paper_table,
        "A synthetic CT": synthesis_table,
        "What limits a step": limits_table,
        "The same network in MONAI's loop": monai_table,
    },
    "tables": {
        "Every recipe on the unseen family": unseen_table,
        "The supervised bound on the way": curves_table,
    },
}
"""Job → title → what makes the table."""


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
