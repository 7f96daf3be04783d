"""What watches the product's calls to AWS: the search in its source, the judge, the double, the record."""

import ast
import datetime

import boto3
import pytest
from botocore.exceptions import ParamValidationError
from moto import mock_aws
from support import aws_calls, aws_model
from support.aws_calls import Call, Recorder, calls_of
from support.aws_double import Double, refused
from support.aws_exercised import complaints

ECS = aws_calls.operations_of("ecs")


def test_all_ways_to_call_are_found():
    source = """
client("sqs").send_message(QueueUrl=url)
read = table.scan
for page in s3.get_paginator("list_objects_v2").paginate():
    s3.upload_fileobj(file)
self.scan()
unknown.sent_message()
"""
    operations = [*aws_calls.operations_of("sqs"), *aws_calls.operations_of("dynamodb")]
    assert {str(call) for call in calls_of(ast.parse(source), "a.py", operations)} == {
        "a.py: send_message",
        "a.py: scan",
        "a.py: list_objects_v2",
        "s3transfer: put_object",
        "s3transfer: create_multipart_upload",
        "s3transfer: upload_part",
        "s3transfer: complete_multipart_upload",
    }


def test_the_products_calls_are_found():
    found = aws_calls.in_source()
    assert {
        Call("containers/server/nerforge_server/keys.py", "get_secret_value"),
        Call("plugins/module_utils/contract/models.py", "scan"),
        Call("plugins/plugin_utils/service.py", "list_tasks"),
        Call("terraform/training/dispatcher/tasks.py", "run_task"),
        Call("s3transfer", "get_object"),
    } <= found
    assert {call.operation for call in found} <= {
        name for service in aws_calls.services() for name in aws_calls.operations_of(service)
    }


def test_a_call_that_no_test_makes_is_told_and_so_is_one_that_was_not_found():
    made, missed, strange = Call("a.py", "scan"), Call("b.py", "query"), Call("c.py", "run_task")
    assert complaints({made, missed}, {made, strange}) == [
        "b.py: query: no test makes this call",
        "c.py: run_task: made, but not found in the source",
    ]


@mock_aws
def test_only_the_products_calls_are_recorded(monkeypatch):
    from nerforge_contract.runs import Runs

    recorder = Recorder()
    monkeypatch.setattr("botocore.handlers.BUILTIN_HANDLERS", [*aws_calls.botocore.handlers.BUILTIN_HANDLERS])
    recorder.install()
    session = boto3.Session(region_name="us-east-1")
    key = {"AttributeName": "run_id", "KeyType": "HASH"}
    table = session.resource("dynamodb").create_table(
        TableName="runs",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[key],
        AttributeDefinitions=[{"AttributeName": "run_id", "AttributeType": "S"}],
    )
    assert Runs(table).get("01ARZ3NDEKTSV4RRFFQ69G5FAV") is None
    assert recorder.calls == {Call("plugins/module_utils/contract/runs.py", "get_item")}


@pytest.mark.parametrize(
    ("operation", "request_", "told"),
    [
        (
            "update_service",
            {"service": "s", "deploymentConfiguration": {"strategy": "Canary"}},
            "none of ROLL",
        ),
        ("list_tasks", {"desiredStatus": "STOPED"}, r"\.desiredStatus is 'STOPED', none of RUNNING"),
    ],
)
def test_the_judge_sees_what_botocore_lets_pass(operation, request_, told):
    with pytest.raises(AssertionError, match=told):
        aws_model.check_request(ECS[operation], request_)


def test_the_judge_knows_bounds_and_patterns():
    secrets = aws_calls.operations_of("secretsmanager")
    with pytest.raises(AssertionError, match=r"\.SecretId has 2049 characters of at most 2048"):
        aws_model.check_request(secrets["describe_secret"], {"SecretId": "x" * 2049})
    logs = aws_calls.operations_of("logs")
    with pytest.raises(AssertionError, match=r"\.logGroupName is 'a b', which does not match"):
        aws_model.check_request(logs["get_log_events"], {"logGroupName": "a b", "logStreamName": "s"})
    with pytest.raises(AssertionError, match=r"\.limit is 10001, more than 10000"):
        aws_model.check_request(logs["get_log_events"], {"logStreamName": "s", "limit": 10_001})


class Ecs(Double):
    """Two pages of tasks, and what else a test gives it."""

    service = "ecs"

    def do_list_tasks(self, nextToken=None, **__):
        return {"taskArns": ["b"]} if nextToken else {"taskArns": ["a"], "nextToken": "more"}

    def do_describe_tasks(self, cluster, tasks):
        return {"tasks": [{"taskArn": tasks[0], "createdAt": datetime.datetime.now(datetime.UTC)}]}


def test_a_double_answers_and_pages_as_a_client_does():
    ecs = Ecs()
    pages = ecs.get_paginator("list_tasks").paginate(cluster="nerforge")
    assert [arn for page in pages for arn in page["taskArns"]] == ["a", "b"]
    (task,) = ecs.describe_tasks(cluster="nerforge", tasks=["a"])["tasks"]
    assert task["taskArn"] == "a"


def test_a_double_takes_no_request_that_aws_would_not():
    with pytest.raises(ParamValidationError):
        Ecs().describe_tasks(cluster="nerforge", task=["a"])
    with pytest.raises(AssertionError, match="none of RUNNING"):
        Ecs().list_tasks(desiredStatus="GONE")


@pytest.mark.parametrize(
    "answer", [{"tasks": [{"status": "RUNNING"}]}, {"tasks": "a"}, {"tasks": [{"connectivity": "good"}]}]
)
def test_a_double_gives_no_answer_that_aws_would_not(answer):
    ecs = Ecs()
    ecs.do_describe_tasks = lambda **__: answer
    with pytest.raises(AssertionError, match="the answer of DescribeTasks"):
        ecs.describe_tasks(cluster="nerforge", tasks=["a"])


def test_a_double_fails_as_aws_does():
    ecs = Ecs()

    def refuse(**__):
        raise refused("ClusterNotFoundException", "Cluster not found.")

    ecs.do_describe_tasks = refuse
    with pytest.raises(ecs.exceptions.ClusterNotFoundException) as caught:
        ecs.describe_tasks(cluster="nerforge", tasks=["a"])
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert caught.value.operation_name == "DescribeTasks"


def test_a_double_does_not_fail_in_ways_that_aws_has_not():
    ecs = Ecs()

    def refuse(**__):
        raise refused("NoSuchCluster")

    ecs.do_describe_tasks = refuse
    with pytest.raises(AssertionError, match="DescribeTasks does not fail with NoSuchCluster"):
        ecs.describe_tasks(cluster="nerforge", tasks=["a"])
