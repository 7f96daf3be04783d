"""What comes in: heads that leave no doubt where a request ends, and bodies within bounds, one and all.

Used of waitress beside its documented interface: `HTTPRequestParser`'s ``received``, ``parse_header``,
``body_rcv`` and the state that its channel looks at; `ChunkedReceiver`'s ``control_line`` and ``trailer``;
both receivers' ``buf``.
"""

import time
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Protocol

from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.utilities import BadRequest, Error

HELD_BYTES = 64 << 20  # of the bodies of all requests of a process together
CHUNKED_BYTES = 1 << 12  # waitress's time for a piece of a chunked body grows with the square of its length
CHUNK_LINE_BYTES = 1 << 10  # of the line before a chunk; waitress itself would read on without an end
TRAILER_BYTES = 1 << 13

# How many bytes of a request's body are worth keeping, by its method, its path, and the ``get`` of its
# headers under WSGI's names: 0 if its head alone is reason to refuse it.
Room = Callable[[str, str, Callable[[str, str], str]], int]


class Overloaded(Error):
    """The bodies that are held leave no room."""

    code = 503
    reason = "Service Unavailable"


class TooMany(Error):
    """The client has sent too many requests without waiting for their answers."""

    code = 429
    reason = "Too Many Requests"


class Holder(Protocol):
    """Who may hold bodies: a connection."""

    held: int  # bytes of bodies, at the moment


class Held:
    """The bytes of bodies that a process holds, which are bounded.

    Counts what comes in, and looks at what is really held only when that seems to be too much: so nobody
    need tell when a body is let go of.

    Parameters
    ----------
    holders:
        Gives all who hold bodies.
    """

    def __init__(self, holders: Callable[[], Iterable[Holder]]) -> None:
        self._holders = holders
        self._bytes = 0

    def take(self, count: int) -> bool:
        """Whether there is room for so many bytes more."""
        if self._bytes + count > HELD_BYTES:
            self._bytes = sum(holder.held for holder in self._holders())
            if self._bytes + count > HELD_BYTES:
                return False
        self._bytes += count
        return True


class Body:
    """A body as it comes in, for waitress's receivers. One that is too long is counted and not kept.

    Parameters
    ----------
    room:
        How many bytes are kept at most: beyond, nothing is, and the application refuses it by its length.
    held:
        The bound of all bodies together; when that is reached, ``refused`` is set.
    """

    def __init__(self, room: int, held: Held) -> None:
        self.length = 0
        self.kept = 0
        self.refused = False
        self._room = room
        self._held = held
        self._file = BytesIO()

    def __len__(self) -> int:
        return self.length

    def append(self, data: bytes) -> None:
        """Take the next bytes."""
        self.length += len(data)
        if self.length > self._room or self.refused:
            self.close()
        elif self._held.take(len(data)):
            self._file.write(data)
            self.kept = self.length
        else:
            self.refused = True
            self.close()

    def getfile(self) -> BytesIO:
        """What was kept, to be read from its start."""
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        """Let go of what was kept."""
        self._file = BytesIO()
        self.kept = 0


class Parser(HTTPRequestParser):
    """Reads a request.

    A body that comes with its head is read by waitress as it is. Of one that takes longer, only what its
    head deserves is kept; the rest is passed over, so that the client, who may not listen while it sends,
    gets the application's answer in full.

    Parameters
    ----------
    adjustments:
        waitress's settings.
    room, held:
        What bounds the body: what its head deserves, and the bound of all bodies together.
    refusal:
        With what the request is refused, whatever it says; None: with nothing.

    Attributes: ``started``, when it was made, in seconds of time.time(); ``held``, bytes of the body.
    """

    expect_continue: bool

    def __init__(
        self, adjustments: Adjustments, room: Room, held: Held, refusal: Error | None = None
    ) -> None:
        super().__init__(adjustments)
        self._refusal = refusal
        self.started = time.time()
        self._room = room
        self._all = held
        self._body: Body | None = None

    @property
    def held(self) -> int:
        """How many bytes of a body are kept that did not come with its head."""
        return 0 if self._body is None else self._body.kept

    def received(self, data: bytes) -> int:
        """Take the next bytes from the client; how many of them belong to this request."""
        if self.headers_finished:
            return self._received_body(data)
        if self._refusal:
            self._fail(self._refusal)
            return len(data)
        consumed: int = super().received(data)
        if self.body_rcv is not None and not self.completed:
            came_along = not self.chunked and consumed + self.content_length <= len(data)
            if not came_along:
                self._expect_body()
        return consumed

    def _expect_body(self) -> None:
        path = "/" + self.path.lstrip("/")  # as waitress gives it to the application
        room = self._room(self.command, path, self._header)
        if self.expect_continue and (not room or self.content_length > room):
            # The client waits to be told to go on, and is told why not.
            self.expect_continue = False
            self.headers["CONNECTION"] = "close"
            self.completed = True
        self._body = self.body_rcv.buf = Body(room, self._all)

    def _received_body(self, data: bytes) -> int:
        consumed: int = super().received(data[:CHUNKED_BYTES] if self.chunked else data)
        if self._body is not None and self._body.refused:
            self._fail(Overloaded(""))
        elif self.chunked and (
            len(self.body_rcv.control_line) > CHUNK_LINE_BYTES or len(self.body_rcv.trailer) > TRAILER_BYTES
        ):
            self._fail(BadRequest(""))
        return consumed

    def _fail(self, error: Error) -> None:
        self.error = error
        self.completed = True

    def _header(self, name: str, default: str) -> str:
        value: str = self.headers.get(name.removeprefix("HTTP_"), default)
        return value

    def parse_header(self, header_plus: bytes) -> None:
        """Read the head; ParsingError also where it does not say beyond doubt how long the body is.

        After https://www.rfc-editor.org/rfc/rfc9112#section-6.1: what another on the way may have understood
        otherwise is not guessed at.
        """
        try:
            super().parse_header(header_plus)
        except ValueError as error:  # such as a length of 5,000 digits: waitress would hang up without a word
            raise ParsingError("not a number, or not a URL") from error
        if self.chunked and "CONTENT_LENGTH" in self.headers:
            raise ParsingError("two lengths")
        if "TRANSFER_ENCODING" in self.headers:  # waitress has taken it out of a request of HTTP/1.1
            raise ParsingError("a transfer encoding, which this version of HTTP does not have")
