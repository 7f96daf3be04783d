"""The function as Lambda calls it, and the parts it is put together from."""

import json
import time
from types import SimpleNamespace

import boto3
import dispatcher
import pytest
from decisions import Refusal
from nerforge_contract.errors import UserError
from support.aws_double import Double
from tasks import Tasks, client_token

ENVIRONMENT = {
    "NERFORGE_RUNS_TABLE": "runs",
    "QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/runs",
    "DEAD_LETTER_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/dead",
    "CLUSTER": "nerforge",
    "TASK_DEFINITION": "nerforge-trainer",
    "CAPACITY_PROVIDERS": '{"cpu": {"on_demand": "a", "spot": "b"}, "gpu": null}',
    "MAX_CONCURRENT_RUNS": "4",
}


@pytest.fixture
def environment(monkeypatch, world):
    """What Lambda gives the function; the clients that it makes itself meet the world."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "nerforge-dispatcher")
    session = boto3.Session()
    session.events.register("before-send", lambda request, **__: world.wire.answer(request))
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", session)
    dispatcher._dispatcher.cache_clear()
    yield
    dispatcher._dispatcher.cache_clear()


def test_every_event_does_the_same(world, environment):
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 60_000)
    for event in ({}, {"source": "nerforge"}, {"detail-type": "ECS Task State Change"}):
        run_id = world.submit(resources={"gpus": 1})

        assert dispatcher.handler(event, context) == {"started": []}

        assert world.state(run_id) == "FAILED"
        assert world.messages() == []


def test_the_log_has_the_metrics_that_the_alarms_watch(world, environment, capsys):
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 60_000)

    dispatcher.handler({}, context)

    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "nerforge"
    assert directive["Dimensions"] == [["FunctionName"]]
    assert line["FunctionName"] == "nerforge-dispatcher"
    units = {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]}
    assert units == {
        "ActiveRuns": "Count",
        "StuckRuns": "Count",
        "TickErrors": "Count",
        "TickSeconds": "Seconds",
    }
    assert all(isinstance(line[name], int | float) for name in units)
    assert abs(line["_aws"]["Timestamp"] / 1000 - time.time()) < 60


def test_lambda_has_too_little_time_left(world, environment):
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 14_000)
    run_id = world.submit(resources={"gpus": 1})

    dispatcher.handler({}, context)

    assert world.state(run_id) == "QUEUED"


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_a_missing_setting_is_named(name):
    with pytest.raises(UserError, match=f"^{name}: is not set"):
        dispatcher.Settings.from_environment({k: v for k, v in ENVIRONMENT.items() if k != name})


@pytest.mark.parametrize(("name", "value"), [("MAX_CONCURRENT_RUNS", "many"), ("CAPACITY_PROVIDERS", "{")])
def test_an_unreadable_setting_is_named(name, value):
    with pytest.raises(UserError, match=f"^{name}: cannot be read"):
        dispatcher.Settings.from_environment(ENVIRONMENT | {name: value})


def test_tokens_differ_where_the_task_must():
    run = {"run_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "attempt": 1}
    tokens = [client_token(run | more) for more in ({}, {"attempt": 2}, {"refusals": 1}, {"run_id": "X"})]
    assert len(set(tokens)) == 4
    assert {len(token) for token in tokens} == {64}
    assert client_token(run | {"state": "RUNNING", "refusals": 0}) == tokens[0]


def test_tasks_are_described_a_hundred_at_a_time(world):
    world.dispatcher()
    tasks = world.dispatcher()._tasks
    arns = [f"arn:aws:ecs:us-east-1:123456789012:task/nerforge/{i:032x}" for i in range(240)]

    assert tasks.describe(arns) == dict.fromkeys(arns)

    assert [len(request["tasks"]) for request in world.wire.called("DescribeTasks")] == [100, 100, 40]


def test_no_tasks_no_call(world):
    assert world.dispatcher()._tasks.describe([]) == {}
    assert world.wire.calls == []


class Ecs(Double):
    """An ECS whose RunTask gives one answer."""

    service = "ecs"

    def __init__(self, answer):
        self.do_run_task = lambda **__: answer


def test_the_words_of_all_failures_are_kept():
    failures = [{"reason": "RESOURCE:CPU"}, {"reason": "ATTRIBUTE", "detail": "gpu"}]
    tasks = Tasks(Ecs({"tasks": [], "failures": failures}), "c", "f", {})
    assert tasks.run({"taskDefinition": "f"}) == Refusal("capacity", "RESOURCE:CPU; ATTRIBUTE: gpu")


def test_an_empty_answer_is_a_refusal():
    tasks = Tasks(Ecs({"tasks": [], "failures": []}), "c", "f", {})
    assert tasks.run({"taskDefinition": "f"}) == Refusal("unknown", "no task, and no reason")
