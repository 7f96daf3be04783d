"""The doctor: each check in good health and in bad, and no check that takes the others with it."""

import datetime
import functools
import json

import pytest
from ansible_collections.nerforge.aws.plugins.module_utils.contract import names
from ansible_collections.nerforge.aws.plugins.plugin_utils import doctor
from ansible_collections.nerforge.aws.plugins.plugin_utils import keys as api_keys
from ansible_collections.nerforge.aws.plugins.plugin_utils.service import KEYS_TAG
from ansible_collections.nerforge.aws.plugins.plugin_utils.session import Aws
from botocore.exceptions import EndpointConnectionError
from support.aws_double import Double, given, refused

RUN, OTHER = "01JAAAAAAA0000000000000001", "01JAAAAAAB0000000000000002"
SPEC = {"name": "people"}
REPOSITORY = "123456789012.dkr.ecr.us-east-1.amazonaws.com/nerforge/trainer"
TOPIC = "arn:aws:sns:us-east-1:123456789012:nerforge-alarms"
GROUP = "arn:aws:autoscaling:us-east-1:1:autoScalingGroup:u:autoScalingGroupName"


def ago(**time):
    """The time so long ago, as records write it."""
    moment = datetime.datetime.now(datetime.UTC) - datetime.timedelta(**time)
    return moment.isoformat(timespec="milliseconds")


class Client(Double):
    """A client with one answer an operation, a function that gives it, or an error."""

    def __init__(self, service):
        self.service, self.answers, self.asked = service, {}, set()
        self.client  # noqa: B018  made here: the doctor's lanes are threads, and boto3's sessions are not for several

    def answer(self, operation, request):
        self.asked.add(operation)
        return given(self.answers[operation], request)


clients = functools.cache(Client)  # making one takes its time


class Deployment(Aws):
    """A deployment in good health, of which a test spoils what it wants: ``answers[operation]``."""

    def __init__(self, stack):
        super().__init__({"region": "us-east-1"})
        self.clients = {name: clients(name) for name in doctor._SERVICES}
        self.client = self.clients.__getitem__
        self.answers = dict(ANSWERS)
        for client in self.clients.values():
            client.answers, client.asked = self.answers, set()
        self.published = {
            f"/nerforge/{where}/{name}": f"some-{name}"
            for where, known in (
                ("training", names.TRAINING_PARAMETERS),
                ("serving", names.SERVING_PARAMETERS),
            )
            for name in known
        } | {
            "/nerforge/training/alarm_topic_arn": TOPIC,
            "/nerforge/training/capacity_providers": json.dumps(
                {"cpu": {"on_demand": "cpu", "spot": "cpu-spot"}, "gpu": None}
            ),
            "/nerforge/training/cluster_name": "nerforge",
            "/nerforge/training/dispatcher_function_name": "nerforge-dispatcher",
            "/nerforge/training/runs_table": stack.deployment["runs_table"],
            "/nerforge/training/trainer_repository_url": REPOSITORY,
        }
        self.answers["GetParameters"] = lambda Names: {
            "Parameters": [
                {"Name": name, "Value": self.published[name]} for name in Names if name in self.published
            ]
        }
        self.table = stack.aws.table


FUNCTION = {
    "FunctionName": "nerforge-dispatcher",
    "State": "Active",
    "LastUpdateStatus": "Successful",
    "Environment": {"Variables": {"MAX_CONCURRENT_RUNS": "2", "TASK_DEFINITION": "nerforge-trainer"}},
}
RULES = [
    {"Name": "nerforge-dispatcher-schedule", "State": "ENABLED", "ScheduleExpression": "rate(1 minute)"},
    {"Name": "nerforge-dispatcher-submitted", "State": "ENABLED"},
]
ALARM = {
    "AlarmName": "nerforge-errors",
    "AlarmActions": [TOPIC],
    "StateValue": "OK",
    "AlarmDescription": "Too many errors. See playbooks/RUNBOOK.md#errors",
}
STRANGER = ALARM | {
    "AlarmName": "nerforge-two-errors",
    "AlarmActions": [f"{TOPIC}-two"],
    "StateValue": "ALARM",
}
CLUSTER = {
    "status": "ACTIVE",
    "capacityProviders": ["cpu", "cpu-spot"],
    "registeredContainerInstancesCount": 1,
    "runningTasksCount": 1,
    "pendingTasksCount": 0,
}
ROLLOUT = {"status": "PRIMARY", "taskDefinition": "nerforge-server:2", "rolloutState": "COMPLETED"}
SERVICE = {"status": "ACTIVE", "runningCount": 1, "desiredCount": 1, "deployments": [ROLLOUT]}


