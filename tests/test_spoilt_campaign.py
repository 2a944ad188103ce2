"""A seeded sample of spoilt files: volumes, tables, settings, documents, model folders."""

import pytest
from benchmarks.spoilt.campaign import campaign
from benchmarks.spoilt.originals import ORIGINALS

from creps.errors import SettingsError
from creps.io.documents import read_json
from creps.model import Plan
from creps.service import read_service_settings


@pytest.mark.process
@pytest.mark.slow
def test_none_ends_in_a_traceback_or_leaves_something():
    trials = campaign(2 * len(ORIGINALS), seed=11)
    assert [trial for trial in trials if trial["fault"]] == []
    assert {trial["outcome"] for trial in trials} >= {"accepted", "refused"}


def test_a_document_nested_too_deeply_is_a_value_error(tmp_path):
    (tmp_path / "a.json").write_text("[" * 100_000 + "]" * 100_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(tmp_path / "a.json")


def test_settings_of_a_few_lines_that_stand_for_a_billion_values_are_refused(tmp_path):
    lines = ["x0: &x0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 9)]
    (tmp_path / "service.yaml").write_text("\n".join(lines))
    with pytest.raises(SettingsError, match="holds more than 10000 values"):
        read_service_settings(tmp_path / "service.yaml")


def test_a_plan_whose_training_is_no_record_is_refused(demo_model):
    plan = Plan.model_validate_json((demo_model / "plan.json").read_text())
    with pytest.raises(ValueError, match="its settings are no sections"):
        Plan.model_validate({**plan.model_dump(), "training": {"settings": "all"}})
