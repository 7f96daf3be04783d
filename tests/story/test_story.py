"""From nothing to entities over HTTP and back to nothing, by the playbooks alone, on the embedded AWS.

The acts, in order; each builds on the one before:

1. Deploy a server that asks for keys, as on AWS; deploy again: nothing changes but what the emulator itself
   cannot keep. Make a key.
2. Wrong specs: one message each, exit code not 0, nothing recorded, nothing on the queue. The sample is
   checked, and nothing is wrong with it.
3. Train the sample: a training process within 5 s, progress as it comes, a model version in the end, with its
   card. The doctor finds all in order, the log can be read, there are no dead letters; a run that has
   succeeded is neither cancelled nor begun anew.
4. Promote: the service answers with that version; a version that does not exist is refused.
5. Ask over HTTP: plain text, JSON, the page, the metrics, the OpenAPI document; without a key, in vain.
6. Make another key in place of the first, which then opens nothing.
7. The demo, which deploys again while serving, a server without keys: nothing is trained anew, the model goes
   on to be served, and it says where all is. The answer that the README shows is given.
8. A weaker version: it is compared with the one in production, and the gate refuses it. While clients ask all
   the time it is served by force, one that crashes is not, and a rollback brings the better one back: no
   request fails. It is trained once more, with the same weights; nothing of it is pruned.
9. Stop and start the local AWS, as when the machine is restarted: the model is served again.
10. Destroy: nothing is left.
"""

import datetime
import json
import re
import stat
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from rolls import report, verdict
from rolls.commands import FORCE, Commands
from rolls.load import Load
from rolls.versions import Spoiled, Versions, spec, texts
from support import documents

# What the emulator forgets, so that every plan finds it changed; the provider and AWS are not at fault.
EMULATOR_DRIFT = {
    "aws_ecs_service.server",  # DescribeServices leaves availability_zone_rebalancing out
    # DescribeAlarms leaves fields out.
    *(
        f'aws_cloudwatch_metric_alarm.training["{name}"]'
        for name in ("dead-letters", "dispatcher-errors", "dispatcher-silent", "queue-age", "stuck-runs")
    ),
    "aws_cloudwatch_metric_alarm.errors",
    "aws_cloudwatch_metric_alarm.latency",
    "aws_cloudwatch_metric_alarm.no_healthy_host",
    "aws_cloudwatch_metric_alarm.unhealthy_hosts",
}
# What of the serving stack changes when keys are turned off.
KEYS = {
    "aws_ecs_task_definition.server",
    "aws_iam_role_policy.api_keys[0]",
    'aws_ssm_parameter.serving["template_task_definition_arn"]',
}
WITH_KEYS = ("-e", "nerforge_api_keys=true")
SAMPLE = "playbooks/specs/sample.yml"
ROLL_RATE = 80.0  # requests a second while the service rolls
SENTENCE = "Europa Clipper will ride to Jupiter's moon Europa for NASA after its launch on a Falcon Heavy."

# What is wrong with each, where the message says it is, and how it says to mend it.
WRONG_SPECS = {
    "unknown field": ({"epochs": 3}, "epochs: unknown field", "The fields here are name,"),
    "missing file": (
        {"data": {"train": "none.jsonl", "dev": "good.jsonl"}},
        "none.jsonl): no such file",
        "put the file there",
    ),
    "no entities": (
        {"data": {"train": "empty.jsonl", "dev": "good.jsonl"}},
        "data.train: no entities",
        "Give a file that marks some",
    ),
    "overlapping spans": (
        {"data": {"train": "overlap.jsonl", "dev": "good.jsonl"}},
        "overlap.jsonl:1: overlapping spans",
        "keep one of them",
    ),
    "wrong sha256": (
        {"data": {"train": {"from": "good.jsonl", "sha256": "0" * 64}, "dev": "good.jsonl"}},
        "data.train: good.jsonl: its sha256 is",
        "Get the file the spec means",
    ),
    "no GPU": ({"device": "gpu"}, "resources.gpus: 1 asked for", "Set device: cpu"),
    "label without example": (
        {"labels": ["BODY", "MOON"]},
        "labels: no example in train has the label MOON",
        "Take it out of labels",
    ),
}


def changed_resources(output: str) -> set[str]:
    """The resources that Terraform's lines say were touched; the key in an address may have spaces."""
    lines = r"^  (?:created|changed|destroyed) (.+) in (?:\d+ min )?\d+ s$"
    return set(re.findall(lines, output, re.MULTILINE))