def trainer(image=f"{REPOSITORY}:1", status="ACTIVE"):
    return {
        "taskDefinitionArn": "arn:x/nerforge-trainer:7",
        "status": status,
        "containerDefinitions": [{"name": "trainer", "image": image}],
    }


def definitions(of_trainer, model="people:3", keys=None):
    """DescribeTaskDefinition's answers for the trainer and for the server."""
    environment = [{"name": names.ENV_MODEL, "value": model}] if model else []
    environment += [{"name": names.ENV_API_KEYS, "value": keys}] if keys else []
    server = {"containerDefinitions": [{"name": "server", "environment": environment}]}

    def answer(taskDefinition, include=()):
        return {"taskDefinition": of_trainer if taskDefinition == "nerforge-trainer" else server}

    return answer


def providers(status="ACTIVE"):
    return lambda capacityProviders: {
        "capacityProviders": [
            {
                "name": name,
                "status": status,
                "autoScalingGroupProvider": {"autoScalingGroupArn": f"{GROUP}/{name}"},
            }
            for name in capacityProviders
        ]
    }


INSTANCE = {
    "InstanceId": "i-0123456789abcdef0",
    "AvailabilityZone": "us-east-1a",
    "LifecycleState": "InService",
    "HealthStatus": "Healthy",
    "ProtectedFromScaleIn": True,
}


def group(instances, most):
    """DescribeAutoScalingGroups' answer for the one that is asked for."""
    return lambda AutoScalingGroupNames: {
        "AutoScalingGroups": [
            {
                "AutoScalingGroupName": AutoScalingGroupNames[0],
                "MinSize": 0,
                "MaxSize": most,
                "DesiredCapacity": instances,
                "DefaultCooldown": 300,
                "AvailabilityZones": ["us-east-1a"],
                "HealthCheckType": "EC2",
                "CreatedTime": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
                "Instances": [INSTANCE] * instances,
            }
        ]
    }


def messages(queue=(0, 0), dead=(0, 0)):
    def answer(QueueUrl, AttributeNames):
        counts = dead if "dead" in QueueUrl else queue
        return {"Attributes": dict(zip(AttributeNames, map(str, counts), strict=True))}

    return answer


ANSWERS = {
    "GetCallerIdentity": {"Arn": "arn:aws:iam::123456789012:user/anna"},
    "HeadBucket": {},
    "DescribeTable": {"Table": {"TableStatus": "ACTIVE"}},
    "DescribeTaskDefinition": definitions(trainer()),
    "DescribeImages": {"imageDetails": [{}]},
    "DescribeClusters": {"clusters": [CLUSTER]},
    "DescribeCapacityProviders": providers(),
    "DescribeAutoScalingGroups": group(1, 4),
    "DescribeServices": {"services": [SERVICE]},
    "GetFunctionConfiguration": FUNCTION,
    "ListRules": {"Rules": RULES},
    "GetQueueAttributes": messages(queue=(3, 1)),
    "DescribeAlarms": {"MetricAlarms": [ALARM, STRANGER]},
}


@pytest.fixture
def site(stack):
    """A deployment in good health, whose dispatcher has just ticked."""
    stack.runs.record_tick(seconds=1, started=0, errors=0, active=0, queued_seen=0, stuck=0)
    return Deployment(stack)


def found(site, check=None, images=None):
    """What the doctor finds, or what one check does."""
    findings = list(doctor.examine(site, "nerforge", images))
    return [finding for finding in findings if check in (None, finding.check)]


