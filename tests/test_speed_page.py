"""The pages of speed are written from the kept results."""

import json

import pytest
from benchmarks.speed import page


def test_the_pages_hold_the_kept_results():
    for file, text in ((page.SHORT, page.short_page()), (page.LONG, page.long_page())):
        assert page.replaced(file, text) == file.read_text(encoding="utf-8"), "run python -m benchmarks.speed.page"


def test_tables_are_found_where_they_lie_and_show_what_is_known():
    rows = {"ours": {"seconds": 0.1234, "rounds": 3}, "theirs": {"seconds": 1234.5, "mae_hu": 78.21}}
    content = {"shape": [1, 2], "precision": "bf16", "cases": {"head": {"rows": rows, "ratio": 1.2}}}
    ((path, found),) = page.tables(content)
    assert path == ("cases", "head", "rows")
    assert page.table(found).splitlines() == [
        "| | Seconds | MAE (HU) |", "|---|---|---|", "| ours | 0.123 | |", "| theirs | 1,234 | 78.2 |",
    ]  # fmt: skip


@pytest.mark.parametrize(("seconds", "shown"), [(2.345, "2.3 s"), (None, "not measured")])
def test_what_was_not_measured_is_said(tmp_path, monkeypatch, seconds, shown):
    monkeypatch.setattr(page, "HERE", tmp_path)
    (tmp_path / "results").mkdir()
    if seconds is not None:
        found = {"precision": "bf16", "step": {"creps, bf16": {"seconds": seconds}}}
        (tmp_path / "results" / "daily-bf16.json").write_text(json.dumps(found))
    last = page.short_page().splitlines()[-1]
    assert last == f"| a training step, two patches of 32×64×64 | {shown} | not measured |"
