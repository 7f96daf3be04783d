"""What a container definition of ECS means to Docker, where the emulator leaves it out.

ECS: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html. What is returned
are arguments of docker-py's ``containers.run``, in Docker's units: bytes and nanoseconds.
"""

from typing import Any

MIB = 1024 * 1024
SECOND = 1_000_000_000


def run_options(
    task_definition: dict[str, Any], container: dict[str, Any], override: dict[str, Any]
) -> dict[str, Any]:
    """The options that a container is run with, beside its image, environment, command and network.

    Parameters
    ----------
    task_definition:
        As DescribeTaskDefinition answers it.
    container:
        One of its container definitions.
    override:
        What RunTask says in its place, for this container.
    """
    linux = container.get("linuxParameters") or {}
    limits = container | override
    options = {
        "user": container.get("user"),
        "read_only": container.get("readonlyRootFilesystem"),
        "cap_drop": (linux.get("capabilities") or {}).get("drop"),
        "security_opt": container.get("dockerSecurityOptions"),
        "init": linux.get("initProcessEnabled"),
        "mem_limit": _bytes(limits.get("memory")),
        "mem_reservation": _bytes(limits.get("memoryReservation")),
        "cpu_shares": limits.get("cpu"),
        "shm_size": _bytes(linux.get("sharedMemorySize")),
        "healthcheck": _health_check(container.get("healthCheck")),
        "mounts": _volumes(task_definition, container),
        "tmpfs": {mount["containerPath"]: _tmpfs(mount) for mount in linux.get("tmpfs") or []},
    }
    return {name: value for name, value in options.items() if value}


def _bytes(mebibytes: int | None) -> int | None:
    return mebibytes * MIB if mebibytes else None


def _health_check(check: dict[str, Any] | None) -> dict[str, Any] | None:
    """Docker's health check; what ECS's leaves out has ECS's default."""
    return check and {
        "test": check["command"],
        "interval": check.get("interval", 30) * SECOND,
        "timeout": check.get("timeout", 5) * SECOND,
        "retries": check.get("retries", 3),
        "start_period": check.get("startPeriod", 0) * SECOND,
    }


def _volumes(task_definition: dict[str, Any], container: dict[str, Any]) -> list[dict[str, Any]]:
    """A fresh Docker volume, gone with the container, for each mount of a volume that has no place on the
    host.
    """
    fresh = {
        volume["name"]
        for volume in task_definition.get("volumes") or []
        if not (volume.get("host") or {}).get("sourcePath")
    }
    return [
        {"Type": "volume", "Target": mount["containerPath"], "ReadOnly": mount.get("readOnly", False)}
        for mount in container.get("mountPoints") or []
        if mount["sourceVolume"] in fresh
    ]


def _tmpfs(mount: dict[str, Any]) -> str:
    return ",".join([f"size={mount['size']}m", *mount.get("mountOptions", [])])