def test_all_is_well(site):
    findings = found(site)
    assert [finding for finding in findings if finding.level != doctor.OK or finding.fix] == []
    assert [finding.check for finding in findings] == [
        *("credentials", "training stack", "serving stack", "bucket"),
        *("task definition", "trainer image", "capacity", "capacity", "capacity", "service", "api keys"),
        *("dispatcher", "schedule", "queue", "dead letters", "tables", "tables"),
        *("last tick", "slots", "stuck runs", "waiting runs", "failed runs", "alarms"),
    ]
    assert doctor.summary(findings) == "ok 23"
    told = "\n".join(line for finding in findings for line in finding.lines())
    for words in (
        "arn:aws:iam::123456789012:user/anna, in us-east-1",
        "/nerforge/training/ has all",
        f"{REPOSITORY}:1 is in ECR",
        "instances: 1, tasks: running 1, waiting 0",
        "cpu-spot: 1 of at most 4 instances",
        "people:3, 1 of 1 tasks, rollout COMPLETED",
        "the server asks for none",
        "messages: waiting 3, in flight 1",
        "0 of 2 slots are held",
        "none of 1 is on",
    ):
        assert words in told


def test_every_check_that_there_is_has_run(site):
    assert {check for lane in doctor.LANES for check in lane} <= {finding.check for finding in found(site)}


RULE_OFF = [RULES[0] | {"State": "DISABLED"}, RULES[1]]
SICK = {
    "bucket gone": ({"HeadBucket": refused("404", "Not Found")}, "bucket", "WRONG", "AWS refused"),
    "table": (
        {"DescribeTable": {"Table": {"TableStatus": "UPDATING"}}},
        *("tables", "WRONG", "nerforge-runs is UPDATING"),
    ),
    "definition": (
        {"DescribeTaskDefinition": definitions(trainer(status="INACTIVE"))},
        *("task definition", "WRONG", "nerforge-trainer:7 is INACTIVE"),
    ),
    "image by tag": (
        {"DescribeImages": refused("ImageNotFoundException")},
        *("trainer image", "WRONG", f"{REPOSITORY}:1 is not in ECR"),
    ),
    "cluster": ({"DescribeClusters": {"clusters": []}}, "capacity", "WRONG", "nerforge is MISSING"),
    "provider of another cluster": (
        {"DescribeClusters": {"clusters": [CLUSTER | {"capacityProviders": ["cpu"]}]}},
        *("capacity", "WRONG", "the cluster has no capacity provider cpu-spot"),
    ),
    "provider": (
        {"DescribeCapacityProviders": providers("INACTIVE")},
        *("capacity", "WRONG", "the capacity provider cpu is INACTIVE"),
    ),
    "group gone": (
        {"DescribeAutoScalingGroups": {"AutoScalingGroups": []}},
        *("capacity", "WRONG", "cpu: there is no Auto Scaling group cpu"),
    ),
    "group of none": ({"DescribeAutoScalingGroups": group(0, 0)}, "capacity", "WRONG", "no instances"),
    "group at its end": (
        {"DescribeAutoScalingGroups": group(4, 4)},
        *("capacity", "warning", "cpu: 4 of at most 4 instances"),
    ),
    "service gone": ({"DescribeServices": {"services": []}}, "service", "WRONG", "no such ECS service"),
    "no model": (
        {"DescribeTaskDefinition": definitions(trainer(), model=None)},
        *("service", "warning", "no model"),
    ),
    "no key": (
        {"DescribeTaskDefinition": definitions(trainer(), keys="/nerforge/serving/api_keys")},
        *("api keys", "WRONG", "the server asks for an API key, and there is none yet"),
    ),
    "nobody serves": (
        {"DescribeServices": {"services": [SERVICE | {"runningCount": 0}]}},
        *("service", "WRONG", "0 of 1 tasks"),
    ),
    "failed roll": (
        {
            "DescribeServices": {
                "services": [SERVICE | {"deployments": [ROLLOUT | {"rolloutState": "FAILED"}]}]
            }
        },
        *("service", "WRONG", "rollout FAILED"),
    ),
    "a roll": (
        {"DescribeServices": {"services": [SERVICE | {"desiredCount": 2}]}},
        *("service", "warning", "1 of 2 tasks"),
    ),
    "function": (
        {"GetFunctionConfiguration": FUNCTION | {"State": "Failed", "StateReason": "its role is gone"}},
        *("dispatcher", "WRONG", "nerforge-dispatcher is Failed: its role is gone"),
    ),
    "function's update": (
        {"GetFunctionConfiguration": FUNCTION | {"LastUpdateStatus": "Failed"}},
        *("dispatcher", "WRONG", "the last update of nerforge-dispatcher failed"),
    ),
    "rule": (
        {"ListRules": {"Rules": RULE_OFF}},
        "schedule",
        "WRONG",
        "nerforge-dispatcher-schedule is disabled",
    ),
    "no schedule": ({"ListRules": {"Rules": RULES[1:]}}, "schedule", "WRONG", "no rule calls"),
    "dead letters": (
        {"GetQueueAttributes": messages(dead=(2, 1))},
        *("dead letters", "WRONG", "messages in the dead letter queue: 3"),
    ),
    "alarm": (
        {"DescribeAlarms": {"MetricAlarms": [ALARM | {"StateValue": "ALARM"}]}},
        *("alarms", "WRONG", "nerforge-errors is on"),
    ),
    "no alarm": ({"DescribeAlarms": {"MetricAlarms": [STRANGER]}}, "alarms", "WRONG", "no alarm goes to"),
    "no permission": ({"ListRules": refused()}, "schedule", "WRONG", "no (AccessDeniedException)"),
    "strange answer": ({"ListRules": {}}, "schedule", "WRONG", "cannot be read: KeyError: 'Rules'"),
    "no serving stack": ({}, "serving stack", "WRONG", "the serving stack is not deployed"),
}


