"""amazon.aws's parameters in, and AWS's failures in words."""

import pytest
from ansible_collections.nerforge.aws.plugins.module_utils.contract import names
from ansible_collections.nerforge.aws.plugins.module_utils.contract.errors import UserError
from ansible_collections.nerforge.aws.plugins.plugin_utils.session import Aws, is_transient
from botocore import exceptions as boto_errors

LOCAL = {
    "region": "eu-central-1",
    "endpoint_url": "http://127.0.0.1:9",
    "access_key": "local",
    "secret_key": "s",
}


def test_parameters_reach_the_clients():
    aws = Aws(LOCAL | {"session_token": "", "profile": "", "aws_config": {"read_timeout": 7}})
    client = aws.client("sqs")
    assert client is aws.client("sqs")
    assert client.meta.region_name == "eu-central-1" and aws.place.startswith("eu-central-1 at http")
    assert client.meta.endpoint_url == "http://127.0.0.1:9"
    assert client.meta.config.read_timeout == 7
    assert client.meta.config.retries["mode"] == "standard"
    credentials = client._request_signer._credentials
    assert (credentials.access_key, credentials.secret_key) == ("local", "s")
    assert aws.table("runs").meta.client.meta.endpoint_url == "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"profile": "work", "access_key": "a"}, "both the profile work and access keys are given"),
        ({"profile": "nobody-has-this"}, "nobody-has-this.*AWS_PROFILE"),
        ({"aws_config": {"colour": "red"}}, "aws_config: .*colour"),
        ({"endpoint_url": "127.0.0.1:4566"}, "endpoint_url: '127.0.0.1:4566' is no http or https URL"),
    ],
)
def test_parameters_that_cannot_be(params, told):
    with pytest.raises(UserError, match=told):
        Aws(params)


def test_what_a_stack_published(stack):
    published = {name: f"value of {name}" for name in names.TRAINING_PARAMETERS}
    for name, value in published.items():
        path = names.parameter("two", "training", name)
        stack.aws.client("ssm").put_parameter(Name=path, Value=value, Type="String")
    assert len(published) > 10  # as many as AWS gives at once
    assert stack.aws.parameters("two", "training", published) == published


def test_a_stack_that_is_not_deployed(stack):
    with pytest.raises(UserError) as caught:
        stack.aws.parameters("other", "training", ["bucket"])
    assert "training stack is not deployed under the prefix other" in str(caught.value)
    assert "/other/training/bucket in us-east-1" in str(caught.value)
    assert "Run deploy.yml first" in caught.value.fix


def refused(code, message="no"):
    return boto_errors.ClientError({"Error": {"Code": code, "Message": message}}, "GetParameters")


DOWN = boto_errors.EndpointConnectionError(endpoint_url="x")


@pytest.mark.parametrize(
    ("error", "params", "told"),
    [
        (DOWN, LOCAL, "nothing answers at http://127.0.0.1:9. Is the local AWS running\\? Run deploy.yml"),
        (DOWN, {"region": "eu-central-1"}, "AWS cannot be reached: .*network"),
        (boto_errors.NoCredentialsError(), {}, "there are no AWS credentials to use: .*AWS_PROFILE"),
        (boto_errors.NoRegionError(), {}, "no AWS region is given. Set region"),
        (refused("ExpiredToken", "it expired"), LOCAL, "it expired .*ExpiredToken.*out of date"),
        (
            refused("AccessDeniedException"),
            LOCAL,
            "AWS refused GetParameters in eu-central-1 at .*policies allow",
        ),
        (refused("Odd", ""), LOCAL, "it gave no reason .Odd.. If it persists"),
        (refused("404", "Not Found"), LOCAL, "Not Found .404.. What is missing .* deploy.yml makes again"),
        (refused("ResourceNotFoundException"), LOCAL, "deploy.yml makes again"),
        (refused("AWS.SimpleQueueService.NonExistentQueue"), LOCAL, "deploy.yml makes again"),
        (
            boto_errors.PartialCredentialsError(provider="env", cred_var="x"),
            {},
            "no AWS credentials to use: Partial",
        ),
        (boto_errors.UnknownServiceError(service_name="x", known_service_names="y"), {}, "boto3 failed: Unk"),
    ],
)
def test_failures_in_words(error, params, told):
    with pytest.raises(UserError, match=told):
        raise Aws(params).explained(error)


def test_what_may_pass():
    assert is_transient(DOWN)
    assert is_transient(refused("ThrottlingException"))
    assert is_transient(refused("SlowDown"))
    assert not is_transient(refused("AccessDenied"))
    assert not is_transient(boto_errors.NoCredentialsError())
