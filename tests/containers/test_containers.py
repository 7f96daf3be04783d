"""The images as users build them, and the tasks as containers of them, on the embedded AWS.

The acts, in order; each builds on the one before:

1. Deploy: both images are built from their Dockerfiles, pushed to the embedded AWS's ECR, and named by their
   digests. Built once more, with nothing kept, their layers are the same. They are small, say what they
   were built from, and have no build tools.
2. Deploy again: nothing is built, nothing is pushed.
3. Train the sample, promote it, ask it: while they run, both containers are held to what the task definitions
   say: an ordinary user, no capabilities and none to gain, a root that cannot be written, a limit of memory.
4. A real registry takes both images, and gives them back. Meanwhile the server was asked for its health.
5. Deploy the images from the real registry: the server rolls on to the one from there, and the one before
   ends by SIGTERM.
6. Destroy: no container and no volume is left.
"""

import hashlib
import json
import re
import resource
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.nerforge.aws.plugins.plugin_utils import ecr

MEGABYTE = 1000 * 1000  # as engines count
LARGEST = {"server": 400 * MEGABYTE, "trainer": 450 * MEGABYTE}
MIB = 1024 * 1024
SAMPLE = "playbooks/specs/sample.yml"
SENTENCE = "Europa Clipper will ride to Jupiter's moon Europa for NASA after its launch on a Falcon Heavy."
UNCHANGED_SECONDS = 60
BUILD_TOOLS = ("gcc", "cc", "ld", "strip", "make", "git")


@pytest.fixture(scope="module")
def references(deployment, engine) -> dict[str, str]:
    """Both images as they were pushed, by their digests."""
    found = {}
    for name in LARGEST:
        repository = f"{deployment.prefix}/{name}"
        (image,) = deployment.client("ecr").describe_images(repositoryName=repository)["imageDetails"]
        found[name] = f"127.0.0.1:{deployment.port}/{repository}@{image['imageDigest']}"
    return found


def layers(engine, image: str) -> list[str]:
    """The digests of an image's layers."""
    return engine.inspect(image)["RootFS"]["Layers"]


def ours(deployment, name: str) -> str:
    """The repository of an image that the deployment builds."""
    return f"127.0.0.1:{deployment.port}/{deployment.prefix}/{name}"


def build_again(deployment, engine, name: str, reference: str) -> list[str]:
    """Build once more what ``reference`` was built from, with nothing kept. Returns the layers."""
    context = deployment.images / name / reference.rpartition(":")[2] / "context"
    again = f"{ours(deployment, name)}-again"
    engine("build", "--no-cache", *engine.build_arguments, "--tag", again, context)
    return layers(engine, again)


