"""The process runner, asked over its socket as the emulator does."""

import json
import os
import signal
import socket
import stat
import time
from pathlib import Path

import pytest
from processes import identity

PYTHON = "/usr/bin/env", "python3", "-c"
SHELL = "/bin/sh", "-c"
# Says that it is up before it waits, so that no signal comes too early.
WAITS = "echo up; while :; do sleep 0.05; done"


def is_up(runner, container):
    return "up" in runner.log(container, "")


def gone(pid):
    return identity(pid) is None


@pytest.mark.parametrize("code", [0, 42])
def test_a_container_runs_and_ends_with_its_exit_code(runner, images, code):
    container = runner.run(images.stage("tool", "1", *SHELL, f"exit {code}"))
    assert runner.wait(container) == code
    state = runner.inspect(container)["State"]
    assert (state["Status"], state["Running"], state["ExitCode"]) == ("exited", False, code)
    assert state["StartedAt"] < state["FinishedAt"]


def test_the_request_s_command_follows_the_entrypoint(runner, images):
    container = runner.run(images.stage("tool", "1", "/bin/echo", "one"), Cmd=["two", "three"])
    assert runner.log(container) == "one two three\n"


def test_it_starts_in_the_working_directory(runner, images):
    container = runner.run(images.stage("tool", "1", "/bin/pwd"))
    assert runner.log(container).strip() == str(images.folder / "tool" / "1")


def test_inspect_tells_what_the_emulator_reads(runner, images):
    reference = images.stage("tool", "1", *SHELL, WAITS)
    container = runner.run(reference, Labels={"a": "b"})
    told = runner.inspect(container)
    assert told["State"]["Status"] == "running"
    assert told["Config"]["Tty"] is False
    assert told["Config"]["Labels"] == {"a": "b"}
    assert told["Config"]["Image"] == reference
    assert told["NetworkSettings"]["IPAddress"].startswith("127.")
    networks = told["NetworkSettings"]["Networks"].values()
    assert [network["IPAddress"] for network in networks] == [told["NetworkSettings"]["IPAddress"]]


def test_the_environment_is_the_image_s_and_the_request_s_alone(runner, images):
    script = "import json, os; print(json.dumps(dict(os.environ)))"
    image = images.stage("tool", "1", *PYTHON, script, FROM_IMAGE="1", BOTH="image")
    container = runner.run(image, Env=["BOTH=request", "FROM_REQUEST=a=b", "NERFORGE_HOST=0.0.0.0"])
    environment = json.loads(runner.log(container))
    environment.pop("LC_CTYPE", None)  # Python's own doing
    told = runner.inspect(container)
    assert environment == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(runner.folder / "containers" / container / "home"),
        "TMPDIR": str(runner.folder / "containers" / container / "tmp"),
        "LANG": "C.UTF-8",
        "HOSTNAME": container[:12],
        "FROM_IMAGE": "1",
        "BOTH": "request",
        "FROM_REQUEST": "a=b",
        "NERFORGE_HOST": told["NetworkSettings"]["IPAddress"],
    }


def test_two_containers_serve_on_the_same_port(runner, images, free_port, wait_until):
    listen = "s = socket.create_server((os.environ['NERFORGE_HOST'], int(sys.argv[1])))"
    script = f"import os, socket, sys, time; {listen}; print('up', flush=True); time.sleep(60)"
    image = images.stage("server", "1", *PYTHON, script)
    port = free_port()
    containers = [runner.run(image, Cmd=[str(port)]) for __ in range(2)]
    addresses = {runner.inspect(container)["NetworkSettings"]["IPAddress"] for container in containers}
    assert len(addresses) == 2
    for container in containers:
        wait_until(lambda container=container: is_up(runner, container))
    for address in addresses:
        socket.create_connection((address, port), timeout=5).close()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


