"""``creps phantom``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from creps.cli import main
from creps.cli.verbs.phantom import phantom
from creps.phantom import REGIONS


def test_regions_on_the_command_line_are_those_that_can_be_grown() -> None:
    region = next(option for option in phantom.params if option.name == "region")
    assert list(region.type.choices) == list(REGIONS)  # type: ignore[attr-defined]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Exit code of the command line, run in this process."""
    monkeypatch.setattr(sys, "argv", ["creps", *arguments])
    try:
        main()
    except SystemExit as done:
        return int(done.code or 0)
    return 0


def test_a_pelvis_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--region", "pelvis", "--mr", "1", "--ct", "0", "--test", "0", "--spacing", "5"]
    assert run(monkeypatch, "-q", "phantom", str(tmp_path / "p"), *arguments) == 0
    assert "1 patients" in capsys.readouterr().out
    assert (tmp_path / "p/train/1PM001/mr.nii.gz").is_file()
    assert (tmp_path / "p/train.csv").is_file()


def test_an_unknown_region_names_the_known_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "phantom", str(tmp_path / "p"), "--region", "foot") != 0
    error = capsys.readouterr().err
    assert "foot" in error
    assert "head" in error
    assert "pelvis" in error
    assert not (tmp_path / "p").exists()


@pytest.mark.process
def test_help_imports_no_phantom() -> None:
    code = (
        "import sys\nfrom creps.cli import main\nsys.argv = ['creps', 'phantom', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "sys.exit(any(name in sys.modules for name in ('creps.phantom', 'scipy', 'torch')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "head|pelvis" in done.stdout
