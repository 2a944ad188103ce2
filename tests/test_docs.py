"""README and docs: every code block runs or says why not, names what exists, and matches what creps prints."""

import json
import os
import re
import shutil
import tomllib
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
import yaml

import creps
from creps.cluster.options import slurm_options
from creps.service import read_service_settings
from tests.documents import LANGUAGES, PAGES, PROJECT, blocks_of, furnish, remove, run, shortened, tiny_preset

BLOCKS = {str(path.relative_to(PROJECT)): blocks_of(path) for path in PAGES}
RUNNABLE = {
    page: [b for b in blocks if LANGUAGES.get(b.language) in ("shell", "session", "python")]
    for page, blocks in BLOCKS.items()
}

NOT_RUN = {
    "installs packages": 13,
    "asks a service in the internet": 1,
    "needs a DICOM destination": 1,
    "changes the firewall": 1,
    "makes certificates": 1,
    "needs several GPUs": 1,
    "needs two GPUs": 1,
    "needs a SLURM cluster": 4,
    "needs the ImageNet weights": 2,
    "prints a path and a URL": 1,
    "needs MRs": 1,
    "takes minutes": 16,
}
"""Blocks that do not run, by reason: another one must be counted here."""

pytestmark = pytest.mark.skipif(not PAGES, reason="an installed package has no docs beside it")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """The folder that the blocks of every page start from."""
    folder, before = tmp_path_factory.mktemp("docs") / "template", Path.cwd()
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("creps.settings.loading.preset_values", tiny_preset)
        furnish(folder)
    for block in (block for page in BLOCKS.values() for block in page if block.language == "yaml"):
        (folder / block.code.split()[1]).write_text(block.code, encoding="utf-8")  # its first line is "# NAME"
    os.chdir(before)
    return folder


