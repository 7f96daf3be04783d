"""The runs table, against moto's DynamoDB."""

import datetime
import itertools

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from nerforge_contract import causes, states, ulid
from nerforge_contract import runs as module
from nerforge_contract.runs import Runs, now

SPEC = {"name": "people", "hyperparameters": {"dropout": 0.1}}


@pytest.fixture
def table():
    with mock_aws():
        yield boto3.resource("dynamodb", region_name="us-east-1").create_table(
            TableName="runs",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[
                {"AttributeName": name, "AttributeType": "S"} for name in ("run_id", "state")
            ],
            KeySchema=[{"AttributeName": "run_id", "KeyType": "HASH"}],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": module.STATE_INDEX,
                    "KeySchema": [
                        {"AttributeName": "state", "KeyType": "HASH"},
                        {"AttributeName": "run_id", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
        )


@pytest.fixture
def runs(table):
    return Runs(table)


def queued(runs, **fields) -> str:
    run_id = ulid.new()
    runs.create(run_id, SPEC, **fields)
    return run_id


def running(runs) -> str:
    run_id = queued(runs)
    assert runs.claim(run_id, 10) == "claimed"
    assert runs.move(run_id, states.STARTING, states.RUNNING, 1)
    return run_id


def test_now_is_utc_to_the_millisecond():
    read = datetime.datetime.fromisoformat(now())
    assert read.utcoffset() == datetime.timedelta(0)
    assert len(now()) == len("2026-03-01T12:00:00.000+00:00")


def test_a_new_run_reads_back(runs):
    run_id = queued(runs, submitted_by="alice")
    run = runs.get(run_id)
    assert run.pop("created") <= now()
    assert ulid.is_ulid(run.pop("last_write"))
    assert run == {
        "run_id": run_id,
        "state": states.QUEUED,
        "name": "people",
        "spec": SPEC,
        "attempt": 0,
        "retries_used": 0,
        "cause": causes.SUBMITTED,
        "reason": "waiting for the dispatcher",
        "submitted_by": "alice",
    }
    assert isinstance(run["attempt"], int)


def test_an_id_is_used_once(runs):
    run_id = queued(runs)
    with pytest.raises(ClientError):
        runs.create(run_id, SPEC)


def test_a_run_that_is_not_there(runs):
    assert runs.get(ulid.new()) is None


def test_many_runs_are_read_at_once(runs):
    made = [queued(runs) for __ in range(3)]
    found = runs.get_many([*made, ulid.new()])
    assert found == {run_id: runs.get(run_id) for run_id in made}
    assert runs.get_many([]) == {}


def test_more_runs_than_one_request_takes_and_keys_that_were_left_over(runs, table, monkeypatch):
    monkeypatch.setattr(module, "_READ_AT_ONCE", 2)
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    made = [queued(runs) for __ in range(5)]
    requests = []

    def leave_the_last_over(parsed, **__):
        (answered,) = parsed["Responses"].values()
        requests.append(len(answered))
        if len(answered) > 1:
            left = {"Keys": [{"run_id": answered.pop()["run_id"]}], "ConsistentRead": True}
            parsed["UnprocessedKeys"] = {"runs": left}

    # The resource's own transformation to Python's types comes after.
    table.meta.client.meta.events.register_first("after-call.dynamodb.BatchGetItem", leave_the_last_over)

    assert runs.get_many(made).keys() == set(made)

    assert requests == [2, 1, 2, 1, 1]


def test_a_record_that_cannot_be_read_does_not_hide_the_others(runs, table):
    good, bad = queued(runs), queued(runs)
    table.update_item(
        Key={"run_id": bad}, UpdateExpression="SET spec = :x", ExpressionAttributeValues={":x": "{"}
    )
    assert runs.get(bad)["spec"] is None
    assert {run["run_id"] for run in runs.in_state(states.QUEUED)} == {good, bad}


# --- slots ---


def test_a_claim_takes_a_slot_and_starts_the_first_attempt(runs):
    run_id = queued(runs)

    assert runs.claim(run_id, 2) == "claimed"

    run = runs.get(run_id)
    assert (run["state"], run["attempt"]) == (states.STARTING, 1)
    assert run["started"] >= run["created"]
    assert runs.active() == [run_id]


def test_only_a_queued_run_can_be_claimed_and_only_once(runs):
    run_id = queued(runs)
    runs.claim(run_id, 2)
    assert runs.claim(run_id, 2) == "not queued"
    assert runs.claim(ulid.new(), 2) == "not queued"
    cancelled = queued(runs)
    runs.move(cancelled, states.QUEUED, states.CANCELLED)
    assert runs.claim(cancelled, 2) == "not queued"
    assert runs.active() == [run_id]


def test_a_full_house_changes_nothing(runs):
    first, second, third = (queued(runs) for __ in range(3))
    assert [runs.claim(run_id, 2) for run_id in (first, second, third)] == ["claimed", "claimed", "full"]
    assert runs.get(third)["state"] == states.QUEUED
    assert runs.active() == sorted([first, second])
    runs.release(first)
    assert runs.claim(third, 2) == "claimed"
    runs.release(third)
    runs.release(third)
    runs.release(second)
    assert runs.active() == []
    assert runs.claim(queued(runs), 2) == "claimed"


@pytest.mark.parametrize("call", ["claim", "release"])
def test_two_that_meet_at_the_slots_item_try_again(runs, table, monkeypatch, call):
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    run_id = queued(runs)
    conflicts = 3

    operation = {"claim": "TransactWriteItems", "release": "UpdateItem"}[call]

    def refuse(model, **__):
        nonlocal conflicts
        if conflicts:
            conflicts -= 1
            code = "TransactionCanceledException" if call == "claim" else "TransactionConflictException"
            answer = {
                "Error": {"Code": code, "Message": "conflict"},
                "CancellationReasons": [{"Code": "None"}, {"Code": "TransactionConflict"}],
            }
            raise table.meta.client.exceptions.from_code(code)(answer, model.name)

    table.meta.client.meta.events.register(f"before-call.dynamodb.{operation}", refuse)

    assert runs.claim(run_id, 1) == "claimed" if call == "claim" else runs.release(run_id) is None

    assert conflicts == 0
    assert runs.active() == ([run_id] if call == "claim" else [])


def test_a_move_that_meets_a_claim_tries_again(runs, table, monkeypatch):
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    run_id = queued(runs)
    conflicts = [{"Error": {"Code": "TransactionConflictException", "Message": "conflict"}}] * 2

    def refuse(model, **__):
        if conflicts:
            raise table.meta.client.exceptions.TransactionConflictException(conflicts.pop(), model.name)

    table.meta.client.meta.events.register("before-call.dynamodb.UpdateItem", refuse)
    assert runs.move(run_id, states.QUEUED, states.CANCELLED)
    assert conflicts == [] and runs.get(run_id)["state"] == states.CANCELLED


def test_a_conflict_that_never_ends_is_raised(runs, table, monkeypatch):
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    run_id = queued(runs)
    answer = {"Error": {"Code": "TransactionConflictException", "Message": "conflict"}}

    def refuse(model, **__):
        raise table.meta.client.exceptions.TransactionConflictException(answer, model.name)

    table.meta.client.meta.events.register("before-call.dynamodb.TransactWriteItems", refuse)
    with pytest.raises(ClientError):
        runs.claim(run_id, 1)


# --- retries ---


@pytest.fixture
def ended(runs):
    """A run that has failed."""
    run_id = queued(runs)
    runs.move(run_id, states.QUEUED, states.FAILED)
    return run_id


def test_a_retry_is_recorded_with_the_run_that_it_begins_anew(runs, ended):
    first, second = ulid.new(), ulid.new()
    assert runs.create_retry(first, SPEC, runs.get(ended), submitted_by="anna")
    new, old = runs.get(first), runs.get(ended)
    assert (new["state"], new["retry_of"], new["spec"], new["submitted_by"]) == (
        states.QUEUED, ended, SPEC, "anna",
    )  # fmt: skip
    assert (old["state"], old["retried_as"]) == (states.FAILED, first)
    assert runs.create_retry(second, SPEC, old)
    assert runs.get(ended)["retried_as"] == second


def test_of_two_retries_at_once_one_is_recorded(runs, ended):
    read = runs.get(ended)
    first, second = ulid.new(), ulid.new()
    assert runs.create_retry(first, SPEC, read)
    assert not runs.create_retry(second, SPEC, read)
    assert runs.get(second) is None and runs.get(ended)["retried_as"] == first


def test_a_run_that_goes_on_is_not_retried(runs):
    run_id, new = queued(runs), ulid.new()
    assert not runs.create_retry(new, SPEC, runs.get(run_id))
    assert runs.get(new) is None


# --- moves ---


def test_moves_are_those_of_the_table_of_states(runs, table):
    run_id = queued(runs)
    for source, to in itertools.product(states.STATES, states.STATES):
        table.update_item(
            Key={"run_id": run_id},
            UpdateExpression="SET #s = :s",
            ExpressionAttributeNames={"#s": "state"},
            ExpressionAttributeValues={":s": source},
        )
        if to in states.MOVES[source]:
            assert runs.move(run_id, source, to)
            assert runs.get(run_id)["state"] == to
        else:
            with pytest.raises(ValueError, match=f"no run moves from {source} to {to}"):
                runs.move(run_id, source, to)
            assert runs.get(run_id)["state"] == source


def test_a_move_from_another_state_or_attempt_does_not_take_place(runs):
    run_id = running(runs)
    assert not runs.move(run_id, states.STARTING, states.FAILED)
    assert not runs.move(run_id, states.ACTIVE, states.FAILED, attempt=2)
    assert not runs.move(ulid.new(), states.ACTIVE, states.FAILED)
    assert runs.get(run_id)["state"] == states.RUNNING
    assert runs.move(run_id, states.ACTIVE, states.FAILED, attempt=1)


def test_a_move_writes_fields_and_removes_those_that_are_none(runs):
    run_id = running(runs)
    scores = {"f": 0.5, "labels": {"PER": {"f": 0.25}}}
    assert runs.move(run_id, states.RUNNING, states.SUCCEEDED, reason=None, scores=scores, model="people:1")
    run = runs.get(run_id)
    assert run["scores"] == scores
    assert run["model"] == "people:1"
    assert "reason" not in run


def test_what_a_run_is_for_and_what_it_found_are_read_as_written(runs):
    purpose = {"kind": "evaluate", "model": "people:6", "of": "people:7"}
    run_id = ulid.new()
    runs.create(run_id, {"name": "people"}, purpose=purpose)
    runs.claim(run_id, 1)
    runs.move(run_id, states.STARTING, states.RUNNING, 1)
    result = {"on": "test", "f": 0.8125, "examples": "e" * 64}
    assert runs.move(run_id, states.RUNNING, states.SUCCEEDED, 1, result=result)
    run = runs.get(run_id)
    assert (run["purpose"], run["result"]) == (purpose, result)


def test_an_annotation_leaves_the_state_and_needs_it(runs):
    run_id = running(runs)
    assert runs.annotate(run_id, states.RUNNING, 1, progress={"step": 3, "loss": 0.5})
    assert not runs.annotate(run_id, states.RUNNING, 2, progress={"step": 4})
    assert not runs.annotate(run_id, states.STARTING, 1, progress={"step": 5})
    assert runs.get(run_id)["progress"] == {"step": 3, "loss": 0.5}


def test_the_next_attempt_starts_clean(runs):
    run_id = running(runs)
    runs.record_task(run_id, 1, "arn:1")
    runs.annotate(run_id, states.RUNNING, progress={"step": 3}, refusals=4, running="2026-03-01")

    assert runs.next_attempt(run_id, 1, reason="once more", retries_used=1)

    run = runs.get(run_id)
    assert (run["state"], run["attempt"], run["retries_used"]) == (states.STARTING, 2, 1)
    assert run["reason"] == "once more"
    assert not {"task_arn", "task_recorded", "progress", "refusals", "running"} & run.keys()
    assert not runs.next_attempt(run_id, 1, reason="again")
    assert runs.get(run_id)["attempt"] == 2


def test_a_run_that_has_ended_has_no_next_attempt(runs):
    run_id = running(runs)
    runs.move(run_id, states.RUNNING, states.SUCCEEDED)
    assert not runs.next_attempt(run_id, 1)
    assert runs.get(run_id)["state"] == states.SUCCEEDED


def test_an_attempt_has_one_task(runs):
    run_id = queued(runs)
    runs.claim(run_id, 1)
    assert runs.record_task(run_id, 1, "arn:1") == states.STARTING
    recorded = runs.get(run_id)["task_recorded"]
    assert runs.record_task(run_id, 1, "arn:1") == states.STARTING
    assert runs.record_task(run_id, 1, "arn:2") is None
    assert runs.record_task(run_id, 2, "arn:2") is None
    assert runs.record_task(ulid.new(), 1, "arn:1") is None
    run = runs.get(run_id)
    assert (run["task_arn"], run["task_recorded"]) == ("arn:1", recorded)
    runs.move(run_id, states.STARTING, states.CANCELLED)
    assert runs.record_task(run_id, 1, "arn:1") == states.CANCELLED


def test_a_reserved_version_is_kept_for_later_attempts(runs):
    run_id = running(runs)
    assert runs.reserve_version(run_id, 1, 7) == 7
    assert runs.reserve_version(run_id, 1, 8) == 7
    runs.next_attempt(run_id, 1)
    assert runs.reserve_version(run_id, 1, 9) is None
    runs.move(run_id, states.STARTING, states.RUNNING, 2)
    assert runs.reserve_version(run_id, 2, 9) == 7


def test_what_became_of_each_attempt_is_kept(runs):
    run_id = running(runs)
    first = {"attempt": 1, "task_arn": "arn:1", "exit_code": 137, "cause": causes.KILLED, "reason": "killed"}
    second = {"attempt": 2, "task_arn": "arn:2", "exit_code": None, "cause": causes.IMAGE, "reason": "none"}

    assert runs.next_attempt(run_id, 1, ended=first)
    assert runs.next_attempt(run_id, 2, ended=second)
    assert runs.next_attempt(run_id, 3)  # that one never had a task
    assert not runs.next_attempt(run_id, 3, ended=second)

    assert runs.get(run_id)["history"] == [first, second]


def test_what_became_of_the_last_attempt_is_kept_too(runs):
    run_id = running(runs)
    last = {"attempt": 1, "task_arn": "arn:1", "exit_code": 1, "cause": causes.ERROR, "reason": "it broke"}

    assert runs.move(run_id, states.RUNNING, states.FAILED, 1, last=last, reason="it broke", ended=now())
    assert not runs.move(run_id, states.RUNNING, states.FAILED, 1, last=last)

    assert runs.get(run_id)["history"] == [last]


def test_what_outlives_an_attempt(runs):
    run_id = running(runs)
    runs.annotate(run_id, states.RUNNING, checkpoint={"step": 40}, on_demand=True, reported=now())
    runs.next_attempt(run_id, 1)
    run = runs.get(run_id)
    assert (run["checkpoint"], run["on_demand"]) == ({"step": 40}, True)
    assert "reported" not in run


# --- answers that are lost ---


class Repeating:
    """A table that gets every write twice, as when the first answer was lost and boto3 asks again."""

    def __init__(self, table):
        self._table = table
        self.between = lambda: None

    def _twice(self, operation, **request):
        getattr(self._table, operation)(**request)
        self.between()
        return getattr(self._table, operation)(**request)

    def update_item(self, **request):
        return self._twice("update_item", **request)

    def put_item(self, **request):
        return self._twice("put_item", **request)

    def __getattr__(self, name):
        return getattr(self._table, name)


def test_a_write_whose_answer_was_lost_took_place(runs, table):
    deaf = Runs(Repeating(table))
    run_id = ulid.new()
    deaf.create(run_id, SPEC)
    runs.claim(run_id, 1)
    assert deaf.move(run_id, states.STARTING, states.RUNNING, 1)
    assert deaf.annotate(run_id, states.RUNNING, 1, progress={"step": 3})
    assert deaf.next_attempt(run_id, 1, ended={"attempt": 1})
    assert deaf.move(run_id, states.STARTING, states.RUNNING, 2)
    assert deaf.move(run_id, states.RUNNING, states.SUCCEEDED, 2)
    run = runs.get(run_id)
    assert (run["state"], run["attempt"], run["history"]) == (states.SUCCEEDED, 2, [{"attempt": 1}])


def test_a_retry_whose_answer_was_lost_is_recorded_once(runs, table, ended):
    client, read, new = table.meta.client, runs.get(ended), ulid.new()
    write = client.transact_write_items

    def deaf(**request):
        write(**request)
        return write(**request)

    client.transact_write_items = deaf
    assert runs.create_retry(new, SPEC, read)
    assert runs.get(new)["retry_of"] == ended


def test_a_write_that_somebody_else_was_faster_with_did_not_take_place(runs, table):
    run_id = running(runs)
    deaf = Repeating(table)
    deaf.between = lambda: runs.move(run_id, states.STARTING, states.CANCELLED)
    assert not Runs(deaf).next_attempt(run_id, 1)
    assert runs.get(run_id)["state"] == states.CANCELLED


# --- the dispatcher's own item ---


def test_the_last_tick_reads_back_and_is_no_run(runs):
    assert runs.last_tick() is None
    runs.record_tick(errors=2, started=0)
    runs.record_tick(errors=0, started=1)
    tick = runs.last_tick()
    assert (tick["errors"], tick["started"]) == (0, 1)
    assert tick["ticked"] <= now()
    assert [run for state in states.STATES for run in runs.in_state(state)] == []


# --- listing ---


def test_runs_of_a_state_come_oldest_first_if_wanted_so_page_by_page(runs):
    ids = [queued(runs) for __ in range(5)]
    for page in (1, 2, 5, None):
        found = [run["run_id"] for run in runs.in_state(states.QUEUED, oldest_first=True, page=page)]
        assert found == sorted(ids)


def test_runs_of_a_state_come_newest_first_and_no_more_than_asked_for(runs):
    made = sorted(queued(runs) for __ in range(5))
    assert [run["run_id"] for run in runs.in_state(states.QUEUED)] == made[::-1]
    assert [run["run_id"] for run in runs.in_state(states.QUEUED, newest=2)] == made[:-3:-1]
    assert list(runs.in_state(states.RUNNING)) == []


def test_the_slots_item_is_no_run(runs):
    run_id = queued(runs)
    runs.claim(run_id, 1)
    listed = [run["run_id"] for state in states.STATES for run in runs.in_state(state)]
    assert listed == [run_id]


def test_every_page_is_read(runs):
    made = {queued(runs, submitted_by="x" * 300_000) for __ in range(8)}
    assert {run["run_id"] for run in runs.in_state(states.QUEUED)} == made
    assert len(list(runs.in_state(states.QUEUED, newest=6))) == 6
