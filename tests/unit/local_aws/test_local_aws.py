"""The local AWS as a whole: how it starts, stops, comes back and goes."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer
from typing import ClassVar

import local_aws as command
import pytest
from processes import identity

SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
http.server.HTTPServer((os.environ["NERFORGE_HOST"], 8080), Handler).serve_forever()
"""
INTERRUPTED = "trap 'exit 75' TERM; while :; do sleep 0.05; done"


@pytest.fixture
def own(make_local_aws, tmp_path):
    """A local AWS for one test to treat as it likes."""
    own = make_local_aws(tmp_path)
    yield own
    own.bring("absent")


def listening(pids):
    """The addresses on which processes listen, as hexadecimal numbers."""
    open_files = {str(file.readlink()) for pid in pids for file in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [
        line.split()
        for table in ("tcp", "tcp6", "udp", "udp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return {row[1] for row in rows if f"socket:[{row[9]}]" in open_files and row[3] in ("0A", "07")}


def alive(pid):
    return identity(pid) is not None


def test_it_listens_on_loopback_alone(local_aws):
    assert listening(local_aws.processes().values()) == {f"0100007F:{local_aws.port:04X}"}


def test_starting_what_runs_changes_nothing(local_aws):
    before = local_aws.processes()
    assert local_aws.bring("started") is False
    assert local_aws.processes() == before


def test_other_settings_restart_it(own, tmp_path):
    assert own.bring("started") is True
    before = own.processes()
    assert own.bring("started", images=tmp_path / "elsewhere") is True
    assert not set(before.values()) & set(own.processes().values())


def test_check_only_says_what_would_change(own):
    assert own.bring("started", check=True) is True
    assert not own.home.exists()
    own.bring("started")
    before = own.processes()
    assert own.bring("started", check=True) is False
    assert own.bring("stopped", check=True) is own.bring("absent", check=True) is True
    assert all(map(alive, before.values()))


def test_what_died_is_started_again(own):
    own.bring("started")
    os.kill(own.processes()["process-runner"], signal.SIGKILL)
    assert own.bring("started") is True
    assert own.bring("started") is False


def serve(own, wait_until):
    """A service behind a load balancer. Returns a function that asks it."""
    balancers, ecs = own.client("elbv2"), own.client("ecs")
    balancer = balancers.create_load_balancer(Name="web", Subnets=["subnet-1", "subnet-2"])["LoadBalancers"][
        0
    ]
    group = balancers.create_target_group(
        Name="web", Port=8080, Protocol="HTTP", TargetType="ip", VpcId="vpc-1"
    )
    group = group["TargetGroups"][0]["TargetGroupArn"]
    balancers.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"],
        Port=80,
        Protocol="HTTP",
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
    )
    balancers.modify_target_group_attributes(
        TargetGroupArn=group, Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "1"}]
    )
    image = own.images.stage("web", "1", "/usr/bin/env", "python3", "-c", SERVER)
    container = {"name": "web", "image": image, "memory": 100, "portMappings": [{"containerPort": 8080}]}
    ecs.create_cluster(clusterName="c")
    ecs.register_task_definition(family="web", networkMode="bridge", containerDefinitions=[container])
    ecs.create_service(
        cluster="c",
        serviceName="web",
        taskDefinition="web",
        desiredCount=1,
        loadBalancers=[{"targetGroupArn": group, "containerName": "web", "containerPort": 8080}],
    )

    def answers():
        try:
            return urllib.request.urlopen(f"{own.url}/_alb/web/", timeout=5).read() == b"ok"
        except OSError:
            return False

    wait_until(answers)
    return answers


