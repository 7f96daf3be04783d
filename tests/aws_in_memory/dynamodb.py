"""A DynamoDB that holds this project's tables: every request is checked before anything is done."""

import datetime
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from aws_in_memory.expressions import Item, Names, check_value, condition, invalid, size_of, update
from aws_in_memory.wire import Clock, Rejected

TARGET = "DynamoDB_20120810"
ITEM_BYTES, PAGE_BYTES = 400 * 1024, 1024 * 1024
KEYS_AT_ONCE = 100
TOKEN_LIFE = datetime.timedelta(minutes=10)


class Table:
    """One table.

    Parameters
    ----------
    keys:
        The attributes of its key, all strings.
    index:
        Its only index by name, partition key and sort key, or nothing.
    """

    def __init__(self, keys: tuple[str, ...], index: tuple[str, str, str] | None = None) -> None:
        self.keys = keys
        self.index = index
        self.items: dict[tuple[str, ...], Item] = {}
        self.lagging = False  # whether what is written does not reach the index for now
        self.watch: Callable[[Item, Item], None] | None = None  # told each write: the item before, and after
        self._indexed: dict[tuple[str, ...], Item] = {}

    def key(self, of: Item, exact: bool = False) -> tuple[str, ...]:
        """The key in an item, or the one that a request gives."""
        if exact and set(of) != set(self.keys):
            raise invalid("The provided key element does not match the schema")
        for name in self.keys:
            if "S" not in of.get(name, {}):
                raise invalid(
                    f"One or more parameter values were invalid: Missing the key {name} in the item"
                )
            if not of[name]["S"]:
                raise invalid("One or more parameter values are not valid. A key may not be an empty string")
        return tuple(of[name]["S"] for name in self.keys)

    def put(self, item: Item) -> None:
        """Write an item, if DynamoDB would."""
        for value in item.values():
            check_value(value)
        if sum(len(name.encode()) + size_of(value) for name, value in item.items()) > ITEM_BYTES:
            raise invalid("Item size has exceeded the maximum allowed size")
        if self.index and any(name in item and "S" not in item[name] for name in self.index[1:]):
            raise invalid("One or more parameter values were invalid: Type mismatch for Index Key")
        if self.watch:
            self.watch(self.items.get(self.key(item), {}), item)
        self.items[self.key(item)] = item  # never changed in place
        if not self.lagging:
            self._indexed[self.key(item)] = item

    def remove(self, key: tuple[str, ...]) -> None:
        self.items.pop(key, None)
        self.catch_up()

    def catch_up(self) -> None:
        """Let the index show all that was written."""
        self._indexed = dict(self.items)

    def indexed(self) -> Iterator[Item]:
        """The items that the index shows."""
        __, partition, sort = self.index
        return (item for item in self._indexed.values() if partition in item and sort in item)


