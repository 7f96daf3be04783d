"""What of a container definition reaches Docker."""

import pytest
from container_options import run_options

VOLUMES = {"volumes": [{"name": "scratch"}, {"name": "data", "host": {"sourcePath": "/data"}}]}


def test_all_that_confines_a_container_is_passed_on():
    container = {
        "user": "10001:10001",
        "readonlyRootFilesystem": True,
        "dockerSecurityOptions": ["no-new-privileges"],
        "cpu": 512,
        "memory": 2048,
        "memoryReservation": 1024,
        "linuxParameters": {
            "initProcessEnabled": True,
            "capabilities": {"add": [], "drop": ["ALL"]},
            "sharedMemorySize": 64,
            "tmpfs": [{"containerPath": "/run", "size": 16, "mountOptions": ["noexec", "nosuid"]}],
        },
    }
    assert run_options({}, container, {}) == {
        "user": "10001:10001",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "init": True,
        "mem_limit": 2 << 30,
        "mem_reservation": 1 << 30,
        "cpu_shares": 512,
        "shm_size": 64 << 20,
        "tmpfs": {"/run": "size=16m,noexec,nosuid"},
    }


def test_nothing_is_asked_for_that_the_definition_does_not_say():
    assert run_options({}, {"name": "m", "image": "i"}, {}) == {}


def test_what_run_task_says_goes_before_the_definition():
    asked = run_options({}, {"cpu": 1024, "memory": 2048}, {"cpu": 256, "memory": 512})
    assert asked == {"cpu_shares": 256, "mem_limit": 512 << 20}


def test_a_volume_with_no_place_on_the_host_is_a_fresh_one():
    mounts = [
        {"sourceVolume": "scratch", "containerPath": "/tmp", "readOnly": False},
        {"sourceVolume": "data", "containerPath": "/data"},
    ]
    asked = run_options(VOLUMES, {"mountPoints": mounts}, {})
    assert asked == {"mounts": [{"Type": "volume", "Target": "/tmp", "ReadOnly": False}]}


@pytest.mark.parametrize(
    "said, seconds",
    [
        ({}, (30, 5, 3, 0)),
        ({"interval": 15, "timeout": 2, "retries": 4, "startPeriod": 60}, (15, 2, 4, 60)),
    ],
)
def test_a_health_check_has_the_defaults_of_ecs(said, seconds):
    command = ["CMD-SHELL", "exit 0"]
    interval, timeout, retries, start_period = seconds
    assert run_options({}, {"healthCheck": {"command": command, **said}}, {})["healthcheck"] == {
        "test": command,
        "interval": interval * 10**9,
        "timeout": timeout * 10**9,
        "retries": retries,
        "start_period": start_period * 10**9,
    }
