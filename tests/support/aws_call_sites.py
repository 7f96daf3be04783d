"""Where the product's source calls AWS."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from botocore import xform_name
from botocore.model import OperationModel
from support import aws_model
from support.aws_calls import FOLDERS, TRANSFER
from support.paths import ROOT

_MULTIPART = ("create_multipart_upload", "upload_part", "complete_multipart_upload", "abort_multipart_upload")
_TRANSFERS = {
    "upload_file": ("put_object", *_MULTIPART),
    "upload_fileobj": ("put_object", *_MULTIPART),
    "download_file": ("head_object", "get_object"),
}
_FINDERS = {"get_paginator", "get_waiter"}
_MAKERS = {"client", "resource"}


class Site(NamedTuple):
    """An operation, named as boto3 does, that a file of the product calls."""

    file: str
    operation: str

    def __str__(self) -> str:
        return f"{self.file}: {self.operation}"


def in_source(root: Path = ROOT) -> set[Site]:
    """All call sites in the product's source, with the calls that boto3's transfers make for it."""
    trees = {path: ast.parse(path.read_text()) for path in _sources(root)}
    services = {name for tree in trees.values() for name in _services(tree)}
    operations = {name for service in services for name in operations_of(service)}
    return {
        site
        for path, tree in trees.items()
        for site in sites_in(tree, path.relative_to(root).as_posix(), operations)
    }


def services(root: Path = ROOT) -> set[str]:
    """The services whose clients the product's source makes."""
    return {name for path in _sources(root) for name in _services(ast.parse(path.read_text()))}


def operations_of(service: str) -> dict[str, OperationModel]:
    """A service's operations by their names in boto3."""
    model = aws_model.service_model(service)
    return {xform_name(name): model.operation_model(name) for name in model.operation_names}


def sites_in(tree: ast.AST, file: str, operations: Iterable[str]) -> Iterator[Site]:
    """The call sites in a syntax tree: attributes that are named as one of the operations."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            if isinstance(node, ast.Call) and _name(node.func) in _FINDERS:
                yield Site(file, ast.literal_eval(node.args[0]))
        elif node.attr in operations:
            yield Site(file, node.attr)
        else:
            yield from (Site(TRANSFER, operation) for operation in _TRANSFERS.get(node.attr, ()))


def _sources(root: Path) -> Iterator[Path]:
    return (path for folder in FOLDERS for path in sorted((root / folder).rglob("*.py")))


def _services(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) in _MAKERS and node.args:
            for arg in node.args[:1]:
                if isinstance(arg, ast.Constant) and isinstance(arg.value, str):
                    yield arg.value


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else ""
