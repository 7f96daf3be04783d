"""Starts the emulator with the changes that rolling a service, and a stop in mid-work, need.

Each change is one function that replaces private functions of the pinned release, and says what AWS does and
the release does not. tests/unit/local_aws/test_launcher.py holds each against the release as it is: a test
that fails there says that the emulator has caught up, and the change can go.
"""

import argparse
import asyncio
import contextlib
import hashlib
import http.client
import importlib.metadata
import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from container_options import run_options

MINISTACK = "1.5.33"
RETRY_SECONDS = 1.0
HEALTH_CHECK_SECONDS = 0.25
SNAPSHOT_SECONDS = 30.0
STOP_SECONDS = 30  # what ECS gives a container whose definition has no stopTimeout
STOPPED_BY_US = "the local AWS was stopped"

logger = logging.getLogger("launcher")

Task = dict[str, Any]


def _service(ecs: ModuleType, task: Task) -> dict[str, Any] | None:
    """The service that ``task`` belongs to."""
    group = task.get("group") or ""
    cluster = ecs._cluster_name_from_arn(task["clusterArn"])
    return (
        ecs._services.get(f"{cluster}/{group.removeprefix('service:')}")
        if group.startswith("service:")
        else None
    )


def _tell_service(ecs: ModuleType, task: Task) -> None:
    """Count the task's cluster and service anew, and register or deregister the task as its state says."""
    cluster = ecs._cluster_name_from_arn(task["clusterArn"])
    ecs._recount_cluster(cluster)
    ecs._refresh_service_state(cluster, task.get("group", ""))


# ---- running means healthy ---------------------------------------------------------------------------------


def running_means_healthy(ecs: ModuleType) -> None:
    """A task behind a load balancer counts as RUNNING only once its target group's health check passes.

    The release registers a target when its container has started, and calls it healthy for ever: requests
    fail until the server listens, and a version that can't serve replaces one that can.
    """
    stock = ecs._mark_task_running

    def mark_task_running(task_arn: str, task: Task) -> bool:
        service = _service(ecs, task)
        for balancer in (service or {}).get("loadBalancers") or []:
            if not _becomes_healthy(ecs, service, balancer, task):
                return False
        return stock(task_arn, task)

    ecs._mark_task_running = mark_task_running


def _becomes_healthy(ecs: ModuleType, service: dict[str, Any], balancer: dict[str, Any], task: Task) -> bool:
    """Wait for the health check; a task that exits or takes too long is marked as stopped, and as failed."""
    from ministack.services import alb

    group_arn = balancer.get("targetGroupArn")
    group = alb._tgs.get(group_arn)
    if not group or group["TargetType"] == "lambda" or not group["HealthCheckEnabled"]:
        return True
    patience = group["HealthCheckIntervalSeconds"] * group["UnhealthyThresholdCount"]
    deadline = time.monotonic() + (service.get("healthCheckGracePeriodSeconds") or 0) + patience
    while ecs._task_is_active(task["taskArn"], task):
        if _answers(ecs._task_ip(task), balancer.get("containerPort", 80), group):
            return True
        code = _exit_code(ecs, task["_docker_ids"][0])
        if code is not None:
            ecs._mark_task_stopped(
                task["taskArn"],
                task,
                "Essential container exited",
                "EssentialContainerExited",
                exit_code=code,
            )
            return False
        if time.monotonic() > deadline:
            reason = f"Task failed ELB health checks in (target-group {group_arn})"
            ecs._mark_task_stopped(task["taskArn"], task, reason, "ServiceSchedulerInitiated")
            ecs._record_service_task_failure(task)
            return False
        time.sleep(HEALTH_CHECK_SECONDS)
    return False


def _answers(address: str | None, port: int, group: dict[str, Any]) -> bool:
    if not address:
        return False
    if group["HealthCheckPort"] != "traffic-port":
        port = int(group["HealthCheckPort"])
    connection = http.client.HTTPConnection(address, port, timeout=group["HealthCheckTimeoutSeconds"])
    try:
        connection.request("GET", group["HealthCheckPath"])
        return _matches(connection.getresponse().status, group["Matcher"]["HttpCode"])
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _matches(status: int, codes: str) -> bool:
    """Whether a status is among a target group's codes, such as ``200``, ``200,204`` or ``200-299``."""
    spans = (span.partition("-") for span in codes.split(","))
    return any(int(low) <= status <= int(high or low) for low, __, high in spans)


def _exit_code(ecs: ModuleType, container_id: str) -> int | None:
    """The exit code of a container, or None while it runs or the engine can't tell."""
    try:
        state = ecs._get_docker().containers.get(container_id).attrs["State"]
    except Exception:
        return None
    return state["ExitCode"] if state["Status"] in ("exited", "dead") else None


