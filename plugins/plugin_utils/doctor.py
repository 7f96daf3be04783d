# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every link of a deployment's chain, looked at: what is in order, what is not, and how to mend it.

A check looks at one link and gives what it finds; it changes nothing. Checks that use the same service stand
in one lane and run one after the other, the lanes beside one another: it is the network that takes the time.
"""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..module_utils.contract import causes, life, names, states
from ..module_utils.contract.errors import UserError
from ..module_utils.contract.runs import Run, Runs
from . import keys, run_report
from . import service as serving
from .listing import told
from .session import Aws, aws_errors
from .wording import age, counted, seconds_since

OK, WARNING, WRONG = "ok", "warning", "WRONG"

_TICK_IS_LATE = 3 * 60  # seconds; the schedule ticks each minute
_LONG_WAIT = 60 * 60  # seconds that a run may be QUEUED before somebody should know
_SLOT_IS_LATE = 10 * 60  # seconds that a run which has ended may hold its slot
_RECENT = 24 * 60 * 60  # seconds in which a failed run is news
_NAMED = 5  # runs of a kind that are named one by one
_DEPLOY = "Run deploy.yml, which makes it."


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes
    ----------
    check:
        The link that was looked at.
    level:
        OK, WARNING or WRONG.
    what:
        What was found.
    fix:
        What to do about it.
    """

    check: str
    level: str
    what: str
    fix: str = ""

    def lines(self) -> Iterator[str]:
        """The lines that tell it."""
        yield f"{self.level:<8}  {self.check:<15}  {self.what}"
        if self.fix:
            yield f"{'':<8}  {'':<15}  {self.fix}"

    def result(self) -> dict[str, str]:
        """It, as the task returns it."""
        return asdict(self)


Found = Iterator[tuple[str, str, str]]  # level, what, fix


class Site:
    """A deployment, as the checks see it.

    Parameters
    ----------
    aws, prefix:
        Where it is.
    training, service:
        What its stacks published; None for a stack that is not there.
    images:
        The folder of images that run as processes; None where all are in a registry.
    """

    def __init__(
        self,
        aws: Aws,
        prefix: str,
        training: dict[str, str],
        service: dict[str, str] | None,
        images: Path | None,
    ) -> None:
        self.aws, self.prefix = aws, prefix
        self.training, self.service = training, service
        self.images = images
        self.runs = Runs(aws.table(training["runs_table"]))

    @functools.cached_property
    def function(self) -> dict[str, Any]:
        """The dispatcher's function, as Lambda has it."""
        name = self.training["dispatcher_function_name"]
        function: dict[str, Any] = self.aws.client("lambda").get_function_configuration(FunctionName=name)
        return function

    @property
    def cap(self) -> int:
        """How many runs may hold a slot at once."""
        return int(self.function["Environment"]["Variables"]["MAX_CONCURRENT_RUNS"])

    @functools.cached_property
    def active(self) -> list[Run]:
        """The runs that hold a slot."""
        return list(self.runs.get_many(self.runs.active()).values())


# --- what must be there ---


def bucket(site: Site) -> Found:
    """The bucket can be reached."""
    name = site.training["bucket"]
    site.aws.client("s3").head_bucket(Bucket=name)
    yield OK, f"{name} can be reached", ""


def tables(site: Site) -> Found:
    """Both tables are there, and take writes."""
    for parameter in ("runs_table", "models_table"):
        name = site.training[parameter]
        status = site.aws.client("dynamodb").describe_table(TableName=name)["Table"]["TableStatus"]
        if status == "ACTIVE":
            yield OK, f"{name} is ACTIVE", ""
        else:
            yield WRONG, f"{name} is {status}", "Wait until it is ACTIVE, or run deploy.yml."


def task_definition(site: Site) -> Found:
    """The trainer's task definition has an active revision."""
    found = _trainer(site)
    revision = found["taskDefinitionArn"].rpartition("/")[2]
    if found["status"] == "ACTIVE":
        yield OK, f"{revision} is ACTIVE", ""
    else:
        yield WRONG, f"{revision} is {found['status']}: no task can be started from it", _DEPLOY