@pytest.mark.parametrize(
    ("script", "code"),
    [
        pytest.param("trap 'exit 75' TERM; " + WAITS, 75, id="caught"),
        pytest.param(WAITS, 143, id="not caught"),
        pytest.param("trap '' TERM; " + WAITS, 137, id="ignored"),
    ],
)
def test_stop_sends_term_and_then_kill(runner, images, wait_until, script, code):
    container = runner.run(images.stage("tool", "1", *SHELL, script))
    wait_until(lambda: is_up(runner, container))
    started = time.monotonic()
    assert runner.ask("POST", f"/containers/{container}/stop?t=1") == (204, b"")
    seconds = time.monotonic() - started
    assert (seconds >= 1) == (code == 137)
    assert runner.inspect(container)["State"]["ExitCode"] == code
    assert runner.ask("POST", f"/containers/{container}/stop?t=1")[0] == 304


def test_kill(runner, images, wait_until):
    container = runner.run(images.stage("tool", "1", *SHELL, WAITS))
    wait_until(lambda: is_up(runner, container))
    assert runner.ask("POST", f"/containers/{container}/kill")[0] == 204
    assert runner.wait(container) == 137


def test_nothing_that_a_container_started_outlives_it(runner, images, wait_until):
    container = runner.run(images.stage("tool", "1", *SHELL, "sleep 300 & echo $!"))
    assert runner.wait(container) == 0
    pid = int(runner.log(container))
    wait_until(lambda: gone(pid))


@pytest.mark.parametrize("end", ["stop?t=5", "kill"])
def test_what_a_container_put_into_its_tmpdir_goes_with_it(runner, images, wait_until, end):
    scratch = "tempfile.mkdtemp(); print('made', flush=True); time.sleep(300)"
    container = runner.run(images.stage("tool", "1", *PYTHON, f"import tempfile, time; {scratch}"))
    wait_until(lambda: runner.log(container, "") == "made\n")
    folder = runner.folder / "containers" / container
    assert len(list((folder / "tmp").iterdir())) == 1
    runner.ask("POST", f"/containers/{container}/{end}")
    runner.wait(container)
    assert not (folder / "tmp").exists()


def test_the_log_has_both_streams_in_docker_s_frames(runner, images):
    container = runner.run(images.stage("tool", "1", *SHELL, "echo one; echo two >&2; printf three"))
    assert runner.wait(container) == 0
    assert b"".join(runner.frames(container)) == b"one\ntwo\nthree"
    assert runner.log(container, "&tail=2") == "two\nthree"


def test_a_followed_log_never_breaks_a_line(runner, images):
    script = "for i in 1 2 3; do printf half; sleep 0.3; echo ' line'; done"
    container = runner.run(images.stage("tool", "1", *SHELL, script))
    frames = runner.frames(container, "&follow=1")
    assert b"".join(frames) == b"half line\n" * 3
    assert len(frames) > 1
    assert all(frame.endswith(b"\n") for frame in frames)


@pytest.mark.parametrize(
    "reference",
    [
        "registry/nerforge/none:1",
        "registry/nerforge/tool:none",
        "tool",
        "tool@sha256:" + 64 * "0",
        "registry/..:1",
    ],
)
def test_an_image_that_is_not_staged_is_docker_s_404(runner, images, reference):
    images.stage("tool", "1", "/bin/true")
    for status, answer in (
        runner.ask("POST", "/containers/create", {"Image": reference}),
        runner.ask("POST", f"/images/create?fromImage={reference}"),
        runner.ask("GET", f"/images/{reference}/json"),
    ):
        assert status == 404
        assert answer["message"].startswith(f"No such image: {reference}")


def test_a_staged_image_can_be_pulled(runner, images):
    repository, __, tag = images.stage("tool", "1", "/bin/true").rpartition(":")
    assert runner.ask("POST", f"/images/create?fromImage={repository}&tag={tag}")[0] == 200
    assert runner.ask("GET", f"/images/{repository}:{tag}/json")[1]["RepoTags"] == [f"{repository}:{tag}"]


def test_an_entrypoint_that_cannot_start_is_said(runner, images):
    container = runner.create(images.stage("tool", "1", "/no/such/program"))
    status, answer = runner.ask("POST", f"/containers/{container}/start")
    assert status == 400
    assert "/no/such/program" in answer["message"]
    assert runner.inspect(container)["State"]["Status"] == "created"


