"""Nothing of a patient gets into models, logs, documents, reports or de-identified DICOM."""

import pytest
from benchmarks.privacy.audit import TEXTS, Audit, audit


@pytest.mark.slow
@pytest.mark.process
def test_sentinels_in_headers_folders_and_files_turn_up_nowhere(tmp_path):
    done = audit(tmp_path)
    assert len(done.sentinels) == 6 * len(TEXTS) >= 300
    assert done.searched > 50
    assert done.found == []


def test_a_sentinel_that_leaks_is_found(tmp_path):
    import gzip

    looked = Audit()
    name = looked.sentinel(0, "PatientName of mr 0")
    (tmp_path / "a.json").write_text(f'{{"x": "{name.lower()}"}}')
    (tmp_path / "b.gz").write_bytes(gzip.compress(name.encode("utf-16-le")))
    (tmp_path / name).touch()
    looked.search("step", tmp_path, set(), f"said {name}", dicom=True)
    assert len(looked.found) == 4
