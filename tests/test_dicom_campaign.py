"""A seeded sample of the campaign of spoilt series: benchmarks/dicom has the whole of it."""

from collections import Counter

from benchmarks.dicom import campaign, mutations


def test_a_sample_of_spoilt_series(tmp_path):
    campaign.write_model(tmp_path / "model")
    campaign.write_originals(tmp_path)
    every = range(0, 2 * len(mutations.MUTATIONS), len(mutations.MUTATIONS) // 12)
    trials = [campaign.tried(tmp_path, trial, seed=1) for trial in every]
    assert [trial for trial in trials if trial["fault"]] == []
    outcomes = Counter(trial["outcome"] for trial in trials)
    assert outcomes["accepted"] >= 1
    assert outcomes["refused"] >= 12


def test_the_campaign_sees_what_is_wrong(tmp_path):
    harmless = mutations.Mutation("x", "accepted", mutations.nothing)
    fatal = mutations.Mutation("x", "refused", mutations.nothing)
    out = tmp_path / "out"
    assert "internal error" in campaign.broken(fatal, 70, "Internal error: KeyError: 3.", out, [])
    assert "internal error" in campaign.broken(fatal, 1, "Traceback (most recent call last)", out, [])
    assert "names the patient" in campaign.broken(fatal, 1, "Error: SECRET-42 is wrong. Do this.", out, [])
    assert "should not be" in campaign.broken(fatal, 0, "", out, [])
    assert "should not be" in campaign.broken(harmless, 1, "Error: It is wrong. Do this.", out, [])
    assert "not one sentence" in campaign.broken(fatal, 1, "", out, [])
    assert "leaves" in campaign.broken(fatal, 1, "Error: It is wrong. Do this.", out, ["out/CT.0001.dcm"])
    assert "not whole" in campaign.broken(harmless, 0, "", out, [])
    assert campaign.broken(fatal, 1, "Error: It is wrong. Do this.", out, []) == ""
