"""Shows what the emulator does, stock or with the launcher's changes: ``probe.py NAME [changed]`` prints it
as JSON.

Run by the Python of the emulator's environment. Docker is played, so each probe sees one private function
alone.
"""

import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "roles" / "local_aws" / "files"))

import launcher
from ministack.services import alb, ecs

CLUSTER = "arn:aws:ecs:us-east-1:000000000000:cluster/c"
TASK = "arn:aws:ecs:us-east-1:000000000000:task/c/0123456789abcdef"
GROUP = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/g/1"


class Container:
    """A container that ends when it is told to, and remembers how."""

    def __init__(self):
        self.id = "container"
        self.status = "running"
        self.ended = threading.Event()
        self.inspected = 0
        self.code = 0
        self.stopped_with = None
        self.at_stop = None
        self.at_removal = None

    @property
    def attrs(self):
        self.inspected += 1
        return {"State": {"Status": self.status, "ExitCode": self.code}}

    def reload(self):
        self.inspected += 1

    def stop(self, timeout):
        if self.stopped_with is None:
            self.stopped_with = timeout
            self.at_stop = {"seconds": time.monotonic(), "state": ecs._tasks[TASK]["lastStatus"]}
            self.end(75)

    def end(self, code):
        self.status, self.code = "exited", code
        self.ended.set()

    def wait(self):
        self.ended.wait()
        return {"StatusCode": self.code}

    def remove(self, **__):
        self.at_removal = ecs._tasks[TASK]["lastStatus"]


class Docker:
    """A Docker client that knows one container."""

    def __init__(self):
        self.container = Container()
        self.containers = self
        self.api = self

    def get(self, __):
        return self.container

    def wait(self, __, timeout):
        return self.container.wait()


def service(**fields):
    primary = {"id": "new", "status": "PRIMARY", "rolloutState": "IN_PROGRESS", "taskDefinition": "t:2"}
    made = {
        "serviceName": "s",
        "serviceArn": "arn",
        "clusterArn": CLUSTER,
        "status": "ACTIVE",
        "desiredCount": 1,
        "taskDefinition": "t:2",
        "deployments": [primary],
        "events": [],
        "loadBalancers": [{"targetGroupArn": GROUP, "containerPort": 80}],
        **fields,
    }
    ecs._services["c/s"] = made
    ecs._clusters["c"] = {"clusterName": "c", "clusterArn": CLUSTER, "status": "ACTIVE"}
    return made


def task(**fields):
    made = {
        "taskArn": TASK,
        "clusterArn": CLUSTER,
        "taskDefinitionArn": "t:2",
        "group": "service:s",
        "lastStatus": "RUNNING",
        "desiredStatus": "RUNNING",
        "containers": [{"name": "m", "exitCode": None}],
        "_docker_ids": ["container"],
        "_container_ip": "127.0.0.1",
        "_deployment_id": "new",
        "_container_essentials": [True],
        **fields,
    }
    ecs._tasks[TASK] = made
    return made


def target_group(port):
    alb._tgs[GROUP] = {
        "TargetType": "ip",
        "Port": port,
        "HealthCheckEnabled": True,
        "HealthCheckPort": str(port),
        "HealthCheckPath": "/ready",
        "HealthCheckIntervalSeconds": 1,
        "HealthCheckTimeoutSeconds": 1,
        "UnhealthyThresholdCount": 3,
        "Matcher": {"HttpCode": "200-204"},
    }
    alb._tg_attrs[GROUP] = [{"Key": "deregistration_delay.timeout_seconds", "Value": "1"}]


def play_docker():
    docker = Docker()
    ecs._get_docker = lambda: docker
    return docker.container


class Server(BaseHTTPRequestHandler):
    """Not ready at first."""

    asked = 0

    def do_GET(self):
        Server.asked += 1
        self.send_response(200 if Server.asked > 2 else 503)
        self.end_headers()

    def log_message(self, *__):
        pass


def healthy():
    """A task's state after its container started, and what its server was asked until then."""
    play_docker()
    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    target_group(server.server_port)
    service()
    ecs._mark_task_running(TASK, task(lastStatus="ACTIVATING"))
    return {"state": ecs._tasks[TASK]["lastStatus"], "asked": Server.asked}


