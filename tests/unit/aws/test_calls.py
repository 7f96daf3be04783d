"""What watches the product's calls to AWS: the search in its source, the judge, the double, the record."""

import ast
import datetime

import boto3
import botocore.handlers
import pytest
from botocore.exceptions import ParamValidationError
from moto import mock_aws
from support import aws_call_sites, aws_model
from support.aws_call_sites import Site, sites_in
from support.aws_calls import Call, listen_to_all
from support.aws_double import Double, refused
from support.aws_exercised import Exercised, complaints

ECS = aws_call_sites.operations_of("ecs")


def test_all_ways_to_call_are_found():
    source = """
client("sqs").send_message(QueueUrl=url)
read = table.scan
for page in s3.get_paginator("list_objects_v2").paginate():
    s3.upload_fileobj(file)
self.scan()
unknown.sent_message()
"""
    operations = [*aws_call_sites.operations_of("sqs"), *aws_call_sites.operations_of("dynamodb")]
    assert {str(site) for site in sites_in(ast.parse(source), "a.py", operations)} == {
        "a.py: send_message",
        "a.py: scan",
        "a.py: list_objects_v2",
        "s3transfer: put_object",
        "s3transfer: create_multipart_upload",
        "s3transfer: upload_part",
        "s3transfer: complete_multipart_upload",
        "s3transfer: abort_multipart_upload",
    }


def test_the_products_calls_are_found():
    found = aws_call_sites.in_source()
    assert {
        Site("containers/server/nerforge_server/keys.py", "get_secret_value"),
        Site("plugins/module_utils/contract/models.py", "scan"),
        Site("plugins/plugin_utils/service.py", "list_tasks"),
        Site("terraform/training/dispatcher/tasks.py", "run_task"),
        Site("s3transfer", "get_object"),
    } <= found
    assert {site.operation for site in found} <= {
        name for service in aws_call_sites.services() for name in aws_call_sites.operations_of(service)
    }


def test_a_call_that_no_test_makes_is_told_and_so_is_one_that_was_not_found():
    made, missed, strange = Site("a.py", "scan"), Site("b.py", "query"), Site("c.py", "run_task")
    assert complaints({made, missed}, {made, strange}) == [
        "b.py: query: no test makes this call",
        "c.py: run_task: made, but not found in the source",
    ]


@mock_aws
def test_a_call_is_told_with_the_file_of_the_product_that_makes_it(monkeypatch):
    from nerforge_contract.runs import Runs

    calls = []
    monkeypatch.setattr("botocore.handlers.BUILTIN_HANDLERS", [*botocore.handlers.BUILTIN_HANDLERS])
    listen_to_all(calls.append)
    session = boto3.Session(region_name="us-east-1")
    key = {"AttributeName": "run_id", "KeyType": "HASH"}
    table = session.resource("dynamodb").create_table(
        TableName="runs",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[key],
        AttributeDefinitions=[{"AttributeName": "run_id", "AttributeType": "S"}],
    )
    assert Runs(table).get("01ARZ3NDEKTSV4RRFFQ69G5FAV") is None
    made, got = calls
    assert (made.service, made.operation, made.caller) == ("dynamodb", "CreateTable", None)
    assert made.parameters["KeySchema"] == [key]
    assert (got.operation, got.caller) == ("GetItem", "plugins/module_utils/contract/runs.py")
    assert got.parameters["Key"] == {"run_id": {"S": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}}


def test_a_request_that_aws_would_not_take_fails_the_test_whatever_the_product_makes_of_it(request):
    exercised = Exercised(request.config)
    listing = {"desiredStatus": "GONE"}
    exercised.see(Call("ecs", "ListTasks", listing))  # by a test
    exercised.see(Call("ecs", "StopTask", {"task": "a"}, "plugins/a.py"))
    assert run_test(exercised) == "passed"
    exercised.see(Call("ecs", "ListTasks", listing, "plugins/a.py"))
    with pytest.raises(AssertionError, match=r"plugins/a\.py: the request of ListTasks: .* none of RUNNING"):
        run_test(exercised)
    assert run_test(exercised) == "passed"  # the next one starts afresh
    assert exercised.sites == {Site("plugins/a.py", "stop_task"), Site("plugins/a.py", "list_tasks")}


def run_test(exercised):
    """What pytest does with a test that passes."""
    running = exercised.pytest_runtest_call()
    next(running)
    try:
        running.send("passed")
    except StopIteration as ended:
        return ended.value


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
    secrets = aws_call_sites.operations_of("secretsmanager")
    with pytest.raises(AssertionError, match=r"\.SecretId has 2049 characters of at most 2048"):
        aws_model.check_request(secrets["describe_secret"], {"SecretId": "x" * 2049})
    logs = aws_call_sites.operations_of("logs")
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
