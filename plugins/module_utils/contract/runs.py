"""The runs table: one item a run, and one item that holds the slots.

Every write that changes a state is conditional on the state before. A run that may have a task holds a
slot; the slots are one set in one item, so that claiming a slot and leaving QUEUED are one transaction and
the cap on concurrent runs cannot be passed, whoever races.

boto3 repeats a write whose answer was lost, and then finds the condition broken by its own first try. So
each conditional write signs the record (``last_write``), and one that is refused looks whose signature is
there before it believes that somebody else was faster.
"""

from __future__ import annotations

import datetime
import itertools
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any, TypeVar

from . import causes, prices, states, ulid

SLOTS = "#slots"  # the key of the slots item; no ULID begins with '#'
DISPATCHER = "#dispatcher"  # the key of the item in which the dispatcher says what its last tick did
PRICES = "#prices"  # the key of the item with the prices that were fetched for this deployment
STATE_INDEX = "by_state"  # partition key: state, sort key: run_id
_JSON_FIELDS = frozenset({"spec", "progress", "scores", "warnings", "checkpoint", "result", "cost", "prices"})
_READ_AT_ONCE = 100  # DynamoDB's own limit

_CONFLICT_TRIES = 6  # the slots item is one for all: two that touch it at once are told to come again

Run = dict[str, Any]
Answer = TypeVar("Answer")


def written(time: datetime.datetime) -> str:
    """A time as records write it: UTC, ISO 8601, to the millisecond."""
    return time.astimezone(datetime.UTC).isoformat(timespec="milliseconds")