@pytest.mark.parametrize(("spoilt", "check", "level", "words"), SICK.values(), ids=SICK)
def test_a_link_that_is_broken_is_found_with_its_fix_and_the_others_are_looked_at(
    site, spoilt, check, level, words
):
    site.answers.update(spoilt)
    if check == "serving stack":
        site.published = {name: value for name, value in site.published.items() if "serving" not in name}
    findings = found(site)
    sick = [finding for finding in findings if finding.level != doctor.OK]
    assert {finding.check for finding in sick} == {check}
    assert sick[0].level == level and words in sick[0].what and sick[0].fix
    assert findings[-1].check == "alarms"


def test_the_alarm_says_what_to_do(site):
    site.answers["DescribeAlarms"] = {"MetricAlarms": [ALARM | {"StateValue": "ALARM"}]}
    assert found(site, "alarms")[0].fix == ALARM["AlarmDescription"]


# --- images ---


def test_an_image_by_its_digest_is_asked_for_by_it(site):
    asked = {}
    digest = f"sha256:{'a' * 64}"
    site.answers["DescribeTaskDefinition"] = definitions(trainer(f"{REPOSITORY}@{digest}"))
    site.answers["DescribeImages"] = lambda **request: asked.update(request) or {"imageDetails": [{}]}
    assert found(site, "trainer image")[0].level == doctor.OK
    assert asked == {"repositoryName": "nerforge/trainer", "imageIds": [{"imageDigest": digest}]}


def test_an_image_that_runs_as_a_process_is_looked_for_on_this_machine(site, tmp_path):
    site.answers["DescribeTaskDefinition"] = definitions(trainer("nerforge/trainer:0123"))
    (missing,) = found(site, "trainer image", tmp_path)
    recipe = tmp_path / "trainer" / "0123" / "image.json"
    assert missing.level == doctor.WRONG and f"{recipe} is missing" in missing.what
    recipe.parent.mkdir(parents=True)
    recipe.touch()
    (there,) = found(site, "trainer image", tmp_path)
    assert there.level == doctor.OK and "as a process of this machine" in there.what


def test_an_image_from_elsewhere_is_not_looked_for_and_that_is_said(site):
    site.answers["DescribeTaskDefinition"] = definitions(trainer("registry.example/trainer:1"))
    (finding,) = found(site, "trainer image")
    assert finding.level == doctor.OK and "it was not looked for" in finding.what


# --- API keys ---


def test_keys_are_named_once_the_tasks_have_them(site, stack):
    told = names.api_keys_parameter("nerforge")
    site.answers["DescribeTaskDefinition"] = definitions(trainer(), keys=told)
    keys = api_keys.open_keys(stack.aws, "nerforge")
    for name in ("shop", "batch"):
        keys.add(name, "0" * 64)
    site.published[told] = api_keys.document(keys.recorded())
    (older,) = found(site, "api keys")
    assert older.level == doctor.WARNING and "the tasks that run have others" in older.what

    def rolled(taskDefinition, include=()):
        answer = definitions(trainer(), keys=told)(taskDefinition)
        return answer | {"tags": [{"key": KEYS_TAG, "value": api_keys.edition(site, told)}]}

    site.answers["DescribeTaskDefinition"] = rolled
    (named,) = found(site, "api keys")
    assert (named.level, named.what) == (doctor.OK, "names: batch, shop")


