"""Settings files as people write them: read where YAML says so, and otherwise the true reason."""

import codecs

import pytest

from creps.errors import SettingsError
from creps.settings import load_settings

READ = {
    "a merge key": "common: &common\n  batch_size: 3\ntraining:\n  <<: *common\n  steps: 7\n",
    "a merge key that is overridden": "a: &a {batch_size: 9, steps: 7}\ntraining:\n  <<: *a\n  batch_size: 3\n",
    "several merged blocks": "a: &a {batch_size: 3}\nb: &b {steps: 7}\ntraining:\n  <<: [*a, *b]\n",
    "a merge of a merge": "a: &a {steps: 7}\nb: &b\n  <<: *a\n  batch_size: 3\ntraining:\n  <<: *b\n",
    "an alias of a value": "training: {batch_size: &n 3, steps: 7}\ninference: {batch_size: *n}\n",
    "a block that contains itself": "a: &a\n  b: *a\ntraining: {batch_size: 3, steps: 7}",
    "an empty section": "training: {batch_size: 3, steps: 7}\nsampling:\n",
    "JSON": '{"training": {"batch_size": 3, "steps": 7}}',
    "JSON with tabs": '{\n\t"training": {\n\t\t"batch_size": 3, "steps": 7}}',
    "Windows line ends": "training:\r\n  batch_size: 3\r\n  steps: 7\r\n",
}


@pytest.mark.parametrize("text", READ.values(), ids=READ.keys())
def test_what_yaml_allows_is_read(tmp_path, text):
    (tmp_path / "s.yaml").write_bytes(text.encode())
    training = load_settings(file=tmp_path / "s.yaml").training
    assert (training.batch_size, training.steps) == (3, 7)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_read(tmp_path, encoding):
    (tmp_path / "s.yaml").write_bytes("training:\n  steps: 7\n".encode(encoding))
    assert load_settings(file=tmp_path / "s.yaml").training.steps == 7


TOO_LOW = {
    "preparation": ("mr_scale: -1", "Setting 'preparation.mr_scale' = -1", "'auto' or greater than 0"),
    "inference": ("batch_size: 0", "Setting 'inference.batch_size' = 0", "'auto' or greater than or equal to 1"),
}


@pytest.mark.parametrize(("section", "case"), TOO_LOW.items(), ids=TOO_LOW.keys())
def test_a_value_out_of_range_names_every_value_that_is_allowed(tmp_path, section, case):
    line, where, reason = case
    (tmp_path / "s.yaml").write_text(f"{section}:\n  {line}\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(file=tmp_path / "s.yaml")
    assert where in caught.value.what
    assert reason in caught.value.what


REFUSED = {
    "a dotted name": ("training.batch_size: 3", "Write 'training:' and, indented below it, 'batch_size: value'"),
    "a setting without its section": ("batch_size: 3", "Did you mean 'training.batch_size' or 'inference.batch_size'?"),
    "a setting in another section": ("creps:\n  batch_size: 3", "'training.batch_size' or 'inference.batch_size'"),
    "a section in a section": ("training:\n  sampling: {}", "Write 'sampling:' at the left margin"),
    "a value for a section": ("training: 3", "'training' in .* is a section, but has the value 3"),
    "a missing space": ("training:\n  steps:7", "is a section, but has the value 'steps:7'"),
    "a tab": ("training:\n\tsteps: 7", "indented with a tab in line 2"),
    "a key that occurs twice": ("training:\n  steps: 7\n  steps: 8", "'steps' occurs twice"),
    "an alias of nothing": ("training: *x", "undefined alias 'x'"),
    "two documents": ("a: 1\n---\nb: 1", "expected a single document"),
    "a document of creps": ('{"schema_version": 1}', "another document of creps"),
    "a list": ("- training", "does not hold settings"),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_wrong_has_its_true_reason(tmp_path, text, reason):
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(SettingsError, match=reason) as caught:
        load_settings(file=tmp_path / "s.yaml")
    assert "s.yaml" in caught.value.what


def test_text_in_another_encoding_is_named(tmp_path):
    (tmp_path / "s.yaml").write_bytes(codecs.encode("# für alle\ntraining: {}\n", "latin-1"))
    with pytest.raises(SettingsError, match=r"not text in UTF-8 \(byte 4\)"):
        load_settings(file=tmp_path / "s.yaml")


def test_a_folder_is_no_settings_file(tmp_path):
    with pytest.raises(SettingsError, match="is a folder"):
        load_settings(file=tmp_path)
