"""API keys: who may ask. Only their hashes are known here.

A key is ``nfk_`` and 32 random bytes in base64url: no dictionary holds it, so a plain SHA-256 hides it. The
document that lists the keys of a server is the JSON object ``{"<name>": "<SHA-256 of the key, in hex>"}``.
"""

import hmac
import json
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from nerforge_contract import names
from nerforge_contract.errors import UserError

_FIX = 'Store the API keys as {"<name>": "<SHA-256 of the key in hex>"}, one member each, as keys.yml does.'
_SECRET = re.compile(r"arn:[\w-]+:secretsmanager:")
_MISSING = {"ParameterNotFound", "ResourceNotFoundException", "ParameterVersionNotFound"}


class Keys:
    """The keys that open a server.

    Parameters
    ----------
    hashes:
        The SHA-256 of each key in hex, by the key's name.
    """

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._hashes = [(name, bytes.fromhex(digest)) for name, digest in hashes.items()]

    @classmethod
    def parse(cls, document: str, where: str = names.ENV_API_KEYS) -> "Keys":
        """The keys of a document; UserError, which names ``where`` it came from, for one that holds none."""
        try:
            hashes = json.loads(document, object_pairs_hook=_unique)
        except ValueError as error:
            # The decoder's own message quotes nothing but a position.
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            raise UserError(f"the API keys are not a JSON object ({reason})", where, _FIX) from None
        if not isinstance(hashes, dict) or not hashes:
            raise UserError("it holds no API keys", where, _FIX)
        for name, digest in hashes.items():
            if not re.fullmatch(r"[\w.@-]{1,64}", name, re.ASCII):
                raise UserError(
                    "a key's name is not 1 to 64 letters, digits, dots, hyphens, underscores or at signs",
                    where,
                    _FIX,
                )
            if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-f]{64}", digest):
                raise UserError(f"the key {name} is not given by 64 small hex digits", where, _FIX)
        return cls(hashes)

    @classmethod
    def fetch(cls, reference: str, client: Any = None) -> "Keys":
        """The keys that AWS holds under this reference.

        Parameters
        ----------
        reference:
            Name or ARN of an SSM parameter, or ARN of a secret in Secrets Manager.
        client:
            A boto3 client of that service; by default one from boto3's ordinary chain.

        Raises
        ------
        UserError
            It is not there, is empty or is malformed: trying again does not mend it.
        botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError
            AWS does not give it, perhaps for the moment only.
        """
        # Not at the top: the processes that serve must not carry boto3.
        from botocore.exceptions import ClientError

        where = f"{names.ENV_API_KEYS}={reference}"
        read = _read_secret if _SECRET.match(reference) else _read_parameter
        try:
            document = read(reference, client)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _MISSING:
                raise
            raise UserError("there is no such parameter or secret", where, _FIX) from None
        return cls.parse(document, where)

    def name_of(self, presented: str) -> str | None:
        """The name of this key; None if it opens nothing.

        Takes the same time for every key that is wrong: all hashes are compared, each in constant time.
        """
        digest = sha256(presented.encode(errors="surrogatepass")).digest()
        found = None
        for name, known in self._hashes:
            if hmac.compare_digest(known, digest):
                found = name
        return found


def _read_parameter(reference: str, client: Any) -> str:
    import boto3

    client = client or boto3.client("ssm")
    value: str = client.get_parameter(Name=reference, WithDecryption=True)["Parameter"]["Value"]
    return value


def _read_secret(reference: str, client: Any) -> str:
    import boto3

    client = client or boto3.client("secretsmanager")
    value: str = client.get_secret_value(SecretId=reference).get("SecretString", "")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("two of its members have one name")
    return found
