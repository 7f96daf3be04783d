"""The calls that boto3 is given in this process, as botocore's events tell of them."""

import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import botocore.handlers
from botocore.model import OperationModel
from support.paths import ROOT

FOLDERS = ("containers", "plugins", "terraform")  # where the product's own Python lies
TRANSFER = "s3transfer"  # boto3's managed transfers, which make their calls in threads of their own

_EVENT = "before-parameter-build"


@dataclass(frozen=True)
class Call:
    """One call of boto3.

    Parameters
    ----------
    service, operation:
        As botocore and AWS name them: ``dynamodb``, ``GetItem``.
    parameters:
        What is sent, of an object's body aside; DynamoDB's types are spelt out.
    caller:
        The product's file that makes the call, from the root on, or `TRANSFER`; None where a test does.
    """

    service: str
    operation: str
    parameters: Mapping[str, Any]
    caller: str | None = field(default=None, compare=False)


Note = Callable[[Call], None]


def listen(client: Any, note: Note) -> Any:
    """Tell ``note`` of each call of a client, whatever becomes of it; returns the client."""
    # Last: a resource's own handler turns Python's types into DynamoDB's.
    client.meta.events.register_last(_EVENT, _telling(note))
    return client


def listen_to_all(note: Note) -> None:
    """Tell ``note`` of each call of every client that is made from now on in this process."""
    botocore.handlers.BUILTIN_HANDLERS.append((_EVENT, _telling(note), botocore.handlers.REGISTER_LAST))


def _telling(note: Note) -> Callable[..., None]:
    def tell(params: dict[str, Any], model: OperationModel, **__: Any) -> None:
        parameters = {name: value for name, value in params.items() if name != "Body"}
        note(Call(model.service_model.service_name, model.name, parameters, _caller()))

    return tell


def _caller() -> str | None:
    """The file of the product that a call comes from; None if it comes from a test."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if found := _project_file(frame.f_code.co_filename):
            return None if found.startswith("tests/") else found
        frame = frame.f_back
    return None


@functools.cache
def _project_file(name: str) -> str | None:
    if f"/{TRANSFER}/" in name:
        return TRANSFER
    path = Path(name).resolve()
    if not path.is_relative_to(ROOT) or path.relative_to(ROOT).parts[0] not in (*FOLDERS, "tests"):
        return None
    return path.relative_to(ROOT).as_posix()
