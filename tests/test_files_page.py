"""The reference page of the files is generated from the classes that write them."""

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs" / "reference"


def test_the_page_of_the_files_is_that_of_the_code():
    """Regenerate it with: python docs/reference/files.py."""
    spec = importlib.util.spec_from_file_location("files_page", DOCS / "files.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (DOCS / "files.md").read_text(encoding="utf-8") == module.page()
    empty = [line for line in module.page().splitlines() if line.endswith("|  |")]
    assert not empty  # every key is explained
