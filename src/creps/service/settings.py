"""What a service does: the rules, the destinations, the limits; read from one YAML file and checked at start."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from creps.errors import SettingsError

__all__ = [
    "Destination",
    "Keep",
    "Limits",
    "Listening",
    "Peer",
    "Rule",
    "ServiceSettings",
    "Tls",
    "When",
    "read_service_settings",
]

Region = Literal["head", "neck", "chest", "abdomen", "pelvis", "leg", "arm"]
Sequence = Literal["T1", "T2", "PD", "FLAIR"]
Part = Literal["ct", "structures", "report", "uncertainty", "bulk"]

AeTitle = Annotated[str, Field(pattern=r"^[ -\[\]-~]{1,16}$")]
"""PS3.5: up to 16 printable characters, no backslash."""

Port = Annotated[int, Field(ge=1, le=65535)]
Minutes = Annotated[float, Field(gt=0.0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class When(_Section):
    """Which MRs a rule is for; what it leaves out does not matter."""

    region: tuple[Region, ...] = ()
    """Body part in the header, one of these."""
    sequence: tuple[Sequence, ...] = ()
    """Weighting that the header tells, one of these."""
    description: tuple[str, ...] = ()
    """Patterns (`*mprage*`) of which one fits the SeriesDescription; capitals do not matter."""
    manufacturer: tuple[str, ...] = ()
    """Patterns for the Manufacturer."""
    calling_ae: tuple[AeTitle, ...] = ()
    """AE titles that send it (node)."""
    file: tuple[str, ...] = ()
    """Patterns for the name of a volume file (watch folder). Without them a rule for headers takes no volume file."""

    @property
    def of_header(self) -> bool:
        """Whether it asks for something that only a DICOM header tells."""
        return any((self.region, self.sequence, self.description, self.manufacturer, self.calling_ae))


class Rule(_Section):
    """Which model synthesizes which MRs, and what is written."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    """Names the rule in the log."""
    model: Annotated[str, Field(min_length=1)]
    """A shipped model, or a model folder."""
    when: When = When()
    """Which MRs."""
    uncertainty: bool = False
    """Also write the uncertainty."""
    structures: bool = True
    """Also write body and bone as an RTSTRUCT."""
    bulk_density: bool = False
    """Also write a CT of bulk densities."""
    on_qa_fail: Literal["hold", "send"] = "hold"
    """An sCT that fails a check is held until a person releases it, or sent like the others."""


class Tls(_Section):
    """Certificates for TLS; the other side must show one that `ca` signed."""

    certificate: Path
    """PEM file of the own certificate."""
    key: Path
    """PEM file of its private key, without a passphrase."""
    ca: Path
    """PEM file of the certificate authorities of both sides."""


class Destination(_Section):
    """A DICOM node that gets the results."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    """Names it in the log."""
    host: Annotated[str, Field(min_length=1)]
    """Host name or address."""
    port: Port
    """Its DICOM port."""
    ae_title: AeTitle
    """Its AE title."""
    own_ae_title: AeTitle = "CREPS"
    """AE title that creps calls itself."""
    send: tuple[Part, ...] = ("ct", "structures", "report")
    """What it gets; the report as an encapsulated PDF."""
    tls: Tls | None = None
    """Certificates, if it wants TLS."""


class Peer(_Section):
    """Who may send to a node without TLS. Addresses and AE titles can be forged: they are no authentication."""

    address: str
    """Address, or network such as 10.1.2.0/28."""
    ae_title: AeTitle
    """AE title of the sender."""

    @field_validator("address")
    @classmethod
    def _is_a_network(cls, value: str) -> str:
        ipaddress.ip_network(value, strict=False)
        return value

    def includes(self, address: str) -> bool:
        """Whether an address belongs to it."""
        try:
            one = ipaddress.ip_address(address)
        except ValueError:
            return False
        mapped = getattr(one, "ipv4_mapped", None)
        return (mapped or one) in ipaddress.ip_network(self.address, strict=False)


class Listening(_Section):
    """Where a node listens, and to whom."""

    address: str = "127.0.0.1"
    """Address to listen on; another than the loopback needs `tls` or `peers`."""
    port: Port = 11112
    """Port to listen on."""
    ae_title: AeTitle = "CREPS"
    """Own AE title; others are turned away."""
    tls: Tls | None = None
    """Accept TLS with client certificates alone."""
    peers: tuple[Peer, ...] = ()
    """Senders; empty: whoever reaches the port (and has a certificate)."""

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        ipaddress.ip_address(value)
        return value

    @model_validator(mode="after")
    def _is_closed(self) -> Self:
        if not ipaddress.ip_address(self.address).is_loopback and self.tls is None and not self.peers:
            raise ValueError(
                f"{self.address} is reached from outside: give tls (with client certificates), or at least peers, a"
                " list of addresses and AE titles, which is no authentication"
            )
        return self


class Limits(_Section):
    """What a sender may use up."""

    associations: Annotated[int, Field(ge=1, le=100)] = 4
    """Associations at a time."""
    association_gb: Annotated[float, Field(gt=0.0)] = 4.0
    """Bytes of one association."""
    image_mb: Annotated[float, Field(gt=0.0)] = 512.0
    """Bytes of one image as it is sent."""
    decompressed_mb: Annotated[float, Field(gt=0.0)] = 2048.0
    """Bytes of the pixels of one image as its header claims them."""
    association_minutes: Minutes = 60.0
    """Time of one association."""
    idle_seconds: Annotated[float, Field(gt=0.0)] = 30.0
    """Silence after which an association is ended."""
    free_gb: Annotated[float, Field(ge=0.0)] = 2.0
    """Nothing is accepted or synthesized while the disk has less free."""
    synthesis_minutes: Minutes = 60.0
    """Time of one synthesis."""
    attempts: Annotated[int, Field(ge=1, le=20)] = 3
    """Syntheses that may end without an answer (killed, out of time) before the series is parked."""


class Keep(_Section):
    """How long data stay."""

    received_days: Annotated[float, Field(ge=0.0)] = 7.0
    """Received images, after their results are sent or parked."""
    results_days: Annotated[float, Field(ge=0.0)] | None = None
    """Results, after they are sent; null: for ever."""
    send_days: Annotated[float, Field(gt=0.0)] = 14.0
    """A destination that cannot be reached for as long is given up; its results are parked."""


class ServiceSettings(_Section):
    """All of a service. Attributes are the keys of its YAML file; unknown keys are refused.

    Examples:
        >>> ServiceSettings(rules=[{"name": "all", "model": "head"}]).node.address
        '127.0.0.1'
    """

    rules: Annotated[tuple[Rule, ...], Field(min_length=1)]
    """The first that fits decides; an MR that none fits is not wanted."""
    destinations: tuple[Destination, ...] = ()
    """Who gets the results; none: they stay in the folder."""
    node: Listening = Listening()
    """Where a node listens."""
    limits: Limits = Limits()
    """What a sender may use up."""
    keep: Keep = Keep()
    """How long data stay."""
    settle_seconds: Annotated[float, Field(ge=0.0)] = 30.0
    """A series is complete when nothing of it has arrived for as long."""
    report: bool = True
    """Write a report of each sCT."""
    private: bool = True
    """Nobody else on this machine may read the results: files 0600, folders 0700, where the disk can."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        for what, names in (
            ("rules", [rule.name for rule in self.rules]),
            ("destinations", [one.name for one in self.destinations]),
        ):
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"two {what} are named '{twice}'")
        return self


