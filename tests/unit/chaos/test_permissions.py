"""What a campaign says of calls that the deployed roles do not allow."""

import json

import boto3
import pytest
from chaos.permissions import Asked
from moto import mock_aws
from support.iam_requests import Account

ACCOUNT = Account("123456789012", "us-east-1")
READ = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/models/*"}
LIST = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::bucket"}


@pytest.fixture
def iam():
    """An IAM with the role ner-trainer, which has two policies."""
    with mock_aws():
        client = boto3.client("iam")
        client.create_role(RoleName="ner-trainer", AssumeRolePolicyDocument="{}")
        for name, statement in {"read": READ, "list": LIST}.items():
            document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            client.put_role_policy(RoleName="ner-trainer", PolicyName=name, PolicyDocument=document)
        yield client


def test_what_no_policy_of_the_role_allows_is_told_once(iam):
    asked = Asked()
    asked.note("GET", "/bucket/models/a", None, b"")
    for body in (b"one", b"another"):
        asked.note("PUT", "/bucket/models/a", None, body)
    assert asked.forbidden(iam, "ner-trainer", ACCOUNT) == [
        "ner-trainer may not s3:PutObject on arn:aws:s3:::bucket/models/a"
    ]


def test_calls_that_are_all_allowed_are_not_told(iam):
    asked = Asked()
    asked.note("GET", "/bucket/models/a", None, b"")
    asked.note("GET", "/bucket?list-type=2&prefix=models%2F", None, b"")
    assert asked.forbidden(iam, "ner-trainer", ACCOUNT) == []


def test_no_call_at_all_shows_nothing(iam):
    assert Asked().forbidden(iam, "ner-trainer", ACCOUNT) == [
        "no call was seen that ner-trainer should allow"
    ]
