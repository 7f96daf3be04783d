"""Runs two tasks on a local AWS and looks where it listens: ``ask.py ENDPOINT HOME IMAGE`` prints what it
found.
"""

import json
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

import boto3


def run_task(endpoint: str, image: str, code: int) -> dict[str, Any]:
    """The exit code and the log of a task that is to end with ``code``."""
    ecs, logs = (boto3.client(service, endpoint_url=endpoint) for service in ("ecs", "logs"))
    options = {"awslogs-group": "/verify", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "task"}
    container = {
        "name": "verify",
        "image": image,
        "memory": 64,
        "environment": [{"name": "CODE", "value": str(code)}],
        "logConfiguration": {"logDriver": "awslogs", "options": {**options, "awslogs-create-group": "true"}},
    }
    ecs.create_cluster(clusterName="verify")
    ecs.register_task_definition(family="verify", networkMode="bridge", containerDefinitions=[container])
    arn = ecs.run_task(cluster="verify", taskDefinition="verify")["tasks"][0]["taskArn"]
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        task = ecs.describe_tasks(cluster="verify", tasks=[arn])["tasks"][0]
        if task["lastStatus"] == "STOPPED":
            break
        time.sleep(0.1)
    time.sleep(0.5)  # for the last line to be taken over
    stream = f"task/verify/{arn.rpartition('/')[2]}"
    events = logs.get_log_events(logGroupName="/verify", logStreamName=stream)["events"]
    return {"exit": task["containers"][0].get("exitCode"), "log": [event["message"] for event in events]}


def addresses(home: Path) -> list[str]:
    """The addresses on which the processes of a local AWS listen."""
    pids = [process["pid"] for process in json.loads((home / "processes.json").read_text()).values()]
    files = [str(file.readlink()) for pid in pids for file in Path(f"/proc/{pid}/fd").iterdir()]
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            __, local, __, state, *__, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in files:
                words = bytes.fromhex(local.partition(":")[0])
                numbers = struct.unpack(f">{len(words) // 4}I", words)
                found.add(socket.inet_ntop(family, struct.pack(f"={len(numbers)}I", *numbers)))
    return sorted(found)


if __name__ == "__main__":
    endpoint, home, image = sys.argv[1:]
    tasks = {str(code): run_task(endpoint, image, code) for code in (0, 42)}
    print(json.dumps({"tasks": tasks, "addresses": addresses(Path(home))}))
