"""The AWS in memory answers as moto does where moto is right, and refuses what DynamoDB and SQS refuse."""

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from aws_in_memory import dynamodb, sqs
from aws_in_memory.wire import Checked, Clock, Wire
from botocore.exceptions import ClientError
from moto import mock_aws
from nerforge_contract import states, ulid
from nerforge_contract.models import Models
from nerforge_contract.runs import STATE_INDEX, Runs

REGION = "us-east-1"


def resources(wire: Wire | None) -> tuple[Any, Any, Any]:
    """The tables of runs and models, and an SQS client, that meet the wire, or moto."""
    session = boto3.Session(region_name=REGION)
    if wire:
        session.events.register("before-send", lambda request, **__: wire.answer(request))
    service = session.resource("dynamodb")
    return service.Table("runs"), service.Table("models"), session.client("sqs")


@pytest.fixture
def ours() -> tuple[Any, Any, Any]:
    """What meets the AWS in memory, whose answers are checked against botocore's models."""
    clock = Clock()
    tables = {
        "runs": dynamodb.Table(("run_id",), (STATE_INDEX, "state", "run_id")),
        "models": dynamodb.Table(("name", "item")),
    }
    dead = sqs.Queue()
    queues = {"dead": dead, "runs": sqs.Queue(dead_letters=dead, most_receives=2)}
    services = {
        dynamodb.TARGET: Checked(dynamodb.DynamoDb(clock, tables), "dynamodb"),
        sqs.TARGET: Checked(sqs.Sqs(clock, queues), "sqs"),
    }
    return resources(Wire(services))


@contextmanager
def moto() -> Iterator[tuple[Any, Any, Any]]:
    """What meets moto, set up in the same way; it takes all calls that are made meanwhile."""
    with mock_aws():
        made = resources(None)
        client = made[0].meta.client

        def text(*names):
            return [{"AttributeName": name, "AttributeType": "S"} for name in names]

        def key(*names):
            kinds = zip(names, ("HASH", "RANGE"), strict=False)
            return [{"AttributeName": name, "KeyType": kind} for name, kind in kinds]

        index = {
            "IndexName": STATE_INDEX,
            "KeySchema": key("state", "run_id"),
            "Projection": {"ProjectionType": "ALL"},
        }
        client.create_table(
            TableName="runs",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=text("run_id", "state"),
            KeySchema=key("run_id"),
            GlobalSecondaryIndexes=[index],
        )
        client.create_table(
            TableName="models",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=text("name", "item"),
            KeySchema=key("name", "item"),
        )
        dead = made[2].create_queue(QueueName="dead")["QueueUrl"]
        arn = made[2].get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        policy = f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": 2}}'
        made[2].create_queue(QueueName="runs", Attributes={"RedrivePolicy": policy})
        yield made


def outcome(call: Callable[[], Any]) -> Any:
    """What a call gave: its answer, or the error."""
    try:
        return call()
    except ClientError as error:
        return error.response["Error"]["Code"]
    except ValueError as error:  # the table of states has no such move
        return str(error)


# --- the contract's own calls ---


def call_at_random(chance: random.Random, runs: Runs, models: Models, number: int) -> tuple[int, Any]:
    """One call, on one of few records, so that its condition holds or not; which it was, and what it gave."""
    ids = [f"01ARZ3NDEKTSV4RRFFQ69G5FA{i}" for i in range(4)]
    run_id, attempt, state = chance.choice(ids), chance.choice([1, 2]), chance.choice(states.STATES)
    to, cap, task = chance.choice(states.STATES), chance.choice([1, 2]), f"task-{chance.choice('ab')}"
    ended = {"attempt": 1, "task_arn": None, "exit_code": None, "reason": "x"}
    manifest = {
        "name": "people",
        "version": chance.choice([1, 2]),
        "run": run_id,
        "created": "now",
        "artifact": {"sha256": "0", "bytes": 1},
        "language": "en",
        "labels": [],
        "scores": {},
    }
    calls: list[Callable[[], Any]] = [
        lambda: runs.create(run_id, {"name": "people", "share": 0.5}),
        lambda: runs.get(run_id),
        lambda: runs.get_many([*ids, ids[0], "none"]),
        lambda: runs.claim(run_id, cap),
        lambda: runs.release(run_id),
        runs.active,
        lambda: runs.annotate(run_id, {state, states.STARTING}, attempt, reason=f"{number}"),
        lambda: runs.annotate(run_id, states.ACTIVE, reason=None, n=number),
        lambda: runs.move(run_id, state, to, attempt, last=ended),
        lambda: runs.next_attempt(run_id, attempt, ended=ended, resent=None),
        lambda: runs.record_task(run_id, attempt, task),
        lambda: runs.reserve_version(run_id, attempt, number),
        lambda: list(runs.in_state(state)),
        lambda: list(runs.in_state(state, oldest_first=True, page=1)),
        lambda: list(runs.in_state(state, newest=2, prefix=ids[2][:-1])),
        lambda: runs.record_tick(seconds=number),
        runs.last_tick,
        lambda: models.next_version("people"),
        lambda: models.register(manifest),
        lambda: models.get("people", manifest["version"]),
        lambda: models.all("people"),
    ]
    which = chance.randrange(len(calls))
    return which, outcome(calls[which])


