# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's API keys: made, revoked, published, and which set a task would start with.

Only hashes are kept. They are recorded in an item of the runs table, where a write can depend on what is
there, and published from it as one SSM parameter, which has no such writes: whoever publishes looks at the
record once more afterwards, so that the last of several operators publishes what all of them recorded.
A command that was cut short, the file written, or the key recorded and not published, may be repeated.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from pathlib import Path
from typing import Any

from ..module_utils.contract import names
from ..module_utils.contract.errors import UserError
from . import service
from .session import Aws, NotDeployed, is_transient

RECORD = "#api_keys"  # the item's key in the runs table; no ULID begins with '#'
MOST_BYTES = 4096  # what a standard parameter holds

_DESCRIPTION = "SHA-256 of each API key of the server, by name. Written by keys.yml."
_MAKE_ONE = "Make one: ansible-playbook playbooks/keys.yml -e add=NAME"


class NoKeys(UserError):
    """The server is told to have API keys, and would find none."""


class Keys:
    """The recorded keys of a deployment: the SHA-256 of each, hexadecimal, by its name.

    Parameters
    ----------
    table:
        The runs table, as boto3's resource.
    ssm:
        An SSM client.
    parameter:
        The name of the parameter that the server reads.
    """

    def __init__(self, table: Any, ssm: Any, parameter: str) -> None:
        self._table, self._ssm, self._parameter = table, ssm, parameter
        self._refused = table.meta.client.exceptions.ConditionalCheckFailedException

    def recorded(self) -> dict[str, str]:
        """The keys, read consistently."""
        found = self._table.get_item(Key={"run_id": RECORD}, ConsistentRead=True).get("Item", {})
        return dict(sorted(found.get("keys", {}).items()))

    def add(self, name: str, sha256: str) -> bool:
        """Record a key. Returns False, and records nothing, if another has the name."""
        none: dict[str, Any] = {":none": {}}
        self._update("SET #keys = if_not_exists(#keys, :none)", **none)
        # boto3 repeats a write whose answer was lost: a key that is there already may be this one.
        free = "attribute_not_exists(#keys.#name) OR #keys.#name = :sha256"
        return self._update("SET #keys.#name = :sha256", free, name, **{":sha256": sha256})

    def remove(self, name: str, last: bool) -> bool:
        """Remove a key. Returns False, and removes nothing, if it is the last one and that may not go."""
        if name not in self.recorded():
            return True
        more = "attribute_not_exists(#keys.#name) OR size(#keys) > :least"
        return self._update("REMOVE #keys.#name", more, name, **{":least": 0 if last else 1})

    def is_published(self) -> bool:
        """Whether the parameter holds what is recorded."""
        return published(self._ssm, self._parameter) == document(self.recorded())

    def publish(self) -> bool:
        """Write the recorded keys into the parameter. Returns whether that changed it."""
        written, recorded = published(self._ssm, self._parameter), document(self.recorded())
        if written == recorded:
            return False
        while written != recorded:
            self._ssm.put_parameter(
                Name=self._parameter,
                Value=recorded,
                Description=_DESCRIPTION,
                Type="String",
                Overwrite=True,
            )
            written, recorded = recorded, document(self.recorded())
        return True

    def _update(self, update: str, condition: str = "", name: str = "", **values: Any) -> bool:
        request: dict[str, Any] = {"ConditionExpression": condition} if condition else {}
        try:
            self._table.update_item(
                Key={"run_id": RECORD},
                UpdateExpression=update,
                ExpressionAttributeNames={"#keys": "keys"} | ({"#name": name} if name else {}),
                ExpressionAttributeValues=values,
                **request,
            )
        except self._refused:
            return False
        return True


def open_keys(aws: Aws, prefix: str) -> Keys:
    """The keys of the deployment under ``prefix``. Raises NotDeployed if there is none."""
    table = aws.table(aws.parameters(prefix, "training", ["runs_table"])["runs_table"])
    return Keys(table, aws.client("ssm"), names.api_keys_parameter(prefix))