@pytest.mark.parametrize("recorded", [["batch"], ["batch", "old-shop", "shop"]], ids=["removed", "added"])
def test_keys_that_were_recorded_and_not_published_are_told(site, stack, recorded):
    """Whoever changed them was cut short: what was revoked still opens, or what was made does not."""
    told = names.api_keys_parameter("nerforge")
    site.answers["DescribeTaskDefinition"] = definitions(trainer(), keys=told)
    keys = api_keys.open_keys(stack.aws, "nerforge")
    for name in recorded:
        keys.add(name, "0" * 64)
    site.published[told] = api_keys.document({"batch": "0" * 64, "old-shop": "0" * 64})
    (finding,) = found(site, "api keys")
    assert finding.level == doctor.WRONG and "were recorded, and not published" in finding.what
    assert "keys.yml" in finding.fix
    del site.published[told]
    (finding,) = found(site, "api keys")
    assert finding.level == doctor.WRONG and "were recorded, and not published" in finding.what


def test_keys_in_a_secret_are_not_read(site):
    secret = "arn:aws:secretsmanager:us-east-1:123456789012:secret:ours-a1B2c3"
    site.answers["DescribeTaskDefinition"] = definitions(trainer(), model=None, keys=secret)
    site.answers["DescribeSecret"] = {"VersionIdsToStages": {32 * "1": ["AWSCURRENT"]}}
    (finding,) = found(site, "api keys")
    assert (finding.level, finding.what) == (doctor.OK, f"the server takes them from {secret}")


# --- the dispatcher's ticks ---


@pytest.mark.parametrize(
    ("since", "errors", "words"),
    [
        (None, 0, "never ticked"),
        ({"minutes": 4}, 0, "last ticked 4m ago"),
        ({"seconds": 9}, 2, "2 errors in the last tick"),
    ],
)
def test_a_dispatcher_that_does_not_tick_as_it_should(site, stack, since, errors, words):
    stack.runs._table.delete_item(Key={"run_id": "#dispatcher"})
    if since:
        stack.runs.record_tick(ticked=ago(**since), errors=errors)
    (finding,) = found(site, "last tick")
    assert finding.level == doctor.WRONG and words in finding.what
    assert "/aws/lambda/nerforge-dispatcher" in finding.fix


# --- runs ---


def start(stack, run_id=RUN, **fields):
    stack.runs.create(run_id, SPEC)
    assert stack.runs.claim(run_id, 9) == "claimed"
    assert stack.runs.annotate(run_id, "STARTING", **{"created": ago(hours=2), **fields})


def test_a_run_that_shows_no_life_is_stuck(site, stack):
    start(stack, started=ago(minutes=50), attempt_started=ago(minutes=44), cause="ERROR", reason="why")
    (stuck,) = found(site, "stuck runs")
    assert stuck.level == doctor.WRONG
    assert stuck.what == f"run {RUN} (people): no sign of life for 44m: STARTING, ERROR: why"
    assert stuck.fix == f"logs.yml -e run={RUN}, then retry.yml -e run={RUN}."


def test_a_run_that_reports_is_not_stuck_however_long_it_runs(site, stack):
    start(stack, started=ago(hours=30))
    stack.runs.move(RUN, "STARTING", "RUNNING", 1, running=ago(hours=29), reported=ago(minutes=2))
    assert [finding.level for finding in found(site, "stuck runs")] == [doctor.OK]


def test_an_attempt_that_has_just_begun_is_not_stuck(site, stack):
    start(stack, started=ago(hours=3))
    ended = {"attempt": 1, "task_arn": None, "exit_code": 75, "cause": "INTERRUPTED", "reason": "stopped"}
    stack.runs.next_attempt(RUN, 1, ended | {"ended": ago(minutes=1)}, attempt_started=ago(minutes=1))
    assert [finding.level for finding in found(site, "stuck runs")] == [doctor.OK]


def test_a_run_that_waits_for_room_is_a_warning(site, stack):
    room = {"cause": "NO_CAPACITY", "reason": "no instance has 4 GPUs free"}
    start(stack, started=ago(hours=1), attempt_started=ago(minutes=1), waiting_since=ago(hours=1), **room)
    (stuck,) = found(site, "stuck runs")
    assert stuck.level == doctor.WARNING and "Lower resources in the spec" in stuck.fix


