"""API keys: the document that lists them, where it is fetched from, and which key opens."""

import hmac
import json
import pickle
from hashlib import sha256

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from nerforge_contract.errors import UserError
from nerforge_server.keys import Keys
from support.aws_double import answering, refused

ADA, BOB = "nfk_" + "a" * 43, "nfk_" + "b" * 43


def digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()


DOCUMENT = json.dumps({"ada": digest(ADA), "bob-2": digest(BOB)})


def test_each_key_has_its_name():
    keys = Keys.parse(DOCUMENT)
    assert (keys.name_of(ADA), keys.name_of(BOB)) == ("ada", "bob-2")


@pytest.mark.parametrize(
    "presented", ["", "nfk_", ADA[:-1], ADA + "a", ADA.upper(), digest(ADA), "é", "\udce9"]
)
def test_nothing_else_opens(presented):
    assert Keys.parse(DOCUMENT).name_of(presented) is None


def test_every_hash_is_compared_whichever_key_it_was(monkeypatch):
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(a) or real(a, b))
    keys = Keys.parse(DOCUMENT)
    for presented in (ADA, BOB, "nfk_wrong"):
        compared.clear()
        keys.name_of(presented)
        assert len(compared) == 2


def test_no_key_is_held_and_it_can_be_sent_to_another_process():
    keys = Keys.parse(DOCUMENT)
    assert keys.name_of(ADA)
    assert ADA.encode() not in pickle.dumps(keys)
    assert pickle.loads(pickle.dumps(keys)).name_of(BOB) == "bob-2"


@pytest.mark.parametrize(
    ("document", "what"),
    [
        ("", "not a JSON object"),
        ("nfk_secret", "not a JSON object"),
        ("[]", "holds no API keys"),
        ("{}", "holds no API keys"),
        ("null", "holds no API keys"),
        (json.dumps({"ada": ADA}), "the key ada is not given by 64 small hex digits"),
        (json.dumps({"ada": digest(ADA).upper()}), "the key ada is not given by 64 small hex digits"),
        (json.dumps({"ada": digest(ADA) + "\n"}), "the key ada is not given by 64 small hex digits"),
        (json.dumps({"ada": None}), "the key ada is not given by 64 small hex digits"),
        (json.dumps({"": digest(ADA)}), "a key's name is not"),
        (json.dumps({"a b": digest(ADA)}), "a key's name is not"),
        (f'{{"ada": "{digest(ADA)}", "ada": "{digest(BOB)}"}}', "two of its members have one name"),
    ],
)
def test_a_document_that_is_none(document, what):
    with pytest.raises(UserError) as raised:
        Keys.parse(document, "/here")
    assert raised.value.where == "/here"
    assert what in raised.value.what
    assert raised.value.fix
    assert "nfk_" not in str(raised.value)


@pytest.fixture
def aws():
    with mock_aws():
        yield


def test_from_a_parameter_by_name_or_arn(aws):
    ssm = boto3.client("ssm")
    ssm.put_parameter(Name="/people/keys", Value=DOCUMENT, Type="SecureString")
    arn = ssm.get_parameter(Name="/people/keys")["Parameter"]["ARN"]
    for reference in ("/people/keys", arn):
        assert Keys.fetch(reference).name_of(ADA) == "ada"


def test_from_a_secret(aws):
    arn = boto3.client("secretsmanager").create_secret(Name="keys", SecretString=DOCUMENT)["ARN"]
    assert Keys.fetch(arn).name_of(BOB) == "bob-2"


def test_what_is_not_there_is_for_a_user_to_mend(aws):
    secret = "arn:aws:secretsmanager:us-east-1:123456789012:secret:none-AbCdEf"
    for reference in ("/people/none", secret):
        with pytest.raises(UserError, match="no such parameter or secret") as raised:
            Keys.fetch(reference)
        assert reference in raised.value.where


def test_a_secret_of_bytes_is_no_document(aws):
    arn = boto3.client("secretsmanager").create_secret(Name="keys", SecretBinary=b"\0")["ARN"]
    with pytest.raises(UserError, match="not a JSON object"):
        Keys.fetch(arn)


def test_a_fault_that_may_pass_is_left_to_the_caller():
    ssm = boto3.client("ssm")
    with answering(ssm, get_parameter=refused("ThrottlingException")), pytest.raises(ClientError):
        Keys.fetch("/people/keys", ssm)
