"""The runs table: one item a run, and one item that holds the slots.

Every write that changes a state is conditional on the state before. A run that may have a task holds a
slot; the slots are one set in one item, so that claiming a slot and leaving QUEUED are one transaction and
the cap on concurrent runs cannot be passed, whoever races.
"""

import datetime
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any, TypeVar

from . import states

SLOTS = "#slots"  # the key of the slots item; no ULID begins with '#'
STATE_INDEX = "by_state"  # partition key: state, sort key: run_id
_JSON_FIELDS = frozenset({"spec", "progress", "scores", "warnings"})

_CONFLICT_TRIES = 6  # the slots item is one for all: two that touch it at once are told to come again

Run = dict[str, Any]
Answer = TypeVar("Answer")


def now() -> str:
    """The time as records write it: UTC, ISO 8601, to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


class Runs:
    """The runs table.

    Parameters
    ----------
    table:
        ``boto3.resource("dynamodb").Table(name)``, or anything that behaves as it does.
    """

    def __init__(self, table: Any) -> None:
        self._table = table
        self._client = table.meta.client

    def create(self, run_id: str, spec: dict[str, Any], **fields: Any) -> None:
        """Record a new run as QUEUED. Raises if the id was used before."""
        item = {
            "run_id": run_id,
            "state": states.QUEUED,
            "name": spec["name"],
            "spec": spec,
            "attempt": 0,
            "retries_used": 0,
            "reason": "waiting for the dispatcher",
            "created": now(),
            **fields,
        }
        self._table.put_item(Item=_to_item(item), ConditionExpression="attribute_not_exists(run_id)")

    def get(self, run_id: str) -> Run | None:
        """The run, read consistently, or None."""
        item = self._table.get_item(Key={"run_id": run_id}, ConsistentRead=True).get("Item")
        return _from_item(item) if item else None

    def claim(self, run_id: str, cap: int) -> str:
        """Give a queued run a slot and move it to STARTING, attempt 1, in one transaction.

        Returns ``claimed``, ``full`` (all ``cap`` slots are taken) or ``not queued`` (someone else moved it).
        """
        name = self._table.name
        run_update = {
            "TableName": name,
            "Key": {"run_id": run_id},
            "UpdateExpression": "SET #state = :starting, attempt = :one, reason = :reason, started = :now",
            "ConditionExpression": "#state = :queued",
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": {
                ":starting": states.STARTING,
                ":queued": states.QUEUED,
                ":one": 1,
                ":reason": "asking ECS for a task",
                ":now": now(),
            },
        }
        slots_update = {
            "TableName": name,
            "Key": {"run_id": SLOTS},
            "UpdateExpression": "ADD active :run",
            "ConditionExpression": "attribute_not_exists(active) OR size(active) < :cap",
            "ExpressionAttributeValues": {":run": {run_id}, ":cap": cap},
        }
        try:
            self._unless_conflict(
                lambda: self._client.transact_write_items(
                    TransactItems=[{"Update": run_update}, {"Update": slots_update}]
                )
            )
        except self._client.exceptions.TransactionCanceledException as error:
            codes = [reason.get("Code") for reason in error.response.get("CancellationReasons", [])]
            if codes and codes[0] == "ConditionalCheckFailed":
                return "not queued"
            if "ConditionalCheckFailed" in codes:
                return "full"
            raise
        return "claimed"

    def release(self, run_id: str) -> None:
        """Give the run's slot back. Harmless if it holds none."""
        self._unless_conflict(
            lambda: self._table.update_item(
                Key={"run_id": SLOTS},
                UpdateExpression="DELETE active :run",
                ExpressionAttributeValues={":run": {run_id}},
            )
        )

    def active(self) -> list[str]:
        """The ids of all runs that hold a slot, oldest first."""
        item = self._table.get_item(Key={"run_id": SLOTS}, ConsistentRead=True).get("Item", {})
        return sorted(item.get("active", ()))

    def move(
        self, run_id: str, source: str | Iterable[str], to: str, attempt: int | None = None, **fields: Any
    ) -> bool:
        """Move a run to state ``to`` if it still is in ``source`` (and still is at ``attempt``, if given).

        ``fields`` are written with it; a field that is None is removed. Returns whether the move took place.
        Raises ValueError for a move that the table of states does not have.
        """
        sources = {source} if isinstance(source, str) else set(source)
        for state in sources:
            if to not in states.MOVES[state]:
                raise ValueError(f"no run moves from {state} to {to}")
        return self._update(run_id, sources, attempt, {"state": to, **fields})

    def annotate(
        self, run_id: str, source: str | Iterable[str], attempt: int | None = None, **fields: Any
    ) -> bool:
        """Write ``fields`` if the run still is in ``source`` (and at ``attempt``); its state stays."""
        sources = {source} if isinstance(source, str) else set(source)
        return self._update(run_id, sources, attempt, fields)

    def next_attempt(self, run_id: str, attempt: int, **fields: Any) -> bool:
        """Move an active run from ``attempt`` to STARTING at the attempt after it, which has no task yet.

        ``fields`` are written with it; a field that is None is removed. Returns whether the move took place.
        """
        fresh = {
            "state": states.STARTING,
            "attempt": attempt + 1,
            "task_arn": None,
            "task_recorded": None,
            "refusals": None,
            "progress": None,
            "running": None,
        }
        return self._update(run_id, set(states.ACTIVE), attempt, fresh | fields)

    def record_task(self, run_id: str, attempt: int, task_arn: str) -> str | None:
        """Record the ECS task of an attempt, unless another is recorded for it.

        Returns the run's state, or None if the task is not this run's: another is, or the attempt is over.
        """
        try:
            answer = self._table.update_item(
                Key={"run_id": run_id},
                UpdateExpression="SET task_arn = :task, task_recorded = if_not_exists(task_recorded, :now)",
                ConditionExpression=(
                    "attempt = :attempt AND (attribute_not_exists(task_arn) OR task_arn = :task)"
                ),
                ExpressionAttributeValues={":task": task_arn, ":now": now(), ":attempt": attempt},
                ReturnValues="ALL_NEW",
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return None
        return str(answer["Attributes"]["state"])

    def reserve_version(self, run_id: str, attempt: int, version: int) -> int | None:
        """Keep ``version`` as the number of the model this run will make.

        A later attempt gets the one kept first.
        Returns the number to use, or None if the run no longer is this attempt's.
        """
        try:
            answer = self._table.update_item(
                Key={"run_id": run_id},
                UpdateExpression="SET model_version = if_not_exists(model_version, :version)",
                ConditionExpression="#state = :running AND attempt = :attempt",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={
                    ":version": version,
                    ":running": states.RUNNING,
                    ":attempt": attempt,
                },
                ReturnValues="ALL_NEW",
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return None
        return int(answer["Attributes"]["model_version"])

    def in_state(self, state: str, newest: int | None = None, prefix: str = "") -> Iterator[Run]:
        """The runs in one state, newest first, at most ``newest`` of them (eventually consistent).

        Only those whose id begins with ``prefix``.
        """
        request: dict[str, Any] = {
            "IndexName": STATE_INDEX,
            "KeyConditionExpression": "#state = :state",
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": {":state": state},
            "ScanIndexForward": False,
        }
        if prefix:
            request["KeyConditionExpression"] += " AND begins_with(run_id, :prefix)"
            request["ExpressionAttributeValues"][":prefix"] = prefix
        left = newest
        while left is None or left > 0:
            if left is not None:
                request["Limit"] = left
            page = self._table.query(**request)
            for item in page["Items"]:
                yield _from_item(item)
            if left is not None:
                left -= len(page["Items"])
            if "LastEvaluatedKey" not in page:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _unless_conflict(self, call: Callable[[], Answer]) -> Answer:
        for attempt in range(1, _CONFLICT_TRIES):
            try:
                return call()
            except self._client.exceptions.TransactionConflictException:
                pass
            except self._client.exceptions.TransactionCanceledException as error:
                codes = {reason.get("Code") for reason in error.response.get("CancellationReasons", [])}
                if "TransactionConflict" not in codes or "ConditionalCheckFailed" in codes:
                    raise
            time.sleep(random.uniform(0, 0.02 * 2**attempt))
        return call()

    def _update(self, run_id: str, sources: set[str], attempt: int | None, fields: dict[str, Any]) -> bool:
        item = _to_item(fields)
        names = {"#state": "state"} | {f"#f{i}": field for i, field in enumerate(item)}
        values: dict[str, Any] = {f":s{i}": state for i, state in enumerate(sorted(sources))}
        condition = f"#state IN ({', '.join(values)})"
        if attempt is not None:
            values[":attempt"] = attempt
            condition += " AND attempt = :attempt"
        sets, removes = [], []
        for i, value in enumerate(item.values()):
            if value is None:
                removes.append(f"#f{i}")
            else:
                sets.append(f"#f{i} = :f{i}")
                values[f":f{i}"] = value
        expression = f"SET {', '.join(sets)}" if sets else ""
        if removes:
            expression += f" REMOVE {', '.join(removes)}"
        try:
            self._table.update_item(
                Key={"run_id": run_id},
                UpdateExpression=expression.strip(),
                ConditionExpression=condition,
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True


def _to_item(fields: dict[str, Any]) -> dict[str, Any]:
    # DynamoDB knows no floats: what holds any is kept as JSON text.
    return {
        key: json.dumps(value) if key in _JSON_FIELDS and value is not None else value
        for key, value in fields.items()
    }


def _from_item(item: dict[str, Any]) -> Run:
    run = {key: int(value) if isinstance(value, Decimal) else value for key, value in item.items()}
    for key in _JSON_FIELDS & run.keys():
        try:
            run[key] = json.loads(run[key])
        except (TypeError, ValueError):
            run[key] = None  # one record that cannot be read must not hide the others
    return run