@pytest.mark.parametrize("seed", range(5))
def test_the_contracts_calls_give_what_they_give_with_moto(ours, seed, monkeypatch):
    monkeypatch.setattr("nerforge_contract.runs.now", lambda: "2026-03-01T12:00:00.000+00:00")

    def sequence(runs: Any, models: Any, __: Any) -> list[tuple[int, Any]]:
        chance, numbers, new = random.Random(seed), itertools.count(1), ulid.new
        with monkeypatch.context() as patch:
            patch.setattr(ulid, "new", lambda: new(0, next(numbers).to_bytes(10)))
            return [call_at_random(chance, Runs(runs), Models(models), number) for number in range(150)]

    ours_gave = sequence(*ours)
    with moto() as motos:
        assert ours_gave == sequence(*motos)
    assert len({str(gave) for __, gave in ours_gave}) > 20


# --- what DynamoDB refuses ---

ITEM = {"run_id": "a", "state": "QUEUED", "active": {"x"}, "list": [], "n": 1}
KEY = {"run_id": "a"}
SET = {"Key": KEY, "UpdateExpression": "SET n = :n", "ExpressionAttributeValues": {":n": 1}}


@pytest.mark.parametrize(
    "change",
    [
        {"ExpressionAttributeValues": {":n": 1, ":more": 2}},
        {"ExpressionAttributeNames": {"#more": "more"}},
        {"ExpressionAttributeNames": {}},
        {"ExpressionAttributeValues": {}},
        {"ExpressionAttributeValues": {":other": 1}},
        {"UpdateExpression": "SET #n = :n"},
        {"UpdateExpression": "SET state = :n"},
        {"UpdateExpression": "SET n = :n, n = :n"},
        {"UpdateExpression": "SET n = :n REMOVE n"},
        {"UpdateExpression": "SET n = :n SET list = :n"},
        {"UpdateExpression": "SET run_id = :n"},
        {"UpdateExpression": "SET n = :n,"},
        {"UpdateExpression": "SET n :n"},
        {"UpdateExpression": "PUT n = :n"},
        {"UpdateExpression": ""},
        {"UpdateExpression": "SET n = missing, list = :n"},
        {"UpdateExpression": "SET n = list_append(n, :n)"},
        {"UpdateExpression": "ADD active :n"},
        {"UpdateExpression": "DELETE list :n"},
        {"ConditionExpression": "n = "},
        {"ConditionExpression": "n = :n AND"},
        {"ConditionExpression": "(n = :n"},
        {"ConditionExpression": "size(n) < :n"},
        {"ConditionExpression": "n IN ()"},
        {"ConditionExpression": "n ? :n"},
        {"Key": {"run_id": ""}},
        {"Key": {"run_id": 1}},
        {"Key": {"run_id": "a", "state": "b"}},
        {"Key": {"state": "b"}},
        {"UpdateExpression": "SET #s = :n", "ExpressionAttributeNames": {"#s": "state"}},
        {"ExpressionAttributeValues": {":n": "x" * (400 * 1024)}},
    ],
)
def test_dynamodb_refuses_an_update_that_is_wrong(ours, change):
    table = ours[0]
    table.put_item(Item=ITEM)
    assert outcome(lambda: table.update_item(**(SET | change))) == "ValidationException"
    assert table.get_item(Key=KEY)["Item"] == ITEM