def tasks_start_together(ecs: ModuleType) -> None:
    """A deployment's other tasks start as soon as the first one's images are known, as on AWS.

    The release has them wait until the first counts as RUNNING, and a second more; with
    `running_means_healthy` that is until it serves, so that two tasks take twice as long as one.
    """
    stock = ecs._prepare_service_images

    def prepare_service_images(task: Task, td: dict[str, Any], docker_client: Any) -> Any:
        deployment = stock(task, td, docker_client)
        if deployment and not deployment.get("_image_resolution_complete"):
            deployment["_image_resolution_complete"] = True
            cluster = ecs._cluster_name_from_arn(task["clusterArn"])
            ecs._reconcile_service_tasks(cluster, f"{cluster}/{task['group'].removeprefix('service:')}")
        return deployment

    ecs._prepare_service_images = prepare_service_images


# ---- stopping drains ---------------------------------------------------------------------------------------


def stopping_drains(ecs: ModuleType) -> None:
    """A task that is stopped leaves its target groups, gets their deregistration delay to finish, then
    SIGTERM.

    It is STOPPED only once its containers have ended, with the exit codes they ended with, and each gets the
    stopTimeout of its definition (30 s without one) before SIGKILL. The release sends SIGTERM to a task that
    still gets requests, calls it STOPPED with exit code 0 before that, and kills after 5 s.
    """
    from ministack.core.concurrency import resource_lock, spawn_background
    from ministack.core.responses import json_response

    stock = ecs._stop_task

    def stop_task(data: dict[str, Any]) -> Any:
        cluster = ecs._resolve_cluster_name(data.get("cluster", "default"))
        task = ecs._resolve_task(data.get("task", ""), cluster) if cluster else None
        if task is None or not task.get("_docker_ids"):
            return stock(data)
        with resource_lock("ecs-task", task["taskArn"]):
            if not ecs._task_is_active(task["taskArn"], task):
                return json_response({"task": ecs._sanitize(task)})
            delay = _deregistration_delay(ecs, task) if data.get("_drain", True) else 0.0
            ecs._bump_task_version(task)
            task.update(
                desiredStatus="STOPPED",
                lastStatus="DEACTIVATING",
                stoppingAt=ecs._iso(),
                stoppedReason=data.get("reason", "Task stopped by user"),
                stopCode="UserInitiated",
            )
        ecs.ecs_metadata.set_task_status(task["taskArn"], desired_status="STOPPED")
        _tell_service(ecs, task)
        spawn_background(finish, task, delay, thread_name=f"stop-{task['taskArn'][-12:]}")
        return json_response({"task": ecs._sanitize(task)})

    def finish(task: Task, delay: float) -> None:
        time.sleep(delay)
        task["lastStatus"] = "STOPPING"
        codes = [_end(ecs, task, index) for index in range(len(task["_docker_ids"]))]
        # Before it is STOPPED, since the emulator ends with its last task, and would leave the rest of them.
        ecs._cleanup_task_resources(task, ecs._get_docker())
        with resource_lock("ecs-task", task["taskArn"]):
            ecs._bump_task_version(task)
            for container, code in zip(task["containers"], codes, strict=False):
                container.update(lastStatus="STOPPED", exitCode=code)
            task.update(lastStatus="STOPPED", executionStoppedAt=ecs._iso(), stoppedAt=ecs._iso())
        ecs.ecs_metadata.set_task_status(task["taskArn"], known_status="STOPPED")
        ecs.ecs_metadata.set_all_container_status(task["taskArn"], "STOPPED")
        _tell_service(ecs, task)

    ecs._stop_task = ecs._ACTION_MAP["StopTask"] = stop_task


def _deregistration_delay(ecs: ModuleType, task: Task) -> float:
    """Seconds between leaving the target groups and SIGTERM; none for a task that was in no target group."""
    from ministack.services import alb

    if task["lastStatus"] != "RUNNING":
        return 0.0
    groups = [
        balancer.get("targetGroupArn") for balancer in (_service(ecs, task) or {}).get("loadBalancers") or []
    ]
    attributes = [attribute for group in groups for attribute in alb._tg_attrs.get(group, [])]
    return max(
        (float(a["Value"]) for a in attributes if a["Key"] == "deregistration_delay.timeout_seconds"),
        default=0.0,
    )


