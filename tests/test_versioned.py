"""Documents of other versions of creps: the reason names both versions, and only what is damaged is called so."""

import json
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict

import creps
from creps.errors import ModelError
from creps.io.versioned import read_versioned


class Document(BaseModel):
    model_config = ConfigDict(extra="forbid")
    schema_version: Literal[2] = 2
    size: int
    provenance: dict[str, object] = {}


def read(path):
    return read_versioned(path, Document, ModelError, other_version="Train it again.", damaged="Copy it again.")


NEWER = {"provenance": {"versions": {"creps": "99.1.0"}}}
OLDER = {"provenance": {"versions": {"creps": "0.0.9"}}}
CASES = {
    "a newer schema": ({"schema_version": 3, **NEWER}, "schema version 3 of creps 99.1.0", "Update creps to 99.1.0"),
    "a newer schema of nobody": ({"schema_version": 3}, "schema version 3; this is creps", "Update creps."),
    "an older schema": ({"schema_version": 1, **OLDER}, "schema version 1 of creps 0.0.9", "Train it again."),
    "a field of a newer creps": (
        {"schema_version": 2, "size": 1, "colour": 3, **NEWER},
        "written by creps 99.1.0; this is creps OWN, which does not know its 'colour'",
        "Update creps to 99.1.0",
    ),
    "a value of a newer creps": (
        {"schema_version": 2, "size": "large", **NEWER},
        "written by creps 99.1.0; this is creps OWN, which does not know its 'size'",
        "Update creps to 99.1.0",
    ),
    "a field too many": ({"schema_version": 2, "size": 1, "colour": 3, **OLDER}, "damaged (colour", "Copy it again."),
    "a field too few": ({"schema_version": 2}, "damaged (size: Field required", "Copy it again."),
    "no version": ({"size": 1}, "damaged (it has no schema version)", "Copy it again."),
    "a list": ([1], "damaged (it is not a JSON object)", "Copy it again."),
}


@pytest.mark.parametrize(("content", "reason", "remedy"), CASES.values(), ids=CASES.keys())
def test_the_reason_is_the_true_one(tmp_path, content, reason, remedy):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError) as caught:
        read(path)
    assert reason.replace("OWN", creps.__version__) in caught.value.what
    assert "plan.json" in caught.value.what
    assert caught.value.remedy.startswith(remedy)


def test_a_good_document_of_a_newer_creps_is_read(tmp_path):
    (tmp_path / "plan.json").write_text(json.dumps({"schema_version": 2, "size": 3, **NEWER}))
    assert read(tmp_path / "plan.json").size == 3
