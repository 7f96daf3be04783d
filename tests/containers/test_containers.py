"""The images as users build them, and the tasks as containers of them, on the embedded AWS.

The acts, in order; each builds on the one before:

1. Deploy: both images are built from their Dockerfiles, pushed to the embedded AWS's ECR, and named by their
   digests. Built once more, with nothing kept, their layers are the same. They are small, say what they
   were built from, and have no build tools.
2. Deploy again: nothing is built, nothing is pushed.
3. A real registry takes both, and gives them back.
4. Train the sample, promote it, ask it: while they run, both containers are held to what the task definitions
   say: an ordinary user, no capabilities and none to gain, a root that cannot be written, a limit of memory.
5. Deploy the images from the real registry: the server rolls on to the one from there, and the one before
   ends by SIGTERM.
6. Destroy: no container and no volume is left.
"""

import json
import re
import resource
import threading
import time
import urllib.error
import urllib.request
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


def built(deployment, engine, name: str) -> str | None:
    """The reference of an image that the deployment has built, with its tag, or None."""
    found = engine(
        "image",
        "ls",
        "--format",
        "{{.Repository}}:{{.Tag}}",
        "--filter",
        "label=org.opencontainers.image.version",
    )
    prefix = f"127.0.0.1:{deployment.port}/{deployment.prefix}/{name}:"
    return next((reference for reference in found.split() if reference.startswith(prefix)), None)


def build_again(deployment, engine, name: str, reference: str) -> None:
    """Build ``again/<name>`` from what ``reference`` was built from, with nothing kept."""
    context = deployment.images / name / reference.rpartition(":")[2] / "context"
    engine("build", "--no-cache", *engine.build_arguments, "--tag", f"again/{name}", context)


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
        # Once both are built, the deploy waits for a load balancer, mostly.
        wait_until(lambda: deployed.done() or built(deployment, engine, "server"), 900)
        references = {name: built(deployment, engine, name) for name in LARGEST}
        assert all(references.values()), "see what deploy.yml has printed"
        again = [beside.submit(build_again, deployment, engine, *image) for image in references.items()]
        for name, build in zip(references, again, strict=True):
            build.result()
            assert layers(engine, f"again/{name}") == layers(engine, references[name])
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
    images = engine("image", "ls", "--quiet", "--no-trunc")
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = deployment.playbook("playbooks/deploy.yml")
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    work = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert ended.returncode == 0
    assert "  building " not in ended.stdout
    assert "  pushing " not in ended.stdout
    assert engine("image", "ls", "--quiet", "--no-trunc") == images
    print(f"unchanged deploy: {seconds:.0f} s, and {work:.0f} s of CPU")
    assert work <= UNCHANGED_SECONDS  # on a machine that has nothing else to do it is much the same


@pytest.fixture(scope="module")
def in_registry(engine, registry, references) -> dict[str, str]:
    """Both images in the real registry, pushed as the deploy pushes, by their digests."""
    found = {}
    for name, reference in references.items():
        target = f"{registry.address}/mine/{name}"
        engine("tag", reference, f"{target}:1")
        ecr.push([*_with_environment(engine)], f"{target}:1", None, print)
        found[name] = f"{target}@{reference.rpartition('@')[2]}"
    return found


def _with_environment(engine) -> list[str]:
    return ["env", *(f"{name}={value}" for name, value in engine.environment.items()), engine.command]


def test_3_a_real_registry_takes_them_and_gives_them_back(engine, registry, references, in_registry):
    for name, reference in in_registry.items():
        repository, __, digest = reference.removeprefix(f"{registry.address}/").partition("@")
        manifest = registry.manifest(repository, digest)
        assert manifest["config"]["digest"] == engine.inspect(references[name])["Id"]
        engine("image", "rm", f"{registry.address}/{repository}:1")  # and with the last tag the digest
        engine("pull", reference)
        assert engine.inspect(reference)["Id"] == manifest["config"]["digest"]


