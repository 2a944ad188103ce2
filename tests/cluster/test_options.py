"""What ``--slurm`` accepts, and what it makes of it."""

import pytest

from creps.cluster.options import slurm_options
from creps.cluster.queue import Queue
from creps.errors import InputError, SettingsError
from creps.parallel import THREADS
from tests import components


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90", 90), ("2:00:00", 120), ("1-0", 1440), ("1-02:30", 1590), ("1-02:30:00", 1590), ("10:00", 10), ("0:30", 1)],
)
def test_time_limits_are_read_as_slurm_reads_them(text, minutes, tmp_path):
    assert slurm_options(f"time={text}").time == minutes
    (tmp_path / "cluster.yaml").write_text(f"time: {text}\n")
    assert slurm_options(tmp_path / "cluster.yaml").time == minutes


def test_later_values_replace_those_of_a_file(tmp_path):
    (tmp_path / "cluster.yaml").write_text(
        "partition: gpu\nshards: 8\naccount: null\nsetup:\n  - module load cuda\nsbatch:\n  reservation: study\n"
    )
    options = slurm_options([str(tmp_path / "cluster.yaml"), "shards=20", "setup=export A=b"])
    assert (options.partition, options.shards, options.account) == ("gpu", 20, None)
    assert options.setup == ("export A=b",)
    assert options.sbatch == {"reservation": "study"}
    assert slurm_options({"shards": 3, "setup": ["a", "b"]}).setup == ("a", "b")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("memroy=16G", "Unknown option of SLURM: 'memroy'. Did you mean 'memory'?"),
        ("memory=16", "option memory = '16'"),
        ("gpus=2", "option gpus = '2'"),
        ("shards=many", "option shards = 'many'"),
        ("time=soon", "option time = 'soon'"),
        (7, "slurm is of the type int"),
    ],
)
def test_wrong_options_are_named(given, message):
    with pytest.raises(SettingsError) as caught:
        slurm_options(given)
    assert message in str(caught.value)


@pytest.mark.parametrize(("text", "message"), [("a: [", "not a YAML file"), ("gpu\n", "no names with values")])
def test_files_without_options_are_refused(tmp_path, text, message):
    (tmp_path / "cluster.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        slurm_options(tmp_path / "cluster.yaml")


def test_a_job_asks_for_what_the_options_say_and_limits_its_threads(tmp_path):
    components.need("submitit")
    from submitit.slurm.slurm import _make_sbatch_string

    options = slurm_options(
        ["partition=gpu", "memory=16G", "cpus=6", "gpus=1", "time=2:00:00", "at_once=3", "setup=module load cuda"]
    ).model_copy(update={"sbatch": {"exclusive": "true", "reservation": "study"}})
    parameters = Queue(options, tmp_path, "creps-synthesize")._parameters()
    script = _make_sbatch_string(command="python", folder=tmp_path, map_count=9, **parameters)
    for line in (
        *("job-name=creps-synthesize", "partition=gpu", "mem=16G", "cpus-per-task=6", "gpus-per-node=1", "time=120"),
        *("array=0-8%3", "exclusive", "reservation=study"),
    ):
        assert f"#SBATCH --{line}\n" in script
    assert "wckey" not in script
    assert "srun" not in script
    lines = script.splitlines()
    assert [line for line in lines if line.startswith("export OMP_")] == ["export OMP_NUM_THREADS=6"]
    assert all(f"export {name}=6" in lines for name in THREADS)
    assert lines.index("module load cuda") < lines.index("export OMP_NUM_THREADS=6") < lines.index("python")