def trainer_image(site: Site) -> Found:
    """The image that the task definition names can be had."""
    containers = _trainer(site)["containerDefinitions"]
    (image,) = (item["image"] for item in containers if item["name"] == names.TRAINER_CONTAINER)
    repository = site.training["trainer_repository_url"]
    fix = "Run deploy.yml, which makes it again."
    if image.startswith((f"{repository}:", f"{repository}@")):
        if _is_in_ecr(site, image.removeprefix(repository)):
            yield OK, f"{image} is in ECR", ""
        else:
            yield WRONG, f"{image} is not in ECR, so no trainer can start", fix
    elif site.images is None:
        yield OK, f"{image} is not in this deployment's ECR: it was not looked for", ""
    else:
        name, __, tag = image.rpartition("/")[2].partition(":")
        recipe = site.images / name / tag / "image.json"
        if recipe.is_file():
            yield OK, f"{image} runs as a process of this machine: {recipe}", ""
        else:
            yield WRONG, f"{image} should run as a process of this machine, and {recipe} is missing", fix


def capacity(site: Site) -> Found:
    """The cluster can give tasks an instance."""
    ecs = site.aws.client("ecs")
    name = site.training["cluster_name"]
    clusters = ecs.describe_clusters(clusters=[name])["clusters"]
    cluster = clusters[0] if clusters else {"status": "MISSING"}
    if cluster["status"] != "ACTIVE":
        yield WRONG, f"the cluster {name} is {cluster['status']}", _DEPLOY
        return
    tasks = {"running": cluster["runningTasksCount"], "waiting": cluster["pendingTasksCount"]}
    instances = cluster["registeredContainerInstancesCount"]
    yield OK, f"the cluster {name} is ACTIVE; instances: {instances}, tasks: {counted(tasks)}", ""
    kinds = json.loads(site.training["capacity_providers"])
    wanted = sorted({provider for kind in kinds.values() if kind for provider in kind.values()})
    described = ecs.describe_capacity_providers(capacityProviders=wanted)["capacityProviders"]
    providers = {provider["name"]: provider for provider in described}
    for provider in wanted:
        if provider not in cluster.get("capacityProviders", ()) or provider not in providers:
            yield WRONG, f"the cluster has no capacity provider {provider}", _DEPLOY
        elif providers[provider]["status"] != "ACTIVE":
            yield WRONG, f"the capacity provider {provider} is {providers[provider]['status']}", _DEPLOY
        else:
            yield from _group(site, provider, providers[provider]["autoScalingGroupProvider"])


def _group(site: Site, provider: str, of: dict[str, Any]) -> Found:
    group = of["autoScalingGroupArn"].rpartition("/")[2]
    described = site.aws.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[group])
    if not described["AutoScalingGroups"]:
        yield WRONG, f"{provider}: there is no Auto Scaling group {group}", _DEPLOY
        return
    found = described["AutoScalingGroups"][0]
    now, most = len(found["Instances"]), found["MaxSize"]
    fix = "Raise its maximum in nerforge_training_variables, and run deploy.yml."
    if most == 0:
        yield WRONG, f"{provider}: its Auto Scaling group may have no instances", fix
    elif now >= most:
        yield WARNING, f"{provider}: {now} of at most {most} instances: it grows no more", fix
    else:
        yield OK, f"{provider}: {now} of at most {most} instances", ""


# --- what must go on by itself ---


def dispatcher(site: Site) -> Found:
    """The dispatcher's function can be called."""
    function = site.function
    name, state = function["FunctionName"], function.get("State", "Active")
    if state not in ("Active", "Inactive"):  # Inactive: not called for long; the next call wakes it
        yield WRONG, f"the function {name} is {state}: {function.get('StateReason')}", _DEPLOY
    elif function.get("LastUpdateStatus") == "Failed":
        yield (
            WRONG,
            f"the last update of {name} failed: {function.get('LastUpdateStatusReason')}",
            _DEPLOY,
        )
    else:
        yield OK, f"the function {name} is {state}", ""