def test_dynamodb_refuses_other_requests_that_are_wrong(ours):
    table = ours[0]
    client = table.meta.client
    wrong = [
        lambda: client.batch_get_item(RequestItems={"runs": {"Keys": [KEY, KEY]}}),
        lambda: client.batch_get_item(
            RequestItems={"runs": {"Keys": [{"run_id": f"{i}"} for i in range(101)]}}
        ),
        lambda: table.put_item(Item={"state": "QUEUED"}),
        lambda: table.query(
            IndexName="other", KeyConditionExpression="n = :n", ExpressionAttributeValues={":n": 1}
        ),
        lambda: client.transact_write_items(TransactItems=[{"Update": SET | {"TableName": "runs"}}] * 2),
    ]
    assert [outcome(call) for call in wrong] == ["ValidationException"] * len(wrong)
    assert outcome(lambda: client.get_item(TableName="none", Key=KEY)) == "ResourceNotFoundException"


def test_a_transaction_takes_place_once_a_token(ours):
    client = ours[0].meta.client
    add = {
        "TableName": "runs",
        "Key": KEY,
        "UpdateExpression": "ADD n :n",
        "ExpressionAttributeValues": {":n": 1},
    }
    for __ in range(2):
        client.transact_write_items(TransactItems=[{"Update": add}], ClientRequestToken="t")
    assert ours[0].get_item(Key=KEY)["Item"]["n"] == 1
    add["ExpressionAttributeValues"] = {":n": 2}
    again = {"TransactItems": [{"Update": add}], "ClientRequestToken": "t"}
    assert outcome(lambda: client.transact_write_items(**again)) == "IdempotentParameterMismatchException"


# --- SQS ---


def test_messages_go_as_with_moto(ours):
    def story(client: Any) -> Iterator[Any]:
        url, dead = (f"https://sqs.{REGION}.amazonaws.com/123456789012/{name}" for name in ("runs", "dead"))

        def bodies(queue: str) -> list[tuple[str, str]]:
            answer = client.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=0)
            return [(found["Body"], found["ReceiptHandle"]) for found in answer.get("Messages", ())]

        def give_back(receipt: str) -> Any:
            return outcome(
                lambda: client.change_message_visibility(
                    QueueUrl=url, ReceiptHandle=receipt, VisibilityTimeout=0
                )["ResponseMetadata"]["HTTPStatusCode"]
            )

        for body in ("a", "b"):
            yield client.send_message(QueueUrl=url, MessageBody=body)["MD5OfMessageBody"]
        (__, a), (__, b) = first = bodies(url)
        yield [body for body, __ in first]
        yield bodies(url)
        client.delete_message(QueueUrl=url, ReceiptHandle=b)
        yield give_back(a)
        ((body, receipt),) = bodies(url)
        yield body
        yield receipt == a
        yield give_back(receipt)
        yield bodies(url)  # it has been received twice
        yield [body for body, __ in bodies(dead)]

    ours_gave = list(story(ours[2]))
    with moto() as motos:
        assert ours_gave == list(story(motos[2]))
    assert ours_gave[-1] == ["a"]


def test_sqs_refuses_what_is_too_large_or_no_text_and_does_nothing_with_a_stale_receipt(ours):
    client, url = ours[2], "https://x/1/runs"
    no_text = outcome(lambda: client.send_message(QueueUrl=url, MessageBody="\x00"))
    assert no_text == "InvalidMessageContents"
    reason = {"reason": {"DataType": "String", "StringValue": "x"}}
    client.send_message(QueueUrl=url, MessageBody="x" * (262_144 - 13), MessageAttributes=reason)
    larger = {"QueueUrl": url, "MessageBody": "x" * (262_144 - 12), "MessageAttributes": reason}
    assert outcome(lambda: client.send_message(**larger)) == "InvalidParameterValue"
    stale = client.receive_message(QueueUrl=url)["Messages"][0]["ReceiptHandle"]
    client.change_message_visibility(QueueUrl=url, ReceiptHandle=stale, VisibilityTimeout=0)
    fresh = client.receive_message(QueueUrl=url)["Messages"][0]["ReceiptHandle"]
    client.delete_message(QueueUrl=url, ReceiptHandle=stale)  # SQS says yes, and does nothing
    client.change_message_visibility(QueueUrl=url, ReceiptHandle=fresh, VisibilityTimeout=0)
    again = {"QueueUrl": url, "ReceiptHandle": fresh, "VisibilityTimeout": 0}
    assert outcome(lambda: client.change_message_visibility(**again)) == "MessageNotInflight"
