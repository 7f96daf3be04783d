"""The simulator that the stacks' policies are tried in denies what IAM denies."""

import pytest
from support.aws_calls import Call
from support.iam import Grant, Request, denied, grants, unused
from support.iam_requests import Account, on_the_wire, requests

OBJECTS = {
    "Effect": "Allow",
    "Action": ["s3:GetObject", "s3:PutObject"],
    "Resource": "arn:aws:s3:::bucket/models/*",
}
IN_CLUSTER = {"ArnEquals": {"ecs:cluster": "arn:aws:ecs:us-east-1:1:cluster/ner"}}
OWN_ITEM = {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["#dispatcher"]}}


def policy(*statements):
    return {"Version": "2012-10-17", "Statement": list(statements)}


@pytest.mark.parametrize(
    ("action", "resource", "allowed"),
    [
        ("s3:GetObject", "arn:aws:s3:::bucket/models/space/1/model.tar.gz", True),
        ("S3:getobject", "arn:aws:s3:::bucket/models/x", True),  # actions know no case
        ("s3:DeleteObject", "arn:aws:s3:::bucket/models/x", False),
        ("s3:GetObject", "arn:aws:s3:::bucket/Models/x", False),  # resources do
        ("s3:GetObject", "arn:aws:s3:::bucket/datasets/x", False),
        ("s3:GetObject", "arn:aws:s3:::bucket", False),
    ],
)
def test_action_and_resource_must_both_be_granted(action, resource, allowed):
    assert (denied(grants([policy(OBJECTS)]), [Request(action, resource)]) == []) is allowed


@pytest.mark.parametrize(
    ("condition", "context", "allowed"),
    [
        (IN_CLUSTER, {"ecs:cluster": ("arn:aws:ecs:us-east-1:1:cluster/ner",)}, True),
        (IN_CLUSTER, {"ecs:cluster": ("arn:aws:ecs:us-east-1:1:cluster/other",)}, False),
        (IN_CLUSTER, {}, False),
        (OWN_ITEM, {"dynamodb:LeadingKeys": ("#dispatcher",)}, True),
        (OWN_ITEM, {"dynamodb:LeadingKeys": ("#dispatcher", "01J")}, False),
        (OWN_ITEM, {}, True),  # of no value every one is equal
        (IN_CLUSTER | OWN_ITEM, {"dynamodb:LeadingKeys": ("#dispatcher",)}, False),
    ],
)
def test_every_condition_must_hold(condition, context, allowed):
    statement = {"Effect": "Allow", "Action": "ecs:ListTasks", "Resource": "*", "Condition": condition}
    assert (denied(grants([policy(statement)]), [Request("ecs:ListTasks", "*", context)]) == []) is allowed


def test_what_nobody_asks_for_is_told():
    granted = grants([policy(OBJECTS)])
    read = Request("s3:GetObject", "arn:aws:s3:::bucket/models/x")
    assert unused(granted, [read]) == [Grant("s3:PutObject", "arn:aws:s3:::bucket/models/*")]


@pytest.mark.parametrize("other", [{"Effect": "Deny"}, {"NotAction": "s3:*"}, {"NotResource": "*"}])
def test_what_is_not_understood_is_refused(other):
    with pytest.raises(ValueError, match="another kind"):
        grants([policy(OBJECTS | other)])


def test_an_operator_that_is_not_understood_is_refused():
    condition = {"NumericLessThan": {"s3:max-keys": "10"}}
    granted = grants([policy(OBJECTS | {"Condition": condition})])
    with pytest.raises(KeyError, match="NumericLessThan"):
        denied(granted, [Request("s3:GetObject", "arn:aws:s3:::bucket/models/x", {"s3:max-keys": ("1",)})])


@pytest.mark.parametrize(
    "call",
    [Call("ecs", "DeleteCluster", {"cluster": "ner"}), Call("s3", "CreateMultipartUpload", {"Bucket": "b"})],
)
def test_a_call_whose_permissions_are_not_known_is_refused(call):
    with pytest.raises(KeyError):
        requests([call], Account())


@pytest.mark.parametrize(
    ("method", "path", "call"),
    [
        ("GET", "/bucket/models/a%20b/1/card.html?x-id=GetObject", ("GetObject", "models/a b/1/card.html")),
        ("HEAD", "/bucket/checkpoints/x.tar", ("HeadObject", "checkpoints/x.tar")),
        ("PUT", "/bucket/checkpoints/x.tar?x-id=PutObject", ("PutObject", "checkpoints/x.tar")),
        ("DELETE", "/bucket/checkpoints/x.tar", ("DeleteObject", "checkpoints/x.tar")),
        ("GET", "/bucket?list-type=2&prefix=checkpoints%2F&encoding-type=url", ("ListObjectsV2", "")),
    ],
)
def test_a_request_to_s3_is_read_from_its_path(method, path, call):
    operation, key = call
    assert on_the_wire(method, path, None, b"") == Call("s3", operation, {"Bucket": "bucket", "Key": key})


def test_a_request_to_another_service_is_read_from_its_target_and_body():
    call = on_the_wire("POST", "/", "AmazonSQS.DeleteMessage", b'{"QueueUrl": "http://aws/1/ner-runs"}')
    assert list(map(str, requests([call], Account("1", "us-east-1")))) == [
        "sqs:DeleteMessage on arn:aws:sqs:us-east-1:1:ner-runs"
    ]


@pytest.mark.parametrize("path", ["/bucket?uploads", "/bucket"])
def test_a_request_that_is_not_known_is_refused(path):
    with pytest.raises(KeyError):
        on_the_wire("GET", path, None, b"")