def schedule(site: Site) -> Found:
    """EventBridge calls the dispatcher, each minute and when something happens."""
    name = site.training["dispatcher_function_name"]
    rules = site.aws.client("events").list_rules(NamePrefix=f"{name}-")["Rules"]
    for rule in rules:
        if rule["State"] == "DISABLED":
            fix = (
                "Run deploy.yml, which enables it, unless nerforge_training_variables has dispatcher: false."
            )
            yield WRONG, f"the rule {rule['Name']} is disabled", fix
    if not any(rule.get("ScheduleExpression") for rule in rules):
        yield WRONG, f"no rule calls {name} each minute", _DEPLOY
    elif all(rule["State"] != "DISABLED" for rule in rules):
        yield OK, f"{len(rules)} rules call {name}, all enabled", ""


def last_tick(site: Site) -> Found:
    """The dispatcher does its work, and did it of late."""
    tick = site.runs.last_tick()
    fix = f"Its log group says more: /aws/lambda/{site.training['dispatcher_function_name']}."
    if tick is None:
        yield WRONG, "the dispatcher has never ticked", f"A new one does within a minute. {fix}"
        return
    ago = seconds_since(tick["ticked"])
    if ago > _TICK_IS_LATE:
        yield WRONG, f"the dispatcher last ticked {age(ago)} ago, and should each minute", fix
    elif tick.get("errors"):
        yield WRONG, f"{tick['errors']} errors in the last tick, {age(ago)} ago", fix
    else:
        yield OK, f"{age(ago)} ago, without errors", ""


def queue(site: Site) -> Found:
    """The messages that wait."""
    waiting, in_flight = _messages(site, "queue_url")
    yield OK, f"messages: {counted({'waiting': waiting, 'in flight': in_flight})}", ""


def dead_letters(site: Site) -> Found:
    """Nothing lies in the dead letter queue."""
    count = sum(_messages(site, "dead_letter_queue_url"))
    if count:
        fix = "Run redrive.yml; with --check it only lists them."
        yield WRONG, f"messages in the dead letter queue: {count}", fix
    else:
        yield OK, "empty", ""


def alarms(site: Site) -> Found:
    """No alarm of this deployment is on."""
    topic = site.training["alarm_topic_arn"]
    pages = site.aws.client("cloudwatch").get_paginator("describe_alarms")
    found = pages.paginate(AlarmNamePrefix=f"{site.prefix}-", AlarmTypes=["MetricAlarm"])
    # By its topic, since another deployment's prefix may begin with this one's.
    ours = [a for page in found for a in page["MetricAlarms"] if topic in a.get("AlarmActions", ())]
    on = [alarm for alarm in ours if alarm["StateValue"] == "ALARM"]
    for alarm in on:
        yield WRONG, f"{alarm['AlarmName']} is on", alarm.get("AlarmDescription", "")
    if not ours:
        yield WRONG, f"no alarm goes to {topic}", _DEPLOY
    elif not on:
        yield OK, f"none of {len(ours)} is on", ""


# --- runs ---


def slots(site: Site) -> Found:
    """Slots are held by runs that need them."""
    held = len(site.active)
    if held > site.cap:
        yield WARNING, f"{held} slots are held, and {site.cap} allowed", "It mends itself as runs end."
    else:
        yield OK, f"{held} of {site.cap} slots are held", ""
    for run in site.active:
        if run["state"] in states.TERMINAL and (late := seconds_since(run["ended"])) > _SLOT_IS_LATE:
            yield (
                WRONG,
                f"run {run['run_id']} has {run['state']} {age(late)} ago, and its task is not gone",
                f"Stop its task by hand: {run.get('task_arn')}.",
            )


def stuck_runs(site: Site) -> Found:
    """Every run that holds a slot shows life."""
    now = datetime.datetime.now(datetime.UTC)
    stuck = [run for run in site.active if life.is_stuck(run, now)]
    for run in stuck:
        silent = age((now - (life.last_sign(run) or now)).total_seconds())
        what = (
            f"run {run['run_id']} ({run['name']}): no sign of life for {silent}: {run['state']}, {told(run)}"
        )
        # Who waits for room shows no life either, and knows why.
        level = WARNING if run.get("cause") == causes.NO_CAPACITY else WRONG
        look = f"logs.yml -e run={run['run_id']} shows what it wrote; cancel.yml ends it."
        yield level, what, _mended(run) or look
    if not stuck:
        yield OK, "none", ""