def wait_until(holds, seconds: float) -> Any:
    """What ``holds`` returns as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (result := holds()):
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        time.sleep(0.1)
    return result


def test_1_deploy_and_build_the_same_layers_again(deployment, engine):
    with ThreadPoolExecutor() as beside:
        deployed = beside.submit(deployment.playbook, "playbooks/deploy.yml")
        again = {}
        for name in ("trainer", "server"):  # each while the deploy goes on
            found = wait_until(
                lambda name=name: engine.images(ours(deployment, name)) or deployed.done(), 900
            )
            assert found is not True, "see what deploy.yml has printed"
            again[found[0]] = beside.submit(build_again, deployment, engine, name, found[0])
        for reference, build in again.items():
            assert build.result() == layers(engine, reference)
        assert deployed.result().returncode == 0


@pytest.mark.parametrize("name", LARGEST)
def test_1_the_image_is_small_and_says_what_it_is(deployment, engine, references, root: Path, name: str):
    image = engine.inspect(references[name])
    print(f"{name}: {image['Size'] / MEGABYTE:.0f} MB")
    assert image["Size"] <= LARGEST[name]
    assert image["Config"]["User"] == "10001:10001"
    labels = image["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == f"nerforge {name}"
    assert (
        labels["org.opencontainers.image.version"]
        == yaml.safe_load((root / "galaxy.yml").read_text())["version"]
    )
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", labels["org.opencontainers.image.revision"])


@pytest.mark.parametrize("name", LARGEST)
def test_1_the_image_has_no_build_tools(engine, references, name: str):
    look = (
        "import importlib.util as u, shutil;"
        f"print([tool for tool in {BUILD_TOOLS} if shutil.which(tool)], u.find_spec('pip'))"
    )
    assert engine("run", "--rm", "--entrypoint=python", references[name], "-c", look) == "[] None"


def test_2_an_unchanged_deploy_builds_and_pushes_nothing(deployment, engine):
    images = [engine.inspect(image)["Id"] for image in engine.images(ours(deployment, "*"))]
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = deployment.playbook("playbooks/deploy.yml")
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    work = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert ended.returncode == 0
    assert "  building " not in ended.stdout
    assert "  pushing " not in ended.stdout
    assert [engine.inspect(image)["Id"] for image in engine.images(ours(deployment, "*"))] == images
    print(f"unchanged deploy: {seconds:.0f} s, and {work:.0f} s of CPU")
    assert work <= UNCHANGED_SECONDS  # on a machine that has nothing else to do it is much the same


def confinement(engine, container: dict[str, Any]) -> dict[str, Any]:
    """What an engine says that it holds a container to, and what the kernel says of its first process."""
    host = container["HostConfig"]
    kernel = dict(
        re.findall(r"^(\w+):\t(\S+)", engine("exec", container["Id"], "cat", "/proc/1/status"), re.MULTILINE)
    )
    return {
        "user": (container["Config"]["User"], kernel["Uid"], kernel["Gid"]),
        "read-only root": host["ReadonlyRootfs"],
        "writable": [mount["Destination"] for mount in container["Mounts"] if mount["RW"]],
        "capabilities": (host["CapAdd"] or [], host["CapDrop"], kernel["CapEff"], kernel["CapBnd"]),
        "no new privileges": (host["SecurityOpt"], kernel["NoNewPrivs"]),
        "init": host["Init"],
        "privileged": host["Privileged"],
        "published ports": host["PortBindings"] or {},
    }


def memory_limit(engine, container: dict[str, Any]) -> int:
    """How many bytes of memory the kernel gives a container, by cgroups of version 2 or 1."""
    look = "cd /sys/fs/cgroup && cat memory.max 2> /dev/null || cat memory/memory.limit_in_bytes"
    return int(engine("exec", container["Id"], "sh", "-c", look))


def volumes(containers: list[dict[str, Any]]) -> set[str]:
    """The names of the containers' volumes."""
    return {mount["Name"] for container in containers for mount in container["Mounts"]}


CONFINED = {
    "user": ("10001:10001", "10001", "10001"),
    "read-only root": True,
    "writable": ["/tmp"],
    "capabilities": ([], ["ALL"], "0" * 16, "0" * 16),
    "no new privileges": (["no-new-privileges"], "1"),
    "init": True,
    "privileged": False,
    "published ports": {},
}


@pytest.fixture(scope="module")
def scratch() -> set[str]:
    """The volumes of the containers that were seen."""
    return set()


def test_3_train_the_sample_in_a_container(deployment, engine, references, scratch, root: Path):
    with ThreadPoolExecutor() as beside:
        trained = beside.submit(deployment.playbook, "playbooks/train.yml", "-e", f"spec={SAMPLE}")
        found = wait_until(lambda: engine.containers(deployment.prefix, "trainer") or trained.done(), 900)
        assert found is not True, "the training has ended before its container was seen"
        (trainer,) = found
        assert confinement(engine, trainer) == CONFINED
        asked = yaml.safe_load((root / SAMPLE).read_text())["resources"]["memory_mib"]
        assert memory_limit(engine, trainer) == asked * MIB
        assert trainer["Config"]["Image"] == references["trainer"]
        assert trained.result().returncode == 0
    scratch |= volumes([trainer])
    (run,) = deployment.runs()
    assert run["state"] == "SUCCEEDED"


class ColdStart(threading.Thread):
    """Looks out for the first new server's container, and asks it until it is ready."""

    def __init__(self, deployment, engine) -> None:
        super().__init__(daemon=True)
        self._servers = lambda: engine.containers(deployment.prefix, "server")
        self._known = {container["Id"] for container in self._servers()}
        self.seconds: float | None = None
        self.container: dict[str, Any] = {}
        self.start()

    def run(self) -> None:
        def new() -> list[dict[str, Any]]:
            return [found for found in self._servers() if found["Id"] not in self._known]

        self.container = wait_until(new, 300)[-1]
        began = datetime.fromisoformat(self.container["State"]["StartedAt"])
        wait_until(self._is_ready, 60)
        self.seconds = (datetime.now(began.tzinfo) - began).total_seconds()

    def _is_ready(self) -> bool:
        (network,) = self.container["NetworkSettings"]["Networks"].values()
        try:
            with urllib.request.urlopen(f"http://{network['IPAddress']}:8080/ready", timeout=5):
                return True
        except OSError:
            return False