def test_slots(site, stack):
    start(stack)
    start(stack, OTHER)
    stack.runs.move(OTHER, "STARTING", "FAILED", ended=ago(minutes=12), task_arn="arn:x/t1")
    held, late = found(site, "slots")
    assert (held.level, held.what) == (doctor.OK, "2 of 2 slots are held")
    assert late.level == doctor.WRONG and "FAILED 12m ago, and its task is not gone" in late.what
    site.answers["GetFunctionConfiguration"] = FUNCTION | {
        "Environment": {"Variables": FUNCTION["Environment"]["Variables"] | {"MAX_CONCURRENT_RUNS": "1"}}
    }
    assert found(site, "slots")[0].level == doctor.WARNING


@pytest.mark.parametrize(("minutes", "level"), [(59, doctor.OK), (61, doctor.WARNING)])
def test_runs_that_wait(site, stack, minutes, level):
    stack.runs.create(RUN, SPEC, created=ago(minutes=minutes), cause="NO_SLOT", reason="all are taken")
    stack.runs.create(OTHER, SPEC)
    (finding,) = found(site, "waiting runs")
    assert finding.level == level
    assert finding.what.startswith("2 QUEUED, the oldest for ") and f"run {RUN}, NO_SLOT" in finding.what
    assert bool(finding.fix) is (level == doctor.WARNING)


def test_a_run_that_nobody_takes_points_to_the_dispatcher(site, stack):
    stack.runs.create(RUN, SPEC, created=ago(hours=2))
    assert "see its last tick" in found(site, "waiting runs")[0].fix


def test_runs_that_failed_of_late(site, stack):
    for run_id, hours in ((RUN, 3), (OTHER, 30)):
        stack.runs.create(run_id, SPEC)
        fields = {"cause": "OUT_OF_MEMORY", "reason": "it needed more", "ended": ago(hours=hours)}
        stack.runs.move(run_id, "QUEUED", "FAILED", **fields)
    (finding,) = found(site, "failed runs")
    assert finding.level == doctor.WARNING
    assert finding.what == f"run {RUN} (people), 3h ago: OUT_OF_MEMORY: it needed more"
    assert finding.fix == f"Raise resources.memory_mib in retry.yml -e run={RUN}."


def test_what_is_gone_is_made_again_by_the_next_deployment(site):
    site.answers["GetFunctionConfiguration"] = refused("ResourceNotFoundException")
    fixes = {finding.fix for finding in found(site) if finding.level != doctor.OK}
    assert fixes == {"What is missing of the deployment, deploy.yml makes again."}


def test_a_rule_that_is_disabled_is_enabled_by_the_next_deployment(site):
    site.answers["ListRules"] = {"Rules": RULE_OFF}
    (finding,) = found(site, "schedule")
    assert finding.fix.startswith("Run deploy.yml, which enables it, unless ")


def test_it_asks_for_nothing_that_the_runbook_does_not_name(site, permissions):
    secret = "arn:aws:secretsmanager:us-east-1:123456789012:secret:ours-a1B2c3"
    site.answers["DescribeTaskDefinition"] = definitions(trainer(), keys=secret)
    site.answers["DescribeSecret"] = {}
    found(site)
    asked = {
        f"{service}:{operation}"
        for service, client in site.clients.items()
        for operation in client.asked
        if service not in ("ssm", "sts")
    }
    of_runs = {"dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"}  # by moto's table
    of_shifts = {
        "ecs:DescribeServiceDeployments",
        "ecs:DescribeServiceRevisions",
        "ecs:ListServiceDeployments",
    }  # where a release shifts requests, see `strategies`
    expected = (asked - {"s3:HeadBucket"}) | {"s3:ListBucket"} | of_runs | of_shifts
    assert expected == permissions["doctor.yml"]


# --- where there is nothing to look at ---


def test_no_stack_at_all(site):
    site.published = {}
    findings = found(site)
    assert [finding.check for finding in findings] == ["credentials", "training stack"]
    assert findings[-1].level == doctor.WRONG and "deploy.yml" in findings[-1].fix


@pytest.mark.parametrize(
    "error",
    [refused("ExpiredToken"), EndpointConnectionError(endpoint_url="http://127.0.0.1:4566")],
)
def test_no_way_in(site, error):
    site.answers["GetCallerIdentity"] = error
    (finding,) = found(site)
    assert finding.check == "credentials" and finding.level == doctor.WRONG and finding.fix