def unhealthy():
    """A task's state when its server never answers."""
    play_docker()
    target_group(1)
    service()
    ecs._mark_task_running(TASK, task(lastStatus="ACTIVATING"))
    return {"state": ecs._tasks[TASK]["lastStatus"], "reason": ecs._tasks[TASK].get("stoppedReason")}


def crash():
    """A task's state when its container ends before it serves."""
    play_docker().end(3)
    target_group(1)
    service()
    ecs._mark_task_running(TASK, task(lastStatus="ACTIVATING"))
    return {"state": ecs._tasks[TASK]["lastStatus"], "code": ecs._tasks[TASK]["containers"][0]["exitCode"]}


def together():
    """How many tasks of a service that wants three are started while its first one starts."""
    definition = {"taskDefinitionArn": "t:2", "containerDefinitions": [{"name": "m", "image": "m:1"}]}
    ecs._task_defs["t:2"] = definition
    made = service(desiredCount=3)
    first, without_images = task(lastStatus="ACTIVATING"), play_docker()
    asked = []
    ecs._run_task = lambda data: asked.append(data["count"])
    for __ in range(2):
        ecs._prepare_service_images(first, definition, without_images)
    return {"started": asked, "digest": made["deployments"][0].get("_image_digests")}


def stop():
    """How a service's task is stopped."""
    container = play_docker()
    target_group(80)
    service(desiredCount=0)
    task()
    started = time.monotonic()
    ecs._stop_task({"cluster": "c", "task": TASK})
    answered = time.monotonic() - started
    while ecs._tasks[TASK]["lastStatus"] != "STOPPED" or container.at_removal is None:
        time.sleep(0.01)
    return {
        "drained": container.at_stop["seconds"] - started >= 1,
        "answered at once": answered < 0.5,
        "state at SIGTERM": container.at_stop["state"],
        "seconds before SIGKILL": container.stopped_with,
        "state at removal": container.at_removal,
        "exit code": ecs._tasks[TASK]["containers"][0]["exitCode"],
    }


def first_deployment():
    """The state that a service's first deployment is made in."""
    return ecs._make_deployment("t:1", 1)["rolloutState"]


def failed_deployment():
    """The deployments that are listed after a rollback."""
    old = {"id": "old", "status": "PRIMARY", "rolloutState": "COMPLETED"}
    new = {"id": "new", "status": "ACTIVE", "rolloutState": "FAILED"}
    listed = service(deployments=[new, old])
    play_docker()
    running = task(_deployment_id="new", lastStatus="RUNNING")
    ecs._refresh_service_state("c", "service:s")
    with_task = [deployment["id"] for deployment in listed["deployments"]]
    running["lastStatus"] = "STOPPED"
    ecs._refresh_service_state("c", "service:s")
    return {"with a task": with_task, "empty": [deployment["id"] for deployment in listed["deployments"]]}


def retry():
    """Whether a failed task is replaced at once."""
    replaced = threading.Event()
    ecs._reconcile_service_tasks = lambda *__: replaced.set()
    service()
    ecs._record_service_task_failure(task(lastStatus="STOPPED"))
    return {"at once": replaced.wait(0.5), "later": replaced.wait(5)}


def replacement():
    """Whether a service's task that StopTask stopped is replaced."""
    play_docker()
    replaced = threading.Event()
    ecs._reconcile_service_tasks = lambda *__: replaced.set()
    service(loadBalancers=[])
    task()
    ecs._ACTION_MAP["StopTask"]({"cluster": "c", "task": TASK})
    return replaced.wait(2)


def client_token():
    """What a second RunTask with a token does, and one with other parameters."""
    ecs._get_docker = lambda: None
    definition = {"family": "t", "containerDefinitions": [{"name": "m", "image": "i"}]}
    ecs._ACTION_MAP["RegisterTaskDefinition"](definition)

    def run(**fields):
        status, __, body = ecs._ACTION_MAP["RunTask"]({"cluster": "c", "taskDefinition": "t", **fields})
        answer = json.loads(body)
        return answer["tasks"][0]["taskArn"] if status == 200 else answer["__type"]

    first = run(clientToken="one")
    return {
        "again": run(clientToken="one") == first,
        "other parameters": run(clientToken="one", startedBy="x").rpartition(":")[2].startswith("Conflict"),
        "other token": run(clientToken="two") == first,
        "no token": run() == first,
    }


