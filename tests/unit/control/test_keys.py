"""API keys: made, revoked and published, by one operator or several, and what the server would find."""

import hashlib
import json
import re
import threading

import botocore.exceptions
import pytest
from ansible_collections.nerforge.aws.plugins.module_utils.contract import names
from ansible_collections.nerforge.aws.plugins.module_utils.contract.errors import UserError
from ansible_collections.nerforge.aws.plugins.plugin_utils import keys as api_keys
from botocore.client import BaseClient

PARAMETER = names.api_keys_parameter("nerforge")
HASH = hashlib.sha256(b"nfk_any").hexdigest()


@pytest.fixture
def keys(stack):
    return api_keys.open_keys(stack.aws, "nerforge")


def published(stack):
    return json.loads(api_keys.published(stack.aws.client("ssm"), PARAMETER))


def test_a_key_goes_into_the_file_and_its_hash_into_the_parameter(stack, keys, tmp_path):
    path = tmp_path / "keys" / "nerforge" / "shop"
    api_keys.make(keys, "shop", path)
    assert published(stack) == {}
    assert keys.publish()
    key = path.read_text().removesuffix("\n")
    assert re.fullmatch(r"nfk_[A-Za-z0-9_-]{43}", key)
    assert published(stack) == {"shop": hashlib.sha256(key.encode()).hexdigest()}
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert not keys.publish()


def test_two_keys_are_two(keys, tmp_path):
    for name in ("a", "b"):
        api_keys.make(keys, name, tmp_path / name)
    assert (tmp_path / "a").read_text() != (tmp_path / "b").read_text()
    assert len(set(keys.recorded().values())) == 2


@pytest.mark.parametrize("name", ["", "Shop", "1st", "a b", "a" * 64, "ключ"])
def test_a_name_that_cannot_be_is_refused(keys, tmp_path, name):
    with pytest.raises(UserError, match="is no name for a key"):
        api_keys.make(keys, name, tmp_path / "key")
    assert keys.recorded() == {} and not (tmp_path / "key").exists()


def test_a_name_that_is_taken_is_refused_and_says_how_to_rotate(keys, tmp_path):
    assert keys.add("shop", HASH)
    with pytest.raises(UserError, match=r"there is a key shop already.*make one of another name"):
        api_keys.make(keys, "shop", tmp_path / "key")
    assert keys.recorded() == {"shop": HASH} and not (tmp_path / "key").exists()


def test_a_name_taken_at_the_last_moment_leaves_no_file(keys, tmp_path, monkeypatch):
    keys.add("shop", HASH)
    monkeypatch.setattr(api_keys, "is_to_be_made", lambda *__: True)
    with pytest.raises(UserError, match="there is a key shop already"):
        api_keys.make(keys, "shop", tmp_path / "key")
    assert keys.recorded() == {"shop": HASH} and not (tmp_path / "key").exists()


def test_a_command_that_was_cut_short_may_be_repeated(stack, keys, tmp_path):
    """Recorded, and then not published: the same command once more goes on from there."""
    assert api_keys.make(keys, "shop", tmp_path / "key")
    assert not keys.is_published()
    recorded, text = keys.recorded(), (tmp_path / "key").read_text()
    assert not api_keys.make(keys, "shop", tmp_path / "key")
    assert keys.publish() and keys.is_published()
    assert published(stack) == keys.recorded() == recorded
    assert (tmp_path / "key").read_text() == text


def test_a_file_with_another_key_is_not_that_key(keys, tmp_path):
    api_keys.make(keys, "shop", tmp_path / "shop")
    api_keys.make(keys, "batch", tmp_path / "batch")
    with pytest.raises(UserError, match="there is a key shop already"):
        api_keys.make(keys, "shop", tmp_path / "batch")
    keys.remove("shop", last=False)
    with pytest.raises(UserError, match="there is such a file"):  # a key that was revoked stays so
        api_keys.make(keys, "shop", tmp_path / "shop")
    assert list(keys.recorded()) == ["batch"]


def test_a_write_whose_answer_is_lost_loses_no_key(keys, tmp_path, monkeypatch):
    update = keys._table.update_item

    def lost(**request):
        update(**request)
        if ":sha256" in request["ExpressionAttributeValues"]:
            raise botocore.exceptions.ReadTimeoutError(endpoint_url="https://dynamodb")

    monkeypatch.setattr(keys._table, "update_item", lost)
    with pytest.raises(botocore.exceptions.ReadTimeoutError):
        api_keys.make(keys, "shop", tmp_path / "key")
    key = (tmp_path / "key").read_text().strip()
    assert keys.recorded() == {"shop": hashlib.sha256(key.encode()).hexdigest()}
    assert not api_keys.make(keys, "shop", tmp_path / "key")


def test_a_write_that_is_refused_leaves_no_file(keys, tmp_path, monkeypatch):
    answer = {"Error": {"Code": "AccessDeniedException"}, "ResponseMetadata": {"HTTPStatusCode": 400}}

    def refused(**_request):
        raise botocore.exceptions.ClientError(answer, "UpdateItem")

    monkeypatch.setattr(keys._table, "update_item", refused)
    with pytest.raises(botocore.exceptions.ClientError):
        api_keys.make(keys, "shop", tmp_path / "key")
    assert not (tmp_path / "key").exists()