def status(deployment) -> int:
    """The status of the answer to a sentence."""
    try:
        deployment.ask("/ner", SENTENCE.encode())
    except urllib.error.HTTPError as refused:
        return refused.code
    return 200


def key(deployment, name: str) -> str:
    """The key that keys.yml has made."""
    return (deployment.home / "keys" / deployment.prefix / name).read_text().strip()


def test_1_deploy_and_deploy_again(deployment):
    first = deployment.playbook("playbooks/deploy.yml", *WITH_KEYS)
    assert first.returncode == 0
    assert {"aws_sqs_queue.runs", "aws_ecs_service.server"} <= changed_resources(first.stdout)

    # The second one runs from the playbooks' own folder, as people also do.
    second = deployment.playbook("deploy.yml", *WITH_KEYS, folder="playbooks")
    assert second.returncode == 0
    assert changed_resources(second.stdout) <= EMULATOR_DRIFT


def test_1_make_a_key(deployment):
    assert deployment.playbook("playbooks/keys.yml", "-e", "add=first").returncode == 0
    deployment.key = key(deployment, "first")


@pytest.mark.parametrize("case", WRONG_SPECS)
def test_2_wrong_specs(deployment, tmp_path: Path, case: str):
    spans = [{"start": 0, "end": 4, "label": "BODY"}]
    files = {
        "good": {"text": "Mars is red.", "spans": spans},
        "empty": {"text": "Mars is red.", "spans": []},
        "overlap": {"text": "Mars is red.", "spans": [*spans, {"start": 2, "end": 7, "label": "BODY"}]},
    }
    for name, example in files.items():
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(example) + "\n")
    change, wrong, fix = WRONG_SPECS[case]
    spec = {"name": "wrong", "data": {"train": "good.jsonl", "dev": "good.jsonl"}} | change
    (tmp_path / "spec.yml").write_text(json.dumps(spec))

    ended = deployment.playbook("playbooks/train.yml", "-e", f"spec={tmp_path / 'spec.yml'}")
    assert ended.returncode != 0
    (message,) = re.findall(r"^fatal: .*?(?=^\S)", ended.stdout, re.MULTILINE | re.DOTALL)
    message = " ".join(message.split())  # Ansible breaks long lines
    assert wrong in message
    assert fix in message
    assert "Traceback" not in ended.stdout
    assert deployment.runs() == []
    assert deployment.messages() == 0


def test_2_check_the_sample(deployment):
    ended = deployment.playbook("playbooks/check.yml", "-e", f"spec={SAMPLE}")
    assert ended.returncode == 0
    assert "538 sentences, 904 entities" in ended.stdout
    assert "no warning" in ended.stdout
    assert deployment.runs() == []


def test_3_train_the_sample(deployment):
    ended = deployment.playbook("playbooks/train.yml", "-e", f"spec={SAMPLE}")
    assert ended.returncode == 0
    (run,) = deployment.runs()
    assert run["state"] == "SUCCEEDED"
    assert run["model"] == "space:1"
    assert deployment.messages() == 0
    waited = datetime.datetime.fromisoformat(run["running"]) - datetime.datetime.fromisoformat(run["created"])
    print(f"from submission to a training process: {waited.total_seconds():.2f} s")
    assert waited.total_seconds() <= 5

    folder = "models/space/1/"
    objects = deployment.client("s3").list_objects_v2(
        Bucket=deployment.parameter("training/bucket"), Prefix=folder
    )["Contents"]
    found = {item["Key"].removeprefix(folder) for item in objects}
    assert {name for name in found if "/" not in name} == {
        "model.tar.gz",
        "manifest.json",
        "card.json",
        "card.html",
    }
    assert len([name for name in found if name.startswith("evaluations/")]) == 1


def test_3_its_card(deployment):
    ended = deployment.playbook("playbooks/card.yml", "-e", "model=space:1")
    assert ended.returncode == 0
    (path,) = re.findall(r"^card: (.+)$", ended.stdout, re.MULTILINE)
    assert "space:1" in Path(path).read_text()
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600


def test_3_status_shows_run_and_model(deployment):
    ended = deployment.playbook("playbooks/status.yml")
    assert ended.returncode == 0
    assert "SUCCEEDED" in ended.stdout
    assert "space:1" in ended.stdout


def test_3_operators_find_all_in_order(deployment):
    doctor = deployment.playbook("playbooks/doctor.yml")
    assert doctor.returncode == 0
    assert "WRONG" not in doctor.stdout
    shown = deployment.playbook("playbooks/logs.yml", "-e", "run=latest")
    assert shown.returncode == 0
    assert "space:1 has F" in shown.stdout
    redriven = deployment.playbook("playbooks/redrive.yml")
    assert redriven.returncode == 0
    assert "changed=0" in redriven.stdout


