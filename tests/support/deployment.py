"""A deployment on an embedded AWS of its own, made and driven by the playbooks a user runs."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def fresh(root: Path, name: str) -> Iterator["Deployment"]:
    """A deployment of this name, with a home of this name and a port of its own.

    Whatever is left in the home, of these tests or of some that were killed, is removed.
    """
    deployment = Deployment(root, root / ".nerforge" / name, free_port(), name)
    deployment.remove()
    try:
        yield deployment
    finally:
        deployment.remove()


@dataclass
class Deployment:
    """Where a deployment lives, and how to talk to it.

    Parameters
    ----------
    root:
        The project's root.
    home:
        What the playbooks know as nerforge_home. What is installed is not kept there: it is named by its
        content and shared with every other deployment under ``root``.
    port:
        The embedded AWS's.
    prefix:
        Begins the name of all that is deployed.
    key:
        The API key to ask the server with.
    variables:
        Ansible variables that every playbook gets.
    environment:
        What every playbook finds in its environment, beside the test's own.
    """

    root: Path
    home: Path
    port: int
    prefix: str
    key: str = ""
    variables: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where the load balancer answers."""
        return f"{self.endpoint}/_alb/{self.prefix}"

    @property
    def endpoint(self) -> str:
        """Where the embedded AWS answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def images(self) -> Path:
        """The staged images and their environments."""
        return self.root / ".nerforge" / "images"

    @property
    def emulator_venv(self) -> Path:
        """The embedded AWS's environment."""
        return self.root / ".nerforge" / "local-aws-venv"

    def playbook(self, name: str, *arguments: str, folder: str = ".") -> subprocess.CompletedProcess[str]:
        """Run a playbook as a user would; its output is shown when a test fails."""
        environment = os.environ | {
            "NERFORGE_HOME": str(self.home),
            "NERFORGE_PORT": str(self.port),
            "ANSIBLE_FORCE_COLOR": "0",
            # A deployment under test must not lean on what the test's own environment holds.
            "AWS_ACCESS_KEY_ID": "",
            "AWS_SECRET_ACCESS_KEY": "",
            **self.environment,
        }
        ended = subprocess.run(
            [
                self.root / ".nerforge" / "venv" / "bin" / "ansible-playbook",
                name,
                *("-e", f"nerforge_prefix={self.prefix}"),
                *("-e", f"images_home={self.images}"),
                *("-e", f"local_aws_images={self.images}"),
                *("-e", f"local_aws_venv={self.emulator_venv}"),
                *("-e", json.dumps(self.variables)),
                *arguments,
            ],
            cwd=self.root / folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
            check=False,
        )
        print(f"$ ansible-playbook {name} {' '.join(arguments)}  (exit {ended.returncode})\n{ended.stdout}")
        return ended

    def remove(self) -> None:
        """End what runs in the deployment's home, and remove the home."""
        if (self.home / "local-aws").exists():
            self.playbook("playbooks/local.yml", "-e", "local_aws_state=absent")
        shutil.rmtree(self.home, ignore_errors=True)

    def client(self, service: str) -> Any:
        """A client of the embedded AWS."""
        make: Any = boto3.client  # its types know it by each service's name, and by no other
        return make(service, endpoint_url=self.endpoint)

    def table(self, name: str) -> Any:
        """A DynamoDB table of the embedded AWS."""
        return boto3.resource("dynamodb", endpoint_url=self.endpoint).Table(name)

    def parameter(self, path: str) -> str:
        """What a stack published."""
        found = self.client("ssm").get_parameter(Name=f"/{self.prefix}/{path}")
        value: str = found["Parameter"]["Value"]
        return value

    def ask(self, path: str, body: bytes | None = None, kind: str = "text/plain") -> Any:
        """The JSON that the served model answers."""
        return json.loads(self.read(path, body, kind))

    def read(self, path: str, body: bytes | None = None, kind: str = "text/plain") -> bytes:
        """What the served model answers. Raises urllib.error.HTTPError for a status of 400 or above."""
        headers = {"Content-Type": kind} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        request = urllib.request.Request(f"{self.url}{path}", body, headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            content: bytes = response.read()
            return content

    def runs(self) -> list[dict[str, Any]]:
        """Every item of the runs table that is a run."""
        items = self.table(self.parameter("training/runs_table")).scan()["Items"]
        return [item for item in items if not item["run_id"].startswith("#")]

    def messages(self) -> int:
        """How many messages wait or are in flight, in the queue and in the DLQ."""
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        return sum(
            int(value)
            for queue in ("queue_url", "dead_letter_queue_url")
            for value in self.client("sqs")
            .get_queue_attributes(QueueUrl=self.parameter(f"training/{queue}"), AttributeNames=list(names))[
                "Attributes"
            ]
            .values()
        )
