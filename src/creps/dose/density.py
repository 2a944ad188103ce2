"""From HU to the density that a dose engine sees: relative to water, by a table that a site can replace."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from creps.errors import SettingsError
from creps.provenance import sha256_file

__all__ = ["DEFAULT_TABLE", "DensityTable", "read_density_table"]

HIGHEST = 25.0
"""Relative densities above this are those of no material."""

FORMAT = "Write two columns, hu and density (relative to water), in rising order of HU."


@dataclass(frozen=True)
class DensityTable:
    """Piecewise linear table from HU to density relative to water.

    For photons the density is that of electrons; for protons it is the stopping power. Beyond its ends the table
    keeps its outermost values.

    Attributes:
        hu: HU, strictly rising.
        density: Relative to water, never falling.
        name: Where the table comes from.
        sha256: SHA-256 of its file, if it was read from one.

    Raises:
        SettingsError: fewer than two rows, HU that do not rise, a density that falls or is negative, or no row near
            water that has the density of water.

    Examples:
        >>> print(DEFAULT_TABLE.density_of([-72.0, 0.0, 350.0]))
        [0.966 1.    1.199]
    """

    hu: tuple[float, ...]
    density: tuple[float, ...]
    name: str = "given"
    sha256: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        where = f"The density table {self.name}"
        hu, density = np.asarray(self.hu, float), np.asarray(self.density, float)
        if hu.size < 2 or hu.size != density.size or not (np.isfinite(hu).all() and np.isfinite(density).all()):
            raise SettingsError(f"{where} has no two rows of two numbers.", FORMAT)
        if (np.diff(hu) <= 0).any():
            raise SettingsError(f"{where} is not monotonic: its HU do not rise from row to row.", FORMAT)
        falls = np.flatnonzero(np.diff(density) < 0)
        if falls.size:
            at = float(hu[falls[0] + 1])
            raise SettingsError(
                f"{where} is not monotonic: its density falls at {at:g} HU.", "Correct that row; density never falls."
            )
        if density[0] < 0 or density[-1] > HIGHEST:
            raise SettingsError(
                f"{where} has densities from {density[0]:g} to {density[-1]:g}.",
                "Give densities relative to water, 1 for water.",
            )
        water = float(np.interp(0.0, hu, density))
        if not 0.9 <= water <= 1.1:
            raise SettingsError(
                f"{where} gives water (0 HU) the density {water:g}.", "Give densities relative to water, 1 for water."
            )

    def density_of(self, hu: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Density relative to water of each value in HU, of the same shape."""
        return np.interp(np.asarray(hu, dtype=np.float64), self.hu, self.density).astype(np.float32)

    def record(self) -> dict[str, object]:
        """As plain JSON values."""
        content: dict[str, object] = {"name": self.name, "hu": list(self.hu), "density": list(self.density)}
        return content | ({"sha256": self.sha256} if self.sha256 else {})


DEFAULT_TABLE = DensityTable(
    (-1024.0, -999.0, -90.0, -45.0, 0.0, 100.0, 350.0, 3000.0),
    (0.001, 0.001, 0.95, 0.99, 1.0, 1.095, 1.199, 2.505),
    "pyRadPlan 0.5 default",
)
"""The table that pyRadPlan uses for every radiation unless it is given another. No scanner's own."""


def read_density_table(path: Path | str) -> DensityTable:
    r"""Read a site's table from a CSV file with the columns ``hu`` and ``density``.

    Args:
        path: The file; lines that begin with ``#`` are comments.

    Raises:
        SettingsError: the file cannot be read, or is no table as `DensityTable` says.

    Examples:
        >>> from pathlib import Path
        >>> _ = Path("density.csv").write_text("hu,density\n-1000,0\n0,1\n1000,1.6\n")
        >>> print(read_density_table("density.csv").density_of([500.0]))
        [1.3]
    """
    path = Path(path)
    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
        numbers = [(float(row["hu"]), float(row["density"])) for row in rows]
        digest = sha256_file(path)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The density table {path} cannot be read.", "Check the path.") from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise SettingsError(f"The density table {path} is not a table of numbers.", FORMAT) from error
    return DensityTable(tuple(hu for hu, _ in numbers), tuple(value for _, value in numbers), str(path.name), digest)
