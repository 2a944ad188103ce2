"""The benchmark's plan: `arms.yaml` and the cohort become settings of creps, prepared cohorts and run folders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from creps.cohort.cohort import Cohort, load_cohort
from creps.cohort.prepare import prepare
from creps.errors import CohortError
from creps.settings import Settings, load_settings
from creps.shipped.names import find_model
from creps.training.run.starting_point import preparation_settings_of

HERE = Path(__file__).parent
ARMS: dict[str, Any] = yaml.safe_load((HERE / "arms.yaml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Plan:
    """One cohort at one size.

    Attributes:
        cohort: Folder with `unpaired`, `paired`, `validation` and `test`, see cohort.py.
        work: Where prepared cohorts, runs and scores go.
        region: head or pelvis.
        size: small or large.
        weights: Folder with files of perceptual weights.
        table: Arms and their settings; default: those of `arms.yaml` here.
    """

    cohort: Path
    work: Path
    region: str
    size: str
    weights: Path | None = None
    table: dict[str, Any] = field(default_factory=lambda: ARMS)

    def arms(self, names: list[str] | None = None) -> list[str]:
        """The arms that can be trained here: those without pairs or without their weights file drop out."""
        wanted = names or list(self.table["arms"])
        return [name for name in wanted if self._file(name) is not False and self._source(name).is_dir()]

    def tree(self, arm: str, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The settings file of an arm, as a tree."""
        size, own = self.table["sizes"][self.size], self.table["arms"][arm]
        layers = [
            self.table["shared"],
            self.table["regions"][self.region],
            size["all"],
            size[self.region],
            own["settings"],
        ]
        if self.starts_from(arm):  # preparation and network come with the model
            layers = [{"training": self.table["shared"]["training"]}, own["settings"]]
        if "weights" in own:
            layers.append({"creps": {"weights": str(self._file(arm))}})
        return merged([*layers, own.get("tuned", {}), changes or {}])

    def settings(self, arm: str, changes: Mapping[str, Any] | None = None) -> Settings:
        """An arm's settings, validated."""
        file = self.work / "settings" / f"{arm}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(self.tree(arm, changes)), encoding="utf-8")
        return load_settings(file=file)

    def starts_from(self, arm: str) -> str | None:
        """The shipped model that an arm starts from, if it does: that of the region."""
        return self.region if self.table["arms"][arm].get("from_shipped") else None

    def prepared(self, arm: str) -> Cohort:
        """The prepared cohort that an arm trains on, prepared now if it is not there yet."""
        source, model = self._source(arm), self.starts_from(arm)
        if model is None:
            target, wanted = self.work / "prepared" / source.name, self.settings(arm)
        else:
            target = self.work / "prepared" / f"{source.name}-like-{model}"
            wanted = preparation_settings_of(find_model(model))
        if not target.is_dir():
            listed = source / "train.csv"
            prepare(listed if listed.is_file() else source, target, settings=wanted)
        cohort = load_cohort(target)
        if cohort.manifest.preparation != wanted.preparation:
            raise CohortError(
                f"{target} was prepared for another region, size or model than {self.region}, {self.size}.",
                "Give each cohort, region and size a work folder of its own.",
            )
        return cohort

    def run(self, arm: str, seed: int, label: str = "") -> Path:
        """The folder of a run."""
        return self.work / "runs" / f"{arm}{label}-seed{seed}"

    def final_runs(self) -> dict[Path, str]:
        """The finished runs that tables are made of, with their arms; those of tuning have a label and are none."""
        pattern = re.compile(r"(.+)-seed\d+")
        found = {path: pattern.fullmatch(path.name) for path in sorted((self.work / "runs").glob("*"))}
        return {
            path: match[1]
            for path, match in found.items()
            if match and match[1] in self.table["arms"] and (path / "model" / "plan.json").is_file()
        }

    def cases(self, split: str) -> list[Path]:
        """The folders of the patients with truth: `validation` or `test`."""
        folder = self.cohort / split
        return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []

    def _source(self, arm: str) -> Path:
        return self.cohort / self.table["arms"][arm].get("data", "unpaired")

    def _file(self, arm: str) -> Path | bool | None:
        """The arm's weights file; None if it needs none, False if it is not there."""
        name = self.table["arms"][arm].get("weights")
        if name is None:
            return None
        path = self.weights / name if self.weights else None
        return path if path is not None and path.is_file() else False


def merged(layers: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Trees laid over each other, the later one on top."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below = result.get(key)
            trees = [below] if isinstance(below, dict) else []
            result[key] = merged([*trees, value]) if isinstance(value, Mapping) else value
    return result
