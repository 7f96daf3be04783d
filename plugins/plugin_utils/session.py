# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS as the control plugins reach it: amazon.aws's parameters in, clients out, and failures in words."""

from __future__ import annotations

import functools
import getpass
import re
from collections.abc import Iterable
from typing import Any

try:
    import boto3.exceptions
    import boto3.session
    from botocore import exceptions as boto_errors
    from botocore.config import Config

    HAS_BOTO3 = True
except ImportError:
    HAS_BOTO3 = False

from ..module_utils.contract import names
from ..module_utils.contract.errors import UserError

_SSM_PAGE = 10  # the most names that one GetParameters takes
# The services have names of their own for one and the same, by protocol and by age.
_BAD_CREDENTIALS = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_PASSING = frozenset(  # beside those with "Throttl" in them, and what comes with a status of 500 and more
    {
        "BandwidthLimitExceeded",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "ReplicatedWriteConflictException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "RequestTimeoutException",
        "SlowDown",
        "TooManyRequestsException",
        "TooManyUpdates",
        "TransactionInProgressException",
    }
)
_GONE = re.compile(r"^404$|NotFound|NonExistent|DoesNotExist|NoSuch(Bucket|Queue)")
_CREDENTIALS_FIX = (
    "Name a profile (AWS_PROFILE), or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; "
    "the inventory playbooks/inventory/local.yml needs no account."
)


class NotDeployed(UserError):
    """What is asked for belongs to a stack that is not there."""


class Aws:
    """Clients of one account and region.

    Parameters
    ----------
    params:
        A module's parameters as amazon.aws names them: ``region``, ``endpoint_url``, ``access_key``,
        ``secret_key``, ``session_token``, ``profile``, ``validate_certs``, ``aws_ca_bundle``, ``aws_config``.

    Raises UserError if boto3 is missing, for an endpoint that is no URL, for a profile beside keys, and for a
    profile that does not exist.
    """

    def __init__(self, params: dict[str, Any]) -> None:
        if not HAS_BOTO3:
            raise UserError("boto3 is missing", fix="Install it for Ansible's own Python: pip install boto3")
        keys = [params.get(key) or None for key in ("access_key", "secret_key", "session_token")]
        profile = params.get("profile") or None
        if profile and any(keys):
            fix = "Give one of the two; profile: '' keeps AWS_PROFILE out."
            raise UserError(f"both the profile {profile} and access keys are given", fix=fix)
        self.endpoint: str | None = params.get("endpoint_url") or None
        if self.endpoint and not self.endpoint.startswith(("http://", "https://")):
            fix = "Give one such as http://127.0.0.1:4566, or leave it out for AWS itself."
            raise UserError(f"{self.endpoint!r} is no http or https URL", "endpoint_url", fix)
        self._verify = params.get("validate_certs", True)
        if self._verify:
            self._verify = params.get("aws_ca_bundle") or None
        self._config = _config(params.get("aws_config") or {})
        names_of_keys = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
        try:
            self._session: Any = boto3.session.Session(
                profile_name=profile,
                region_name=params.get("region") or None,
                **dict(zip(names_of_keys, keys, strict=True)),
            )
        except boto_errors.ProfileNotFound as error:
            raise UserError(str(error), fix=_CREDENTIALS_FIX) from error
        self.client = functools.cache(self._client)

    @property
    def place(self) -> str:
        """The region, and the endpoint if one is given."""
        region = self._session.region_name
        return f"{region} at {self.endpoint}" if self.endpoint else f"{region}"

    def table(self, name: str) -> Any:
        """A DynamoDB table."""
        dynamodb = self._session.resource(
            "dynamodb", endpoint_url=self.endpoint, config=self._config, verify=self._verify
        )
        return dynamodb.Table(name)

    def parameters(self, prefix: str, stack: str, wanted: Iterable[str]) -> dict[str, str]:
        """What a stack published in the Parameter Store.

        Raises NotDeployed if the stack is not there under this prefix.
        """
        by_path = {names.parameter(prefix, stack, name): name for name in wanted}
        paths = list(by_path)
        found: dict[str, str] = {}
        for start in range(0, len(paths), _SSM_PAGE):
            answer = self.client("ssm").get_parameters(Names=paths[start : start + _SSM_PAGE])
            found |= {by_path[item["Name"]]: item["Value"] for item in answer["Parameters"]}
        missing = [path for path, name in by_path.items() if name not in found]
        if missing:
            raise NotDeployed(
                f"the {stack} stack is not deployed under the prefix {prefix}: "
                f"there is no SSM parameter {missing[0]} in {self.place}",
                fix="Run deploy.yml first, or give the prefix it was deployed under.",
            )
        return found

    def caller(self) -> str:
        """Who we are to AWS: an ARN; or, where STS does not say, the login name."""
        try:
            arn: str = self.client("sts").get_caller_identity()["Arn"]
            return arn
        except aws_errors():
            return getpass.getuser()

    def explained(self, error: Exception) -> UserError:
        """A failure of boto3's as a user should read it."""
        if isinstance(error, boto_errors.ClientError):
            return self._refused(error)
        if isinstance(error, boto_errors.NoRegionError):
            return UserError("no AWS region is given", fix="Set region, or AWS_REGION in the environment.")
        if isinstance(error, _no_credentials()):
            return UserError(f"there are no AWS credentials to use: {error}", fix=_CREDENTIALS_FIX)
        if isinstance(error, _no_answer()):
            if self.endpoint:
                refused = isinstance(error, boto_errors.EndpointConnectionError)
                what = (
                    f"nothing answers at {self.endpoint}" if refused else f"no good answer from AWS: {error}"
                )
                return UserError(what, fix="Is the local AWS running? Run deploy.yml, which starts it.")
            return UserError(
                f"AWS cannot be reached: {error}", fix="Check the network and the region's name."
            )
        return UserError(f"boto3 failed: {error}", fix="Check region, endpoint_url and aws_config.")

    def _refused(self, error: Any) -> UserError:
        code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
        why = f"{message or 'it gave no reason'} ({code})"
        told = f"AWS refused {error.operation_name} in {self.place}: {why}"
        if code in _BAD_CREDENTIALS:
            return UserError(told, fix=f"The credentials are wrong or out of date. {_CREDENTIALS_FIX}")
        if "AccessDenied" in code or "Unauthorized" in code or code == "403":
            return UserError(told, fix="Use credentials whose policies allow it.")
        if _GONE.search(code):
            return UserError(told, fix="What is missing of the deployment, deploy.yml makes again.")
        return UserError(told, fix="If it persists, see the service's own page in the AWS console.")

    def _client(self, service: str, region: str | None = None) -> Any:
        return self._session.client(
            service, region, endpoint_url=self.endpoint, config=self._config, verify=self._verify
        )