def make(keys: Keys, name: str, path: Path) -> bool:
    """Make a key: itself into a new file that only its owner can read, its hash into the record.

    Returns False, and makes nothing, if the file holds the very key that is recorded.
    Raises UserError, and leaves nothing behind, if the name or the file is taken, or there is no room.
    """
    if not is_to_be_made(keys, name, path):
        return False
    key = f"nfk_{secrets.token_urlsafe(32)}"
    _write_private(path, f"{key}\n")
    try:
        if not keys.add(name, _hash(key)):
            raise _taken(name)
    except Exception as error:
        if not is_transient(error):  # else it may be recorded all the same: nobody else has the key
            path.unlink(missing_ok=True)
        raise
    return True


def is_to_be_made(keys: Keys, name: str, path: Path) -> bool:
    """Whether `make` would make a key. Raises UserError if `make` would."""
    if not re.fullmatch(names.NAME_PATTERN, name):
        fix = "Give lower-case letters, digits and hyphens, a letter first, 63 at most."
        raise UserError(f"{name!r} is no name for a key", "name", fix)
    recorded = keys.recorded()
    if name in recorded:
        if recorded[name] == _hash(_held(path)):
            return False
        raise _taken(name)
    if len(document(recorded | {name: 64 * "0"})) > MOST_BYTES:
        fix = "Remove those that nobody uses: ansible-playbook playbooks/keys.yml -e remove=NAME"
        raise UserError(f"there is no room beside the {len(recorded)} keys that there are", fix=fix)
    if path.exists():
        raise UserError("there is such a file", str(path), "Move it, or name another for the key.")
    return True


def document(recorded: dict[str, str]) -> str:
    """The keys as the server reads them."""
    return json.dumps(recorded, sort_keys=True, separators=(",", ":"))


def published(ssm: Any, parameter: str) -> str:
    """What the parameter holds; without a key in it, if there is no such parameter."""
    found = ssm.get_parameters(Names=[parameter])["Parameters"]
    return found[0]["Value"] if found else document({})


# --- what the server is told ---


def source(aws: Aws, prefix: str) -> str | None:
    """Where the server is told to read its keys: an SSM parameter's name, or the ARN of a secret.

    None if it is told of none, or the serving stack is not deployed.
    """
    try:
        published = aws.parameters(prefix, "serving", service.PARAMETERS)
        cluster = aws.parameters(prefix, "training", ["cluster_name"])["cluster_name"]
    except NotDeployed:
        return None
    ecs = service.Service(aws.client("ecs"), cluster, published["service_name"])
    return ecs.api_keys(published["template_task_definition_arn"])


def edition(aws: Aws, told: str | None) -> str | None:
    """What tells the set of keys that a task started now would have from every other; None for no keys.

    Parameters
    ----------
    told:
        What `source` gives.

    Raises NoKeys if there is no key there.
    """
    if not told:
        return None
    return _secret_edition(aws, told) if told.startswith("arn:") else _parameter_edition(aws, told)


def _parameter_edition(aws: Aws, parameter: str) -> str:
    value = published(aws.client("ssm"), parameter)
    if value == document({}):
        raise NoKeys("the server asks for an API key, and there is none yet", parameter, _MAKE_ONE)
    return hashlib.sha256(value.encode()).hexdigest()[:16]


def _secret_edition(aws: Aws, secret: str) -> str:
    manager = aws.client("secretsmanager")
    try:
        versions = manager.describe_secret(SecretId=secret).get("VersionIdsToStages", {})
    except manager.exceptions.ResourceNotFoundException:
        versions = {}
    current: list[str] = [version for version, stages in versions.items() if "AWSCURRENT" in stages]
    if not current:
        fix = "Make the secret, or name another in api_keys_secret_arn and deploy."
        raise NoKeys("the server takes its API keys from this secret, and it has no value", secret, fix)
    return current[0]


def _taken(name: str) -> UserError:
    fix = "To rotate, make one of another name, move its users to that, and remove this one."
    return UserError(f"there is a key {name} already", "name", fix)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _held(path: Path) -> str:
    """What the file holds, if anything that can be read."""
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""


def _write_private(path: Path, text: str) -> None:
    """Write a new file for its owner's eyes. Raises UserError, and leaves none, if that cannot be."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
        except OSError:
            path.unlink(missing_ok=True)
            raise
    except OSError as error:
        fix = "Name another file for it."
        raise UserError(f"the key cannot be written there ({error.strerror})", str(path), fix) from None
