"""One deployment on an embedded AWS of its own, driven by the same playbooks a user runs."""

import json
import os
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Deployment:
    """Where the deployment of this story lives, and how to talk to it."""

    root: Path
    home: Path
    port: int
    prefix: str = "story"

    @property
    def url(self) -> str:
        """Where the load balancer answers."""
        return f"{self.endpoint}/_alb/{self.prefix}"

    @property
    def endpoint(self) -> str:
        """Where the embedded AWS answers."""
        return f"http://127.0.0.1:{self.port}"

    def playbook(self, name: str, *arguments: str, folder: str = ".") -> subprocess.CompletedProcess[str]:
        """Run a playbook as a user would; its output is shown when a test fails."""
        environment = os.environ | {
            "NERFORGE_HOME": str(self.home),
            "NERFORGE_PORT": str(self.port),
            "ANSIBLE_FORCE_COLOR": "0",
            # The story must not lean on what the test's own environment holds.
            "AWS_ACCESS_KEY_ID": "",
            "AWS_SECRET_ACCESS_KEY": "",
        }
        ended = subprocess.run(
            [
                self.root / ".nerforge" / "venv" / "bin" / "ansible-playbook",
                name,
                *("-e", f"nerforge_prefix={self.prefix}"),
                # What is installed is named by its content: the demo's serves here too, and ours the demo.
                *("-e", f"images_home={self.root / '.nerforge' / 'images'}"),
                *("-e", f"local_aws_images={self.root / '.nerforge' / 'images'}"),
                *("-e", f"local_aws_venv={self.root / '.nerforge' / 'local-aws-venv'}"),
                *arguments,
            ],
            cwd=self.root / folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
        )
        print(f"$ ansible-playbook {name} {' '.join(arguments)}  (exit {ended.returncode})\n{ended.stdout}")
        return ended

    def client(self, service: str) -> Any:
        """A client of the embedded AWS."""
        return boto3.client(service, endpoint_url=self.endpoint)

    def parameter(self, path: str) -> str:
        """What a stack published."""
        return self.client("ssm").get_parameter(Name=f"/{self.prefix}/{path}")["Parameter"]["Value"]

    def ask(self, path: str, body: bytes | None = None, kind: str = "text/plain") -> Any:
        """The JSON that the served model answers."""
        request = urllib.request.Request(f"{self.url}{path}", body, {"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    def runs(self) -> list[dict[str, Any]]:
        """Every item of the runs table but the slots."""
        table = boto3.resource("dynamodb", endpoint_url=self.endpoint).Table(
            self.parameter("training/runs_table")
        )
        return [item for item in table.scan()["Items"] if not item["run_id"].startswith("#")]

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


@pytest.fixture(scope="session")
def deployment(root: Path) -> Iterator[Deployment]:
    """A home and a port of its own; whatever is left, of this story or of one that was killed, is removed."""
    deployment = Deployment(root, root / ".nerforge" / "story", free_port())
    remove(deployment)
    yield deployment
    remove(deployment)


def remove(deployment: Deployment) -> None:
    """End what runs in the deployment's home, and remove the home."""
    if (deployment.home / "local-aws").exists():
        deployment.playbook("playbooks/local.yml", "-e", "local_aws_state=absent")
    shutil.rmtree(deployment.home, ignore_errors=True)
