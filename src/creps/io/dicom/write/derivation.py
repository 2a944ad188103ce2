"""`Derivation`: how a synthetic CT came about, and how its DICOM files say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from creps.io.dicom.write.values import plain
from creps.provenance import NOTICE

__all__ = ["MANUFACTURER", "MODEL_NAME", "Derivation"]

MANUFACTURER = "The creps developers"
MODEL_NAME = "creps (research software)"

DESCRIPTION_LENGTH, COMMENTS_LENGTH = 1024, 10240
"""Characters of the VRs ST and LT."""


@dataclass(frozen=True)
class Derivation:
    """How a synthetic CT was made. Nothing in here may name the patient: all of it is written.

    Attributes:
        version: Of creps.
        weights_sha256: Of the weights, in hexadecimal digits.
        region: What the model is for.
        recipe: How it was trained.
        grid: "planning", "mr" or "model".
        forced: Checks that refused the MR and were overridden, each with what it found.
        created: When; one without a time zone is taken as local time.
        uid_entropy: None: random UIDs. Strings: UIDs that come out the same when the same synthetic CT is made
            again. Everything that changes its voxels belongs in here and is not added by itself (the MR's hash, the
            settings of inference); the MR's series, the fields above and the grid are added.
        overridden: HU that were set by hand, each with its volume.
        bulk: Class → HU of a CT of bulk densities; None for the sCT itself.
    """

    version: str
    weights_sha256: str
    region: str
    recipe: str
    grid: str
    forced: tuple[str, ...]
    created: datetime
    uid_entropy: tuple[str, ...] | None = None
    overridden: tuple[str, ...] = ()
    bulk: Mapping[str, float] | None = None

    @property
    def software_versions(self) -> list[str]:
        """For SoftwareVersions: the program, and the hash of the weights."""
        return [plain(f"creps {self.version}", 64), plain(self.weights_sha256, 64)]

    @property
    def implementation_version(self) -> str:
        """For ImplementationVersionName."""
        return plain(f"CREPS_{self.version}", 64)[:16].upper()

    @property
    def description(self) -> str:
        """For DerivationDescription."""
        made = (
            f"Synthetic CT: Hounsfield units predicted from MR by a neural network, no X-ray was used. creps"
            f" {self.version}, recipe {self.recipe}, region {self.region}, grid {self.grid}, weights SHA-256"
            f" {self.weights_sha256}."
        )
        return plain(f"{made}{self._changed} {self._warning}", DESCRIPTION_LENGTH, single_value=False)

    @property
    def comments(self) -> str:
        """For ImageComments and descriptions of structure sets."""
        text = f"{NOTICE} Photon planning only unless validated. {self._warning}"
        return plain(text, COMMENTS_LENGTH, single_value=False)

    def created_in(self, offset: str | None) -> datetime:
        """`created` in the time zone of an offset such as ``+0100``; without one, in local time."""
        if offset is None:
            return self.created.astimezone()
        minutes = int(offset[1:3]) * 60 + int(offset[3:5])
        zone = timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes)) if minutes else UTC
        return self.created.astimezone(zone)

    @property
    def _changed(self) -> str:
        """What was not predicted."""
        by_hand = f" Set by hand: {', '.join(self.overridden)}." if self.overridden else ""
        if self.bulk is None:
            return by_hand
        classes = ", ".join(f"{name} {value:g}" for name, value in self.bulk.items())
        return f" Bulk densities in HU in place of the prediction: {classes}.{by_hand}"

    @property
    def _warning(self) -> str:
        if not self.forced:
            return ""
        refused = " ".join(self.forced)
        return f"WARNING: synthesized by force although intake checks, which may be wrong, refused the MR. {refused}"
