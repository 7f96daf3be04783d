"""The calls to AWS that the product's source makes, and those that tests have made it make.

Each request that a test makes the product send is also checked against the service's model, see `aws_model`.
"""

import ast
import functools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import botocore.handlers
from botocore import xform_name
from botocore.model import OperationModel
from support import aws_model
from support.paths import ROOT

FOLDERS = ("containers", "plugins", "terraform")  # where the product's own Python lies
TRANSFER = "s3transfer"  # boto3's own calls, from threads of its own, for what `_TRANSFERS` names

_TRANSFERS = {
    "upload_fileobj": ("put_object", "create_multipart_upload", "upload_part", "complete_multipart_upload"),
    "download_file": ("head_object", "get_object"),
}
_FINDERS = {"get_paginator", "get_waiter"}
_MAKERS = {"client", "resource"}


class Call(NamedTuple):
    """An operation, named as boto3 does, that a file of the product calls."""

    file: str
    operation: str

    def __str__(self) -> str:
        return f"{self.file}: {self.operation}"


# --- what the source says ---


def in_source(root: Path = ROOT) -> set[Call]:
    """All calls that the product's source makes, those that boto3's transfers make for it included."""
    trees = {path: ast.parse(path.read_text()) for path in _sources(root)}
    services = {name for tree in trees.values() for name in _services(tree)}
    operations = {name for service in services for name in operations_of(service)}
    return {
        call
        for path, tree in trees.items()
        for call in calls_of(tree, path.relative_to(root).as_posix(), operations)
    }


def services(root: Path = ROOT) -> set[str]:
    """The services whose clients the product's source makes."""
    return {name for path in _sources(root) for name in _services(ast.parse(path.read_text()))}


def operations_of(service: str) -> dict[str, OperationModel]:
    """A service's operations by their names in boto3."""
    model = aws_model.service_model(service)
    return {xform_name(name): model.operation_model(name) for name in model.operation_names}


def calls_of(tree: ast.AST, file: str, operations: Iterable[str]) -> Iterator[Call]:
    """The calls in a syntax tree: attributes that are named as one of the operations."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            if isinstance(node, ast.Call) and _name(node.func) in _FINDERS:
                yield Call(file, ast.literal_eval(node.args[0]))
        elif node.attr in operations:
            yield Call(file, node.attr)
        else:
            yield from (Call(TRANSFER, operation) for operation in _TRANSFERS.get(node.attr, ()))


def _sources(root: Path) -> Iterator[Path]:
    return (path for folder in FOLDERS for path in sorted((root / folder).rglob("*.py")))


def _services(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) in _MAKERS and node.args:
            yield from (arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant))


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else ""


# --- what tests do ---


class Recorder:
    """Notes each call of the product's that goes through botocore, and checks its request.

    Attributes: ``calls``, those seen so far.
    """

    def __init__(self) -> None:
        self.calls: set[Call] = set()

    def install(self) -> None:
        """See the calls of every client that is made from now on in this process."""
        last = botocore.handlers.REGISTER_LAST  # so that it sees what is sent, such as DynamoDB's types
        botocore.handlers.BUILTIN_HANDLERS.append(("before-parameter-build", self._see, last))

    def _see(self, params: dict[str, Any], model: OperationModel, **__: Any) -> None:
        caller = _caller()
        if caller is not None:
            aws_model.check_request(model, params)
            self.calls.add(Call(caller, xform_name(model.name)))


def _caller() -> str | None:
    """The file of the product that a call comes from; None if it comes from a test."""
    frame = sys._getframe(2).f_back
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
