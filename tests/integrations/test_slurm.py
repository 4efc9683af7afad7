"""The health check and the prolog on a real slurmctld and slurmd, by the real command on recorded nodes."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

import pytest
import rig_slurm

FIXTURES = Path(__file__).parents[2] / "fixtures"
HEALTHY, OFF_THE_BUS, GPU_3_HANGS = "h100x8-healthy", "h100x8-gpu-off-the-bus", "h100x8-one-hangs"

#: The real command on a recorded machine; it hangs or ends with a code when it is told to.
_PROGRAM = """#!/bin/sh
[ ! -e {folder}/hang ] || {{ echo > {folder}/hung; exec sleep 1000; }}
[ ! -e {folder}/code ] || exit $(cat {folder}/code)
echo ran >> {folder}/runs
exec {command} "$@" --no-config --snapshot {folder}/node.json
"""

pytestmark = pytest.mark.tier("slurm")


class Node:
    """What gpudoctor sees on the node, and how its wrapper is installed there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = Path(sys.executable).with_name("gpudoctor")
        self.program = folder / "gpudoctor"
        self.program.write_text(_PROGRAM.format(folder=folder, command=command))
        self.program.chmod(0o755)
        self.settings = folder / "settings"
        self.always = ""
        self.well()

    def well(self) -> None:
        """Be as on the first day."""
        self.settings.write_text(self.always)
        (self.folder / "runs").unlink(missing_ok=True)
        self.sees(HEALTHY)

    def set(self, line: str) -> None:
        self.settings.write_text(f"{self.always}{line}\n")

    def sees(self, machine: str) -> None:
        for name in ("hang", "code"):
            (self.folder / name).unlink(missing_ok=True)
        fresh = self.folder / "node.new"
        shutil.copy(FIXTURES / machine / "snapshot.json", fresh)
        fresh.replace(self.folder / "node.json")

    def hangs(self) -> None:
        (self.folder / "hang").touch()

    def ends_with(self, code: int) -> None:
        (self.folder / "code").write_text(str(code))

    def runs(self) -> int:
        path = self.folder / "runs"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def install(self, name: str) -> Path:
        """Write the wrapper as its owner would; only the settings file is elsewhere."""
        gpudoctor = Path(sys.executable).with_name("gpudoctor")
        command = [str(gpudoctor), "integrate", name, "-o", str(self.folder), "--program", str(self.program)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        [script] = [path for path in self.folder.iterdir() if path.name in ("gpudoctor-slurm", "gpudoctor-prolog")]
        text = script.read_text()
        assert text.count(f"/etc/default/{script.name}") == 3
        script.write_text(text.replace(f"/etc/default/{script.name}", str(self.settings)))
        return script


class Cluster(NamedTuple):
    """A cluster, its node, and the wrapper on it."""

    slurm: rig_slurm.Slurm
    node: Node
    script: Path

    def look(self, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the wrapper once, as slurmd does."""
        words = [f"{name}={value}" for name, value in {"SLURMD_NODENAME": "rig", **variables}.items()]
        return self.slurm.tell("env", "-i", *words, str(self.script), seconds=60)

    def state(self) -> tuple[str, str]:
        return self.slurm.state(), self.slurm.reason()


@contextlib.contextmanager
def cluster_with(name: str, conf: str = "") -> Generator[Cluster, None, None]:
    folder = Path(tempfile.mkdtemp(prefix="gpudoctor-node-"))
    folder.chmod(0o755)
    node = Node(folder)
    script = node.install(name)
    try:
        with rig_slurm.slurm(conf.format(script=script)) as slurm:
            # slurmd gives its health check no SLURM_CONF, and this cluster's is not at its usual place.
            node.always = f"export SLURM_CONF={slurm.folder}/slurm.conf\n"
            node.well()
            yield Cluster(slurm, node, script)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def by_hand() -> Generator[Cluster, None, None]:
    with cluster_with("slurm") as cluster:
        yield cluster


@pytest.fixture
def cluster(by_hand: Cluster) -> Cluster:
    """A healthy idle node; its health check runs when the test runs it."""
    by_hand.node.well()
    by_hand.slurm.tell("scontrol", "update", "NodeName=rig", "State=RESUME")
    rig_slurm.wait_until(lambda: by_hand.slurm.state() == "idle", "an idle node")
    return by_hand


@pytest.fixture
def watched() -> Generator[Cluster, None, None]:
    """A node that slurmd itself looks after."""
    conf = "HealthCheckProgram={script}\nHealthCheckInterval=2\nHealthCheckNodeState=CYCLE,IDLE"
    with cluster_with("slurm", conf) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def gate() -> Generator[Cluster, None, None]:
    with cluster_with("slurm-prolog", "Prolog={script}\nEpilog={script}\nPrologFlags=Alloc") as cluster:
        yield cluster


@pytest.fixture
def gated(gate: Cluster) -> Cluster:
    gate.node.well()
    gate.slurm.tell("scancel", "--user=root")
    gate.slurm.tell("scontrol", "update", "NodeName=rig", "State=RESUME")
    rig_slurm.wait_until(lambda: gate.slurm.state() == "idle", "an idle node")
    return gate


def is_drained(cluster: Cluster) -> bool:
    return cluster.slurm.state() in ("drained", "draining")


def test_slurmd_drains_a_sick_node_with_our_reason_and_resumes_it(watched: Cluster) -> None:
    watched.node.sees(OFF_THE_BUS)
    rig_slurm.wait_until(lambda: is_drained(watched), "a drained node")
    reason = watched.slurm.reason()
    watched.node.sees(HEALTHY)
    rig_slurm.wait_until(lambda: watched.slurm.state() == "idle", "an idle node")
    assert reason.startswith("gpudoctor: gpu.xid gpu:5: ")


def test_jobs_run_while_gpudoctor_hangs(watched: Cluster) -> None:
    watched.node.hangs()
    rig_slurm.wait_until(lambda: (watched.node.folder / "hung").exists(), "a check that hangs")
    assert watched.slurm.tell("srun", "--gres=gpu:1", "true", seconds=20).returncode == 0


def test_a_hung_gpudoctor_ends_within_slurmds_minute_and_does_not_drain(cluster: Cluster) -> None:
    cluster.node.hangs()
    started = time.monotonic()
    done = cluster.look()
    assert time.monotonic() - started < 55
    assert (done.returncode, "did not end within 25 s" in done.stderr, cluster.slurm.state()) == (0, True, "idle")


def test_a_reason_follows_what_is_sick(cluster: Cluster) -> None:
    cluster.node.sees(OFF_THE_BUS)
    cluster.look()
    cluster.node.sees(GPU_3_HANGS)
    cluster.look()
    assert cluster.slurm.reason().startswith("gpudoctor: gpu.not-responding gpu:3")


@pytest.mark.parametrize("machine", [HEALTHY, OFF_THE_BUS])
def test_what_somebody_else_drained_stays_theirs(cluster: Cluster, machine: str) -> None:
    cluster.slurm.update("State=DRAIN", "Reason=new fans on Monday")
    cluster.node.sees(machine)
    assert cluster.look().returncode == 0
    assert cluster.state() == ("drained", "new fans on Monday")


def test_no_verdict_does_not_drain(cluster: Cluster) -> None:
    cluster.node.ends_with(3)
    assert cluster.look().returncode == 0
    assert cluster.slurm.state() == "idle"


def test_no_verdict_drains_where_its_owner_wants_that(cluster: Cluster) -> None:
    cluster.node.set("ON_UNKNOWN=drain")
    cluster.node.ends_with(3)
    cluster.look()
    assert (is_drained(cluster), cluster.slurm.reason().startswith("gpudoctor: unknown")) == (True, True)


def test_no_verdict_does_not_resume(cluster: Cluster) -> None:
    cluster.node.sees(OFF_THE_BUS)
    cluster.look()
    cluster.node.ends_with(3)
    cluster.look()
    assert is_drained(cluster)


def test_a_missing_gpudoctor_does_not_drain(cluster: Cluster) -> None:
    cluster.node.set("GPUDOCTOR=/nowhere/gpudoctor")
    done = cluster.look()
    assert (cluster.slurm.state(), "ended with code 127" in done.stderr) == ("idle", True)


def test_a_down_node_is_left_alone(cluster: Cluster) -> None:
    cluster.slurm.update("State=DOWN", "Reason=gpudoctor: tried by hand")
    cluster.node.sees(OFF_THE_BUS)
    done = cluster.look()
    assert (cluster.slurm.state(), "left alone in state down" in done.stderr) == ("down", True)


def test_a_node_of_which_slurm_expects_no_gpu_is_not_judged() -> None:
    with cluster_with("slurm") as cluster:
        cluster.node.sees("no-gpu")
        conf = cluster.slurm.folder / "slurm.conf"
        conf.write_text(conf.read_text().replace("Gres=gpu:4", ""))
        (cluster.slurm.folder / "gres.conf").write_text("")
        assert cluster.slurm.tell("scontrol", "reconfigure").returncode == 0
        rig_slurm.wait_until(lambda: "gpu" not in cluster.slurm.tell("sinfo", "-h", "-o", "%G").stdout, "no GRES")
        assert (cluster.look().returncode, cluster.slurm.state(), cluster.node.runs()) == (0, "idle", 0)


def test_a_job_starts_on_gpus_that_are_well(gated: Cluster) -> None:
    gated.node.sees(GPU_3_HANGS)
    done = gated.slurm.tell("srun", "--gres=gpu:2", "sh", "-c", "echo GPUs $CUDA_VISIBLE_DEVICES", seconds=60)
    assert done.stdout == "GPUs 0,1\n"


def test_a_job_with_a_sick_gpu_is_held_back_and_its_node_drains(gated: Cluster) -> None:
    gated.node.sees(GPU_3_HANGS)
    ran = gated.slurm.folder / "ran"
    submitted = gated.slurm.tell("sbatch", "--parsable", "--gres=gpu:4", "--output=/dev/null", f"--wrap=touch {ran}")
    assert submitted.returncode == 0, submitted.stderr
    rig_slurm.wait_until(lambda: is_drained(gated), "a drained node")
    rig_slurm.wait_until(lambda: "PENDING" in gated.slurm.tell("squeue", "-h", "-o", "%T").stdout, "a job put back")
    why = gated.slurm.tell("squeue", "-h", "-o", "%r").stdout
    assert (gated.slurm.reason(), "held" in why, ran.exists()) == ("Prolog error", True, False), why


def test_the_prolog_says_which_check_it_was(gated: Cluster) -> None:
    gated.node.sees(GPU_3_HANGS)
    done = gated.look(SLURM_JOB_GPUS="3", SLURM_JOB_ID="7", SLURM_SCRIPT_CONTEXT="prolog_slurmd")
    assert done.returncode == 1
    assert "prolog_slurmd of job 7, GPUs 3: blocked: gpu.not-responding gpu:3" in done.stderr


def test_a_job_without_gpus_is_not_judged(gated: Cluster) -> None:
    gated.node.sees(OFF_THE_BUS)
    assert gated.slurm.tell("srun", "true", seconds=60).returncode == 0
    assert gated.node.runs() == 0


def test_a_prolog_that_hangs_lets_the_job_pass_within_five_seconds(gated: Cluster) -> None:
    gated.node.hangs()
    started = time.monotonic()
    done = gated.look(SLURM_JOB_GPUS="0")
    assert time.monotonic() - started < 5
    assert (done.returncode, "no verdict, let pass" in done.stderr) == (0, True)


@pytest.mark.parametrize("code", [2, 3, 126, 127, 137])
def test_no_verdict_lets_the_job_pass(gated: Cluster, code: int) -> None:
    gated.node.ends_with(code)
    assert gated.look(SLURM_JOB_GPUS="0,1").returncode == 0