def test_after_a_stop_all_is_there_again_and_services_run(own, wait_until):
    own.bring("started")
    own.client("s3").create_bucket(Bucket="kept")
    own.client("s3").put_object(Bucket="kept", Key="object", Body=b"content")
    queue = own.client("sqs").create_queue(QueueName="kept")["QueueUrl"]
    own.client("sqs").send_message(QueueUrl=queue, MessageBody="message")
    own.client("ssm").put_parameter(Name="/kept", Value="value", Type="String")
    answers = serve(own, wait_until)

    ecs = own.client("ecs")
    training = own.images.stage("training", "1", "/bin/sh", "-c", INTERRUPTED)
    definition = {"name": "training", "image": training, "memory": 100}
    ecs.register_task_definition(family="training", containerDefinitions=[definition])
    task = ecs.run_task(cluster="c", taskDefinition="training")["tasks"][0]["taskArn"]
    wait_until(lambda: ecs.describe_tasks(cluster="c", tasks=[task])["tasks"][0]["lastStatus"] == "RUNNING")

    before = own.processes().values()
    assert own.bring("stopped") is True
    assert not any(map(alive, before))
    assert own.bring("stopped") is False
    assert not answers()
    assert own.bring("started") is True

    assert own.client("s3").get_object(Bucket="kept", Key="object")["Body"].read() == b"content"
    assert own.client("sqs").receive_message(QueueUrl=queue)["Messages"][0]["Body"] == "message"
    assert own.client("ssm").get_parameter(Name="/kept")["Parameter"]["Value"] == "value"
    stopped = ecs.describe_tasks(cluster="c", tasks=[task])["tasks"][0]
    assert stopped["lastStatus"] == stopped["desiredStatus"] == "STOPPED"
    assert stopped["stoppedReason"] == "the local AWS was stopped"
    assert stopped["containers"][0]["exitCode"] == 75
    wait_until(answers)


def test_a_taken_port_is_said_with_its_holder_and_the_way_out(own):
    with socket.create_server(("127.0.0.1", own.port)):
        failed = own.command("started")
    assert failed.returncode == 1
    assert f"Port {own.port} of 127.0.0.1 is taken by process {os.getpid()} (" in failed.stderr
    assert "local_aws_port" in failed.stderr
    assert not own.home.exists()


def fake_venv(folder, script):
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    return folder


def test_a_failed_start_shows_the_end_of_the_log(own, tmp_path):
    venv = fake_venv(tmp_path / "venv", '[ "$1" = -c ] || { echo boom; exit 3; }')
    failed = own.command("started", venv=venv)
    assert failed.returncode == 1
    assert "The process-runner of the local AWS ended (3). The end of " in failed.stderr
    assert failed.stderr.rstrip().endswith("boom")
    assert not (own.home / "processes.json").exists()


def test_an_environment_without_a_python_is_said(own, tmp_path):
    failed = own.command("started", venv=tmp_path / "none")
    assert failed.returncode == 1
    assert f"Remove the folder {tmp_path / 'none'} and run again" in failed.stderr


def test_a_stranger_with_a_recorded_number_is_never_killed(own):
    own.bring("started")
    own.bring("stopped")
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        record = {"emulator": {"pid": stranger.pid, "identity": "another boot/1/1", "settings": ""}}
        (own.home / "processes.json").write_text(json.dumps(record))
        assert own.bring("stopped") is False
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_absent_removes_its_folder_and_nothing_else(own):
    assert own.bring("absent") is False
    own.bring("started")
    pids = own.processes().values()
    assert own.bring("absent") is True
    assert not own.home.exists()
    assert not any(map(alive, pids))


def test_absent_leaves_a_folder_that_is_not_its_own(make_local_aws, tmp_path):
    mistaken = make_local_aws(tmp_path)
    mistaken.home.mkdir()
    (mistaken.home / "thesis.tex").touch()
    failed = mistaken.command("absent")
    assert failed.returncode == 1
    assert "is not the folder of a local AWS" in failed.stderr
    assert (mistaken.home / "thesis.tex").exists()


