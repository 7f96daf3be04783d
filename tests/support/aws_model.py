"""botocore's models of AWS as a judge: what requests and answers look like, and the errors there are.

botocore itself checks types, what must be there and what is unknown; here enumerations, patterns and upper
bounds are checked too, which the models also have.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import botocore.session
from botocore.model import (
    ListShape,
    MapShape,
    OperationModel,
    ServiceModel,
    Shape,
    StringShape,
    StructureShape,
)
from botocore.validate import ParamValidator

# What any operation may fail with, by protocol: the services' pages "Common errors", S3's "Error responses".
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/CommonErrors.html
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
DENIED, BAD_CREDENTIALS, PASSING, OTHER = "denied", "bad credentials", "passing", "other"
_JSON = {
    "AccessDeniedException": DENIED,
    "ExpiredTokenException": BAD_CREDENTIALS,
    "IncompleteSignature": BAD_CREDENTIALS,
    "InvalidSignatureException": BAD_CREDENTIALS,
    "MissingAuthenticationTokenException": BAD_CREDENTIALS,
    "UnrecognizedClientException": BAD_CREDENTIALS,
    "InternalFailure": PASSING,
    "ServiceUnavailable": PASSING,
    "ThrottlingException": PASSING,
    "ValidationException": OTHER,
}
_QUERY = {
    "AccessDenied": DENIED,
    "ExpiredToken": BAD_CREDENTIALS,
    "IncompleteSignature": BAD_CREDENTIALS,
    "InvalidClientTokenId": BAD_CREDENTIALS,
    "MissingAuthenticationToken": BAD_CREDENTIALS,
    "SignatureDoesNotMatch": BAD_CREDENTIALS,
    "InternalFailure": PASSING,
    "ServiceUnavailable": PASSING,
    "Throttling": PASSING,
    "ValidationError": OTHER,
}
_EC2 = {  # https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
    "UnauthorizedOperation": DENIED,
    "AuthFailure": BAD_CREDENTIALS,
    "InternalError": PASSING,
    "RequestLimitExceeded": PASSING,
    "Unavailable": PASSING,
    "InvalidParameterValue": OTHER,
}
_S3 = {
    "AccessDenied": DENIED,
    "ExpiredToken": BAD_CREDENTIALS,
    "InvalidAccessKeyId": BAD_CREDENTIALS,
    "InvalidToken": BAD_CREDENTIALS,
    "RequestTimeTooSkewed": BAD_CREDENTIALS,
    "SignatureDoesNotMatch": BAD_CREDENTIALS,
    "InternalError": PASSING,
    "RequestTimeout": PASSING,
    "ServiceUnavailable": PASSING,
    "SlowDown": PASSING,
    "NoSuchBucket": OTHER,
    "PermanentRedirect": OTHER,
}
_S3_HEAD = {
    "400": OTHER,
    "403": DENIED,
    "404": OTHER,
    "500": PASSING,
    "503": PASSING,
}  # no body, so no other code
_COMMON = {
    "json": _JSON,
    "rest-json": _JSON,
    "smithy-rpc-v2-cbor": _QUERY,  # CloudWatch's errors have kept the names they had
    "query": _QUERY,
    "ec2": _EC2,
    "rest-xml": _S3,
}
_SQS = "sqs"  # speaks JSON with the error codes of its query protocol, so botocore gives both kinds
_STATUS = {PASSING: 503, DENIED: 403}
_THEIR_FAULT = re.compile("Internal|Server|Service(Unavailable)?Exception")  # where the model gives no status


@functools.cache
def service_model(service: str) -> ServiceModel:
    """A service's model, as botocore has it."""
    return botocore.session.get_session().get_service_model(service)


def common_errors(operation: OperationModel) -> dict[str, str]:
    """The codes that any call of this kind may fail with, each with its kind."""
    service = operation.service_model
    if operation.http.get("method") == "HEAD":
        return _S3_HEAD
    common = _COMMON[service.metadata["protocol"]]
    return common | _QUERY if service.service_name == _SQS else common


