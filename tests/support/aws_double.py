"""AWS as a test would have it, behind a client of boto3's own.

botocore checks the request, pages, and makes errors of its own classes; the answers are checked against the
service's model, so that a double cannot make things up.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, ClassVar

import boto3
import botocore.session
from botocore import UNSIGNED, xform_name
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.model import OperationModel
from support import aws_model

REGION = "us-east-1"

Answer = Callable[[str, dict[str, Any]], dict[str, Any]]  # of an operation, named as AWS does, and a request
Parsed = tuple[Any, dict[str, Any]]  # the HTTP answer as far as botocore looks at it, and what it says


class Double:
    """Stands in for a client: ``do_<operation>``, as boto3 names it, takes a request and returns the answer.

    It fails as AWS does where that raises what `refused` makes.
    """

    service: ClassVar[str]

    @functools.cached_property
    def client(self) -> BaseClient:
        """The client whose calls are answered here."""
        config = Config(signature_version=UNSIGNED)
        made: BaseClient = _session().client(self.service, region_name=REGION, config=config)
        made.meta.events.register_last("before-parameter-build", _remember)
        made.meta.events.register("before-call", _handler(self.answer))
        return made

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("_", "do_")):
            raise AttributeError(name)
        return getattr(self.client, name)

    def answer(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request; ``operation`` is named as AWS does."""
        found: dict[str, Any] = getattr(self, f"do_{xform_name(operation)}")(**request)
        return found


@contextlib.contextmanager
def answering(client: BaseClient, **answers: Any) -> Iterator[None]:
    """Let a client have other answers to some operations, named as boto3 does.

    Each is an answer, a function that takes the request and gives one, or an error to raise.
    """
    events, service = client.meta.events, client.meta.service_model.service_id.hyphenize()
    handlers = {
        f"before-call.{service}.{client.meta.method_to_api_mapping[name]}": _handler(_giving(answer))
        for name, answer in answers.items()
    }
    events.register_last("before-parameter-build", _remember, unique_id=__name__)
    for event, handler in handlers.items():
        events.register_first(event, handler)
    try:
        yield
    finally:
        for event, handler in handlers.items():
            events.unregister(event, handler)


def given(answer: Any, request: dict[str, Any]) -> dict[str, Any]:
    """The answer that is given, got from the function that is, or raised."""
    found: dict[str, Any] | Exception = answer(**request) if callable(answer) else answer
    if isinstance(found, Exception):
        raise found
    return found


def refused(code: str = "AccessDeniedException", message: str = "no", **fields: Any) -> ClientError:
    """A failure for a double to raise; the operation must be one that can fail so."""
    response: Any = {"Error": {"Code": code, "Message": message}, **fields}
    return ClientError(response, "")


def _giving(answer: Any) -> Answer:
    return lambda __, request: given(answer, request)


def _handler(answer: Answer) -> Callable[..., Any]:
    """A handler of botocore's event ``before-call``, which answers in the network's place."""

    def handle(model: OperationModel, context: dict[str, Any], **__: Any) -> Parsed:
        request = context[__name__]
        aws_model.check_request(model, request)
        try:
            found = answer(model.name, request)
        except ClientError as error:
            return _http(aws_model.status_of(model, error.response["Error"]["Code"]), error.response)
        aws_model.check_answer(model, found)
        return _http(200, found)

    return handle


def _http(status: int, said: Mapping[str, Any]) -> Parsed:
    return SimpleNamespace(status_code=status), {**said, "ResponseMetadata": {"HTTPStatusCode": status}}


def _remember(params: dict[str, Any], context: dict[str, Any], **__: Any) -> None:
    context[__name__] = dict(params)


@functools.cache  # it has read the models then
def _session() -> Any:  # whose types know `client` by each service's name, and by no other
    return boto3.Session(botocore_session=botocore.session.get_session())