class DynamoDb:
    """The service.

    Attributes
    ----------
    keys_a_batch:
        How many keys BatchGetItem deals with before it leaves the others unprocessed.
    """

    def __init__(self, clock: Clock, tables: dict[str, Table]) -> None:
        self._clock = clock
        self.tables = tables
        self.keys_a_batch = KEYS_AT_ONCE
        self._tokens: dict[str, tuple[datetime.datetime, Any]] = {}

    # --- operations ---

    def GetItem(self, request: dict[str, Any]) -> dict[str, Any]:
        table = self._table(request)
        found = table.items.get(table.key(request["Key"], exact=True))
        return {"Item": found} if found else {}

    def BatchGetItem(self, request: dict[str, Any]) -> dict[str, Any]:
        ((name, wanted),) = request["RequestItems"].items()
        table = self._table({"TableName": name})
        keys = [table.key(key, exact=True) for key in wanted["Keys"]]
        if not 1 <= len(keys) <= KEYS_AT_ONCE:
            raise invalid("Too many items requested for the BatchGetItem call")
        if len(set(keys)) != len(keys):
            raise invalid("Provided list of item keys contains duplicates")
        now, later = keys[: self.keys_a_batch], wanted["Keys"][self.keys_a_batch :]
        return {
            "Responses": {name: [table.items[key] for key in now if key in table.items]},
            "UnprocessedKeys": {name: wanted | {"Keys": later}} if later else {},
        }

    def PutItem(self, request: dict[str, Any]) -> dict[str, Any]:
        table = self._table(request)
        names = Names(request)
        holds = _condition(request, names)
        names.check_all_used()
        if not holds(table.items.get(table.key(request["Item"]), {})):
            raise _refused()
        table.put(request["Item"])
        return {}

    def DeleteItem(self, request: dict[str, Any]) -> dict[str, Any]:
        table = self._table(request)
        table.remove(table.key(request["Key"], exact=True))
        return {}

    def UpdateItem(self, request: dict[str, Any]) -> dict[str, Any]:
        table, before, after = self._prepared(request)
        if after is None:
            raise _refused()
        table.put(after)
        wanted = request.get("ReturnValues", "NONE")
        if wanted == "NONE":
            return {}
        changed = {name: value for name, value in after.items() if before.get(name) != value}
        return {"Attributes": {"ALL_NEW": after, "UPDATED_NEW": changed}[wanted]}

    def TransactWriteItems(self, request: dict[str, Any]) -> dict[str, Any]:
        token = request["ClientRequestToken"]
        if token in self._tokens:
            when, what = self._tokens[token]
            if self._clock() - when < TOKEN_LIFE:
                if what != request["TransactItems"]:
                    raise Rejected("IdempotentParameterMismatchException")
                return {}
        updates = [each["Update"] for each in request["TransactItems"]]
        prepared = [self._prepared(each) for each in updates]
        places = [(each["TableName"], str(each["Key"])) for each in updates]
        if len(set(places)) != len(places):
            raise invalid("Transaction request cannot include multiple operations on one item")
        codes = ["ConditionalCheckFailed" if after is None else "None" for __, __, after in prepared]
        if set(codes) != {"None"}:
            raise cancelled(codes)
        for table, __, after in prepared:
            table.put(after)
        self._tokens[token] = (self._clock(), request["TransactItems"])
        return {}

    def Query(self, request: dict[str, Any]) -> dict[str, Any]:
        table = self._table(request)
        names = Names(request)
        matches = condition(request["KeyConditionExpression"], names)
        names.check_all_used()
        if "IndexName" in request:
            index, __, sort = table.index
            if request["IndexName"] != index:
                raise invalid(f"The table does not have the specified index: {request['IndexName']}")
            if request.get("ConsistentRead"):
                raise invalid("Consistent reads are not supported on global secondary indexes")
            items = table.indexed()
        else:
            sort, items = table.keys[-1], iter(table.items.values())
        forward = request.get("ScanIndexForward", True)
        found = sorted(filter(matches, items), key=lambda item: item[sort]["S"], reverse=not forward)
        start = request.get("ExclusiveStartKey", {}).get(sort, {}).get("S")
        if start is not None:
            beyond = str.__gt__ if forward else str.__lt__
            found = [item for item in found if beyond(item[sort]["S"], start)]
        sizes = itertools.accumulate(sum(map(size_of, item.values())) for item in found)
        page = [item for item, size in zip(found, sizes, strict=True) if size <= PAGE_BYTES]
        limit = request.get("Limit", len(found) + 1)
        answer: dict[str, Any] = {"Items": page[:limit], "Count": len(page[:limit])}
        if len(page) < len(found) or len(page) >= limit:  # also if there is nothing more, as DynamoDB does
            last = page[:limit][-1]
            of_key = (*table.keys, *(table.index[1:] if "IndexName" in request else ()))
            answer["LastEvaluatedKey"] = {name: last[name] for name in of_key}
        return answer

    # --- parts ---

    def _table(self, request: dict[str, Any]) -> Table:
        if request["TableName"] not in self.tables:
            raise Rejected("ResourceNotFoundException", "Requested resource not found")
        return self.tables[request["TableName"]]

    def _prepared(self, request: dict[str, Any]) -> tuple[Table, Item, Item | None]:
        """The table, the item as it is, and as it is to be: None if the condition does not hold."""
        table = self._table(request)
        key = table.key(request["Key"], exact=True)
        names = Names(request)
        apply = update(request["UpdateExpression"], names, table.keys)
        holds = _condition(request, names)
        names.check_all_used()
        before = table.items.get(key, {})
        if not holds(before):
            return table, before, None
        return table, before, apply(before or dict(request["Key"]))


def cancelled(codes: list[str]) -> Rejected:
    """The answer to a transaction that did not take place, for these reasons."""
    reasons = [{"Code": code} | ({} if code == "None" else {"Message": code}) for code in codes]
    message = "Transaction cancelled, please refer cancellation reasons for specific reasons"
    return Rejected(
        "TransactionCanceledException", f"{message} [{', '.join(codes)}]", CancellationReasons=reasons
    )


def _refused() -> Rejected:
    return Rejected("ConditionalCheckFailedException", "The conditional request failed")


def _condition(request: dict[str, Any], names: Names) -> Callable[[Item], bool]:
    if "ConditionExpression" not in request:
        return lambda item: True
    return condition(request["ConditionExpression"], names)