def test_containers_are_listed_by_label(runner, images):
    image = images.stage("tool", "1", *SHELL, WAITS)
    mine = runner.run(image, Labels={"owner": "me", "more": ""})
    ended = runner.run(images.stage("tool", "2", "/bin/true"), Labels={"owner": "me"})
    runner.run(image, Labels={"owner": "you"})
    runner.wait(ended)

    def listed(query):
        return {container["Id"] for container in runner.ask("GET", f"/containers/json?{query}")[1]}

    labels = 'filters={"label":["owner=me"]}'
    assert listed(labels) == {mine}
    assert listed(f"all=1&{labels}") == {mine, ended}
    assert listed('all=1&filters={"label":["owner=me","more"]}') == {mine}


def test_a_running_container_is_removed_by_force_alone(runner, images, wait_until):
    container = runner.run(images.stage("tool", "1", *SHELL, WAITS))
    wait_until(lambda: is_up(runner, container))
    pid = runner.inspect(container)["State"]["Pid"]
    assert runner.ask("DELETE", f"/containers/{container}")[0] == 409
    assert runner.ask("DELETE", f"/containers/{container}?force=1")[0] == 204
    assert gone(pid)
    assert runner.ask("GET", f"/containers/{container}/json")[0] == 404
    assert not (runner.folder / "containers" / container).exists()


def test_it_leaves_no_zombies(runner, images):
    image = images.stage("tool", "1", "/bin/true")
    for container in [runner.run(image) for __ in range(5)]:
        runner.wait(container)
    children = Path(f"/proc/{runner.process.pid}/task").glob("*/children")
    pids = " ".join(file.read_text() for file in children).split()
    states = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in pids]
    assert "Z" not in states


def test_its_processes_stop_with_it(own_runner, images, wait_until):
    container = own_runner.run(images.stage("tool", "1", *SHELL, "trap 'exit 75' TERM; " + WAITS))
    wait_until(lambda: is_up(own_runner, container))
    pid = own_runner.inspect(container)["State"]["Pid"]
    own_runner.end()
    assert gone(pid)
    assert not own_runner.socket.exists()
    own_runner.start()
    assert own_runner.inspect(container)["State"]["ExitCode"] == 75


@pytest.mark.parametrize("dies_meanwhile", [False, True])
def test_what_a_killed_runner_left_is_ended_and_reported(own_runner, images, wait_until, dies_meanwhile):
    container = own_runner.run(images.stage("tool", "1", *SHELL, WAITS))
    wait_until(lambda: is_up(own_runner, container))
    pid = own_runner.inspect(container)["State"]["Pid"]
    own_runner.end(signal.SIGKILL)
    if dies_meanwhile:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: gone(pid))
    own_runner.start()
    wait_until(lambda: gone(pid))
    state = own_runner.inspect(container)["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 137)
    assert own_runner.wait(container) == 137


def test_a_process_that_took_a_dead_one_s_number_is_left_alone(own_runner, images, wait_until):
    container = own_runner.run(images.stage("tool", "1", *SHELL, WAITS))
    wait_until(lambda: is_up(own_runner, container))
    pid = own_runner.inspect(container)["State"]["Pid"]
    own_runner.end(signal.SIGKILL)
    file = own_runner.folder / "containers" / container / "container.json"
    record = json.loads(file.read_text())
    file.write_text(json.dumps(record | {"Identity": "another boot/1/1"}))
    own_runner.start()
    assert own_runner.inspect(container)["State"]["Status"] == "exited"
    assert not gone(pid)
    os.killpg(pid, signal.SIGKILL)


def test_only_its_owner_can_open_the_socket(runner):
    assert stat.S_IMODE(runner.socket.stat().st_mode) == 0o600


def test_what_it_does_not_know_is_said(runner):
    assert runner.ask("GET", "/swarm") == (404, {"message": "the process runner does not know GET /swarm"})