@pytest.mark.parametrize("command", ["cancel", "retry"])
def test_3_what_has_succeeded_is_left_alone(deployment, command: str):
    ended = deployment.playbook(f"playbooks/{command}.yml", "-e", "run=latest")
    assert ended.returncode != 0
    assert "SUCCEEDED" in ended.stdout
    assert [run["state"] for run in deployment.runs()] == ["SUCCEEDED"]


def test_4_promote(deployment):
    refused = deployment.playbook("playbooks/promote.yml", "-e", "model=space:99")
    assert refused.returncode != 0
    assert "space has no version 99" in refused.stdout

    ended = deployment.playbook("playbooks/promote.yml", "-e", "model=space:1")
    assert ended.returncode == 0
    assert deployment.ask("/model")["name"] == "space"
    assert deployment.ask("/model")["version"] == 1
    again = deployment.playbook("playbooks/promote.yml", "-e", "model=space:1")
    assert "changed=0" in again.stdout


def test_5_ask_over_http(deployment):
    entities = deployment.ask("/ner", SENTENCE.encode())
    assert {entity["tag"] for entity in entities} <= {"MISSION", "BODY", "AGENCY", "ROCKET"}
    assert {"text": "NASA", "tag": "AGENCY"}.items() <= next(
        entity for entity in entities if entity["text"] == "NASA"
    ).items()
    for entity in entities:
        assert SENTENCE[entity["start"] : entity["end"]] == entity["text"]
        assert 0 <= entity["score"] <= 1

    answer = deployment.ask("/ner", json.dumps({"texts": [SENTENCE, ""]}).encode(), "application/json")
    assert answer["model"] == "space:1"
    assert [result["entities"] for result in answer["results"]] == [entities, []]

    with urllib.request.urlopen(f"{deployment.url}/", timeout=10) as page:
        assert page.headers["Content-Type"].startswith("text/html")
    assert '"AGENCY"' in deployment.read("/metrics").decode()
    assert deployment.ask("/openapi.json")["openapi"].startswith("3.1")
    with pytest.raises(urllib.error.HTTPError) as refused:
        deployment.ask("/ner", b"\xff\xfe")
    assert refused.value.code == 400

    deployment.key = ""
    assert status(deployment) == 401
    deployment.key = key(deployment, "first")


def test_6_another_key_in_place_of_the_first(deployment):
    assert status(deployment) == 200
    ended = deployment.playbook("playbooks/keys.yml", "-e", "add=second", "-e", "remove=first")
    assert ended.returncode == 0
    assert "with other API keys" in ended.stdout
    assert status(deployment) == 401
    deployment.key = key(deployment, "second")
    assert status(deployment) == 200


def test_7_the_demo_goes_on_from_what_is_there(deployment, root: Path):
    deployment.key = ""
    ended = deployment.playbook("playbooks/demo.yml")
    assert ended.returncode == 0
    assert changed_resources(ended.stdout) <= EMULATOR_DRIFT | KEYS
    assert "rolling out space:1 in place of space:1" in ended.stdout  # so Terraform has left it in service
    assert status(deployment) == 200
    assert len(deployment.runs()) == 1
    assert deployment.ask("/model")["version"] == 1
    for told in (
        f"{deployment.url}/",
        f"s3://{deployment.parameter('training/bucket')}/models/space/",
        f"{deployment.home}/local-aws/logs/",
        "AGENCY",
    ):
        assert told in ended.stdout
    text, shown = documents.exchange((root / "README.md").read_text())
    answer = deployment.ask("/ner", text.encode())
    assert [entity | {"score": pytest.approx(entity["score"], abs=0.05)} for entity in shown] == answer


def test_8_the_gate_refuses_a_weaker_version(deployment, root: Path, tmp_path: Path):
    weaker = spec(root, "space", 1) | {"gate": {"min_f": 0.1}}
    (tmp_path / "weaker.yml").write_text(json.dumps(weaker))
    assert deployment.playbook("playbooks/train.yml", "-e", f"spec={tmp_path / 'weaker.yml'}").returncode == 0

    shown = deployment.playbook("playbooks/models.yml", "-e", "model=space:2", "-e", "with=space:1")
    assert shown.returncode == 0
    assert "95 % interval" in " ".join(shown.stdout.split())
    refused = deployment.playbook("playbooks/promote.yml", "-e", "model=space:2")
    assert refused.returncode != 0
    assert "space:2 does not pass its gate" in " ".join(refused.stdout.split())
    assert "95 % interval" in " ".join(refused.stdout.split())
    unexplained = deployment.playbook("playbooks/promote.yml", "-e", "model=space:2", "-e", "force=true")
    assert unexplained.returncode != 0
    assert "is no reason" in unexplained.stdout
    assert deployment.ask("/model")["version"] == 1