def watch():
    """How often a container is inspected in a second, and whether its end is then noticed."""
    container = play_docker()
    service()
    watched = task(group="")
    ecs._watch_task_lifecycle(watched, ecs._get_docker(), "000000000000", "us-east-1")
    time.sleep(1)
    inspected = container.inspected
    container.end(3)
    deadline = time.monotonic() + 5
    while watched["lastStatus"] != "STOPPED" and time.monotonic() < deadline:
        time.sleep(0.01)
    return {
        "busy": inspected > 3,
        "state": watched["lastStatus"],
        "code": watched["containers"][0]["exitCode"],
    }


def endpoint():
    """The emulator's address as a task is told it."""
    environment = {}
    container = {"name": "m", "image": "i"}
    ecs._register_metadata(TASK, CLUSTER, {}, container, "EC2", environment, False, None)
    return environment["AWS_ENDPOINT_URL"]


def keys():
    """What a task behind a bridge, and one on loopback, are told of their role's keys."""
    container = {"name": "m", "image": "i"}
    told = {}
    for where in ("172.17.0.1", "127.0.0.1"):
        ecs._MINISTACK_HOST = where
        environment = {}
        ecs._register_metadata(TASK, CLUSTER, {}, container, "EC2", environment, False, where)
        told[where] = sorted(name for name in environment if re.search("KEY|CREDENTIALS|TOKEN", name))
    return told


def confined():
    """Which of the definition's limits Docker is asked for, and the memory: RunTask overrides that."""
    container = {
        "name": "m",
        "image": "i",
        "user": "10001:10001",
        "memory": 2048,
        "readonlyRootFilesystem": True,
        "linuxParameters": {"capabilities": {"drop": ["ALL"]}},
    }
    task(overrides={"containerOverrides": [{"name": "m", "memory": 1024}]})
    asked = ecs._build_run_kwargs(container, {}, {}, {}, None, False, "id", TASK, None, CLUSTER)
    names = ("user", "read_only", "cap_drop", "mem_limit")
    return {name: asked[name] for name in names if name in asked}


def ports():
    """The ports that Docker is asked to publish."""
    container = {"name": "m", "image": "i"}
    kwargs = ecs._build_run_kwargs(container, {}, {}, {"80/tcp": 80}, None, False, "id", TASK, None, CLUSTER)
    return kwargs["ports"]


def network():
    return ecs._sanitize({"services": [service(networkConfiguration={})]})["services"][0].get(
        "networkConfiguration"
    )


def lost_task():
    """What is known of a task that was running when the emulator died."""
    task()
    state = ecs.get_state()
    ecs._tasks.clear()
    ecs._restore_state(state)
    known = ecs._tasks[TASK]
    return {name: known.get(name) for name in ("lastStatus", "desiredStatus", "stoppedReason", "stopCode")}


def snapshots():
    """Whether the state is saved while the emulator runs."""
    saved = threading.Event()
    launcher.SNAPSHOT_SECONDS = 0.1
    from ministack.core import persistence

    persistence.save_all = lambda states: saved.set() if states == "all" else None

    class App:
        @staticmethod
        def _build_persistence_save_dict():
            return "all"

    thread = launcher.Snapshots(App)
    thread.start()
    result = saved.wait(5)
    thread.end()
    return {"saved": result, "ended": not thread.is_alive()}


def version():
    """What is said when another release is installed."""
    launcher.MINISTACK = "0.0.1"
    try:
        launcher.check_version()
    except SystemExit as end:
        return str(end)
    return None


if __name__ == "__main__":
    if "changed" in sys.argv:
        for change in launcher.CHANGES:
            change(ecs)
    print(json.dumps(globals()[sys.argv[1]]()))