def test_3_promote_it_and_ask_the_container(deployment, engine, references, scratch):
    cold = ColdStart(deployment, engine)
    assert deployment.playbook("playbooks/promote.yml", "-e", "model=space:1").returncode == 0
    cold.join(60)
    print(f"server's container to ready: {cold.seconds:.2f} s")
    servers = engine.containers(deployment.prefix, "server")
    assert len(servers) == int(deployment.parameter("serving/desired_count"))
    for server in servers:
        assert confinement(engine, server) == CONFINED
        assert memory_limit(engine, server) == 2048 * MIB
        assert server["Config"]["Image"] == references["server"]
        assert server["Config"]["Healthcheck"]["Interval"] == 15 * 10**9
    scratch |= volumes(servers)
    entities = deployment.ask("/ner", SENTENCE.encode())
    assert {"text": "NASA", "tag": "AGENCY"}.items() <= next(
        e for e in entities if e["text"] == "NASA"
    ).items()
    assert deployment.ask("/model")["engine"]


@pytest.fixture(scope="module")
def in_registry(engine, registry, references) -> Iterator[dict[str, str]]:
    """Both images in the real registry, pushed as the deploy pushes, by their digests."""
    command = ["env", *(f"{name}={value}" for name, value in engine.environment.items()), engine.command]

    def push(name: str) -> str:
        target = f"{registry.address}/mine/{name}"
        engine("tag", references[name], f"{target}:1")
        ecr.push(command, f"{target}:1", None, print)
        return f"{target}@{references[name].rpartition('@')[2]}"

    with ThreadPoolExecutor() as both:
        yield dict(zip(references, both.map(push, references), strict=True))
    engine.forget(f"{registry.address}/mine/*")


def test_4_a_real_registry_takes_them_and_gives_them_back(engine, registry, references, in_registry):
    for name, reference in in_registry.items():
        repository, __, digest = reference.removeprefix(f"{registry.address}/").partition("@")
        assert f"sha256:{hashlib.sha256(registry.manifest(repository, digest)).hexdigest()}" == digest
        engine("image", "rm", f"{registry.address}/{repository}:1")  # and with the last tag the digest
        engine("pull", reference)
        assert engine.inspect(reference)["Id"] == engine.inspect(references[name])["Id"]


def test_4_the_containers_are_healthy(deployment, engine):
    def health() -> set[str]:
        servers = engine.containers(deployment.prefix, "server")
        return {server["State"]["Health"]["Status"] for server in servers}

    wait_until(lambda: "starting" not in health(), 60)
    assert health() == {"healthy"}


def test_5_roll_on_to_the_image_of_the_real_registry(deployment, engine, in_registry):
    before = engine.containers(deployment.prefix, "server")
    cold = ColdStart(deployment, engine)
    images = json.dumps({"nerforge_images": in_registry})
    assert deployment.playbook("playbooks/deploy.yml", "-e", images).returncode == 0
    cold.join(60)
    print(f"server's container to ready: {cold.seconds:.2f} s")
    assert cold.container["Config"]["Image"] == in_registry["server"]
    assert deployment.ask("/model")["version"] == 1
    assert [ended(deployment, server) for server in before] == [0] * len(before)


def ended(deployment, container: dict[str, Any]) -> int | None:
    """The exit code of a container that was stopped, as ECS tells it: 137 is SIGKILL's."""
    ecs = deployment.client("ecs")
    task = container["Config"]["Labels"]["com.amazonaws.ecs.task-arn"]

    def stopped() -> list[dict[str, Any]]:
        (told,) = ecs.describe_tasks(cluster=deployment.prefix, tasks=[task])["tasks"]
        return told["containers"] if told["lastStatus"] == "STOPPED" else []

    (told,) = wait_until(stopped, 60)
    return told["exitCode"]


def test_6_destroy_leaves_no_container_and_no_volume(deployment, engine, scratch):
    assert scratch & engine.volumes()
    assert deployment.playbook("playbooks/destroy.yml").returncode == 0
    wait_until(lambda: not engine.containers(deployment.prefix, "server"), 60)
    assert not scratch & engine.volumes()