def test_8_rolls_under_load(deployment, root: Path):
    versions = Versions(deployment)
    crashes = versions.copy("space:1", Spoiled.CRASHES)
    commands = Commands(deployment, versions, serves="space:1", settle=lambda __: time.sleep(1))
    with Load(deployment, versions.expected(["space:1", "space:2"], texts(root)), ROLL_RATE) as load:
        time.sleep(1)
        commands.promote("space:2")
        commands.refused(crashes, "crashes", Spoiled.CRASHES)
        commands.roll_back("space:1")
    print(report.table(load, commands.rolls))
    assert commands.wrong + verdict.violations(load.answers, commands.rolls, "space:1") == []
    assert len(load.answers) > 1000
    moves = versions.models.history("space", "production")
    assert [(move["kind"], move["version"], move.get("forced")) for move in moves] == [
        ("promote", 1, None),
        ("promote", 2, FORCE),
        ("rollback", 1, None),
    ]


def test_8_train_it_once_more_and_prune(deployment):
    reproduced = deployment.playbook("playbooks/reproduce.yml", "-e", "model=space:2")
    assert reproduced.returncode == 0
    assert "space:2 is reproduced" in reproduced.stdout
    pruned = deployment.playbook("playbooks/prune.yml", "-e", "keep=1")
    assert pruned.returncode == 0
    listed = deployment.playbook("playbooks/models.yml", "-e", "model=space")
    assert listed.returncode == 0
    assert "space:1" in listed.stdout  # is served
    assert "space:2" in listed.stdout  # was the release before


def test_9_stop_and_start_the_local_aws(deployment):
    assert deployment.playbook("playbooks/local.yml", "-e", "local_aws_state=stopped").returncode == 0
    with pytest.raises(urllib.error.URLError):
        deployment.ask("/health")
    assert deployment.playbook("playbooks/local.yml", "-e", "local_aws_state=started").returncode == 0
    deadline = time.monotonic() + 60
    while True:
        try:
            assert deployment.ask("/model")["version"] == 1
            break
        except urllib.error.URLError:
            assert time.monotonic() < deadline, "the model is not served again"
            time.sleep(0.5)


def test_10_destroy_leaves_nothing(deployment):
    assert deployment.playbook("playbooks/destroy.yml", "-e", "keep_local_aws=true").returncode == 0
    left = {
        "buckets": [bucket["Name"] for bucket in deployment.client("s3").list_buckets()["Buckets"]],
        "tables": deployment.client("dynamodb").list_tables()["TableNames"],
        "queues": deployment.client("sqs").list_queues().get("QueueUrls", []),
        "functions": deployment.client("lambda").list_functions()["Functions"],
        "clusters": deployment.client("ecs").list_clusters()["clusterArns"],
        "load balancers": deployment.client("elbv2").describe_load_balancers()["LoadBalancers"],
        "parameters": deployment.client("ssm").get_parameters_by_path(
            Path=f"/{deployment.prefix}", Recursive=True
        )["Parameters"],
        "repositories": deployment.client("ecr").describe_repositories()["repositories"],
        "rules": deployment.client("events").list_rules()["Rules"],
        "alarms": deployment.client("cloudwatch").describe_alarms()["MetricAlarms"],
        "roles": [
            role["RoleName"]
            for role in deployment.client("iam").list_roles()["Roles"]
            if role["RoleName"].startswith(f"{deployment.prefix}-")
        ],
        "log groups": deployment.client("logs").describe_log_groups()["logGroups"],
        "task definitions": deployment.client("ecs").list_task_definitions()["taskDefinitionArns"],
        "scaling groups": deployment.client("autoscaling").describe_auto_scaling_groups()[
            "AutoScalingGroups"
        ],
        "launch templates": deployment.client("ec2").describe_launch_templates()["LaunchTemplates"],
        "networks": deployment.client("ec2").describe_vpcs(
            Filters=[{"Name": "is-default", "Values": ["false"]}]
        )["Vpcs"],
        "topics": deployment.client("sns").list_topics()["Topics"],
    }
    assert {kind: found for kind, found in left.items() if found} == {}

    assert deployment.playbook("playbooks/destroy.yml").returncode == 0
    assert not (deployment.home / "local-aws").exists()