def test_a_file_that_cannot_be_written_in_full_goes_again(keys, tmp_path, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(api_keys.os, "fdopen", full)
    with pytest.raises(UserError, match="No space left on device"):
        api_keys.make(keys, "shop", tmp_path / "key")
    assert not (tmp_path / "key").exists() and keys.recorded() == {}


def test_no_file_is_written_over(keys, tmp_path):
    (tmp_path / "key").write_text("mine")
    with pytest.raises(UserError, match="there is such a file"):
        api_keys.make(keys, "shop", tmp_path / "key")
    with pytest.raises(UserError, match=r"key/shop: the key cannot be written there \(File exists\)"):
        api_keys.make(keys, "shop", tmp_path / "key" / "shop")
    assert (tmp_path / "key").read_text() == "mine" and keys.recorded() == {}


def test_more_keys_than_fit_are_refused(keys, tmp_path):
    with pytest.raises(UserError, match="there is no room beside the 30 keys that there are"):
        for number in range(10, 100):
            api_keys.make(keys, f"{'a' * 61}{number}", tmp_path / f"{number}")
    assert len(list(tmp_path.iterdir())) == len(keys.recorded()) == 30
    assert keys.publish()


def test_a_repeated_write_is_no_other_key(keys):
    assert keys.add("shop", HASH) and keys.add("shop", HASH)
    assert not keys.add("shop", HASH[::-1])


def test_the_last_key_stays_where_one_is_asked_for(stack, keys):
    keys.add("a", HASH)
    keys.add("b", HASH)
    assert keys.remove("a", last=False)
    assert not keys.remove("b", last=False)
    keys.publish()
    assert published(stack) == {"b": HASH}
    assert keys.remove("b", last=True) and keys.remove("b", last=True)
    keys.publish()
    assert published(stack) == {}


def test_revoking_what_is_not_there_writes_nothing(stack, keys):
    assert keys.remove("ghost", last=False)
    assert not keys.publish()
    assert stack.aws.client("ssm").get_parameters(Names=[PARAMETER])["Parameters"] == []


def test_operators_at_once_lose_no_key(stack, keys, monkeypatch):
    """Each records its key and publishes what it then reads, while the others do the same."""
    together, one_call, call = threading.Barrier(8), threading.Lock(), BaseClient._make_api_call

    def atomic(client, name, request):  # as each call is at AWS, and not in its imitation
        with one_call:
            return call(client, name, request)

    monkeypatch.setattr(BaseClient, "_make_api_call", atomic)

    def operator(number):
        together.wait()
        keys.add(f"key-{number}", HASH)
        keys.publish()

    threads = [threading.Thread(target=operator, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(published(stack)) == [f"key-{number}" for number in range(8)]


def test_who_publishes_late_publishes_what_was_recorded_meanwhile(stack, keys):
    keys.add("first", HASH)
    put = keys._ssm.put_parameter

    def late(**request):
        if "second" not in keys.recorded():  # as another operator does, right before our stale write
            keys.add("second", HASH)
            put(**request | {"Value": api_keys.document(keys.recorded())})
        put(**request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys._ssm, "put_parameter", late)
        assert keys.publish()
    assert published(stack) == {"first": HASH, "second": HASH}


# --- what the server is told ---


def test_no_keys_are_asked_for(stack):
    assert api_keys.source(stack.aws, "nerforge") is None
    assert api_keys.edition(stack.aws, None) is None


def test_the_edition_follows_the_published_keys(stack, keys):
    with pytest.raises(api_keys.NoKeys, match=r"/nerforge/serving/api_keys: .*keys\.yml -e add=NAME"):
        api_keys.edition(stack.aws, PARAMETER)
    editions = []
    for name in ("a", "b"):
        keys.add(name, HASH)
        keys.publish()
        editions.append(api_keys.edition(stack.aws, PARAMETER))
    keys.remove("b", last=False)
    assert api_keys.edition(stack.aws, PARAMETER) == editions[1]
    keys.publish()
    assert api_keys.edition(stack.aws, PARAMETER) == editions[0] != editions[1]
    keys.remove("a", last=True)
    keys.publish()
    with pytest.raises(api_keys.NoKeys):
        api_keys.edition(stack.aws, PARAMETER)


def test_the_edition_follows_a_secrets_versions(stack):
    manager = stack.aws.client("secretsmanager")
    secret = manager.create_secret(Name="ours", SecretString="{}")["ARN"]
    first = api_keys.edition(stack.aws, secret)
    assert api_keys.edition(stack.aws, secret) == first
    manager.put_secret_value(SecretId=secret, SecretString='{"a": "b"}')
    assert api_keys.edition(stack.aws, secret) != first
    with pytest.raises(api_keys.NoKeys, match="api_keys_secret_arn"):
        api_keys.edition(stack.aws, secret.replace("ours", "theirs"))
