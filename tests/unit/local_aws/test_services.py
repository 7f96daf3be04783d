"""What the product asks of AWS, asked of the emulator: where it lacks something, the story can't be told
locally.
"""

import io
import json
import random
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.nerforge.aws.plugins.plugin_utils import pruning
from botocore.exceptions import ClientError
from nerforge_contract import states
from nerforge_contract.errors import UserError
from nerforge_contract.models import Models
from nerforge_contract.runs import STATE_INDEX, Runs
from nerforge_trainer import publish

SPEC = {"name": "m", "rate": 0.5}


def table(local_aws, name, keys, index=None):
    attributes = [*keys, *(["state"] if index else [])]
    fields = {"AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in attributes]}
    if index:
        schema = [
            {"AttributeName": "state", "KeyType": "HASH"},
            {"AttributeName": keys[0], "KeyType": "RANGE"},
        ]
        fields["GlobalSecondaryIndexes"] = [
            {"IndexName": index, "KeySchema": schema, "Projection": {"ProjectionType": "ALL"}}
        ]
    types = ("HASH", "RANGE")
    schema = [{"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, types, strict=False)]
    return local_aws.resource("dynamodb").create_table(
        TableName=name, KeySchema=schema, BillingMode="PAY_PER_REQUEST", **fields
    )


@pytest.fixture(scope="module")
def runs_table(local_aws):
    return table(local_aws, "runs", ["run_id"], STATE_INDEX)


@pytest.fixture(scope="module")
def models_table(local_aws):
    return table(local_aws, "models", ["name", "item"])


def emptied(table):
    names = [key["AttributeName"] for key in table.key_schema]
    for item in table.scan()["Items"]:
        table.delete_item(Key={name: item[name] for name in names})
    return table


@pytest.fixture
def runs(runs_table):
    return Runs(emptied(runs_table))


@pytest.fixture
def models(models_table):
    return Models(emptied(models_table))


def test_a_run_goes_from_state_to_state(runs):
    runs.create("1", SPEC)
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        runs.create("1", SPEC)
    assert runs.claim("1", 1) == "claimed"
    assert runs.claim("1", 1) == "not queued"
    assert runs.move("1", states.STARTING, states.RUNNING, attempt=1, progress={"f": 0.5})
    assert not runs.move("1", states.STARTING, states.RUNNING)
    assert runs.reserve_version("1", 1, 7) == runs.reserve_version("1", 1, 8) == 7
    assert runs.reserve_version("1", 2, 9) is None
    assert runs.move("1", states.RUNNING, states.SUCCEEDED, reason=None, model="m:7")
    run = runs.get("1")
    assert run["spec"] == SPEC
    assert run["progress"] == {"f": 0.5}
    assert "reason" not in run
    assert [found["run_id"] for found in runs.in_state(states.SUCCEEDED)] == ["1"]


def test_the_cap_holds_when_all_claim_at_once(runs):
    names = [f"{n:02}" for n in range(16)]
    for name in names:
        runs.create(name, SPEC)
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda name: runs.claim(name, 3), names))
    assert sorted(outcomes) == ["claimed"] * 3 + ["full"] * 13
    active = runs.active()
    assert len(active) == 3
    for name in active:
        runs.release(name)
        runs.release(name)
    assert runs.active() == []
    queued = next(name for name, outcome in zip(names, outcomes, strict=True) if outcome == "full")
    assert runs.claim(queued, 1) == "claimed"


def test_models_are_numbered_registered_once_and_pointed_at(models):
    assert [models.next_version("m"), models.next_version("m"), models.next_version("n")] == [1, 2, 1]
    manifest = {
        "name": "m",
        "version": 2,
        "run": "1",
        "created": "now",
        "artifact": {"sha256": "0", "bytes": 1},
        "language": "en",
        "labels": ["A"],
        "scores": {"f": 0.5},
    }
    assert models.register(manifest)
    assert models.register(manifest)  # again, as when the answer was lost
    assert not models.register(manifest | {"run": "2"})
    assert models.get("m", 2)["scores"] == {"f": 0.5}
    assert models.register(manifest | {"version": 1})
    assert models.move_alias("m", "production", 1, None)
    assert not models.move_alias("m", "production", 2, None)
    assert models.move_alias("m", "production", 2, 1)
    assert models.alias("m", "production")["version"] == 2
    assert models.mark_pruned("m", 1)
    with pytest.raises(UserError, match="no longer"):
        models.move_alias("m", "production", 1, 2)
    assert models.alias("m", "production")["version"] == 2
    assert [(move["kind"], move["version"]) for move in models.history("m", "production")] == [
        ("promote", 1),
        ("promote", 2),
    ]
    models.forget("m", 2)  # it is not marked
    models.forget("m", 1)
    assert models.marked_pruned() == [] and models.get("m", 1) is None
    versions, aliases = models.all("m")
    assert ([version["version"] for version in versions], [alias["alias"] for alias in aliases]) == (
        [2],
        ["production"],
    )


def test_the_files_of_a_version_are_deleted_and_no_others(local_aws):
    s3 = local_aws.client("s3")
    s3.create_bucket(Bucket="pruned")
    for key in ("models/m/1/model.tar.gz", "models/m/1/evaluations/a.json", "models/m/10/model.tar.gz"):
        s3.put_object(Bucket="pruned", Key=key, Body=b"x")
    for __ in range(2):  # again, as when it was cut short
        pruning.delete_files(s3, "pruned", {"name": "m", "version": 1})
        left = [item["Key"] for item in s3.list_objects_v2(Bucket="pruned")["Contents"]]
        assert left == ["models/m/10/model.tar.gz"]


@pytest.mark.parametrize("how", [publish.send, publish.upload])
def test_a_large_file_goes_in_parts(local_aws, tmp_path, monkeypatch, how):
    monkeypatch.setattr(publish, "_PART", 5 << 20)  # S3 takes no smaller ones
    s3, bucket, path = local_aws.client("s3"), how.__name__, tmp_path / "model.tar.gz"
    s3.create_bucket(Bucket=bucket)
    path.write_bytes(random.Random(0).randbytes((11 << 20) + 1))
    how(s3, bucket, "model.tar.gz", path, "application/gzip")
    found = s3.get_object(Bucket=bucket, Key="model.tar.gz")
    assert (found["Body"].read(), found["ContentType"]) == (path.read_bytes(), "application/gzip")


def test_a_conditional_write_has_one_winner(local_aws):
    s3 = local_aws.client("s3")
    s3.create_bucket(Bucket="locks")

    def put(body):
        try:
            s3.put_object(Bucket="locks", Key="state.tflock", Body=body, IfNoneMatch="*")
        except ClientError as error:
            return error.response["Error"]["Code"]
        return "won"

    with ThreadPoolExecutor(8) as pool:
        outcomes = sorted(pool.map(put, [b"%d" % n for n in range(16)]))
    assert outcomes == ["PreconditionFailed"] * 15 + ["won"]


HANDLER = """
import json, os, boto3
def handler(event, context):
    boto3.client("s3").put_object(Bucket="events", Key=event["id"], Body=json.dumps(event))
    return os.environ["WORD"]
"""


@pytest.fixture(scope="module")
def function(local_aws):
    """A Lambda function that writes each event into a bucket, by boto3's own endpoint and credentials."""
    local_aws.client("s3").create_bucket(Bucket="events")
    role = local_aws.client("iam").create_role(RoleName="function", AssumeRolePolicyDocument="{}")["Role"][
        "Arn"
    ]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("dispatcher.py", HANDLER)
    made = local_aws.client("lambda").create_function(
        FunctionName="function",
        Runtime="python{}.{}".format(*sys.version_info),
        Role=role,
        Handler="dispatcher.handler",
        Code={"ZipFile": archive.getvalue()},
        Environment={"Variables": {"WORD": "first"}},
        Timeout=30,
    )
    return made["FunctionArn"]


def test_a_function_gets_its_environment_and_reaches_aws(local_aws, function):
    client = local_aws.client("lambda")

    def invoke():
        answer = client.invoke(FunctionName=function, Payload=b'{"id": "direct"}')
        assert "FunctionError" not in answer, answer["Payload"].read()
        return json.loads(answer["Payload"].read())

    assert invoke() == "first"
    client.update_function_configuration(FunctionName=function, Environment={"Variables": {"WORD": "second"}})
    assert invoke() == "second"
    assert client.publish_version(FunctionName=function)["Version"] == "1"


def test_an_event_reaches_a_function_at_once(local_aws, function, wait_until):
    events, s3 = local_aws.client("events"), local_aws.client("s3")
    pattern = {"source": ["nerforge"], "detail-type": ["Run Submitted"]}
    events.put_rule(Name="submitted", EventPattern=json.dumps(pattern))
    transformer = {"InputPathsMap": {"run": "$.detail.run"}, "InputTemplate": '{"id": "<run>"}'}
    target = {"Id": "function", "Arn": function, "InputTransformer": transformer}
    events.put_targets(Rule="submitted", Targets=[target])
    entry = {"Source": "nerforge", "DetailType": "Run Submitted", "Detail": json.dumps({"run": "submitted"})}
    started = time.monotonic()
    events.put_events(Entries=[{**entry, "DetailType": "Another"}, entry])
    wait_until(lambda: "Contents" in s3.list_objects_v2(Bucket="events", Prefix="submitted"))
    assert time.monotonic() - started < 5


def test_a_schedule_s_rule_is_kept(local_aws, function):
    events = local_aws.client("events")
    events.put_rule(Name="tick", ScheduleExpression="rate(1 minute)", State="ENABLED")
    assert events.describe_rule(Name="tick")["ScheduleExpression"] == "rate(1 minute)"


@pytest.fixture(scope="module")
def ecs(local_aws):
    local_aws.client("ecs").create_cluster(clusterName="c")
    local_aws.client("logs").create_log_group(logGroupName="/tasks")
    return local_aws.client("ecs")


def run_task(local_aws, script, **container):
    """Start a task of a shell script. Returns its ARN."""
    name = container.pop("name", "tool")
    image = container.pop("image", None) or local_aws.images.stage(name, "1", "/bin/sh", "-c", script)
    options = {"awslogs-group": "/tasks", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "t"}
    logs = {"logDriver": "awslogs", "options": options}
    definition = {"name": name, "image": image, "memory": 100, "logConfiguration": logs, **container}
    ecs = local_aws.client("ecs")
    ecs.register_task_definition(family=name, networkMode="bridge", containerDefinitions=[definition])
    return ecs.run_task(cluster="c", taskDefinition=name)["tasks"][0]["taskArn"]


def until(wait_until, ecs, arn, state):
    def reached():
        task = ecs.describe_tasks(cluster="c", tasks=[arn])["tasks"][0]
        return task if task["lastStatus"] == state else None

    return wait_until(reached)


@pytest.mark.parametrize("code", [0, 42])
def test_a_task_s_exit_code_and_log_are_told(local_aws, ecs, wait_until, code):
    arn = run_task(local_aws, f'echo "$AWS_ENDPOINT_URL"; exit {code}', name=f"exit{code}")
    task = until(wait_until, ecs, arn, "STOPPED")
    assert task["containers"][0]["exitCode"] == code
    assert (task["stopCode"], task["stoppedReason"]) == (
        "EssentialContainerExited",
        "Essential container exited",
    )
    stream = f"t/exit{code}/{arn.rpartition('/')[2]}"
    logs = local_aws.client("logs")
    lines = wait_until(
        lambda: logs.filter_log_events(logGroupName="/tasks", logStreamNames=[stream])["events"] or None
    )
    assert [line["message"] for line in lines] == [local_aws.url]


def test_an_image_that_is_not_staged_is_the_task_s_reason(local_aws, ecs, wait_until):
    arn = run_task(local_aws, "", name="missing", image="registry/nerforge/missing:1")
    task = until(wait_until, ecs, arn, "STOPPED")
    assert task["stopCode"] == "TaskFailedToStart"
    assert "No such image: registry/nerforge/missing:1" in task["stoppedReason"]


def test_a_stopped_task_gets_its_time_and_keeps_its_exit_code(local_aws, ecs, wait_until):
    arn = run_task(
        local_aws, "trap 'sleep 1; echo saved; exit 75' TERM; while :; do sleep 0.05; done", name="saves"
    )
    until(wait_until, ecs, arn, "RUNNING")
    time.sleep(0.5)  # for the shell to set its trap
    asked = ecs.stop_task(cluster="c", task=arn, reason="enough")["task"]
    assert asked["desiredStatus"] == "STOPPED"
    assert asked["lastStatus"] != "STOPPED"
    task = until(wait_until, ecs, arn, "STOPPED")
    assert (task["containers"][0]["exitCode"], task["stoppedReason"]) == (75, "enough")
    logs = local_aws.client("logs")
    stream = f"t/saves/{arn.rpartition('/')[2]}"
    wait_until(
        lambda: logs.filter_log_events(logGroupName="/tasks", logStreamNames=[stream])["events"] or None
    )


def test_a_client_token_starts_one_task(ecs, local_aws):
    image = local_aws.images.stage("once", "1", "/bin/true")
    definition = {"name": "once", "image": image, "memory": 100}
    ecs.register_task_definition(family="once", containerDefinitions=[definition])
    request = {"cluster": "c", "taskDefinition": "once", "clientToken": "run-1-attempt-1"}
    first, second = (ecs.run_task(**request)["tasks"][0]["taskArn"] for __ in range(2))
    assert first == second
    with pytest.raises(ecs.exceptions.ConflictException):
        ecs.run_task(**request, startedBy="another")
