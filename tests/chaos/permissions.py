"""Whether the deployed roles allow what trainers and dispatchers have asked of AWS.

The embedded AWS enforces no policies, so they are simulated, as the stack has left them in its IAM.
"""

from typing import Any

from support.iam import denied, grants
from support.iam_requests import Account, on_the_wire, requests


class Asked:
    """The calls that one kind of process has made, each once."""

    def __init__(self) -> None:
        self._calls: set[tuple[str, str, str | None, bytes]] = set()

    def note(self, method: str, path: str, target: str | None, body: bytes) -> None:
        """Remember a call; of one without a target, which is S3's, not the body."""
        self._calls.add((method, path, target, body if target else b""))

    def forbidden(self, iam: Any, role: str, account: Account) -> list[str]:
        """What of it the role does not allow, in a line each; also that there was nothing to be allowed.

        Parameters
        ----------
        iam:
            A boto3 IAM client.
        role:
            The role's name.
        account:
            Where the calls were made.
        """
        if not self._calls:
            return [f"no call was seen that {role} should allow"]
        names = iam.list_role_policies(RoleName=role)["PolicyNames"]
        policies = [iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names]
        asked = requests((on_the_wire(*call) for call in self._calls), account)
        return [f"{role} may not {request}" for request in denied(grants(policies), asked)]