def confinement(container: dict[str, Any]) -> dict[str, Any]:
    """What an engine says that it holds a container to, and what the kernel says of its first process."""
    host = container["HostConfig"]
    status = Path(f"/proc/{container['State']['Pid']}/status").read_text()
    kernel = dict(re.findall(r"^(\w+):\t(\S+)", status, re.MULTILINE))
    return {
        "user": (container["Config"]["User"], kernel["Uid"], kernel["Gid"]),
        "read-only root": host["ReadonlyRootfs"],
        "writable": [mount["Destination"] for mount in container["Mounts"] if mount["RW"]],
        "capabilities": (host["CapAdd"], host["CapDrop"], kernel["CapEff"], kernel["CapBnd"]),
        "no new privileges": (host["SecurityOpt"], kernel["NoNewPrivs"]),
        "init": host["Init"],
        "privileged": host["Privileged"],
        "published ports": host["PortBindings"] or {},
    }


CONFINED = {
    "user": ("10001:10001", "10001", "10001"),
    "read-only root": True,
    "writable": ["/tmp"],
    "capabilities": (None, ["ALL"], "0" * 16, "0" * 16),
    "no new privileges": (["no-new-privileges"], "1"),
    "init": True,
    "privileged": False,
    "published ports": {},
}


def test_4_train_the_sample_in_a_container(deployment, engine, references, root: Path):
    with ThreadPoolExecutor() as beside:
        trained = beside.submit(deployment.playbook, "playbooks/train.yml", "-e", f"spec={SAMPLE}")
        found = wait_until(lambda: trained.done() or engine.containers("trainer"), 120)
        assert found is not True, "the training has ended before its container was seen"
        (trainer,) = found
        assert confinement(trainer) == CONFINED
        asked = yaml.safe_load((root / SAMPLE).read_text())["resources"]["memory_mib"]
        assert trainer["HostConfig"]["Memory"] == asked * MIB
        assert trainer["Config"]["Image"] == references["trainer"]
        assert trained.result().returncode == 0
    (run,) = deployment.runs()
    assert run["state"] == "SUCCEEDED"


class ColdStart(threading.Thread):
    """Looks out for the first new server's container, and asks it until it is ready."""

    def __init__(self, engine) -> None:
        super().__init__(daemon=True)
        self._engine = engine
        self._known = {container["Id"] for container in engine.containers("server")}
        self.seconds: float | None = None
        self.container: dict[str, Any] = {}
        self.start()

    def run(self) -> None:
        def new() -> list[dict[str, Any]]:
            return [found for found in self._engine.containers("server") if found["Id"] not in self._known]

        self.container = wait_until(new, 300)[-1]
        began = datetime.fromisoformat(self.container["State"]["StartedAt"])
        wait_until(self._is_ready, 60)
        self.seconds = (datetime.now(began.tzinfo) - began).total_seconds()

    def _is_ready(self) -> bool:
        address = self.container["NetworkSettings"]["IPAddress"]
        try:
            with urllib.request.urlopen(f"http://{address}:8080/ready", timeout=5):
                return True
        except OSError:
            return False


def test_4_promote_it_and_ask_the_container(deployment, engine, references):
    cold = ColdStart(engine)
    assert deployment.playbook("playbooks/promote.yml", "-e", "model=space:1").returncode == 0
    cold.join(60)
    print(f"server's container to ready: {cold.seconds:.2f} s")
    servers = engine.containers("server")
    assert len(servers) == int(deployment.parameter("serving/desired_count"))
    for server in servers:
        assert confinement(server) == CONFINED
        assert server["HostConfig"]["Memory"] == 2048 * MIB
        assert server["Config"]["Image"] == references["server"]
        assert server["Config"]["Healthcheck"]["Interval"] == 15 * 10**9
    entities = deployment.ask("/ner", SENTENCE.encode())
    assert {"text": "NASA", "tag": "AGENCY"}.items() <= next(
        e for e in entities if e["text"] == "NASA"
    ).items()
    assert deployment.ask("/model")["engine"]


def test_4_the_containers_are_healthy(engine):
    def health() -> set[str]:
        return {server["State"]["Health"]["Status"] for server in engine.containers("server")}

    wait_until(lambda: "starting" not in health(), 60)
    assert health() == {"healthy"}


def test_5_roll_on_to_the_image_of_the_real_registry(deployment, engine, in_registry):
    before = engine.containers("server")
    cold = ColdStart(engine)
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


def test_6_destroy_leaves_no_container_and_no_volume(deployment, engine):
    assert deployment.playbook("playbooks/destroy.yml").returncode == 0
    label = "label=com.amazonaws.ecs.cluster"
    wait_until(lambda: not engine("ps", "--all", "--quiet", "--filter", label), 60)
    assert engine("volume", "ls", "--quiet", "--filter", "dangling=true") == ""