def test_a_deep_home_has_its_socket_elsewhere(make_local_aws, tmp_path, wait_until):
    deep = make_local_aws(tmp_path / ("d" * 100))
    deep.bring("started")
    assert not (deep.home / "docker.sock").exists()
    deep.client("ecs").create_cluster(clusterName="c")
    container = {"name": "m", "image": deep.images.stage("tool", "1", "/bin/true"), "memory": 100}
    deep.client("ecs").register_task_definition(family="t", containerDefinitions=[container])
    task = deep.client("ecs").run_task(cluster="c", taskDefinition="t")["tasks"][0]["taskArn"]

    def stopped():
        described = deep.client("ecs").describe_tasks(cluster="c", tasks=[task])["tasks"][0]
        return described if described["lastStatus"] == "STOPPED" else None

    assert wait_until(stopped)["containers"][0]["exitCode"] == 0
    deep.bring("absent")


class Engine(BaseHTTPRequestHandler):
    """A Docker engine that answers, whose bridge has a loopback address."""

    bridge: ClassVar = {"Gateway": "127.0.0.2"}

    def do_GET(self):
        content = b"OK"
        if self.path == "/networks/bridge":
            content = json.dumps({"IPAM": {"Config": [self.bridge]}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def address_string(self):
        return "engine"

    def log_message(self, *__):
        pass


@pytest.fixture
def engine(tmp_path):
    """The address of a Docker engine that is played."""
    path = tmp_path / "engine.sock"
    with UnixStreamServer(str(path), Engine) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"unix://{path}"
        server.shutdown()


@pytest.mark.parametrize("named_by", ["variable", "environment"])
def test_a_docker_engine_takes_the_runner_s_place(own, engine, monkeypatch, named_by):
    monkeypatch.setenv("DOCKER_HOST", engine if named_by == "environment" else "unix:///none")
    own.bring("started", **{"docker-host": engine if named_by == "variable" else "detect"})
    assert list(own.processes()) == ["emulator"]
    environment = Path(f"/proc/{own.processes()['emulator']}/environ").read_text().split("\0")
    assert f"DOCKER_HOST={engine}" in environment
    # Loopback, and the bridge by which containers reach it.
    assert listening(own.processes().values()) == {f"0100007F:{own.port:04X}", f"0200007F:{own.port:04X}"}


def test_a_bridge_without_a_gateway_has_its_subnet_s_first_address(engine, monkeypatch):
    monkeypatch.setattr(Engine, "bridge", {"Subnet": "127.7.0.0/16"})
    assert command.task_address(engine) == "127.7.0.1"


def test_an_engine_whose_bridge_is_elsewhere_is_refused(own, engine, monkeypatch):
    monkeypatch.setattr(Engine, "bridge", {"Subnet": "192.0.2.128/25"})
    failed = own.command("started", **{"docker-host": engine})
    assert failed.returncode == 1
    assert f"The containers of the Docker engine at {engine} cannot be reached" in failed.stderr
    assert "-e '{\"images_engines\": []}'" in failed.stderr
    assert not own.home.exists()


def test_elsewhere_than_on_linux_there_must_be_an_engine(files, tmp_path):
    script = "import sys; sys.platform = 'darwin'; import local_aws; local_aws.main()"
    options = ["--venv=v", "--images=i", "--port=1", "--docker-host=none"]
    words = [sys.executable, "-c", script, "started", f"--home={tmp_path}", *options]
    failed = subprocess.run(words, cwd=files, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert "no Docker engine answers here" in failed.stderr


def test_an_engine_that_is_named_must_answer(own):
    failed = own.command("started", **{"docker-host": "unix:///no/engine.sock"})
    assert failed.returncode == 1
    assert "No Docker engine answers at unix:///no/engine.sock" in failed.stderr


def test_the_user_s_environment_does_not_reach_it(own, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the user's own")
    own.bring("started")
    for pid in own.processes().values():
        assert "the user's own" not in Path(f"/proc/{pid}/environ").read_text()
