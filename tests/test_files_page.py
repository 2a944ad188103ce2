"""The reference page of the files is generated from the classes that write them."""

import importlib.util
import json
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs" / "reference"
KEYS = Path(__file__).with_name("data") / "json_keys_0.1.json"


def files_page():
    spec = importlib.util.spec_from_file_location("files_page", DOCS / "files.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_keys_of_0_1_are_still_written():
    """Programs read these files: docs/reference/versions.md promises that keys keep their names."""
    now = {kind.__name__: set(kind.model_json_schema()["properties"]) for _, _, kind in files_page().TABLES}
    lost = {name: set(keys) - now.get(name, set()) for name, keys in json.loads(KEYS.read_text()).items()}
    assert not any(lost.values()), lost


def test_the_page_of_the_files_is_that_of_the_code():
    """Regenerate it with: python docs/reference/files.py."""
    module = files_page()
    assert (DOCS / "files.md").read_text(encoding="utf-8") == module.page()
    empty = [line for line in module.page().splitlines() if line.endswith("|  |")]
    assert not empty  # every key is explained
