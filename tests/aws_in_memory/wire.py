"""What botocore meets in place of the network.

So botocore checks each request against the service's model, repeats calls as it does on AWS, and turns each
answer and each error into what the product sees there. Faults come in here, at each single try of a call.
"""

import datetime
import functools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import botocore.loaders
import botocore.model
from botocore.awsrequest import AWSResponse
from botocore.validate import ParamValidator

Around = Callable[[str, str], None]


class Rejected(Exception):
    """An error that a service answers with."""

    def __init__(self, code: str, message: str = "", status: int = 400, **fields: Any) -> None:
        super().__init__(code, message)
        self.status = status
        self.answer = {"__type": code, "message": message, **fields}


class Clock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.now = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)

    def __call__(self) -> datetime.datetime:
        return self.now

    def advance(self, **kwargs: float) -> None:
        self.now += datetime.timedelta(**kwargs)

    def sleep(self, seconds: float) -> None:
        """In place of `time.sleep`."""
        self.advance(seconds=seconds)

    def text(self) -> str:
        """In place of the contract's `now`."""
        return self.now.isoformat(timespec="milliseconds")


class Wire:
    """The services at the other end.

    Parameters
    ----------
    services:
        By the prefix of the header that names the operation: objects with a method for each operation, which
        takes the request's body and returns the answer's.
    """

    def __init__(self, services: Mapping[str, Any]) -> None:
        self.services = services
        self.calls: list[tuple[str, dict[str, Any]]] = []  # every try that reached its service

    def answer(self, request: Any, around: Around | None = None) -> AWSResponse:
        """Answer a request, as a handler of botocore's event ``before-send``.

        ``around`` is told ``before`` and ``after`` the service has done its work. What it raises is the
        fault: `Rejected` is answered in the service's place, anything else is raised, such as an error of the
        network.
        """
        target, __, operation = request.headers["X-Amz-Target"].decode().rpartition(".")
        body = json.loads(request.body)
        try:
            if around:
                around("before", operation)
            answer, status = self._served(target, operation, body)
            if around:
                around("after", operation)
        except Rejected as error:
            answer, status = error.answer, error.status
        return _response(request.url, status, answer)

    def _served(self, target: str, operation: str, body: dict[str, Any]) -> tuple[dict[str, Any], int]:
        self.calls.append((operation, body))
        try:
            return getattr(self.services[target], operation)(body), 200
        except Rejected as error:
            return error.answer, error.status

    def called(self, operation: str) -> list[dict[str, Any]]:
        """The requests of one operation."""
        return [body for name, body in self.calls if name == operation]


class Checked:
    """A service whose answers are checked against botocore's model, so that a fake cannot make things up."""

    def __init__(self, service: Any, model: str) -> None:
        self._service = service
        self._model = _model(model)

    def __getattr__(self, operation: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
        def answer(body: dict[str, Any]) -> dict[str, Any]:
            found = getattr(self._service, operation)(body)
            shape = self._model.operation_model(operation).output_shape
            if shape is not None:
                report = ParamValidator().validate(found, shape)
                assert not report.has_errors(), f"{operation}: {report.generate_report()}"
            return found

        return answer


@functools.cache
def _model(service: str) -> botocore.model.ServiceModel:
    return botocore.model.ServiceModel(botocore.loaders.Loader().load_service_model(service, "service-2"))


def _response(url: str, status: int, body: dict[str, Any]) -> AWSResponse:
    class Raw:
        def stream(self, **__: Any) -> Iterator[bytes]:
            yield json.dumps(body).encode()

    return AWSResponse(url, status, {"Content-Type": "application/x-amz-json-1.0"}, Raw())
