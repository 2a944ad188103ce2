"""Every case gets a page, and one page leads to all."""

import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from creps.cohort.cohort import load_cohort
from creps.cohort.inspection import inspect_cohort
from creps.cohort.overview import overview_page
from creps.cohort.prepare import prepare
from creps.io.itk import write_volume
from tests.conftest import ball_head
from tests.test_cli import PREPARE, run
from tests.test_prepare import settings


class Links(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.images, self.anchors, self.targets, self.open = [], set(), set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "img":
            assert values["loading"] == "lazy"
            self.images.append(values["src"])
        if "id" in values:
            self.anchors.add(values["id"])
        if values.get("href", "").startswith("#"):
            self.targets.add(values["href"][1:])


@pytest.fixture
def cohort(tmp_path):
    write_volume(ball_head(0)[0], tmp_path / "mr" / "a #1 & <b>.nii.gz")
    write_volume(ball_head(1)[0], tmp_path / "mr" / "m2.nii.gz")
    write_volume(ball_head(2)[1], tmp_path / "ct" / "c.nii.gz")
    (tmp_path / "ct" / "bad.nii.gz").write_bytes(b"x")
    return prepare((tmp_path / "mr", tmp_path / "ct"), tmp_path / "c", settings=settings())


def test_a_page_for_every_case_and_one_for_all(cohort):
    told = []
    index = inspect_cohort(cohort, lambda *now: told.append(now))
    text = index.read_text()
    assert told[-1][:2] == (3, 3)
    links = Links(text)
    assert sorted(unquote(name) for name in links.images) == [
        "ct_c.png", "mr_a #1 & <b>.png", "mr_m2.png",
    ]  # fmt: skip
    for name in links.images:
        assert (index.parent / unquote(name)).read_bytes().startswith(b"\x89PNG")
    assert links.targets == links.anchors
    assert "Not for diagnosis" in text
    assert "<b>.nii" not in text
    assert "Left out: 1" in text
    assert "http" not in text.replace("https://", "http")  # nothing from the network
    inspect_cohort(cohort, jobs=2)  # again, over what is there
    assert len(list(index.parent.iterdir())) == 4


def test_the_flag_after_preparing_and_on_a_finished_cohort(tmp_path, head_folders, capsys):
    assert run("-q", "prepare", *head_folders, "-o", tmp_path / "c", "--inspect", *PREPARE) == 0
    index = tmp_path / "c" / "inspection" / "index.html"
    assert len(list(index.parent.glob("*.png"))) == 7
    assert f"pages: {index}" in capsys.readouterr().out
    index.unlink()
    assert run("-q", "prepare", "--inspect", "-o", tmp_path / "c") == 0
    assert index.is_file()
    assert run("-q", "prepare", "--inspect", "-o", tmp_path / "none") == 1
    assert "not a prepared cohort" in capsys.readouterr().err
    assert run("-q", "prepare", "-o", tmp_path / "d") == 2
    assert load_cohort(tmp_path / "c").cases("mr", "train")


def test_four_hundred_cases_make_a_readable_page(cohort):
    base = cohort.manifest.cases[0]
    cases = [
        base.model_copy(update={"case": f"p{i:03d}", "centre": "ABC"[i % 3], "intensity_p99": 100.0 + i})
        for i in range(400)
    ]
    text = overview_page(cohort.manifest, cases, (), "big")
    assert len(Links(text).images) == 400
    assert len(text) < 700_000
    assert len(re.findall("<tr class", text)) == 400