def own_errors(operation: OperationModel) -> dict[str, int]:
    """The codes that the model has for this operation, each with its HTTP status."""
    if operation.http.get("method") == "HEAD":
        return {}
    found = {}
    for shape in operation.error_shapes:
        error = shape.metadata.get("error") or {}
        status = 500 if _THEIR_FAULT.match(shape.name) else 400
        found[error.get("code", shape.name)] = error.get("httpStatusCode", status)
    return found


def codes(service: str, operation: str) -> list[str]:
    """All codes that an operation may fail with."""
    model = service_model(service).operation_model(operation)
    return sorted(common_errors(model) | own_errors(model))


def status_of(operation: OperationModel, code: str) -> int:
    """The HTTP status of a failure of this operation. Raises AssertionError if it has no such one."""
    common, own = common_errors(operation), own_errors(operation)
    assert code in common or code in own, (
        f"{operation.name} does not fail with {code}: {sorted(own | common)}"
    )
    if code in own:
        return own[code]
    return int(code) if code.isdecimal() else _STATUS.get(common[code], 400)


def check_request(operation: OperationModel, request: Mapping[str, Any]) -> None:
    """Raise AssertionError if AWS would not take a request that botocore sends."""
    if operation.input_shape is not None:
        _check_values(f"the request of {operation.name}", operation.input_shape, request)


def check_unsent(service: str, operation: str, request: Mapping[str, Any]) -> None:
    """Raise AssertionError if AWS would not take a request that botocore has not looked at."""
    model = service_model(service).operation_model(operation)
    _check(f"the request of {operation}", model.input_shape, request)


def check_answer(operation: OperationModel, answer: Mapping[str, Any]) -> None:
    """Raise AssertionError if AWS would not answer so."""
    _check(f"the answer of {operation.name}", operation.output_shape, answer)


def _check(what: str, shape: StructureShape | None, value: Mapping[str, Any]) -> None:
    if shape is None:
        assert not value, f"{what} has no members"
        return
    report = ParamValidator().validate(value, shape)
    assert not report.has_errors(), f"{what}: {report.generate_report()}"
    _check_values(what, shape, value)


def _check_values(what: str, shape: Shape, value: Mapping[str, Any]) -> None:
    wrong = list(_complaints(value, shape, ""))
    assert not wrong, f"{what}: {'; '.join(wrong)}"


def _complaints(value: Any, shape: Shape, where: str) -> Iterator[str]:
    """What the model forbids and botocore lets pass."""
    most = shape.metadata.get("max")
    if isinstance(shape, StructureShape):
        for name, member in shape.members.items():
            if value.get(name) is not None and not shape.is_document_type:
                yield from _complaints(value[name], member, f"{where}.{name}")
    elif isinstance(shape, ListShape):
        if most is not None and len(value) > most:
            yield f"{where} has {len(value)} members of at most {most}"
        for index, member in enumerate(value):
            yield from _complaints(member, shape.member, f"{where}[{index}]")
    elif isinstance(shape, MapShape):
        for key, member in value.items():
            yield from _complaints(key, shape.key, f"{where}, the key")
            yield from _complaints(member, shape.value, f"{where}.{key}")
    elif isinstance(shape, StringShape):
        if shape.enum and value not in shape.enum:
            yield f"{where} is {value!r}, none of {', '.join(shape.enum)}"
        if most is not None and len(value) > most:
            yield f"{where} has {len(value)} characters of at most {most}"
        pattern = _pattern(shape.metadata.get("pattern"))
        if pattern and not pattern.fullmatch(value):
            yield f"{where} is {value!r}, which does not match {pattern.pattern}"
    elif shape.type_name in ("integer", "long", "float", "double") and most is not None and value > most:
        yield f"{where} is {value}, more than {most}"


@functools.cache
def _pattern(text: str | None) -> re.Pattern[str] | None:
    """A model's pattern; None for one in a dialect that Python does not know."""
    try:
        return re.compile(text) if text else None
    except re.error:
        return None
