"""The public functions as their docstrings show them, called with text for every path, and called wrongly."""

import doctest
import inspect
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import creps
from creps.api.synthesis import Synthesis
from creps.cohort.cohort import Cohort
from creps.evaluation.batch import CohortEvaluation
from creps.model import Model as PlainModel
from creps.model import Plan
from creps.networks.build import build_generator
from creps.settings import InferenceSettings, PreparationSettings, ResidualSettings
from creps.synthesis.batch import plan_cases, synthesize_case
from creps.synthesis.inputs import find_mr
from creps.synthesis.options import OutputOptions, SynthesisOptions
from creps.volume import Volume
from tests.conftest import ball_head
from tests.dicom_cases import mr_series
from tests.test_dicom import write_series

FUNCTIONS = (
    *(
        "compare_dose",
        "evaluate",
        "load",
        "load_cohort",
        "load_settings",
        "models",
        "prepare",
        "read_volume",
        "train",
        "write_report",
        "write_volume",
    ),
)
METHODS = [
    getattr(owner, name)
    for owner, names in {
        creps.Model: (
            "load",
            "save",
            "inference_settings",
            "synthesize",
            "synthesize_folder",
            "calibrate",
            "export",
            "export_slicer",
        ),
        Synthesis: ("save", "body_mask", "ultrasound", "mu_map"),
    }.items()
    for name in names
]
PUBLIC = [*(getattr(creps, name) for name in FUNCTIONS), *METHODS]
OWNERS = [creps.Model, Synthesis, Volume, Cohort, creps.Settings]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with all that the examples name: three MRs, CTs, a cohort and a model."""
    folder = tmp_path_factory.mktemp("examples")
    for i in range(2):
        creps.write_volume(ball_head(i)[0], str(folder / "heads" / "mr" / f"m{i}.nii.gz"))
        creps.write_volume(ball_head(10 + i)[1], str(folder / "heads" / "ct" / f"c{i}.nii.gz"), integer=True)
    mr, ct = ball_head(7)
    creps.write_volume(mr, folder / "mr.nii.gz")
    creps.write_volume(ct, folder / "ct.nii.gz", integer=True)
    noise = np.random.default_rng(0).normal(0, 30, ct.shape)
    creps.write_volume(ct.with_array(ct.array + noise), folder / "sct.nii.gz", integer=True)
    preparation = {"preparation.spacing_mm": [4, 4, 4], "preparation.mr_scale": "auto"}
    heads = folder / "heads"
    creps.prepare((heads / "mr", heads / "ct"), folder / "cohort", overrides=preparation)
    creps.write_volume(mr.with_array(mr.array > 30), folder / "body.nii.gz", integer=True)
    plan = Plan(
        preparation=PreparationSettings(spacing_mm=(4, 4, 4), mr_scale="auto", remove_outside=True),
        generator=ResidualSettings(width=2, residual_blocks=1),
        patch_size=(16, 16, 16),
        inference=InferenceSettings(precision="fp32", device="cpu"),
    )
    torch.manual_seed(0)
    PlainModel(plan, build_generator(plan.generator)).save(folder / "model")
    return folder


@pytest.fixture
def here(workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    return workplace


def examples():
    finder = doctest.DocTestFinder(recurse=True)
    found = {}
    for thing in [*PUBLIC, *OWNERS]:
        for test in finder.find(thing, thing.__qualname__, globs={"creps": creps, "np": np}):
            if test.examples:
                found[test.name] = test
    return list(found.values())


@pytest.mark.parametrize("example", examples(), ids=lambda test: test.name)
def test_the_examples_of_the_docstrings_run(here, example):
    runner, said = doctest.DocTestRunner(), []
    before = {path.name for path in here.iterdir()}
    runner.run(example, out=said.append, clear_globs=False)
    for path in here.iterdir():  # what one example writes, another may write again
        if path.name not in before:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


@pytest.mark.parametrize("function", PUBLIC, ids=lambda function: function.__qualname__)
def test_every_public_function_says_what_it_takes_gives_and_refuses(function):
    documentation = inspect.getdoc(function)
    assert ">>> " in documentation
    takes = [name for name in inspect.signature(function).parameters if name != "self"]
    if takes:
        assert "Args:" in documentation
        assert "Raises:" in documentation
        for name in takes:
            assert f"{name}:" in documentation.split("Args:")[1], name


def test_every_path_can_be_text(here):
    model = creps.load("model")
    assert model.synthesize("mr.nii.gz", mask="body.nii.gz").save("text/sct.nii.gz").is_file()
    assert model.synthesize_folder("heads/mr", "text/all").failed == {}
    assert model.save("text/model").is_dir()
    cohort = creps.prepare(("heads/mr", "heads/ct"), "text/cohort", model="model")
    assert cohort.manifest.preparation == model.plan.preparation
    (here / "some.yaml").write_text("training:\n  steps: 7\n")
    assert creps.load_settings(file="some.yaml").training.steps == 7
    for i in range(2):
        creps.write_volume(creps.read_volume(f"heads/ct/c{i}.nii.gz"), f"text/truth/m{i}.nii.gz")
    both = creps.evaluate("text/all", "text/truth")
    assert isinstance(both, CohortEvaluation)
    assert set(both.cases) == {"m0", "m1"}


def test_a_saved_model_is_the_model(here, tmp_path):
    model = creps.load("model")
    again = creps.load(model.save(tmp_path / "m"))
    assert again.plan == model.plan
    for ours, theirs in zip(model.generator.state_dict().items(), again.generator.state_dict().items(), strict=True):
        assert ours[0] == theirs[0]
        assert torch.equal(ours[1], theirs[1])
    with pytest.raises(creps.CrepsError, match="already exists"):
        model.save(tmp_path / "m")
    model.save(tmp_path / "m", overwrite=True)
    (tmp_path / "mine").mkdir()
    with pytest.raises(creps.CrepsError, match="is not a model"):
        model.save(tmp_path / "mine", overwrite=True)


def test_one_failing_mr_does_not_stop_the_others(here, tmp_path):
    (tmp_path / "broken.nii.gz").write_text("x")
    given = [tmp_path / "broken.nii.gz", "mr.nii.gz", "ct.nii.gz", "no such folder"]
    seen = []
    result = creps.load("model").synthesize_folder(given, tmp_path / "out", progress=lambda *now: seen.append(now))
    assert [path.name for path in result.done] == ["mr_sct.nii.gz"]
    assert {path.name for path in result.failed} == {"broken.nii.gz", "ct.nii.gz", "no such folder"}
    assert all(isinstance(error, creps.CrepsError) for error in result.failed.values())
    assert seen[-1][:2] == (seen[-1][1], seen[-1][1])
    assert seen[-1][2] == "mr"


def test_a_folder_of_scts_has_what_a_single_one_can_have(here, tmp_path):
    model = creps.load("model")
    model.calibrate(phantoms=1)
    mrs = ["heads/mr/m0.nii.gz", "heads/mr/m1.nii.gz"]
    bare = model.synthesize_folder(mrs, tmp_path / "bare", qa=False)
    assert bare.qa == {}
    assert {path.name for path in (tmp_path / "bare").iterdir()} == {
        f"m{i}_sct{ending}" for i in range(2) for ending in (".nii.gz", ".json", ".png")
    }
    full = model.synthesize_folder(mrs, tmp_path / "full", uncertainty=True, bulk_density={"bone": 500})
    assert tuple(full.qa) == full.done
    for path in full.done:
        name = path.name.removesuffix(".nii.gz")
        written = json.loads((path.parent / f"{name}_qa.json").read_text())
        assert written["result"] == full.qa[path].result
        assert creps.read_volume(path.parent / f"{name}_uncertainty.nii.gz").array.max() > 0
        assert creps.read_volume(path.parent / f"{name}_bulk.nii.gz").array.max() in (0, 500)
    with pytest.raises(creps.CrepsError, match="Unknown class 'metal'"):
        model.synthesize_folder(mrs, tmp_path / "none", bulk_density={"metal": 3000})
    assert not (tmp_path / "none").exists()


def test_a_missing_mr_does_not_change_where_the_others_go(here, tmp_path):
    model, given = creps.load("model"), ["mr.nii.gz", "no such file.nii.gz"]
    with pytest.raises(creps.CrepsError, match="single file, but there are 2 inputs"):
        model.synthesize_folder(given, tmp_path / "sct.nii.gz")
    assert not list(tmp_path.iterdir())
    mr_series(tmp_path / "in" / "a")
    result = model.synthesize_folder([tmp_path / "in" / "a", tmp_path / "in" / "b"], tmp_path / "out", force=True)
    assert result.done == (tmp_path / "out" / "a_sct",)
    assert set(result.failed) == {tmp_path / "in" / "b"}


def test_a_case_and_a_model_travel_to_another_machine(here, tmp_path):
    mr_series(tmp_path / "in" / "a")
    sources, wanted = [find_mr(Path("mr.nii.gz")), find_mr(tmp_path / "in" / "a")], SynthesisOptions(force=True)
    cases = plan_cases(sources, tmp_path / "out", wanted, OutputOptions(), overwrite=False)
    model, cases = pickle.loads(pickle.dumps((creps.load("model"), cases)))
    written = [synthesize_case(model, case) for case in cases]
    assert written == [tmp_path / "out" / "mr_sct.nii.gz", tmp_path / "out" / "a_sct"]
    expected = creps.load("model").synthesize("mr.nii.gz").sct.array
    np.testing.assert_array_equal(creps.read_volume(written[0]).array, np.rint(expected))
    assert json.loads((written[1] / "record.json").read_text())["grid"]["kind"] == "planning"


def test_a_mask_in_memory_is_recorded(here, tmp_path):
    mr, mask = creps.read_volume("mr.nii.gz"), creps.read_volume("body.nii.gz")
    creps.load("model").synthesize(mr, mask=mask).save(tmp_path / "sct.nii.gz")
    record = json.loads((tmp_path / "sct.json").read_text())
    assert record["input"] == record["mask"] == {"given": "in memory"}


def test_a_volume_in_memory_can_be_saved(here, tmp_path):
    synthesis = creps.load("model").synthesize(creps.read_volume("mr.nii.gz"))
    written = synthesis.save(str(tmp_path / "sct.mha"))
    assert creps.read_volume(written).same_grid_as(synthesis.sct)
    assert (tmp_path / "sct.json").is_file()
    for target, message in (("sct.mha", "already exists"), ("folder", "unknown file extension")):
        with pytest.raises(creps.CrepsError, match=message):
            synthesis.save(tmp_path / target)
    with pytest.raises(creps.CrepsError, match="De-identification is for DICOM"):
        synthesis.save(tmp_path / "other.mha", pseudonym="x")


def model_of():
    return creps.load("model")


WRONG = {
    "load None": lambda: creps.load(None),
    "load a number": lambda: creps.load(3),
    "load what is not there": lambda: creps.load("nowhere"),
    "a cohort that is not there": lambda: creps.load_cohort("nowhere"),
    "a cohort from None": lambda: creps.load_cohort(None),
    "no such preset": lambda: creps.load_settings("liver"),
    "a preset that is a number": lambda: creps.load_settings(3),
    "no such settings file": lambda: creps.load_settings(file="none.yaml"),
    "a settings file that is a number": lambda: creps.load_settings(file=3),
    "an unknown setting": lambda: creps.load_settings(overrides={"training.stepps": 1}),
    "overrides that are none": lambda: creps.load_settings(overrides=[1]),
    "read None": lambda: creps.read_volume(None),
    "read what is not there": lambda: creps.read_volume("none.nii.gz"),
    "write an array": lambda: creps.write_volume(np.zeros((2, 2, 2)), "a.nii.gz"),
    "write to None": lambda: creps.write_volume(ball_head(0)[0], None),
    "write an unknown ending": lambda: creps.write_volume(ball_head(0)[0], "a.txt"),
    "prepare None": lambda: creps.prepare(None, "c"),
    "prepare three": lambda: creps.prepare(("a", "b", "c"), "c"),
    "prepare a volume": lambda: creps.prepare(ball_head(0)[0], "c"),
    "prepare what is not there": lambda: creps.prepare("nowhere", "c"),
    "prepare into None": lambda: creps.prepare("heads", None),
    "prepare by two": lambda: creps.prepare("heads", "c", preset="brain", model="model"),
    "prepare by no model": lambda: creps.prepare("heads", "c", model="heads"),
    "train on None": lambda: creps.train(None, "r"),
    "train on what is not there": lambda: creps.train("nowhere", "r"),
    "train into a number": lambda: creps.train("cohort", 3),
    "train no such recipe": lambda: creps.train("cohort", "r", recipe="magic"),
    "train by two": lambda: creps.train("cohort", "r", settings=creps.load_settings(), recipe="cut"),
    "train from no model": lambda: creps.train("cohort", "r", model="heads"),
    "evaluate None": lambda: creps.evaluate(None, "ct.nii.gz"),
    "evaluate what is not there": lambda: creps.evaluate("none.nii.gz", "ct.nii.gz"),
    "evaluate a number": lambda: creps.evaluate("sct.nii.gz", 3),
    "evaluate with a mask for many": lambda: creps.evaluate("heads", "heads", mask="mr.nii.gz"),
    "register how": lambda: creps.evaluate("sct.nii.gz", "ct.nii.gz", register="somehow"),
    "synthesize None": lambda: model_of().synthesize(None),
    "synthesize an array": lambda: model_of().synthesize(np.zeros((9, 9, 9))),
    "synthesize what is not there": lambda: model_of().synthesize("none.nii.gz"),
    "synthesize a CT": lambda: model_of().synthesize("ct.nii.gz"),
    "an unknown inference setting": lambda: model_of().synthesize("mr.nii.gz", fusoin="mean"),
    "a wrong inference setting": lambda: model_of().synthesize("mr.nii.gz", fusion=3),
    "no such grid": lambda: model_of().synthesize("mr.nii.gz", grid="moon"),
    "a grid that is a number": lambda: model_of().synthesize("mr.nii.gz", grid=3),
    "a spacing that is a number": lambda: model_of().synthesize("mr.nii.gz", grid="planning", spacing_mm=2),
    "a spacing for the MR's grid": lambda: model_of().synthesize("mr.nii.gz", spacing_mm=(2, 2, 2)),
    "a mask that is a number": lambda: model_of().synthesize("mr.nii.gz", mask=3),
    "a mask that is not there": lambda: model_of().synthesize("mr.nii.gz", mask="none.nii.gz"),
    "a series of a file": lambda: model_of().synthesize("mr.nii.gz", series="1"),
    "a series of a volume": lambda: model_of().synthesize(ball_head(0)[0], series="1"),
    "a folder that is None": lambda: model_of().synthesize_folder(None, "o"),
    "a folder that is not there": lambda: model_of().synthesize_folder("nowhere", "o"),
    "a list of numbers": lambda: model_of().synthesize_folder([1, 2], "o"),
    "an empty list": lambda: model_of().synthesize_folder([], "o"),
    "export to None": lambda: model_of().export(None),
    "export to a folder": lambda: model_of().export("heads"),
    "save to None": lambda: model_of().save(None),
    "save an sCT to None": lambda: model_of().synthesize("mr.nii.gz").save(None),
    "load an empty path": lambda: creps.load(""),
    "load a name that is too long": lambda: creps.load("x" * 5000),
    "read a null character": lambda: creps.read_volume("a\0.nii.gz"),
    "settings of no cohort": lambda: creps.load_settings(prepared="cohort"),
    "settings of no model": lambda: creps.load_settings(model=3),
    "write below a file": lambda: creps.write_volume(ball_head(0)[0], "mr.nii.gz/a.nii.gz"),
    "write integers, perhaps": lambda: creps.write_volume(ball_head(0)[0], "a.nii.gz", integer="no"),
    "prepare a null character": lambda: creps.prepare("a\0", "c"),
    "prepare below a file": lambda: creps.prepare(("heads/mr", "heads/ct"), "mr.nii.gz/c"),
    "prepare and report to a number": lambda: creps.prepare(("heads/mr", "heads/ct"), "c", progress=3),
    "a preset that is a list": lambda: creps.prepare(("heads/mr", "heads/ct"), "c", preset=["brain"]),
    "resume, perhaps": lambda: creps.train("cohort", "r", resume="auto"),
    "train into a file": lambda: creps.train("cohort", "mr.nii.gz"),
    "evaluate a folder with one CT": lambda: creps.evaluate("heads/ct", "ct.nii.gz"),
    "evaluate one sCT with a folder": lambda: creps.evaluate("sct.nii.gz", "heads/ct"),
    "compare with a number": lambda: creps.evaluate("heads/ct", "heads/ct", against=3),
    "a truth that is a number": lambda: creps.evaluate("heads/ct", "heads/ct", truth=3),
    "labels with names in a list": lambda: creps.evaluate(
        "sct.nii.gz", "ct.nii.gz", labels="ct.nii.gz", label_names=[1]
    ),
    "labels with a number as names": lambda: creps.evaluate(
        "sct.nii.gz", "ct.nii.gz", labels="ct.nii.gz", label_names=3
    ),
    "force, perhaps": lambda: model_of().synthesize("mr.nii.gz", force="no"),
    "report to a number": lambda: model_of().synthesize("mr.nii.gz", progress=3),
    "overwrite, perhaps": lambda: model_of().synthesize_folder("heads/mr", "o", overwrite="no"),
    "a folder below a file": lambda: model_of().synthesize_folder("heads/mr", "mr.nii.gz/o"),
    "export below a file": lambda: model_of().export("mr.nii.gz/model.onnx"),
    "save below a file": lambda: model_of().save("mr.nii.gz/model"),
    "save an sCT below a file": lambda: model_of().synthesize("mr.nii.gz").save("mr.nii.gz/sct.nii.gz"),
    "save to a null character": lambda: model_of().save("a\0b"),
    "save an sCT to a null character": lambda: model_of().synthesize("mr.nii.gz").save("a\0.nii.gz"),
    "overwrite an sCT, perhaps": lambda: model_of().synthesize("mr.nii.gz").save("a.nii.gz", overwrite="no"),
    "structures, perhaps": lambda: model_of().synthesize("mr.nii.gz").save("a.nii.gz", structures=np.ones(2)),
    "another array that is none": lambda: ball_head(0)[0].with_array(None),
    "the same grid as a number": lambda: ball_head(0)[0].same_grid_as(3),
    "another direction that is a name": lambda: ball_head(0)[0].reoriented("RAS"),
    "save an sCT over its MR": lambda: model_of().synthesize("mr.nii.gz").save("mr.nii.gz"),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_call_says_what_is_wrong_and_what_to_do(here, call):
    before = sorted(path.name for path in here.iterdir())
    with pytest.raises(creps.CrepsError) as caught:
        call()
    assert caught.value.what.rstrip().endswith((".", ":", ")"))
    assert caught.value.remedy.rstrip().endswith((".", "?"))
    assert sorted(path.name for path in here.iterdir()) == before


def test_a_number_or_a_word_is_refused_with_all_that_is_possible():
    with pytest.raises(creps.CrepsError, match="should be 'auto' or greater than"):
        creps.load_settings(overrides={"inference.batch_size": 0})
    with pytest.raises(creps.CrepsError, match=r"^.{1,300}$"):  # one line, however long the value
        creps.load_settings(overrides={"inference.fusion": np.zeros((30, 30, 30))})


def test_an_error_of_a_callback_passes(here):
    def closed(*_):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        creps.load("model").synthesize("mr.nii.gz", progress=closed)


def test_a_series_below_a_folder_is_one_image(tmp_path, here):
    for name in ("sct", "ct"):
        write_series(tmp_path / name / "series", np.rint(ball_head(0)[1].array + 1024).clip(0), spacing=(4, 4, 4))
    assert creps.evaluate(tmp_path / "sct", tmp_path / "ct").values["mae_hu"] == 0