def waiting_runs(site: Site) -> Found:
    """No run waits longer than it must."""
    queued = list(site.runs.in_state(states.QUEUED))
    if not queued:
        yield OK, "none", ""
        return
    oldest = queued[-1]
    waits = seconds_since(oldest["created"])
    what = f"{len(queued)} QUEUED, the oldest for {age(waits)}: run {oldest['run_id']}, {told(oldest)}"
    if waits > _LONG_WAIT:
        yield WARNING, what, _mended(oldest) or "The dispatcher should have taken it: see its last tick."
    else:
        yield OK, what, ""


def failed_runs(site: Site) -> Found:
    """The runs that failed of late."""
    newest = site.runs.in_state(states.FAILED, newest=_NAMED)
    recent = [run for run in newest if "ended" in run and seconds_since(run["ended"]) < _RECENT]
    for run in recent:
        when = age(seconds_since(run["ended"]))
        yield WARNING, f"run {run['run_id']} ({run['name']}), {when} ago: {told(run)}", _mended(run)
    if not recent:
        yield OK, f"none in the last {age(_RECENT)}", ""


# --- the service ---


def service(site: Site) -> Found:
    """The service runs what it should."""
    if site.service is None:
        return
    cluster, name = site.training["cluster_name"], site.service["service_name"]
    ecs = serving.Service(site.aws.client("ecs"), cluster, name)
    described = ecs.describe()
    rollout = serving.primary(described)
    model = ecs.release(rollout["taskDefinition"]).model
    running, desired = described["runningCount"], described["desiredCount"]
    state = rollout.get("rolloutState")
    what = f"{name}: {model or 'no model'}, {running} of {desired} tasks, rollout {state}"
    if model is None:
        yield WARNING, what, "Serve one: promote.yml -e model=NAME:NUMBER."
    elif state == "FAILED" or running == 0:
        fix = f"Promote a version that works; the server's log group is {site.training['server_log_group']}."
        yield WRONG, what, fix
    elif state != "COMPLETED" or running != desired:
        yield WARNING, what, "It is being rolled: look again in a minute."
    else:
        yield OK, what, ""


def api_keys(site: Site) -> Found:
    """The server has the keys that it is told to have, and the newest of them."""
    if site.service is None:
        return
    cluster, name = site.training["cluster_name"], site.service["service_name"]
    ecs = serving.Service(site.aws.client("ecs"), cluster, name)
    told = ecs.api_keys(site.service["template_task_definition_arn"])
    if told is None:
        yield OK, "the server asks for none", ""
        return
    ours = keys.open_keys(site.aws, site.prefix) if told == names.api_keys_parameter(site.prefix) else None
    if ours and not ours.is_published():
        what = "some were recorded, and not published: one that was revoked opens, or a new one does not"
        yield WRONG, what, "Repeat the keys.yml that was cut short; any that adds or removes a key will do."
        return
    edition = keys.edition(site.aws, told)
    current = ecs.release(serving.primary(ecs.describe())["taskDefinition"])
    if current.model and current.keys != edition:
        yield WARNING, "the tasks that run have others than are there now", "Run deploy.yml: it rolls them."
    elif ours:
        yield OK, f"names: {', '.join(ours.recorded())}", ""
    else:
        yield OK, f"the server takes them from {told}", ""


# What is looked at, in the order in which it is told. The checks of a lane share boto3's objects, not all of
# which may be used by several threads.
LANES: tuple[dict[str, Callable[[Site], Found]], ...] = (
    {"bucket": bucket},
    {
        "task definition": task_definition,
        "trainer image": trainer_image,
        "capacity": capacity,
        "service": service,
        "api keys": api_keys,
    },
    {"dispatcher": dispatcher, "schedule": schedule},
    {"queue": queue, "dead letters": dead_letters},
    {
        "tables": tables,
        "last tick": last_tick,
        "slots": slots,
        "stuck runs": stuck_runs,
        "waiting runs": waiting_runs,
        "failed runs": failed_runs,
    },
    {"alarms": alarms},
)
_SERVICES = (
    "autoscaling", "cloudwatch", "dynamodb", "ecr", "ecs", "events", "lambda", "s3", "secretsmanager", "sqs",
    "ssm", "sts",
)  # fmt: skip


