"""Rules: which one decides, and which can never decide."""

import pytest

from creps.errors import SettingsError
from creps.io.dicom.read.series import find_series
from creps.service import read_service_settings
from creps.service.rules import Facts, check_for_node, check_regions, check_rules, facts_of_series, first_rule
from creps.service.settings import Peer, Rule, When
from tests.dicom_cases import mr_series


def rule(name, model="head", **when):
    return Rule(name=name, model=model, when=When(**when))


def test_the_header_of_a_series_decides(tmp_path):
    head = mr_series(tmp_path / "head", SeriesDescription="t1_mprage_sag")
    pelvis = mr_series(tmp_path / "pelvis", SeriesDescription="T2 tse tra", BodyPartExamined="PELVIS")
    rules = [rule("heads", region=["head"], sequence=["T1"]), rule("pelves", "pelvis", region=["pelvis"])]
    found = [first_rule(rules, facts_of_series(find_series(one)[0])) for one in (head, pelvis)]
    assert [one.name for one in found] == ["heads", "pelves"]


@pytest.mark.parametrize(
    ("when", "facts", "fits"),
    [
        ({}, Facts(), True),
        ({"region": ["head"]}, Facts(regions=frozenset({"head", "neck"})), True),
        ({"region": ["head"]}, Facts(), False),
        ({"sequence": ["T2"]}, Facts(sequences=frozenset({"T1"})), False),
        ({"description": ["*MPRAGE*"]}, Facts(description="t1 mprage"), True),
        ({"description": ["mprage"]}, Facts(description="t1 mprage"), False),
        ({"manufacturer": ["ge *"]}, Facts(manufacturer="GE MEDICAL SYSTEMS"), True),
        ({"calling_ae": ["MR1"]}, Facts(calling_ae="MR2"), False),
        ({"file": ["*_t1.nii*"]}, Facts(file="A_T1.nii.gz"), True),
        ({"file": ["*_t1.nii*"]}, Facts(), False),
        ({"region": ["head"]}, Facts(file="a.nii.gz"), False),
        ({"file": ["*"], "region": ["head"]}, Facts(file="a.nii.gz"), True),
        ({"file": ["x*"], "region": ["head"]}, Facts(regions=frozenset({"head"})), True),
    ],
)
def test_what_a_rule_asks_for(when, facts, fits):
    assert (first_rule([rule("a", **when)], facts) is not None) == fits


@pytest.mark.parametrize(
    ("first", "second", "contradicts"),
    [
        ({}, {"region": ["head"]}, True),
        ({"region": ["head"]}, {}, False),
        ({"region": ["head", "neck"]}, {"region": ["neck"]}, True),
        ({"region": ["neck"]}, {"region": ["head", "neck"]}, False),
        ({"region": ["head"]}, {"region": ["head"], "sequence": ["T1"]}, True),
        ({"region": ["head"], "sequence": ["T1"]}, {"region": ["head"], "sequence": ["T2"]}, False),
        ({"description": ["*a*"]}, {"description": ["*A*"]}, True),
        ({"file": ["*.nii"]}, {"region": ["head"]}, False),
        ({"calling_ae": ["A"]}, {"calling_ae": ["B"]}, False),
    ],
)
def test_a_rule_that_can_never_decide_is_refused(first, second, contradicts):
    rules = [rule("one", **first), rule("two", "pelvis", **second)]
    if contradicts:
        with pytest.raises(SettingsError, match=r"Rule 'two' never decides: rule 'one' .*names another model"):
            check_rules(rules)
    else:
        check_rules(rules)


def test_a_rule_for_another_region_than_its_models_is_refused():
    check_regions([rule("a", region=["head"]), rule("b")], {"head": "brain"})
    with pytest.raises(SettingsError, match="Rule 'a' is for pelvis or leg, but its model head is for head"):
        check_regions([rule("a", region=["pelvis", "leg"])], {"head": "brain"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "holds no settings"),
        ("rules: []", "rules: Tuple should have at least 1 item"),
        ("rules: [{name: a, model: head}]\nport: 1", "port: Extra inputs are not permitted"),
        ("rules: [{name: a, model: head, when: {region: [toe]}}]", "rules.0.when.region.0: Input should be"),
        ("rules: [{name: a, model: head}, {name: a, model: head}]", "two rules are named 'a'"),
        ("rules: [{name: a, model: head}]\nnode: {address: 10.1.1.1}", "node: 10.1.1.1 is reached from outside"),
        ("rules: [{name: a, model: head}]\nnode: {peers: [{address: x, ae_title: A}]}", "does not appear to be"),
        ("rules: [{name: a, model: head}]\nnode: {ae_title: longer than sixteen}", "String should match pattern"),
        ("rules: [", "cannot be read"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path, text, said):
    path = tmp_path / "service.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_service_settings(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_open_to_others_with_peers_or_tls_alone(tmp_path):
    path = tmp_path / "service.yaml"
    path.write_text(
        "rules: [{name: a, model: head}]\nnode: {address: 0.0.0.0, peers: [{address: 10.1.0.0/16, ae_title: MR}]}"
    )
    (peer,) = read_service_settings(path).node.peers
    assert peer.includes("10.1.2.3")
    assert peer.includes("::ffff:10.1.2.3")
    assert not peer.includes("10.2.2.3")
    assert not Peer(address="10.1.2.3", ae_title="MR").includes("garbage")


def test_paths_are_those_beside_the_file(tmp_path):
    (tmp_path / "model").mkdir()
    path = tmp_path / "service.yaml"
    tls = "{certificate: a.pem, key: /etc/b.pem, ca: c.pem}"
    path.write_text(
        f"rules: [{{name: a, model: model}}, {{name: b, model: head, when: {{region: [head]}}}}]\nnode: {{tls: {tls}}}"
    )
    found = read_service_settings(path)
    assert [one.model for one in found.rules] == [str(tmp_path / "model"), "head"]
    assert (found.node.tls.certificate, str(found.node.tls.key)) == (tmp_path / "a.pem", "/etc/b.pem")


def test_rules_that_can_never_decide_in_a_node_are_refused():
    check_for_node([rule("a", calling_ae=["MR1", "MR2"]), rule("b", file=["*"], region=["head"])], ["MR2"])
    check_for_node([rule("a", calling_ae=["MR1"])], [])
    with pytest.raises(SettingsError, match="Rule 'a' is for volume files"):
        check_for_node([rule("a", file=["*.nii.gz"])], [])
    with pytest.raises(SettingsError, match="Rule 'a' is for MR1, which may not send"):
        check_for_node([rule("a", calling_ae=["MR1"])], ["MR2"])
