"""The door: who may enter, and with how large a body, as far as the head of a request decides it."""

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, NoReturn

from . import api, bodies
from .problems import Problem

if TYPE_CHECKING:
    from .keys import Keys

_CHALLENGE = 'Bearer realm="nerforge"'
_TAKING_BODIES = {(each.method, each.path): each for each in api.OPERATIONS if each.bodies}


class Door:
    """The door of a server.

    Parameters
    ----------
    keys:
        Who may use the locked operations; None: anybody.
    """

    def __init__(self, keys: "Keys | None") -> None:
        self._keys = keys

    def locks(self, operation: api.Operation) -> bool:
        """Whether this operation takes a key."""
        return operation.locked and self._keys is not None

    def enter(self, authorization: str) -> str:
        """The name of the key in an Authorization header; a Problem if there is none that opens."""
        scheme, __, presented = authorization.partition(" ")
        presented = presented.strip()
        if scheme.lower() != "bearer" or not presented:
            _challenge("This needs an API key.", _CHALLENGE)
        name = None if self._keys is None else self._keys.name_of(presented)
        if name is None:
            _challenge("The API key opens nothing here.", f'{_CHALLENGE}, error="invalid_token"')
        return name

    def room(self, method: str, path: str, header: Callable[[str, str], str]) -> int:
        """How many bytes of a request's body the application would read; see `receiving.Room`."""
        operation = _TAKING_BODIES.get((method, path))
        if operation is None:
            return 0
        try:
            if self.locks(operation):
                self.enter(header("HTTP_AUTHORIZATION", ""))
            return bodies.LIMITS[bodies.media_type_of(header)]
        except Problem:
            return 0


def _challenge(what: str, challenge: str) -> NoReturn:
    raise Problem(
        HTTPStatus.UNAUTHORIZED,
        what,
        "Send the header Authorization: Bearer, with a key that the server's operator gave you.",
        headers={"WWW-Authenticate": challenge},
    )