def read_service_settings(path: Path | str) -> ServiceSettings:
    r"""Read the settings of a service; paths in it are relative to the file.

    Args:
        path: YAML file with the keys of `ServiceSettings`.

    Raises:
        SettingsError: it cannot be read, a key is unknown, a value is wrong, or it would listen to everybody.

    Examples:
        >>> from pathlib import Path
        >>> _ = Path("service.yaml").write_text("rules:\n  - {name: heads, model: head, when: {region: [head]}}\n")
        >>> read_service_settings("service.yaml").rules[0].when.region
        ('head',)
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SettingsError(f"{path} cannot be read: {reason}.", "Name a YAML file.") from error
    if _holds_more(content, MOST_VALUES):
        raise SettingsError(f"{path} holds more than {MOST_VALUES} values.", "Name a file of settings.")
    if not isinstance(content, dict):
        raise SettingsError(f"{path} holds no settings.", "Begin with 'rules:'; see the how-to on the service.")
    try:
        return ServiceSettings.model_validate(_anchored(content, path.parent))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "settings"
        reason = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{path}, {where}: {reason}.", "Correct the file.") from error


MOST_VALUES = 10_000
"""A few lines of YAML with aliases can stand for any number."""


def _holds_more(content: Any, most: int) -> bool:
    waiting, count = [content], 0
    while waiting and count <= most:
        one = waiting.pop()
        count += 1
        waiting += list(one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
    return count > most


def _anchored(content: Any, folder: Path) -> Any:
    """The same with certificates and model folders below the folder of the file, unless they are absolute."""
    if isinstance(content, list):
        return [_anchored(one, folder) for one in content]
    if not isinstance(content, dict):
        return content
    found = {key: _anchored(value, folder) for key, value in content.items()}
    for key in ("certificate", "key", "ca", "model"):
        value = found.get(key)
        if isinstance(value, str) and value and (key != "model" or (folder / value).exists()):
            found[key] = str(folder / value)
    return found
