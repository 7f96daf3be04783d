"""The dead letter queue: which message goes where, and that none is lost on the way."""

import json

import pytest
from ansible_collections.nerforge.aws.plugins.plugin_utils.dead_letters import DeadLetters
from botocore.exceptions import ClientError
from support.aws_double import answering, refused

WAITS, TRAINS, FAILED, UNKNOWN = (f"01JAAAAAAA000000000000000{n}" for n in range(4))


@pytest.fixture
def sqs(stack):
    return stack.aws.client("sqs")


@pytest.fixture
def dead(stack):
    """The dead letter queue's URL; a run that waits, one that trains, and one that has failed."""
    for run_id in (WAITS, TRAINS, FAILED):
        stack.runs.create(run_id, {"name": "people"})
    stack.runs.claim(TRAINS, 1)
    stack.runs.move(FAILED, "QUEUED", "FAILED")
    return stack.deployment["dead_letter_queue_url"]


@pytest.fixture
def put(sqs, dead):
    """Puts a message into the dead letter queue, as the dispatcher does where it gives a reason."""

    def put(body, reason=None):
        attributes = {"reason": {"DataType": "String", "StringValue": reason}} if reason else {}
        sqs.send_message(QueueUrl=dead, MessageBody=body, MessageAttributes=attributes)

    return put


@pytest.fixture
def redrive(stack, sqs, dead):
    """Redrives the queue."""

    def redrive(purge=False, dry=False):
        return list(DeadLetters(sqs, stack.queue_url, dead, stack.runs, purge).redrive(dry))

    return redrive


def bodies(sqs, url):
    """What can be received now; it is visible again afterwards."""
    answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    for message in answer.get("Messages", []):
        receipt = message["ReceiptHandle"]
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=receipt, VisibilityTimeout=0)
    return sorted(message["Body"] for message in answer.get("Messages", []))


def names(run_id, **more):
    return json.dumps({"run": run_id, **more})


CASES = [
    (names(WAITS), "sent back", f"run {WAITS} waits for it"),
    (names(WAITS, image="x"), "sent back", f"run {WAITS} waits for it"),
    (names(TRAINS), "dropped", f"run {TRAINS} is STARTING already"),
    (names(FAILED), "dropped", f"run {FAILED} has ended: it is FAILED"),
    (names(UNKNOWN), "kept", f"no run {UNKNOWN} is recorded"),
    ("{", "kept", "it names no run: '{'"),
    ("[" * 10_000, "kept", "it names no run: '" + "[" * 59 + "…'"),
    ('{"run": 7}', "kept", "it names no run: '{\"run\": 7}'"),
    ("[]", "kept", "it names no run: '[]'"),
]


@pytest.mark.parametrize(("body", "verdict", "why"), CASES, ids=[case[2][:30] for case in CASES])
def test_a_verdict(stack, sqs, dead, put, redrive, body, verdict, why):
    put(body, "the reason of the dispatcher")
    (letter,) = redrive()
    assert (letter.verdict, letter.why, letter.reason) == (verdict, why, "the reason of the dispatcher")
    assert 0 <= letter.age_seconds < 60
    assert str(letter).partition("s  ")[2] == f"{verdict:<9}  {why} (it came here: {letter.reason})"
    assert bodies(sqs, dead) == ([body] if verdict == "kept" else [])
    assert bodies(sqs, stack.queue_url) == ([names(WAITS)] if verdict == "sent back" else [])


def test_check_mode_lists_and_leaves_all(stack, sqs, dead, put, redrive):
    for body, *__ in CASES[:6]:
        put(body)
    assert sorted(letter.verdict for letter in redrive(dry=True)) == sorted(case[1] for case in CASES[:6])
    assert bodies(sqs, dead) == sorted(case[0] for case in CASES[:6])
    assert bodies(sqs, stack.queue_url) == []


def test_purge_deletes_what_names_no_run(sqs, dead, put, redrive):
    put("{")
    put(names(UNKNOWN))
    assert [letter.verdict for letter in redrive(purge=True)] == ["purged", "purged"]
    assert bodies(sqs, dead) == []


def test_the_reason_of_what_sqs_itself_moved(put, redrive):
    put(names(WAITS))
    assert redrive()[0].reason == "the dispatcher received it several times and failed each time"


def test_more_than_one_batch(sqs, stack, dead, put, redrive):
    for __ in range(23):
        put(names(WAITS))
    put("{")
    verdicts = [letter.verdict for letter in redrive()]
    assert verdicts.count("sent back") == 23 and verdicts.count("kept") == 1
    assert bodies(sqs, dead) == ["{"]


def test_an_empty_queue(redrive):
    assert redrive() == []


@pytest.mark.parametrize("call", ["send_message", "delete_message"])
def test_a_failure_midway_loses_no_message(stack, sqs, dead, put, redrive, call):
    """Sent before deleted: at worst a run's message comes twice, which does no harm."""
    put(names(WAITS))
    put("{")
    with answering(sqs, **{call: refused("ServiceUnavailable")}), pytest.raises(ClientError):
        redrive()
    assert bodies(sqs, dead) == sorted([names(WAITS), "{"])
    assert [letter.verdict for letter in redrive() if letter.run_id] == ["sent back"]
    assert names(WAITS) in bodies(sqs, stack.queue_url)


def test_what_cannot_be_given_back_comes_back_by_itself(sqs, dead, put, redrive):
    put("{")
    put(names(TRAINS))
    with answering(sqs, change_message_visibility=refused("ReceiptHandleIsInvalid")):
        assert sorted(letter.verdict for letter in redrive()) == ["dropped", "kept"]
    counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    left = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=counts)["Attributes"]
    assert sorted(left.values()) == ["0", "1"]
