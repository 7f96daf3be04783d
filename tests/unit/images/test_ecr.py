"""Looking into ECR, and what the engine is told to do."""

import base64
import json
import os
import stat
from pathlib import Path

import boto3
import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.nerforge.aws.plugins.module_utils.contract.errors import UserError
from ansible_collections.nerforge.aws.plugins.modules import ecr_image
from ansible_collections.nerforge.aws.plugins.plugin_utils import ecr
from ansible_collections.nerforge.aws.plugins.plugin_utils.action import argument_spec
from moto import mock_aws

LOGIN = base64.b64encode(b"AWS:secret-word").decode()


@pytest.fixture
def client():
    with mock_aws():
        client = boto3.client("ecr")
        client.create_repository(repositoryName="nerforge/trainer")
        yield client


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """A stand-in for docker that writes down how it was called, and fails where there is a file `refuse`."""
    script = tmp_path / "engine"
    script.write_text(
        "#!/usr/bin/env python3\n"
        "import json, os, pathlib, sys\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "config = os.environ.get('DOCKER_CONFIG', '')\n"
        "file = pathlib.Path(config, 'config.json')\n"
        "settings = json.loads(file.read_text()) if config and file.exists() else None\n"
        "contexts = pathlib.Path(config, 'contexts', 'mine').exists()\n"
        "call = {'argv': sys.argv[1:], 'environment': dict(os.environ), 'settings': settings,\n"
        "        'contexts': contexts}\n"
        "(folder / 'calls.jsonl').open('a').write(json.dumps(call) + '\\n')\n"
        "print('first')\n"
        "print()\n"
        "print(sys.argv[2], 'done', file=sys.stderr)\n"
        "refuse = folder / 'refuse'\n"
        "sys.exit(refuse.exists() and (refuse.read_text() or 1))\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


def calls(engine: Path) -> list[dict]:
    return [json.loads(line) for line in (engine.parent / "calls.jsonl").read_text().splitlines()]


def test_the_examples_are_valid_by_the_documented_options():
    spec = argument_spec(ecr_image.DOCUMENTATION)
    for task in yaml.safe_load(ecr_image.EXAMPLES):
        assert ArgumentSpecValidator(spec).validate(task["nerforge.aws.ecr_image"]).error_messages == []


def test_the_digest_is_none_until_the_tag_is_pushed(client):
    assert ecr.digest(client, "nerforge/trainer", "abc") is None
    media_type = "application/vnd.docker.distribution.manifest.v2+json"
    config = {"digest": "sha256:" + "0" * 64}
    pushed = client.put_image(
        repositoryName="nerforge/trainer",
        imageManifest=json.dumps({"schemaVersion": 2, "mediaType": media_type, "config": config}),
        imageManifestMediaType=media_type,
        imageTag="abc",
    )
    assert ecr.digest(client, "nerforge/trainer", "abc") == pushed["image"]["imageId"]["imageDigest"]
    assert ecr.digest(client, "nerforge/trainer", "other") is None


def test_the_uri_is_none_until_there_is_a_repository(client):
    assert ecr.repository_uri(client, "nerforge/trainer").endswith(".amazonaws.com/nerforge/trainer")
    assert ecr.repository_uri(client, "nerforge/server") is None


def test_the_login_is_the_token_as_it_comes(client):
    assert base64.b64decode(ecr.authorization(client)).startswith(b"AWS:")


def test_build_is_told_tag_arguments_and_folder(engine, tmp_path):
    said: list[str] = []
    command = [str(engine), "--debug"]
    ecr.build(command, str(tmp_path), "reg/x:t", {"version": "1.2"}, ["--build-arg", "BASE=b"], said.append)
    (call,) = calls(engine)
    told = ["--tag", "reg/x:t", "--label", "version=1.2", "--build-arg", "BASE=b"]
    assert call["argv"] == ["--debug", "build", *told, str(tmp_path)]
    assert call["environment"]["DOCKER_BUILDKIT"] == "1"
    assert call["environment"]["BUILDX_NO_DEFAULT_ATTESTATIONS"] == "1"
    assert said == ["first", "build done"]


def test_push_logs_in_without_a_trace_and_keeps_the_context(engine, tmp_path, monkeypatch):
    own = tmp_path / "own"
    (own / "contexts" / "mine").mkdir(parents=True)
    (own / "config.json").write_text(
        json.dumps({"currentContext": "mine", "credsStore": "desktop", "auths": {"other": {"auth": "x"}}})
    )
    before = (own / "config.json").read_bytes()
    monkeypatch.setenv("DOCKER_CONFIG", str(own))
    said: list[str] = []

    ecr.push([str(engine), "--debug"], "reg:5000/x:t", LOGIN, said.append)

    (call,) = calls(engine)
    assert call["argv"] == ["--debug", "push", "reg:5000/x:t"]
    assert call["settings"] == {"auths": {"reg:5000": {"auth": LOGIN}}, "currentContext": "mine"}
    assert call["contexts"]
    folder = Path(call["environment"]["DOCKER_CONFIG"])
    assert call["environment"]["REGISTRY_AUTH_FILE"] == str(folder / "config.json")
    assert not folder.exists()
    assert (own / "config.json").read_bytes() == before
    assert (own / "contexts" / "mine").is_dir()
    assert LOGIN not in json.dumps([call["argv"], call["environment"], said])


def test_push_logs_in_for_a_user_without_settings(engine, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))
    ecr.push([str(engine)], "reg/x:t", LOGIN, lambda line: None)
    (call,) = calls(engine)
    assert call["settings"] == {"auths": {"reg": {"auth": LOGIN}}}


def test_push_without_a_login_leaves_the_settings_alone(engine, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", "/nowhere")
    ecr.push([str(engine)], "127.0.0.1:4566/x:t", None, lambda line: None)
    (call,) = calls(engine)
    assert call["environment"]["DOCKER_CONFIG"] == "/nowhere"
    assert call["environment"].get("REGISTRY_AUTH_FILE") == os.environ.get("REGISTRY_AUTH_FILE")


def test_a_failure_tells_the_last_lines(engine, tmp_path):
    (tmp_path / "refuse").touch()
    with pytest.raises(UserError) as failed:
        ecr.push([str(engine)], "reg/x:t", None, lambda line: None)
    assert str(failed.value) == (
        f"reg/x:t: {engine} push ended with status 1, after: first / reg/x:t done. "
        "Mend what its last lines say, and deploy again."
    )


def test_a_docker_that_lacks_buildx_is_told_apart(engine, tmp_path):
    (tmp_path / "refuse").write_text(
        "ERROR: BuildKit is enabled but the buildx component is missing or broken."
    )
    with pytest.raises(UserError, match=r"buildx plugin \(Debian, Ubuntu: docker-buildx; .*deploy again\.$"):
        ecr.build([str(engine)], str(tmp_path), "reg/x:t", {}, [], lambda line: None)


def test_an_engine_that_is_none_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no-engine: it cannot be started \(No such file or directory\)"):
        ecr.push([str(tmp_path / "no-engine")], "reg/x:t", None, lambda line: None)