def examine(aws: Aws, prefix: str, images: Path | None = None) -> Iterator[Finding]:
    """Look at the whole deployment under ``prefix``.

    Parameters
    ----------
    images:
        The folder of images that run as processes; None where all are in a registry.

    Yields each finding as it comes, in order; the first that leaves nothing to look at is the last.
    """
    for name in _SERVICES:
        aws.client(name)  # here, since boto3's sessions are not for several threads; its clients are
    published: dict[str, dict[str, str]] = {}
    for check, look in {
        "credentials": lambda: _credentials(aws),
        "training stack": lambda: _stack(aws, prefix, "training", published),
        "serving stack": lambda: _stack(aws, prefix, "serving", published),
    }.items():
        findings = _checked(check, aws, look)
        yield from findings
        if check != "serving stack" and any(finding.level == WRONG for finding in findings):
            return
    site = Site(aws, prefix, published["training"], published.get("serving"), images)

    def run_lane(lane: dict[str, Callable[[Site], Found]]) -> list[Finding]:
        return [
            finding
            for check, look in lane.items()
            for finding in _checked(check, aws, functools.partial(look, site))
        ]

    with ThreadPoolExecutor(len(LANES)) as pool:
        for findings in pool.map(run_lane, LANES):
            yield from findings


def summary(findings: Iterable[Finding]) -> str:
    """How many are in order, and how many are not."""
    levels = [finding.level for finding in findings]
    return counted({level: levels.count(level) for level in (OK, WARNING, WRONG) if level in levels})


def _checked(check: str, aws: Aws, look: Callable[[], Found]) -> list[Finding]:
    """What a check finds; that it could not look is a finding too, and not the end of the others."""
    findings = []
    try:
        for level, what, fix in look():
            findings.append(Finding(check, level, what, fix))
    except UserError as error:
        findings.append(_failed(check, error))
    except aws_errors() as error:
        findings.append(_failed(check, aws.explained(error)))
    except (LookupError, TypeError, ValueError) as error:
        what = f"the answer of AWS cannot be read: {type(error).__name__}: {error}"
        findings.append(Finding(check, WRONG, what, "Run deploy.yml; if it stays so, report it."))
    return findings


def _failed(check: str, error: UserError) -> Finding:
    return Finding(check, WRONG, f"{error.where}: {error.what}" if error.where else error.what, error.fix)


def _credentials(aws: Aws) -> Found:
    identity = aws.client("sts").get_caller_identity()
    yield OK, f"{identity['Arn']}, in {aws.place}", ""


def _stack(aws: Aws, prefix: str, stack: str, published: dict[str, dict[str, str]]) -> Found:
    wanted = {"training": names.TRAINING_PARAMETERS, "serving": names.SERVING_PARAMETERS}[stack]
    published[stack] = aws.parameters(prefix, stack, wanted)
    yield OK, f"/{prefix}/{stack}/ has all {len(wanted)} parameters", ""


def _trainer(site: Site) -> dict[str, Any]:
    family = site.function["Environment"]["Variables"]["TASK_DEFINITION"]
    answer = site.aws.client("ecs").describe_task_definition(taskDefinition=family)
    definition: dict[str, Any] = answer["taskDefinition"]
    return definition


def _is_in_ecr(site: Site, version: str) -> bool:
    ecr = site.aws.client("ecr")
    repository = site.training["trainer_repository_url"].partition("/")[2]
    digest = version.rpartition("@")[2] if "@" in version else None
    image = {"imageDigest": digest} if digest else {"imageTag": version.removeprefix(":")}
    try:
        return bool(ecr.describe_images(repositoryName=repository, imageIds=[image])["imageDetails"])
    except ecr.exceptions.ImageNotFoundException:
        return False


def _messages(site: Site, parameter: str) -> tuple[int, int]:
    counts = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    answer = site.aws.client("sqs").get_queue_attributes(
        QueueUrl=site.training[parameter], AttributeNames=list(counts)
    )["Attributes"]
    return int(answer[counts[0]]), int(answer[counts[1]])


def _mended(run: Run) -> str:
    """What a person can do about a run's cause, but for asking the doctor."""
    fix = run_report.fix(run)
    return "" if fix.startswith("doctor.yml") else fix
