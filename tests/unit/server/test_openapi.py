"""The OpenAPI document: what it says is what a running server does, with keys and without."""

import contextlib
import json
import os
import subprocess
import sys
from hashlib import sha256

import jsonschema
import pytest
from nerforge_contract import names
from nerforge_server import api, openapi
from support import serving

KEY = "nfk_" + "k" * 43
PARAMETER = "/test/serving/api_keys"


@pytest.fixture(scope="module")
def locked(environment, aws, tmp_path_factory):
    """A running server that asks for keys."""
    aws.parameters[PARAMETER] = json.dumps({"ada": sha256(KEY.encode()).hexdigest()})
    server = serving.Server(
        environment | {names.ENV_API_KEYS: PARAMETER}, aws.url, tmp_path_factory.mktemp("locked")
    )
    server.wait_ready()
    yield server
    server.kill()


def ask(server, method, path, body=b"", **headers):
    """Status, headers and body of the answer to one request."""
    with contextlib.closing(server.connect()) as connection:
        connection.request(method, path, body, {name.replace("_", "-"): headers[name] for name in headers})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def test_schemathesis_finds_nothing(locked, root, tmp_path):
    """All its checks: bad data, methods that are none, missing and wrong keys, answers beside the schemas."""
    run = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run"),
            f"http://127.0.0.1:{locked.port}/openapi.json",
            *("--checks", "all", "--max-examples", "25", "--seed", "1"),
            *("--header", f"Authorization: Bearer {KEY}"),
            *("--suppress-health-check", "all", "--no-color"),
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(root / "tests"),
            "SCHEMATHESIS_HOOKS": "support.schemathesis_hooks",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    assert f"Tested: {len(api.OPERATIONS)}" in run.stdout
    assert "WARNINGS" not in run.stdout, run.stdout


@pytest.mark.parametrize("operation", api.OPERATIONS, ids=lambda operation: operation.path)
def test_the_door_is_where_the_document_says(locked, operation):
    document = json.loads(ask(locked, "GET", "/openapi.json")[2])
    [wanted] = [document["paths"][operation.path][operation.method.lower()]["security"]]
    body = b"Tim" if operation.bodies else b""
    status, headers, __ = ask(locked, operation.method, operation.path, body, Content_Type="text/plain")
    assert (status == 401) == bool(wanted) == operation.locked
    assert (headers["WWW-Authenticate"] == 'Bearer realm="nerforge"') == operation.locked
    for key, expected in ((KEY, 200), (KEY[:-1] + "x", 401)):
        authorization = {"Authorization": f"Bearer {key}", "Content_Type": "text/plain"}
        status, __, __ = ask(locked, operation.method, operation.path, body, **authorization)
        assert status == (expected if operation.locked else 200)


@pytest.mark.parametrize("path", sorted({operation.path for operation in api.OPERATIONS}))
def test_methods_that_a_path_has_not(locked, path):
    wanted = {operation.method for operation in api.OPERATIONS if operation.path == path}
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - wanted:
        status, headers, body = ask(locked, method, path)
        assert (status, json.loads(body)["status"]) == (405, 405)
        assert wanted <= set(headers["Allow"].split(", "))


def test_without_keys_nothing_is_locked():
    document = openapi.document(with_keys=False)
    assert "securitySchemes" not in document["components"]
    assert not any(
        operation["security"] or "401" in operation["responses"]
        for path in document["paths"].values()
        for operation in path.values()
    )


def test_the_examples_have_their_schemas():
    document = openapi.document(with_keys=True)
    checked = 0
    for content in _contents(document):
        validator = jsonschema.Draft202012Validator(
            {**content["schema"], "components": document["components"]}
        )
        for example in content.get("examples", {}).values():
            validator.validate(example["value"])
            checked += 1
    assert checked > 15


def _contents(node):
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "content":
                yield from value.values()
            yield from _contents(value)


def test_a_stream_may_be_larger_than_other_bodies(locked):
    padding = (b" " * (1 << 16) + b"\n") * (12 * api.MAX_BODY >> 16)
    status, __, body = ask(
        locked,
        "POST",
        "/ner",
        padding + b'{"text": "Tim went to Oslo ."}',
        Content_Type=api.LINES,
        Authorization=f"Bearer {KEY}",
    )
    assert (status, len(json.loads(body)["entities"])) == (200, 2)


def test_a_stream_begins_before_its_last_text_is_done(locked):
    """Over a real socket: the first line is there while the server still works on the others."""
    lines = [json.dumps({"id": number, "text": "Tim went to Oslo . " * 100}) for number in range(200)]
    with contextlib.closing(locked.connect()) as connection:
        connection.request(
            "POST",
            "/ner",
            "\n".join(lines),
            {"Content-Type": "application/x-ndjson", "Authorization": f"Bearer {KEY}"},
        )
        answer = connection.getresponse()
        first = json.loads(answer.readline())
        __, __, metrics = ask(locked, "GET", "/metrics", Authorization=f"Bearer {KEY}")
        rest = [json.loads(line) for line in answer.read().splitlines()]
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/x-ndjson")
    assert [line["id"] for line in (first, *rest)] == list(range(200))
    assert all(line["entities"] == first["entities"] for line in rest)
    assert b"nerforge_requests_waiting 0.0" not in metrics
