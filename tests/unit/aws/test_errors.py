"""Each error that a call of the playbooks may fail with: what the user is told, and whether it may pass."""

import re

import pytest
from ansible_collections.nerforge.aws.plugins.plugin_utils.session import Aws, is_missing, is_transient
from botocore.exceptions import ClientError
from botocore.retries import standard
from support import aws_call_sites, aws_model

CALLED = {site.operation for site in aws_call_sites.in_source() if "plugins/" in site.file} | {"put_object"}
OPERATIONS = {
    f"{service} {model.name}": model
    for service in sorted(aws_call_sites.services())
    for name, model in aws_call_sites.operations_of(service).items()
    if name in CALLED
}
FAULTS = [
    pytest.param(model, code, id=f"{name} {code}")
    for name, model in OPERATIONS.items()
    for code in sorted(aws_model.common_errors(model) | aws_model.own_errors(model))
]
IS_RETRIED = [  # by botocore itself, in the mode that the playbooks use
    standard.TransientRetryableChecker(),
    standard.ThrottledRetryableChecker(),
    standard.ModeledRetryableChecker(),
]
_TOO_FAST = {"KmsThrottled", "TooManyUpdates"}  # which botocore does not count as throttling
_NOT_THERE = re.compile("NotFound|DoesNotExist|^NoSuchBucket$|^404$")


def failed(model, code):
    """What botocore raises where the operation fails with this code."""
    status = aws_model.status_of(model, code)
    response = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, model.name)


def botocore_would_retry(error, model):
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    context = standard.RetryContext(
        attempt_number=1,
        operation_model=model,
        parsed_response=error.response,
        http_response=type("Answer", (), {"status_code": status})(),
    )
    return any(checker.is_retryable(context) for checker in IS_RETRIED)


@pytest.fixture(scope="module")
def aws():
    return Aws({"region": "eu-central-1"})


def test_all_services_of_the_playbooks_are_here():
    assert {name.partition(" ")[0] for name in OPERATIONS} >= {"dynamodb", "ecs", "s3", "sqs", "ssm", "sts"}
    assert len(FAULTS) > 300


@pytest.mark.parametrize(("model", "code"), FAULTS)
def test_what_may_pass_is_known(model, code):
    error = failed(model, code)
    kind = aws_model.common_errors(model).get(code)
    may_pass = botocore_would_retry(error, model) or kind == aws_model.PASSING or code in _TOO_FAST
    assert is_transient(error) == may_pass


@pytest.mark.parametrize(("model", "code"), FAULTS)
def test_the_user_is_told_what_to_do(aws, model, code):
    told = aws.explained(failed(model, code))
    assert model.name in told.what and code in told.what and "eu-central-1" in told.what
    kind = aws_model.common_errors(model).get(code)
    if kind == aws_model.BAD_CREDENTIALS:
        assert "credentials are wrong or out of date" in told.fix
    elif kind == aws_model.DENIED or "AccessDenied" in code:
        assert "policies allow it" in told.fix
    elif _NOT_THERE.search(code):
        assert "deploy.yml makes again" in told.fix
    else:
        assert told.fix


@pytest.mark.parametrize("name", ["s3 GetObject", "s3 HeadObject"])
def test_a_missing_object_is_told_from_one_that_may_not_be_read(name):
    model = OPERATIONS[name]
    codes = aws_model.common_errors(model) | aws_model.own_errors(model)
    assert {code for code in codes if is_missing(failed(model, code))} == {
        "NoSuchKey" if name == "s3 GetObject" else "404"
    }