def _config(changes: dict[str, Any]) -> Any:
    usual = Config(
        connect_timeout=5,
        read_timeout=60,
        retries={"mode": "standard", "max_attempts": 3},
        user_agent_extra="nerforge",
    )
    try:
        return usual.merge(Config(**changes))
    except TypeError as error:
        fix = "Give only what botocore.config.Config knows."
        raise UserError(str(error), "aws_config", fix) from error


def aws_errors() -> tuple[type[Exception], ...]:
    """What boto3 raises; for ``except``."""
    if not HAS_BOTO3:
        return ()
    return boto_errors.BotoCoreError, boto_errors.ClientError, boto3.exceptions.Boto3Error


def is_transient(error: Exception) -> bool:
    """Whether the same call may well succeed a little later."""
    if isinstance(error, boto_errors.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = error.response["Error"].get("Code", "")
        return status >= 500 or "Throttl" in code or code in _PASSING
    return isinstance(error, _no_answer())


def is_missing(error: Exception) -> bool:
    """Whether S3 said that there is no such object."""
    code = error.response["Error"].get("Code") if isinstance(error, boto_errors.ClientError) else None
    return code in ("404", "NoSuchKey", "NotFound")  # HEAD has no body, and so no code of S3's own


def _no_answer() -> tuple[type[Exception], ...]:
    return boto_errors.HTTPClientError, boto_errors.ConnectionError


def _no_credentials() -> tuple[type[Exception], ...]:
    return (
        boto_errors.NoCredentialsError,
        boto_errors.PartialCredentialsError,
        boto_errors.CredentialRetrievalError,
        boto_errors.SSOError,
        boto_errors.TokenRetrievalError,
    )
