"""A seeded sample of the inputs that hospitals really have: benchmarks/cases has all of them."""

import pytest
from benchmarks.cases import cases

SAMPLE = (
    "3_units: [0, 1], 1000", "3_units: z-score", "4_background: CT clipped at 400", "4_background: evaluate, -3024",
    "6_labels: -label", "7_names: case_{:03d}_0000", "2_sform: sform code 2", "3_units: MR + 1024",
    "4_background: evaluate, sCT is", "9_reasons: a wrong checksum", "9_reasons: two positions",
    "13_coverage: top, -1024",
)  # fmt: skip


@pytest.mark.parametrize("case", SAMPLE)
def test_a_sample_of_the_cases(case, tmp_path):
    (row,) = cases.run(tmp_path, seed=3, only=case)
    assert row.right, row


def test_a_spoilt_series_is_a_row_of_the_table():
    (row,) = cases.spoilt_series(1, seed=1)
    assert row.right, row
    assert row.case.startswith("dicom: ")


def test_the_table_names_what_is_not_right():
    rows = [cases.Row("a", 0, "MAE 464 HU", False), cases.Row("b", 1, "", True)]
    assert cases.table(rows).splitlines()[2:] == ["| a | 0 | MAE 464 HU | **no** |", "| b | 1 |  | yes |"]