def _end(ecs: ModuleType, task: Task, index: int) -> int | None:
    """Stop one of the task's containers. Returns its exit code, or None if the engine can't tell."""
    definition = ecs._task_defs.get(ecs._resolve_td_key(task["taskDefinitionArn"])) or {}
    containers = definition.get("containerDefinitions") or []
    seconds = containers[index].get("stopTimeout") if index < len(containers) else None
    try:
        ecs._get_docker().containers.get(task["_docker_ids"][index]).stop(timeout=seconds or STOP_SECONDS)
    except Exception as error:
        logger.warning("cannot stop a container of %s: %s", task["taskArn"], error)
    return _exit_code(ecs, task["_docker_ids"][index])


# ---- deployments -------------------------------------------------------------------------------------------


def first_deployment_in_progress(ecs: ModuleType) -> None:
    """A service's first deployment is IN_PROGRESS until its tasks are steady.

    The release creates it as COMPLETED: a first version that crashes is never FAILED, and looks like a good
    one to roll back to.
    """
    stock = ecs._make_deployment

    def make_deployment(*args: Any, **kwargs: Any) -> dict[str, Any]:
        return stock(*args, **kwargs) | {"rolloutState": "IN_PROGRESS", "rolloutStateReason": ""}

    ecs._make_deployment = make_deployment


def empty_failed_deployment_leaves(ecs: ModuleType) -> None:
    """A FAILED deployment that was rolled back and has no tasks left is no longer listed.

    The release keeps it for ever, so that the service never has one deployment again, which is what 'steady'
    means to all who wait for it.
    """
    stock = ecs._refresh_service_state

    def refresh_service_state(cluster: str, group: str) -> None:
        stock(cluster, group)
        service = ecs._services.get(f"{cluster}/{(group or '').removeprefix('service:')}")
        if service is None:
            return
        alive = {
            task.get("_deployment_id") for task in ecs._tasks.values() if task["lastStatus"] != "STOPPED"
        }
        service["deployments"] = [
            deployment
            for deployment in service["deployments"]
            if deployment["status"] == "PRIMARY"
            or deployment.get("rolloutState") != "FAILED"
            or deployment["id"] in alive
        ]

    ecs._refresh_service_state = refresh_service_state


def pause_between_retries(ecs: ModuleType) -> None:
    """A service's task that failed is replaced after a second, not at once.

    The release starts 188 of a crashing version in 6 s.
    """
    from ministack.core.concurrency import spawn_background

    stock = ecs._record_service_task_failure

    def record_service_task_failure(task: Task, digest_resolution_failed: bool = False) -> None:
        if digest_resolution_failed:
            stock(task, digest_resolution_failed)
        else:
            spawn_background(later, task, thread_name=f"retry-{task['taskArn'][-12:]}")

    def later(task: Task) -> None:
        time.sleep(RETRY_SECONDS)
        stock(task)

    ecs._record_service_task_failure = record_service_task_failure


def stopped_task_is_replaced(ecs: ModuleType) -> None:
    """A service starts a new task for one that StopTask took from it.

    The release leaves the service one short for good.
    """
    stock = ecs._ACTION_MAP["StopTask"]

    def stop_task(data: dict[str, Any]) -> Any:
        response = stock(data)
        cluster = ecs._resolve_cluster_name(data.get("cluster", "default"))
        task = ecs._resolve_task(data.get("task", ""), cluster) if cluster else None
        if task and (service := _service(ecs, task)):
            ecs._reconcile_service_tasks(cluster, f"{cluster}/{service['serviceName']}")
        return response

    ecs._ACTION_MAP["StopTask"] = stop_task


# ---- tasks -------------------------------------------------------------------------------------------------


def client_token_is_kept(ecs: ModuleType) -> None:
    """RunTask with a client token that was used before starts nothing and names the tasks it started then.

    With other parameters it is a ConflictException. The release ignores the token: each retry is one more
    task.
    """
    from ministack.core.concurrency import resource_lock
    from ministack.core.responses import error_response_json, json_response

    stock = ecs._run_task

    def run_task(data: dict[str, Any]) -> Any:
        token = data.get("clientToken")
        if not token:
            return stock(data)
        cluster = ecs._resolve_cluster_name(data.get("cluster", "default"))
        asked = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
        with resource_lock("ecs-client-token", f"{cluster}/{token}"):
            earlier = [task for task in ecs._tasks.values() if task.get("_client_token") == [cluster, token]]
            if not earlier:
                return remember(stock(data), _client_token=[cluster, token], _client_request=asked)
        if any(task["_client_request"] != asked for task in earlier):
            message = "The provided clientToken is already in use with a different RunTask request."
            return error_response_json("ConflictException", message, 400)
        return json_response({"tasks": [ecs._sanitize(task) for task in earlier], "failures": []})

    def remember(response: Any, **fields: Any) -> Any:
        for task in json.loads(response[2]).get("tasks", []):
            ecs._tasks[task["taskArn"]].update(fields)
        return response

    ecs._run_task = ecs._ACTION_MAP["RunTask"] = run_task


