"""The models table: immutable versions, the counter they are numbered by, and the aliases that point at them.

Partition key ``name``, sort key ``item``: ``version#00000007``, ``alias#production`` or ``counter``.
"""

import json
from typing import Any

from . import names
from .runs import now

COUNTER = "counter"
_JSON_FIELDS = frozenset({"scores", "labels", "calibration"})

Model = dict[str, Any]


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
        return self._item(name, version_item(version))

    def alias(self, name: str, alias: str) -> Model | None:
        """The alias's item, whose ``version`` it points at, or None."""
        return self._item(name, alias_item(alias))

    def move_alias(self, name: str, alias: str, version: int, before: int | None) -> bool:
        """Point an alias at ``version`` if it still points at ``before`` (None: if there is none yet).

        Returns whether it was moved.
        """
        values: dict[str, Any] = {":version": version, ":now": now()}
        condition = "attribute_not_exists(version)"
        if before is not None:
            values[":before"] = before
            condition = "version = :before"
        try:
            self._table.update_item(
                Key={"name": name, "item": alias_item(alias)},
                UpdateExpression="SET version = :version, moved = :now",
                ConditionExpression=condition,
                ExpressionAttributeValues=values,
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def all(self, name: str | None = None) -> tuple[list[Model], list[Model]]:
        """All versions and all aliases (of one model, if named), each in the order of name and number."""
        request: dict[str, Any] = {}
        read = self._table.scan
        if name is not None:
            read = self._table.query
            request = {
                "KeyConditionExpression": "#name = :name",
                "ExpressionAttributeNames": {"#name": "name"},
                "ExpressionAttributeValues": {":name": name},
            }
        items: list[Model] = []
        while True:
            page = read(**request)
            items += map(_from_item, page["Items"])
            if "LastEvaluatedKey" not in page:
                break
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        items.sort(key=lambda item: (item["name"], item["item"]))
        versions = [item for item in items if item["item"].startswith("version#")]
        aliases = [
            item | {"alias": item["item"].removeprefix("alias#")}
            for item in items
            if item["item"].startswith("alias#")
        ]
        return versions, aliases

    def _item(self, name: str, item: str) -> Model | None:
        found = self._table.get_item(Key={"name": name, "item": item}, ConsistentRead=True).get("Item")
        return _from_item(found) if found else None


def _from_item(item: dict[str, Any]) -> Model:
    model = dict(item)
    for key in _JSON_FIELDS & model.keys():
        model[key] = json.loads(model[key])
    for key in ("version", "bytes"):
        if key in model:
            model[key] = int(model[key])
    return model
