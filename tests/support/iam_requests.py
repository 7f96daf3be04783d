"""What IAM is asked when boto3 is called.

Source: the Service Authorization Reference's tables of actions, resources and condition keys, and for S3
"Required permissions for Amazon S3 API operations" in its user guide.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from support.aws_calls import Call
from support.iam import Request

_S3_ACTIONS = {
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "CompleteMultipartUpload": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "ListObjectsV2": "s3:ListBucket",
    "PutObject": "s3:PutObject",
    "UploadPart": "s3:PutObject",
}
_S3_METHODS = {"DELETE": "DeleteObject", "GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject"}
_TARGETS = {"AmazonEC2ContainerServiceV20141113": "ecs", "AmazonSQS": "sqs", "DynamoDB": "dynamodb"}
_TRANSACTION_ACTIONS = {
    "ConditionCheck": "ConditionCheckItem",
    "Delete": "DeleteItem",
    "Put": "PutItem",
    "Update": "UpdateItem",
}


@dataclass(frozen=True)
class Account:
    """Where calls are made.

    Parameters
    ----------
    number, region:
        The account's and the region's.
    task_roles:
        ARNs of the roles of the task definition that RunTask names.
    """

    number: str = "123456789012"
    region: str = "us-east-1"
    task_roles: tuple[str, ...] = ()

    def arn(self, service: str, resource: str) -> str:
        """A resource's ARN."""
        return f"arn:aws:{service}:{self.region}:{self.number}:{resource}"


def on_the_wire(method: str, path: str, target: str | None, body: bytes) -> Call:
    """The call that an HTTP request makes, of the services that the training stack's code uses.

    Parameters
    ----------
    method, path:
        The request's; of S3 with the bucket in the path.
    target:
        Its header ``X-Amz-Target``, which S3 has none of.
    body:
        Its body.
    """
    if target is not None:
        service, __, operation = target.rpartition(".")
        return Call(_TARGETS[service.partition("_")[0]], operation, json.loads(body))
    parts = urlsplit(path)
    bucket, __, key = unquote(parts.path).lstrip("/").partition("/")
    operation = (
        _S3_METHODS[method] if key else {"list-type=2": "ListObjectsV2"}[parts.query.partition("&")[0]]
    )
    return Call("s3", operation, {"Bucket": bucket, "Key": key})


def requests(calls: Iterable[Call], account: Account) -> list[Request]:
    """What IAM is asked for these calls, each once. Raises KeyError for a call of which that is not known."""
    found = (request for call in calls for request in _OF_SERVICE[call.service](call, account))
    return list({(str(request), repr(request.context)): request for request in found}.values())


def _s3(call: Call, __: Account) -> Iterator[Request]:
    action = _S3_ACTIONS[call.operation]
    bucket = f"arn:aws:s3:::{call.parameters['Bucket']}"
    if action == "s3:ListBucket":
        yield Request(action, bucket)
        return
    yield Request(action, f"{bucket}/{call.parameters['Key']}")
    if action == "s3:GetObject":
        yield Request("s3:ListBucket", bucket)  # without it, what is not there answers 403, not 404


def _dynamodb(call: Call, account: Account) -> Iterator[Request]:
    operation, given = call.operation, call.parameters
    if operation == "TransactWriteItems":
        for write in given["TransactItems"]:
            for kind, request in write.items():
                yield _item(_TRANSACTION_ACTIONS[kind], request, account)
    elif operation == "BatchGetItem":
        for table, keys in given["RequestItems"].items():
            for key in keys["Keys"]:
                yield _item(operation, {"TableName": table, "Key": key}, account)
    elif operation in ("Query", "Scan"):
        index = f"/index/{given['IndexName']}" if "IndexName" in given else ""
        yield Request(f"dynamodb:{operation}", account.arn("dynamodb", f"table/{given['TableName']}{index}"))
    else:
        yield _item(operation, given, account)


def _item(action: str, request: Mapping[str, Any], account: Account) -> Request:
    key = request["Item"] if "Item" in request else request["Key"]
    (leading,) = (key.get("run_id") or key["name"]).values()  # the partition keys of the two tables
    return Request(
        f"dynamodb:{action}",
        account.arn("dynamodb", f"table/{request['TableName']}"),
        {"dynamodb:LeadingKeys": (leading,)},
    )


def _sqs(call: Call, account: Account) -> Iterator[Request]:
    yield Request(f"sqs:{call.operation}", account.arn("sqs", call.parameters["QueueUrl"].rpartition("/")[2]))


def _ecs(call: Call, account: Account) -> Iterator[Request]:
    operation, given = call.operation, call.parameters
    cluster = account.arn("ecs", f"cluster/{given['cluster']}")
    in_cluster = {"ecs:cluster": (cluster,)}
    if operation == "RunTask":
        family = account.arn("ecs", f"task-definition/{given['taskDefinition']}")
        # By its family alone: the newest revision. Which of the two IAM is asked of is written nowhere.
        yield Request("ecs:RunTask", family, in_cluster)
        yield Request("ecs:RunTask", f"{family}:7", in_cluster)
        for role in account.task_roles:
            yield Request("iam:PassRole", role, {"iam:PassedToService": ("ecs-tasks.amazonaws.com",)})
        if "tags" in given:
            task = account.arn("ecs", f"task/{given['cluster']}/new")
            yield Request("ecs:TagResource", task, {"ecs:CreateAction": ("RunTask",)})
    elif operation == "ListTasks":
        yield Request("ecs:ListTasks", "*", in_cluster)
    elif operation == "DescribeContainerInstances":
        for instance in given["containerInstances"]:
            yield Request("ecs:DescribeContainerInstances", instance, in_cluster)
    elif operation == "DescribeTasks":
        for task in given["tasks"]:
            yield Request("ecs:DescribeTasks", task, in_cluster)
    elif operation == "StopTask":
        yield Request("ecs:StopTask", given["task"], in_cluster)
    else:
        raise KeyError(f"nothing is known of what ecs:{operation} asks IAM for")


def _ssm(call: Call, account: Account) -> Iterator[Request]:
    yield Request(f"ssm:{call.operation}", account.arn("ssm", f"parameter{call.parameters['Name']}"))


def _secretsmanager(call: Call, __: Account) -> Iterator[Request]:
    yield Request(f"secretsmanager:{call.operation}", call.parameters["SecretId"])


_OF_SERVICE: dict[str, Callable[[Call, Account], Iterator[Request]]] = {
    "dynamodb": _dynamodb,
    "ecs": _ecs,
    "s3": _s3,
    "secretsmanager": _secretsmanager,
    "sqs": _sqs,
    "ssm": _ssm,
}
