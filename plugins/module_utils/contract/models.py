"""The models table: immutable versions, the counter of their numbers, and the aliases that point at them.

Partition key ``name``, sort key ``item``: ``version#00000007``, ``alias#production``, ``counter``, or for
each move of an alias ``history#production#00000003``, which is written in the same transaction.

A version is pruned in four steps: it is marked, and from then on nobody sees it and no alias moves to it; it
is doomed, and from then on the mark is not taken back; its files are deleted; its item is deleted. Whoever
finds a mark may go on from there.

A release claims the service before it touches it, ``#service`` ``claim``, and moves the alias, or says that
it is done, only while the claim is still its own: ECS has no conditional writes that would keep two apart.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from typing import Any

from . import names, ulid
from .errors import UserError
from .runs import now

COUNTER = "counter"
_CLAIM = {"name": "#service", "item": "claim"}  # no model's name begins so
_JSON_FIELDS = frozenset({"scores", "labels", "calibration"})

PROMOTE, ROLLBACK = "promote", "rollback"  # the kinds of moves

Model = dict[str, Any]
Move = dict[str, Any]


def version_item(version: int) -> str:
    """The sort key of a version; padded, so that versions sort as numbers do."""
    return f"version#{version:08d}"


def alias_item(alias: str) -> str:
    """The sort key of an alias."""
    return f"alias#{alias}"


class Models:
    """The models table.

    Parameters
    ----------
    table:
        ``boto3.resource("dynamodb").Table(name)``, or anything that behaves as it does.
    """

    def __init__(self, table: Any) -> None:
        self._table = table
        self._client = table.meta.client

    def next_version(self, name: str) -> int:
        """A number no version of this model has had or will have, from 1."""
        answer = self._table.update_item(
            Key={"name": name, "item": COUNTER},
            UpdateExpression="ADD latest :one",
            ExpressionAttributeValues={":one": 1},
            ReturnValues="UPDATED_NEW",
        )
        return int(answer["Attributes"]["latest"])

    def register(self, manifest: dict[str, Any]) -> bool:
        """Record the version that ``manifest`` describes; call it only once the upload is whole and verified.

        Returns whether the version now is this one: False if another was registered under its number.
        """
        name, version = manifest["name"], manifest["version"]
        item = {
            "name": name,
            "item": version_item(version),
            "version": version,
            "run": manifest["run"],
            "created": manifest["created"],
            "sha256": manifest["artifact"]["sha256"],
            "bytes": manifest["artifact"]["bytes"],
            "language": manifest["language"],
            "labels": json.dumps(manifest["labels"]),
            "scores": json.dumps(manifest["scores"]),
            "calibration": json.dumps(manifest.get("calibration")),  # manifests of old have none
            "prefix": names.model_prefix(name, version),
        }
        try:
            self._table.put_item(
                Item=item,
                ConditionExpression="attribute_not_exists(#name)",
                ExpressionAttributeNames={"#name": "name"},
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            # boto3 repeats a write whose answer was lost; and another attempt of the run may have been first.
            there = self.get(name, version) or {}
            return all(there.get(key) == item[key] for key in ("run", "sha256"))
        return True

    def get(self, name: str, version: int) -> Model | None:
        """One version, read consistently, or None."""
        found = self._item(name, version_item(version))
        return None if found is None or "pruned" in found else found

    def alias(self, name: str, alias: str) -> Model | None:
        """The alias's item, whose ``version`` it points at, or None."""
        return self._item(name, alias_item(alias))

    def move_alias(
        self,
        name: str,
        alias: str,
        version: int,
        before: int | None,
        kind: str = PROMOTE,
        by: str | None = None,
        forced: str | None = None,
        claim: str | None = None,
    ) -> bool:
        """Point an alias at ``version`` if it still points at ``before`` (None: if there is none yet).

        Parameters
        ----------
        kind:
            `PROMOTE` or `ROLLBACK`.
        by:
            Who moves it, as AWS knows them.
        forced:
            Why the gate was passed over, if it was.
        claim:
            What `claim` returned: the alias moves only if nobody has claimed the service since, and the
            claim is then done.

        Returns whether it was moved; if so, its history has the move.
        Raises UserError if there is no such version: it may just have been pruned.
        """
        there = self.alias(name, alias) or {}
        if there.get("version") != before:
            return False
        moves, moved, signature = there.get("moves", 0), now(), ulid.new()
        put = {
            "name": name,
            "item": f"{_history(alias)}{moves + 1:08d}",
            "version": version,
            "at": moved,
            "kind": kind,
            "last_write": signature,
        }
        told = {"before": before, "by": by, "forced": forced}
        put |= {key: value for key, value in told.items() if value is not None}
        values = {":version": version, ":now": moved, ":one": 1}
        condition = "attribute_not_exists(version)"
        if before is not None:
            values[":before"] = before
            condition = "version = :before"
        update = {
            "Key": {"name": name, "item": alias_item(alias)},
            "UpdateExpression": "SET version = :version, moved = :now ADD moves :one",
            "ConditionExpression": condition,
            "ExpressionAttributeValues": values,
        }
        unused = {"ConditionExpression": "attribute_not_exists(version)"}
        kept = {
            "Key": {"name": name, "item": version_item(version)},
            "ConditionExpression": "attribute_exists(version) AND attribute_not_exists(pruned)",
        }
        table = {"TableName": self._table.name}
        writes = [
            {"Update": table | update},
            {"Put": table | unused | {"Item": put}},
            {"ConditionCheck": table | kept},
        ]
        if claim is not None:
            writes.append({"Update": table | _done(claim)})
        try:
            self._client.transact_write_items(TransactItems=writes)
        except self._client.exceptions.TransactionCanceledException as error:
            codes = {reason.get("Code") for reason in error.response.get("CancellationReasons", [])}
            if not codes & {"ConditionalCheckFailed", "TransactionConflict"}:
                raise
            # boto3 repeats a write whose answer was lost, and is then refused by its own first try.
            if (self._item(name, str(put["item"])) or {}).get("last_write") == signature:
                return True
            if self.get(name, version) is None:
                label = names.model_label(name, version)
                fix = "See models.yml for the versions there are."
                raise UserError(f"there is no {label}, or no longer", fix=fix) from None
            return False
        return True

    def claim(self, name: str, alias: str) -> str:
        """Claim the service for a release that is to move this alias, from whoever has claimed it before."""
        claim = ulid.new()
        self._table.put_item(Item=_CLAIM | {"id": claim, "of": name, "alias": alias, "done": False})
        return claim

    def finish(self, claim: str) -> bool:
        """Say that a release is done that moves no alias. Returns whether the claim is still its own."""
        try:
            self._table.update_item(**_done(claim))
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def claimed(self) -> Model | None:
        """The last claim of the service, or None.

        It has an ``id``, the model's name ``of``, the ``alias``, and is ``done`` or not.
        """
        return self._item(_CLAIM["name"], _CLAIM["item"])

    def mark_pruned(self, name: str, version: int) -> bool:
        """Mark a version as one that goes. Returns False if it has gone."""
        return self._on_version(
            name,
            version,
            "SET pruned = if_not_exists(pruned, :now)",
            "attribute_exists(version)",
            {":now": now()},
        )

    def doom(self, name: str, version: int) -> bool:
        """Say that the files of a marked version are about to go. Returns False if it is not marked."""
        return self._on_version(name, version, "SET doomed = pruned", "attribute_exists(pruned)")

    def unmark_pruned(self, name: str, version: int) -> bool:
        """Let a marked version be one again. Returns False if it is not marked, or doomed."""
        condition = "attribute_exists(pruned) AND attribute_not_exists(doomed)"
        return self._on_version(name, version, "REMOVE pruned", condition)

    def forget(self, name: str, version: int) -> None:
        """Delete the item of a marked version, once its files are deleted; one that is not marked stays."""
        with contextlib.suppress(self._client.exceptions.ConditionalCheckFailedException):
            self._table.delete_item(
                Key={"name": name, "item": version_item(version)},
                ConditionExpression="attribute_exists(pruned)",
            )

    def marked_pruned(self, name: str | None = None) -> list[Model]:
        """The versions (of one model, if named) that are marked and have not gone."""
        return [item for item in self._query(name) if "pruned" in item]

    def history(self, name: str, alias: str) -> list[Move]:
        """The moves of an alias, oldest first, since histories are kept.

        Each with ``version``, ``at``, ``kind`` and, where there is one, ``before``, ``by`` and ``forced``.
        """
        begin = _history(alias)
        return [
            {key: value for key, value in item.items() if key not in ("name", "item", "last_write")}
            for item in self._query(name)
            if item["item"].startswith(begin)
        ]

    def all(self, name: str | None = None) -> tuple[list[Model], list[Model]]:
        """All versions and all aliases (of one model, if named), each in the order of name and number."""
        items = self._query(name)
        items.sort(key=lambda item: (item["name"], item["item"]))
        versions = [item for item in items if item["item"].startswith("version#") and "pruned" not in item]
        aliases = [
            item | {"alias": item["item"].removeprefix("alias#")}
            for item in items
            if item["item"].startswith("alias#")
        ]
        return versions, aliases

    def _query(self, name: str | None) -> list[dict[str, Any]]:
        """All items (of one model, if named), those of a model in the order of their sort keys."""
        request: dict[str, Any] = {"ConsistentRead": True}
        read = self._table.scan
        if name is not None:
            read = self._table.query
            request |= {
                "KeyConditionExpression": "#name = :name",
                "ExpressionAttributeNames": {"#name": "name"},
                "ExpressionAttributeValues": {":name": name},
            }
        items: list[dict[str, Any]] = []
        while True:
            page = read(**request)
            items += map(_from_item, page["Items"])
            if "LastEvaluatedKey" not in page:
                return items
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _on_version(
        self, name: str, version: int, update: str, condition: str, values: dict[str, Any] | None = None
    ) -> bool:
        try:
            self._table.update_item(
                Key={"name": name, "item": version_item(version)},
                UpdateExpression=update,
                ConditionExpression=condition,
                **({"ExpressionAttributeValues": values} if values else {}),
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def _item(self, name: str, item: str) -> Model | None:
        found = self._table.get_item(Key={"name": name, "item": item}, ConsistentRead=True).get("Item")
        return _from_item(found) if found else None


def standing(history: Iterable[Move]) -> list[int]:
    """The versions that were promoted and not rolled back since, oldest first: rollbacks go back on them."""
    versions: list[int] = []
    for move in history:
        if not versions and "before" in move:  # the alias is older than its history
            versions.append(move["before"])
        if move["kind"] == PROMOTE:
            versions.append(move["version"])
        elif versions:
            versions.pop()
    return versions


def release_before(history: Iterable[Move]) -> int | None:
    """The version that a rollback returns to: that before the last promotion which no rollback has undone."""
    versions = standing(history)
    return versions[-2] if len(versions) > 1 else None


def _done(claim: str) -> dict[str, Any]:
    """The update that says so of a claim, if it is still the last."""
    return {
        "Key": _CLAIM,
        "UpdateExpression": "SET done = :done",
        "ConditionExpression": "id = :id",
        "ExpressionAttributeValues": {":id": claim, ":done": True},
    }


def _history(alias: str) -> str:
    return f"history#{alias}#"


def _from_item(item: dict[str, Any]) -> Model:
    model = dict(item)
    for key in _JSON_FIELDS & model.keys():
        model[key] = json.loads(model[key])
    for key in ("version", "before", "moves", "bytes"):
        if key in model:
            model[key] = int(model[key])
    return model