@pytest.mark.parametrize("page", [page for page, blocks in RUNNABLE.items() if any(b.reason is None for b in blocks)])
def test_every_code_block_runs(page, template, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("creps.settings.loading.preset_values", tiny_preset)
    names: dict[str, object] = {"__name__": "docs"}
    for number, block in enumerate(BLOCKS[page]):
        if block not in RUNNABLE[page] or block.reason is not None:
            continue
        continues = block.language == "python" and "import creps" not in block.code
        if Path.cwd().parent != tmp_path or not (continues or page == "README.md"):  # README is one session
            shutil.copytree(template, tmp_path / str(number))
            monkeypatch.chdir(tmp_path / str(number))
        if block.language == "python":
            _execute(block, names)
        else:
            _run_commands(block, capfd)


def _execute(block, names):
    code = shortened(block.code)
    for target in re.findall(r'(?:prepare|train)\((?:\([^)]*\)|[^,]+), "([^"]+)"', code):
        remove(Path(target))
    code = "\n" * (block.line - 1) + code  # a traceback names the line of the page
    exec(compile(code, str(PROJECT / block.page), "exec"), names)


def _run_commands(block, capfd):
    assert block.commands, f"{block}: nothing in it runs; mark it with <!-- not run: reason -->"
    capfd.readouterr()
    for words in block.commands:
        code = run(shortened(" ".join(words)).split())
        printed = "".join(capfd.readouterr())
        assert code == 0, f"{block}: creps {' '.join(words)}\n{printed}"
        if block.language == "console":
            _check_output(block, words, printed)


def _check_output(block, words, printed):
    """What the page shows below a command is what it prints, but for numbers."""
    after = block.code.split(f"$ creps {' '.join(words)}", 1)[1].split("\n$ ", 1)[0].splitlines()[1:]
    for line in after:
        assert _without_numbers(line) in _without_numbers(printed), f"{block}: {line}\n{printed}"


def _without_numbers(text):
    return re.sub(r"-?\d[\d.,:]*", "#", re.sub(r" +", " ", text))


def test_every_block_has_a_known_language_and_those_that_do_not_run_are_counted():
    blocks = [block for page in BLOCKS.values() for block in page]
    assert {block.language for block in blocks} <= set(LANGUAGES)
    assert Counter(block.reason for block in blocks if block.reason is not None) == NOT_RUN


def test_settings_files_in_the_docs_load(tmp_path):
    files = [block for page in BLOCKS.values() for block in page if block.language == "yaml"]
    assert files
    for block in files:
        path = tmp_path / "site.yaml"
        path.write_text(block.code, encoding="utf-8")
        if "rules" in yaml.safe_load(block.code):
            assert read_service_settings(path).rules
            continue
        if block.code.startswith("# cluster.yaml"):
            assert slurm_options(path).partition == "gpu"
            continue
        assert creps.load_settings(file=path).preset == yaml.safe_load(block.code)["preset"]


def test_commands_in_the_docs_name_only_verbs_and_options_that_exist():
    from creps.cli.verbs import creps as group

    for block in (block for page in BLOCKS.values() for block in page):
        joined = re.sub(r"\n +", " ", block.code)  # a synopsis of several lines
        for line in re.findall(r"^(?:\$ |srun |\.venv\S+)?(creps [^\n#]*)", joined, flags=re.M):
            words = [word for word in line.split()[1:] if word not in ("-q", "-v", "[-q", "|", "-v]")]
            verb = words[0]
            if verb == "VERB":
                continue
            assert verb in group.commands, f"{block}: {line}"
            params = group.commands[verb].get_params(click.Context(group.commands[verb]))
            known = {name.replace("-", "_") for param in params for name in [*param.opts, *param.secondary_opts]}
            for option in re.findall(r"(?<![\w.-])--?[a-z][\w.-]*", re.sub(r"--[a-zA-Z]+\.NAME", "", line)):
                assert option.replace("-", "_") in known, f"{block}: {line}: {option}"


def test_settings_named_in_the_docs_exist():
    from creps.settings import leaf_fields, sections

    known = {f"{section}.{name}" for section, name, _ in leaf_fields()}
    pattern = re.compile(
        rf"`(?:--)?((?:{'|'.join(name for name, _ in sections())})\.(?!safetensors)[a-z]\w+)\b(?![.-])"
    )
    for path in PAGES:
        if path.name in ("ablation.md", "results.md", "simulation.md", "speed.md"):  # rewritten with their benchmarks
            continue
        for name in pattern.findall(path.read_text(encoding="utf-8")):
            of_package = name.startswith("creps.") and (hasattr(creps, name[6:]) or find_spec(name) is not None)
            assert name in known or of_package, f"{path.name}: {name}"


def test_relative_links_lead_somewhere():
    for path in PAGES:
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S)
        for target, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)]+))?\)", text):
            page = path.parent / target if target else path
            assert page.exists(), f"{path}: {target}"
            if anchor:
                assert anchor in _anchors(page), f"{path}: {target}#{anchor}"


def _anchors(page):
    """Anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.*)$", page.read_text(encoding="utf-8"), flags=re.M)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}


def test_readme_is_short_and_says_what_creps_is_not_for():
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```|<!--.*?-->", "", text, flags=re.S)
    assert len(prose.split()) <= 700
    assert "Not for diagnosis" in prose[:1500]


def test_architecture_page_shows_every_folder_and_the_import_contract():
    text = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    source = Path(creps.__file__).parent
    for item in sorted(source.iterdir()):
        shown = f"{item.name}/" if item.is_dir() else item.name
        if item.name not in ("__pycache__", "__main__.py", "py.typed"):
            assert shown in text, shown
    contract = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    assert "\n".join(contract["contracts"][0]["layers"]) in text


def test_file_format_page_lists_exactly_the_keys_that_are_written(template):
    from creps.cohort.cohort import Case, Manifest
    from creps.model import Plan

    text = (PROJECT / "docs" / "concepts" / "cohorts-and-models.md").read_text(encoding="utf-8")

    def listed(heading):
        table = text.split(heading, 1)[1].split("\n\n| ", 1)[1].split("\n\n", 1)[0]
        return {key for row in table.splitlines()[2:] for key in re.findall(r"`(\w+)`", row.split("|")[1])}

    assert listed("### `manifest.json`") == set(Manifest.model_fields)
    assert listed("| `provenance` | notice, time, versions, system |") == set(Case.model_fields)
    assert listed("### `plan.json`") == set(Plan.model_fields)
    assert listed("### `record.json`") == set(json.loads((template / "run" / "record.json").read_text()))
