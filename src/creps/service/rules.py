"""Rules: which model is for which MR, by its header; contradictions are found before the first patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from creps.errors import SettingsError
from creps.intake.body_parts import regions_of
from creps.io.dicom.read.acquisition import Acquisition
from creps.io.dicom.read.sequence_words import topics_of_series
from creps.io.dicom.read.series import Series
from creps.regions import part_of_body
from creps.service.settings import Rule, When

__all__ = ["Facts", "check_for_node", "check_regions", "check_rules", "facts_of_series", "first_rule"]

WEIGHTINGS = ("T1", "T2", "PD", "FLAIR")


@dataclass(frozen=True)
class Facts:
    """What rules ask of an MR.

    Attributes:
        regions: What its body part may mean.
        sequences: Weightings that its header names.
        description: SeriesDescription, without the words that name the patient.
        manufacturer: Manufacturer.
        calling_ae: Who sent it; empty for a folder.
        file: Name of the volume file; None for DICOM.
    """

    regions: frozenset[str] = frozenset()
    sequences: frozenset[str] = frozenset()
    description: str = ""
    manufacturer: str = ""
    calling_ae: str = ""
    file: str | None = None


def facts_of_series(series: Series, calling_ae: str = "") -> Facts:
    """What the headers of a series tell.

    Raises:
        InputError: a file of it cannot be read.
    """
    acquisition = Acquisition.of(series)
    topics = topics_of_series(acquisition)
    return Facts(
        regions=regions_of(acquisition.body_part or ""),
        sequences=frozenset(one for one in WEIGHTINGS if one in topics),
        description=acquisition.description,
        manufacturer=acquisition.manufacturer,
        calling_ae=calling_ae,
    )


def first_rule(rules: Sequence[Rule], facts: Facts) -> Rule | None:
    """The first rule that matches; None if there is none."""
    return next((rule for rule in rules if _fits(rule.when, facts)), None)


def _fits(when: When, facts: Facts) -> bool:
    if facts.file is not None:
        return _like(when.file, facts.file) if when.file else not when.of_header
    if when.file and not when.of_header:
        return False
    return (
        (not when.region or bool(facts.regions.intersection(when.region)))
        and (not when.sequence or bool(facts.sequences.intersection(when.sequence)))
        and (not when.description or _like(when.description, facts.description))
        and (not when.manufacturer or _like(when.manufacturer, facts.manufacturer))
        and (not when.calling_ae or facts.calling_ae in when.calling_ae)
    )


def _like(patterns: Sequence[str], text: str) -> bool:
    return any(fnmatchcase(text.casefold(), pattern.casefold()) for pattern in patterns)


def check_rules(rules: Sequence[Rule]) -> None:
    """Refuse rules of which one can never decide, since an earlier one takes all that it would.

    Raises:
        SettingsError: names both.
    """
    for place, later in enumerate(rules):
        for earlier in rules[:place]:
            if _covers(earlier.when, later.when):
                same = " and names another model" if earlier.model != later.model else ""
                raise SettingsError(
                    f"Rule '{later.name}' never decides: rule '{earlier.name}' comes first, takes the same MRs{same}.",
                    "Put the narrower rule first, or remove one.",
                )


def _covers(earlier: When, later: When) -> bool:
    """Whether every MR of the later rule fits the earlier one too; patterns are compared as they are written."""
    if earlier == When():
        return True
    if bool(earlier.file) != bool(later.file) or earlier.of_header != later.of_header:
        return False
    pairs = (
        (earlier.region, later.region),
        (earlier.sequence, later.sequence),
        (_folded(earlier.description), _folded(later.description)),
        (_folded(earlier.manufacturer), _folded(later.manufacturer)),
        (earlier.calling_ae, later.calling_ae),
        (_folded(earlier.file), _folded(later.file)),
    )
    return all(not wide or (narrow and set(narrow) <= set(wide)) for wide, narrow in pairs)


def _folded(patterns: Sequence[str]) -> tuple[str, ...]:
    return tuple(pattern.casefold() for pattern in patterns)


def check_for_node(rules: Sequence[Rule], peers: Sequence[str]) -> None:
    """Refuse rules that can never decide in a node.

    Args:
        rules: The rules.
        peers: AE titles that may send; empty: all.

    Raises:
        SettingsError: names the rule, and what it waits for.
    """
    for rule in rules:
        when = rule.when
        if when.file and not when.of_header:
            raise SettingsError(
                f"Rule '{rule.name}' is for volume files, which a node does not receive.", "Ask for the header instead."
            )
        if peers and when.calling_ae and not set(peers) & set(when.calling_ae):
            raise SettingsError(
                f"Rule '{rule.name}' is for {' or '.join(when.calling_ae)}, which may not send: see 'peers'.",
                "Add it to the peers, or remove the rule.",
            )


def check_regions(rules: Sequence[Rule], regions: Mapping[str, str]) -> None:
    """Refuse a rule for another region than its model's.

    Args:
        rules: The rules.
        regions: Model, as the rules name it → region of its plan.

    Raises:
        SettingsError: names the rule, its regions and the model's.
    """
    for rule in rules:
        own = part_of_body(regions[rule.model])
        if rule.when.region and own not in rule.when.region:
            raise SettingsError(
                f"Rule '{rule.name}' is for {' or '.join(rule.when.region)}, but its model {rule.model} is for {own}.",
                "Name a model of that region.",
            )
