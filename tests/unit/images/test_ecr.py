"""Looking into ECR, and what the engine is told to do."""

import base64
import json
import stat
from pathlib import Path

import boto3
import pytest
from ansible_collections.nerforge.aws.plugins.module_utils.contract.errors import UserError
from ansible_collections.nerforge.aws.plugins.plugin_utils import ecr
from moto import mock_aws


@pytest.fixture
def client():
    with mock_aws():
        client = boto3.client("ecr")
        client.create_repository(repositoryName="nerforge/trainer")
        yield client


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """A stand-in for docker that writes down how it was called, and fails at push if told to."""
    script = tmp_path / "engine"
    script.write_text(
        "#!/usr/bin/env python3\n"
        "import json, os, pathlib, sys\n"
        f"log = pathlib.Path({str(tmp_path)!r}) / 'calls.jsonl'\n"
        "given = sys.stdin.read() if 'login' in sys.argv else ''\n"
        "call = {'argv': sys.argv[1:], 'given': given, 'config': os.environ['DOCKER_CONFIG']}\n"
        "log.open('a').write(json.dumps(call) + '\\n')\n"
        "print(sys.argv[1], 'says hello')\n"
        f"sys.exit(sys.argv[1] == 'push' and pathlib.Path({str(tmp_path)!r}, 'refuse').exists())\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


def calls(engine: Path) -> list[dict]:
    return [json.loads(line) for line in (engine.parent / "calls.jsonl").read_text().splitlines()]


def test_the_digest_is_none_until_the_tag_is_pushed(client):
    assert ecr.digest(client, "nerforge/trainer", "abc") is None
    media_type = "application/vnd.docker.distribution.manifest.v2+json"
    config = {"digest": "sha256:" + "0" * 64}
    client.put_image(
        repositoryName="nerforge/trainer",
        imageManifest=json.dumps({"schemaVersion": 2, "mediaType": media_type, "config": config}),
        imageManifestMediaType=media_type,
        imageTag="abc",
    )
    assert ecr.digest(client, "nerforge/trainer", "abc").startswith("sha256:")


def test_a_missing_repository_says_what_makes_it(client):
    with pytest.raises(UserError, match=r"nerforge/server: there is no such repository .* deploy\.yml"):
        ecr.repository_uri(client, "nerforge/server")


@pytest.mark.parametrize(
    ("registry", "reference"),
    [
        (None, "1.dkr.ecr.eu-west-1.amazonaws.com/nerforge/trainer:abc"),
        ("127.0.0.1:4566", "127.0.0.1:4566/nerforge/trainer:abc"),
    ],
)
def test_the_reference_names_the_registry_that_answers(registry, reference):
    uri = "1.dkr.ecr.eu-west-1.amazonaws.com/nerforge/trainer"
    assert ecr.push_reference(uri, "abc", registry) == reference


def test_the_token_is_user_and_password(client):
    user, password = ecr.credentials(client)
    assert user == "AWS"
    assert base64.b64encode(password.encode())


def test_build_login_push_in_this_order_with_the_password_on_standard_input(engine, tmp_path):
    said: list[str] = []
    ecr.build_and_push(
        str(engine), tmp_path, "reg/x:t", ("AWS", "secret-word"), ["--build-arg", "BASE=b"], said.append
    )
    build, login, push = calls(engine)
    assert build["argv"] == ["build", "--tag", "reg/x:t", "--build-arg", "BASE=b", str(tmp_path)]
    assert login["argv"] == ["login", "--username", "AWS", "--password-stdin", "reg"]
    assert login["given"] == "secret-word"
    assert push["argv"] == ["push", "reg/x:t"]
    assert "secret-word" not in json.dumps([build, push, login["argv"], said])
    assert not Path(login["config"]).exists()
    assert said == ["build says hello", "login says hello", "push says hello"]


def test_a_failed_push_tells_the_last_lines(engine, tmp_path):
    (tmp_path / "refuse").touch()
    with pytest.raises(UserError, match="it ended with status 1: push says hello"):
        ecr.build_and_push(str(engine), tmp_path, "reg/x:t", None, [], lambda line: None)