def exits_are_waited_for(ecs: ModuleType) -> None:
    """The end of a task's container is waited for.

    The release inspects each container ten times a second, which takes 4 % of a core for each task.
    """
    stock = ecs._maybe_mark_stopped

    def maybe_mark_stopped(task: Task, docker_client: Any = None) -> None:
        containers = task.get("_docker_ids") or []
        # Only the thread that watches the task brings a client; all others want to know how it is now.
        if docker_client is not None and len(containers) == 1:
            with contextlib.suppress(
                Exception
            ):  # the engine can't be reached: ask it again as the release does
                docker_client.api.wait(containers[0], timeout=None)
        stock(task, docker_client)

    ecs._maybe_mark_stopped = maybe_mark_stopped


def tasks_reach_us_by_address(ecs: ModuleType) -> None:
    """A task's AWS_ENDPOINT_URL holds an address.

    The release puts host.docker.internal there, and an S3 client then asks for bucket.host.docker.internal,
    which no one knows.
    """
    stock = ecs._register_metadata

    def register_metadata(*args: Any) -> str:
        *others, __ = args
        return stock(*others, ecs._MINISTACK_HOST)

    ecs._register_metadata = register_metadata


def tasks_behind_a_bridge_have_keys(ecs: ModuleType) -> None:
    """A task that reaches us by an address other than loopback has its role's keys in its environment.

    The release names a URL to fetch them from, which botocore refuses to ask anywhere but on loopback and at
    169.254.170.2, where ECS's agent answers.
    """
    from ministack.services import imds

    stock = ecs._register_metadata

    def register_metadata(*args: Any) -> str:
        token = stock(*args)
        environment = args[5]
        url = urlsplit(environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"])
        if url.hostname not in ("localhost", "127.0.0.1"):
            del environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
            del environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
            keys = imds._ecs_task_credentials_doc()
            environment.update(
                AWS_ACCESS_KEY_ID=keys["AccessKeyId"],
                AWS_SECRET_ACCESS_KEY=keys["SecretAccessKey"],
                AWS_SESSION_TOKEN=keys["Token"],
            )
        return token

    ecs._register_metadata = register_metadata


def containers_are_confined(ecs: ModuleType) -> None:
    """A container has the user, limits, volumes and health check of its definition, and no more rights.

    The release passes on privileges alone: a container runs as the image's user on a root that can be
    written, with Docker's capabilities and all of the machine's memory.
    """
    stock = ecs._build_run_kwargs

    def build_run_kwargs(*args: Any, **kwargs: Any) -> dict[str, Any]:
        container, task_definition, task_arn = args[0], args[1], args[7]
        task = ecs._tasks.get(task_arn) or {}
        overrides = (task.get("overrides") or {}).get("containerOverrides") or []
        override = ecs._container_override_for(overrides, container["name"])
        return stock(*args, **kwargs) | run_options(task_definition, container, override)

    ecs._build_run_kwargs = build_run_kwargs


def ports_are_not_published(ecs: ModuleType) -> None:
    """A container's ports are reached by its own address alone.

    The release has Docker publish them on all of the machine's addresses, where two versions of a service
    would also want the same port.
    """
    stock = ecs._build_run_kwargs

    def build_run_kwargs(*args: Any, **kwargs: Any) -> dict[str, Any]:
        return stock(*args, **kwargs) | {"ports": None}

    ecs._build_run_kwargs = build_run_kwargs


def lost_tasks_say_so(ecs: ModuleType) -> None:
    """A task that was running when the emulator last saved its state, and ended with it, is STOPPED in full.

    The release sets lastStatus alone, and leaves neither a reason nor the desired status, by which tasks are
    listed.
    """
    stock = ecs._restore_state

    def restore_state(data: dict[str, Any]) -> None:
        stock(data)
        for __, task in ecs._tasks.all_items():
            if task["lastStatus"] == "STOPPED" and not task.get("stoppedAt"):
                task.update(
                    desiredStatus="STOPPED",
                    stoppedAt=ecs._iso(),
                    stoppedReason=task.get("stoppedReason") or "the local AWS ended while the task ran",
                    stopCode="TerminationNotice",
                )
                for container in task["containers"]:
                    container["lastStatus"] = "STOPPED"

    ecs._restore_state = restore_state


def bridge_services_have_no_network(ecs: ModuleType) -> None:
    """A service in bridge mode is described without a networkConfiguration.

    The release answers an empty one, and Terraform's AWS provider 5.100.0 crashes on it.
    """
    stock = ecs._sanitize

    def sanitize(obj: Any) -> Any:
        wire = stock(obj)
        if isinstance(wire, dict) and wire.get("networkConfiguration") == {}:
            del wire["networkConfiguration"]
        return wire

    ecs._sanitize = sanitize


CHANGES = (
    running_means_healthy,
    tasks_start_together,
    stopping_drains,
    first_deployment_in_progress,
    empty_failed_deployment_leaves,
    pause_between_retries,
    stopped_task_is_replaced,
    client_token_is_kept,
    exits_are_waited_for,
    tasks_reach_us_by_address,
    tasks_behind_a_bridge_have_keys,
    containers_are_confined,
    ports_are_not_published,
    lost_tasks_say_so,
    bridge_services_have_no_network,
)


def check_version() -> None:
    """Exit with the way out if the installed emulator is not the one that the changes were written for."""
    try:
        installed = importlib.metadata.version("ministack")
    except importlib.metadata.PackageNotFoundError:
        installed = "none"
    if installed != MINISTACK:
        sys.exit(
            f"The local AWS needs ministack {MINISTACK}, and {sys.prefix} has {installed}. "
            f"Remove the folder {sys.prefix} and run again: it is then made anew."
        )


def settings(home: Path, port: int, address: str) -> dict[str, str]:
    """The environment that the emulator reads its settings from; ``address`` is the one that tasks reach it
    by.

    SFTP and MQTT are switched off because they would listen on all addresses.
    """
    return {
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": address,
        "PERSIST_STATE": "1",
        "STATE_DIR": str(home / "state"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(home / "s3"),
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
    }


class Snapshots(threading.Thread):
    """Saves the emulator's state every half minute; by itself it does so only when it is stopped."""

    def __init__(self, app: ModuleType) -> None:
        super().__init__(name="snapshots", daemon=True)
        self._app = app
        self._over = threading.Event()

    def run(self) -> None:
        from ministack.core.persistence import save_all

        logging.getLogger("persistence").setLevel(logging.WARNING)
        while not self._over.wait(SNAPSHOT_SECONDS):
            save_all(self._app._build_persistence_save_dict())

    def end(self) -> None:
        """Return once no snapshot is being written: the emulator's own, at its end, has the same files."""
        self._over.set()
        self.join()


def stop_tasks(ecs: ModuleType) -> None:
    """Stop all tasks while the emulator still answers them, start no more, and wait for their end."""
    from ministack.core.responses import error_response_json, request_scope

    ecs._run_task = ecs._ACTION_MAP["RunTask"] = lambda data: error_response_json(
        "ServerException", STOPPED_BY_US, 500
    )
    tasks = ecs._tasks.all_items()
    for (account, region, arn), task in tasks:
        with request_scope(account, region):
            if ecs._task_is_active(arn, task):
                cluster = ecs._cluster_name_from_arn(task["clusterArn"])
                ecs._stop_task({"task": arn, "cluster": cluster, "reason": STOPPED_BY_US, "_drain": False})
    # Each container is killed after its own stopTimeout, 120 s at most.
    while any(task["lastStatus"] != "STOPPED" for __, task in tasks):
        time.sleep(0.1)


async def serve(addresses: list[str], port: int) -> None:
    """Serve until SIGTERM, then stop the tasks, save the state and end."""
    from hypercorn.asyncio import serve as hypercorn_serve
    from hypercorn.config import Config
    from ministack import app
    from ministack.services import ecs

    for change in CHANGES:
        change(ecs)

    config = Config()
    config.bind = [f"{address}:{port}" for address in addresses]
    config.keep_alive_timeout = 75
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)

    async def until_stopped() -> None:
        await stopping.wait()
        await asyncio.to_thread(stop_tasks, ecs)
        await asyncio.to_thread(snapshots.end)

    snapshots = Snapshots(app)
    snapshots.start()
    await hypercorn_serve(app.app, config, shutdown_trigger=until_stopped)


def main() -> None:
    """Start the emulator in the foreground."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, required=True, help="folder for its state")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument(
        "--bind", action="append", required=True, help="address to listen on; the last one is told to tasks"
    )
    options = parser.parse_args()

    check_version()
    os.environ.update(settings(options.home, options.port, options.bind[-1]))
    asyncio.run(serve(options.bind, options.port))


if __name__ == "__main__":
    main()