def now() -> str:
    """The time, as records write it."""
    return written(datetime.datetime.now(datetime.UTC))


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
        """Record a new run as QUEUED. Raises if the id was used before, by another."""
        item = _new_item(run_id, spec, fields)
        try:
            self._table.put_item(Item=item, ConditionExpression="attribute_not_exists(run_id)")
        except self._client.exceptions.ConditionalCheckFailedException:
            if not self._is_signed(run_id, item["last_write"]):
                raise

    def create_retry(self, run_id: str, spec: dict[str, Any], old: Run, **fields: Any) -> bool:
        """Record a new run as QUEUED that begins ``old``, which has ended without a model, anew.

        The old record names it in the same transaction (``retried_as``). Returns False, and records nothing,
        if another run was made to retry it since ``old`` was read.
        """
        item = _new_item(run_id, spec, {"retry_of": old["run_id"], **fields})
        values = {":new": run_id, ":failed": states.FAILED, ":cancelled": states.CANCELLED}
        unchanged = "attribute_not_exists(retried_as)"
        if "retried_as" in old:
            unchanged, values[":seen"] = "retried_as = :seen", old["retried_as"]
        put = {
            "TableName": self._table.name,
            "Item": item,
            "ConditionExpression": "attribute_not_exists(run_id)",
        }
        update = {
            "TableName": self._table.name,
            "Key": {"run_id": old["run_id"]},
            "UpdateExpression": "SET retried_as = :new",
            "ConditionExpression": f"#state IN (:failed, :cancelled) AND {unchanged}",
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": values,
        }
        try:
            self._unless_conflict(
                lambda: self._client.transact_write_items(TransactItems=[{"Put": put}, {"Update": update}])
            )
        except self._client.exceptions.TransactionCanceledException as error:
            codes = {reason.get("Code") for reason in error.response.get("CancellationReasons", [])}
            if "ConditionalCheckFailed" not in codes:
                raise
            return self._is_signed(run_id, item["last_write"])
        return True

    def get(self, run_id: str) -> Run | None:
        """The run, read consistently, or None."""
        item = self._item(run_id)
        return _from_item(item) if item else None

    def get_many(self, run_ids: Iterable[str]) -> dict[str, Run]:
        """Those of the runs that are recorded, read consistently, by their ids."""
        wanted = list(dict.fromkeys(run_ids))  # DynamoDB refuses a batch that names one twice
        found: dict[str, Run] = {}
        for start in range(0, len(wanted), _READ_AT_ONCE):
            keys = [{"run_id": run_id} for run_id in wanted[start : start + _READ_AT_ONCE]]
            for item in self._batch(keys):
                found[item["run_id"]] = _from_item(item)
        return found

    def claim(self, run_id: str, cap: int) -> str:
        """Give a queued run a slot and move it to STARTING, attempt 1, in one transaction.

        Returns ``claimed``, ``full`` (all ``cap`` slots are taken) or ``not queued`` (someone else moved it).
        """
        name = self._table.name
        run_update = {
            "TableName": name,
            "Key": {"run_id": run_id},
            "UpdateExpression": (
                "SET #state = :starting, attempt = :one, cause = :cause, reason = :reason, started = :now"
            ),
            "ConditionExpression": "#state = :queued",
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": {
                ":starting": states.STARTING,
                ":queued": states.QUEUED,
                ":one": 1,
                ":cause": causes.STARTING,
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
        self,
        run_id: str,
        source: str | Iterable[str],
        to: str,
        attempt: int | None = None,
        *,
        last: dict[str, Any] | None = None,
        **fields: Any,
    ) -> bool:
        """Move a run to state ``to`` if it still is in ``source`` (and still is at ``attempt``, if given).

        ``fields`` are written with it; a field that is None is removed. ``last``, if given, is what became of
        its last attempt, as `next_attempt` takes it. Returns whether the move took place.
        Raises ValueError for a move that the table of states does not have.
        """
        sources = {source} if isinstance(source, str) else set(source)
        for state in sources:
            if to not in states.MOVES[state]:
                raise ValueError(f"no run moves from {state} to {to}")
        return self._update(run_id, sources, attempt, {"state": to, **fields}, last)

    def annotate(
        self, run_id: str, source: str | Iterable[str], attempt: int | None = None, **fields: Any
    ) -> bool:
        """Write ``fields`` if the run still is in ``source`` (and at ``attempt``); its state stays."""
        sources = {source} if isinstance(source, str) else set(source)
        return self._update(run_id, sources, attempt, fields)

    def next_attempt(
        self, run_id: str, attempt: int, ended: dict[str, Any] | None = None, **fields: Any
    ) -> bool:
        """Move an active run from ``attempt`` to STARTING at the attempt after it, which has no task yet.

        Parameters
        ----------
        ended:
            What became of the attempt, for the run's ``history``: ``attempt``, ``task_arn``, ``exit_code``
            (or None), ``cause``, ``reason`` and ``ended``. None: it never had a task.
        fields:
            Written with it; a field that is None is removed.

        Returns whether the move took place.
        """
        fresh = {
            "state": states.STARTING,
            "attempt": attempt + 1,
            "task_arn": None,
            "task_recorded": None,
            "refusals": None,
            "progress": None,
            "running": None,
            "reported": None,
        }
        return self._update(run_id, set(states.ACTIVE), attempt, fresh | fields, ended)

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

    def in_state(
        self,
        state: str,
        newest: int | None = None,
        prefix: str = "",
        *,
        oldest_first: bool = False,
        page: int | None = None,
    ) -> Iterator[Run]:
        """The runs in one state, newest first, at most ``newest`` of them (eventually consistent).

        Only those whose id begins with ``prefix``. ``page``: how many to read at a time, for who stops early.
        """
        request: dict[str, Any] = {
            "IndexName": STATE_INDEX,
            "KeyConditionExpression": "#state = :state",
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": {":state": state},
            "ScanIndexForward": oldest_first,
        }
        if page is not None:
            request["Limit"] = page
        if prefix:
            request["KeyConditionExpression"] += " AND begins_with(run_id, :prefix)"
            request["ExpressionAttributeValues"][":prefix"] = prefix
        left = newest
        while left is None or left > 0:
            if left is not None:
                request["Limit"] = left
            answer = self._table.query(**request)
            for item in answer["Items"]:
                yield _from_item(item)
            if left is not None:
                left -= len(answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    # --- the dispatcher's own item ---

    def record_tick(self, **fields: Any) -> None:
        """Write what the dispatcher's tick did, and when it ended: whole numbers and words."""
        self._table.put_item(Item={"run_id": DISPATCHER, "ticked": now(), **fields})

    def last_tick(self) -> dict[str, Any] | None:
        """What the dispatcher's last tick did, or None before the first."""
        item = self._item(DISPATCHER)
        return _from_item(item) if item else None

    # --- the deployment's own prices ---

    def record_prices(self, table: dict[str, Any]) -> None:
        """Keep a table of prices, as ``prices.json`` is one, in place of the one before."""
        self._table.put_item(Item=_to_item({"run_id": PRICES, "prices": table}))

    def current_prices(self) -> prices.Prices:
        """The prices that were recorded for the deployment, or else those that come with the code."""
        item = self._item(PRICES)
        recorded = _from_item(item)["prices"] if item else None
        return prices.completed(recorded) if recorded else prices.bundled()

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

    def _item(self, key: str) -> dict[str, Any] | None:
        item: dict[str, Any] | None = self._table.get_item(Key={"run_id": key}, ConsistentRead=True).get(
            "Item"
        )
        return item

    def _batch(self, keys: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
        name = self._table.name
        request = {name: {"Keys": keys, "ConsistentRead": True}}
        for attempt in itertools.count(1):
            # The resource's client speaks Python's types, as the table does.
            answer = self._client.batch_get_item(RequestItems=request)
            yield from answer["Responses"].get(name, ())
            request = answer.get("UnprocessedKeys") or {}
            if not request:
                return
            time.sleep(random.uniform(0, 0.02 * 2 ** min(attempt, _CONFLICT_TRIES)))

    def _is_signed(self, run_id: str, signature: str) -> bool:
        """Whether the record's last write was the one with this signature."""
        return (self._item(run_id) or {}).get("last_write") == signature

    def _update(
        self,
        run_id: str,
        sources: set[str],
        attempt: int | None,
        fields: dict[str, Any],
        ended: dict[str, Any] | None = None,
    ) -> bool:
        signature = ulid.new()
        item = _to_item(fields | {"last_write": signature})
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
        if ended is not None:
            names["#history"] = "history"
            values |= {":none": [], ":ended": [ended]}
            sets.append("#history = list_append(if_not_exists(#history, :none), :ended)")
        expression = f"SET {', '.join(sets)}"
        if removes:
            expression += f" REMOVE {', '.join(removes)}"
        try:
            # A claim or a retry of the run may be under way at this moment.
            self._unless_conflict(
                lambda: self._table.update_item(
                    Key={"run_id": run_id},
                    UpdateExpression=expression,
                    ConditionExpression=condition,
                    ExpressionAttributeNames=names,
                    ExpressionAttributeValues=values,
                )
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return self._is_signed(run_id, signature)
        return True


def _new_item(run_id: str, spec: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    return _to_item(
        {
            "run_id": run_id,
            "state": states.QUEUED,
            "name": spec["name"],
            "spec": spec,
            "attempt": 0,
            "retries_used": 0,
            "cause": causes.SUBMITTED,
            "reason": "waiting for the dispatcher",
            "created": now(),
            "last_write": ulid.new(),
            **fields,
        }
    )


def _to_item(fields: dict[str, Any]) -> dict[str, Any]:
    # DynamoDB knows no floats: what holds any is kept as JSON text.
    return {
        key: json.dumps(value) if key in _JSON_FIELDS and value is not None else value
        for key, value in fields.items()
    }


def _from_item(item: dict[str, Any]) -> Run:
    run = {key: _plain(value) for key, value in item.items()}
    for key in _JSON_FIELDS & run.keys():
        try:
            run[key] = json.loads(run[key])
        except (TypeError, ValueError):
            run[key] = None  # one record that cannot be read must not hide the others
    return run


def _plain(value: Any) -> Any:
    """What the resource read, without its Decimals: records hold no other numbers than whole ones."""
    if isinstance(value, Decimal):
        return int(value)
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value
