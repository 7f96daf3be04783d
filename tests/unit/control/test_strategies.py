"""Deployment strategies: what UpdateService is told, and how a deployment that shifts requests stands."""

import datetime
from unittest.mock import Mock

import boto3
import pytest
from ansible_collections.nerforge.aws.plugins.module_utils.contract.errors import UserError
from ansible_collections.nerforge.aws.plugins.plugin_utils import release as releases
from ansible_collections.nerforge.aws.plugins.plugin_utils import rollout, strategies
from ansible_collections.nerforge.aws.plugins.plugin_utils.deployment import Deployment
from ansible_collections.nerforge.aws.plugins.plugin_utils.service import Service
from botocore.stub import Stubber
from support.aws_double import refused

ACCOUNT = "arn:aws:ecs:us-east-1:123456789012"
REVISION = f"{ACCOUNT}:task-definition/nerforge-server:7"
ALARMS = {"alarmNames": ["nerforge-server-deployment-errors"], "enable": True, "rollback": True}
COMMON = {
    "minimumHealthyPercent": 100,
    "maximumPercent": 200,
    "deploymentCircuitBreaker": {"enable": True, "rollback": True},
    "alarms": ALARMS,
}
ALARMED = {"status": "TRIGGERED", "triggeredAlarmNames": ALARMS["alarmNames"]}
ONE_GROUP = [{"targetGroupArn": "arn:group/1", "containerName": "server", "containerPort": 8080}]
BOTH_GROUPS = [
    ONE_GROUP[0]
    | {
        "advancedConfiguration": {
            "alternateTargetGroupArn": "arn:group/2",
            "productionListenerRule": "arn:rule/1",
            "roleArn": "arn:role/1",
        }
    }
]
ROLLING = {"deploymentConfiguration": COMMON | {"strategy": "ROLLING"}}
STRATEGIES = {
    "BLUE_GREEN": {"bakeTimeInMinutes": 5},
    "CANARY": {
        "bakeTimeInMinutes": 5,
        "canaryConfiguration": {"canaryPercent": 10, "canaryBakeTimeInMinutes": 5},
    },
    "LINEAR": {
        "bakeTimeInMinutes": 5,
        "linearConfiguration": {"stepPercent": 30, "stepBakeTimeInMinutes": 5},
    },
}


def published(strategy):
    """What the serving stack publishes for a strategy."""
    if strategy == "ROLLING":
        return ROLLING
    configuration = COMMON | {"strategy": strategy} | STRATEGIES[strategy]
    return {"deploymentConfiguration": configuration, "loadBalancers": BOTH_GROUPS}


@pytest.fixture
def stubbed():
    """A client of ECS's, and the answers it is to get: both checked against botocore's model."""
    client = boto3.client("ecs", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(client) as stubber:
        yield client, stubber
        stubber.assert_no_pending_responses()


UNWATCHED = {"alarms": ALARMS | {"enable": False, "rollback": False}}


def service(client, strategy):
    return Service(client, "nerforge", "nerforge-server", published(strategy))


def expect_update(stubber, **how):
    wanted = {"cluster": "nerforge", "service": "nerforge-server", "taskDefinition": REVISION}
    stubber.add_response("update_service", {}, wanted | how)


def expect_description(stubber, load_balancers, desired=2):
    described = {"serviceName": "nerforge-server", "status": "ACTIVE", "loadBalancers": load_balancers}
    described["desiredCount"] = desired
    stubber.add_response("describe_services", {"services": [described]})


# --- what UpdateService is told ---


def test_a_rolling_release_names_no_load_balancer(stubbed):
    client, stubber = stubbed
    expect_update(stubber, desiredCount=2, **ROLLING)
    service(client, "ROLLING").update(REVISION, 2)


def test_no_alarm_undoes_a_rolling_rollback(stubbed):
    """It may go off only now, for the model that goes; ECS would bring that back."""
    client, stubber = stubbed
    expect_update(stubber, deploymentConfiguration=ROLLING["deploymentConfiguration"] | UNWATCHED)
    service(client, "ROLLING").update(REVISION, at_once=True)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_first_release_by_another_strategy_rolls_and_tells_of_both_target_groups(stubbed, strategy):
    client, stubber = stubbed
    expect_description(stubber, ONE_GROUP)
    expect_update(stubber, loadBalancers=BOTH_GROUPS, **ROLLING)
    service(client, strategy).update(REVISION)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_release_where_nothing_runs_rolls(stubbed, strategy):
    """A canary would leave nine requests of ten to target groups without a task."""
    client, stubber = stubbed
    expect_description(stubber, BOTH_GROUPS, desired=0)
    expect_update(stubber, desiredCount=2, loadBalancers=BOTH_GROUPS, **ROLLING)
    service(client, strategy).update(REVISION, 2)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_later_releases_go_by_the_strategy(stubbed, strategy):
    client, stubber = stubbed
    expect_description(stubber, BOTH_GROUPS)
    expect_update(stubber, **published(strategy))
    service(client, strategy).update(REVISION)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_rollback_waits_for_nothing_but_the_tasks_and_heeds_no_alarm(stubbed, strategy):
    client, stubber = stubbed
    expect_description(stubber, BOTH_GROUPS)
    at_once = COMMON | UNWATCHED | {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0}
    expect_update(stubber, deploymentConfiguration=at_once, loadBalancers=BOTH_GROUPS)
    service(client, strategy).update(REVISION, at_once=True)


@pytest.mark.parametrize("strategy", ["ROLLING", *STRATEGIES])
def test_a_service_without_tasks_has_nothing_to_shift(stubbed, strategy):
    client, stubber = stubbed
    expect_update(stubber, desiredCount=0)
    service(client, strategy).update(REVISION, 0)


@pytest.mark.parametrize(
    ("strategy", "minutes"), [("ROLLING", 0), ("BLUE_GREEN", 5), ("CANARY", 10), ("LINEAR", 20)]
)
def test_how_long_a_strategy_takes_by_itself(strategy, minutes):
    """Steps of 30 % are four, with three waits between them."""
    assert Service(None, "nerforge", "nerforge-server", published(strategy)).wait_seconds == 60 * minutes


def test_which_strategies_shift_requests():
    assert [name for name in ("ROLLING", *STRATEGIES) if strategies.shifts(published(name))] == [*STRATEGIES]
    assert not strategies.shifts({"deploymentConfiguration": {"maximumPercent": 200}})


# --- how a shift stands ---


def shift(stage="SCALE_UP", status="IN_PROGRESS", percent=0.0, running=1, number=2, **more):
    """A service deployment as DescribeServiceDeployments has it, of the ``number``-th service revision."""
    now = datetime.datetime(2026, 3, 1, 9, 14, tzinfo=datetime.UTC)
    return {
        "serviceDeploymentArn": f"{ACCOUNT}:service-deployment/nerforge/nerforge-server/d{number}",
        "serviceArn": f"{ACCOUNT}:service/nerforge/nerforge-server",
        "clusterArn": f"{ACCOUNT}:cluster/nerforge",
        "createdAt": now,
        "startedAt": now,
        "sourceServiceRevisions": [
            {
                "arn": f"{ACCOUNT}:service-revision/nerforge/nerforge-server/1",
                "requestedTaskCount": 2,
                "runningTaskCount": 2,
                "pendingTaskCount": 0,
                "requestedProductionTrafficWeight": 100.0 - percent,
            }
        ],
        "targetServiceRevision": {
            "arn": f"{ACCOUNT}:service-revision/nerforge/nerforge-server/{number}",
            "requestedTaskCount": 2,
            "runningTaskCount": running,
            "pendingTaskCount": 2 - running,
            "requestedProductionTrafficWeight": percent,
        },
        "status": status,
        "lifecycleStage": stage,
        "deploymentConfiguration": published("CANARY")["deploymentConfiguration"],
        "deploymentCircuitBreaker": {"status": "MONITORING", "failureCount": 0, "threshold": 3},
        "alarms": {"status": "MONITORING", "alarmNames": ALARMS["alarmNames"]},
    } | more


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (shift("RECONCILE_SERVICE"), "waits for what went before it"),
        (shift("PRE_SCALE_UP"), "is about to start"),
        (shift("SCALE_UP"), "1 of 2 running, gets no requests yet"),
        (shift("POST_SCALE_UP", running=2), "2 of 2 running, gets no requests yet"),
        (shift("PRODUCTION_TRAFFIC_SHIFT", percent=10.0), "gets 10 % of the requests"),
        (shift("PRODUCTION_TRAFFIC_SHIFT", percent=33.3), "gets 33.3 % of the requests"),
        (shift("POST_PRODUCTION_TRAFFIC_SHIFT", percent=100.0), "gets all requests"),
        (shift("BAKE_TIME"), "gets all requests and is watched, the tasks before it stand by"),
        (shift("CLEAN_UP"), "gets all requests, the tasks before it end"),
        (shift("SOME_NEW_STAGE"), "some new stage"),
        (shift(status="ROLLBACK_REQUESTED"), "is being undone, the tasks before it get the requests back"),
        (shift(status="ROLLBACK_IN_PROGRESS"), "is being undone, the tasks before it get the requests back"),
    ],
)
def test_each_stage_in_words(seen, told):
    assert strategies.standing(seen) == told


def test_every_stage_and_every_state_of_ecs_is_known():
    shapes = boto3.client("ecs", region_name="us-east-1").meta.service_model
    assert set(shapes.shape_for("ServiceDeploymentLifecycleStage").enum) <= set(strategies._STAGES)
    states = set(shapes.shape_for("ServiceDeploymentStatus").enum)
    ends = {state: strategies.succeeded(shift(status=state)) for state in states}
    assert {state for state, end in ends.items() if end} == {"SUCCESSFUL"}
    assert {state for state, end in ends.items() if end is None} == {
        *("PENDING", "IN_PROGRESS", "STOP_REQUESTED", "ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS")
    }


def test_a_shift_before_its_first_stage():
    begun = {"status": "PENDING", "serviceDeploymentArn": "arn:deployment/1"}
    assert strategies.standing(begun) == "is about to start" and strategies.reasons(begun) == []


def test_why_a_shift_was_undone():
    undone = shift(
        status="ROLLBACK_SUCCESSFUL",
        statusReason="Service deployment rolled back because of alarms.",
        rollback={"reason": "Service deployment rolled back because of alarms."},
        alarms=ALARMED,
    )
    assert strategies.reasons(undone) == [
        "the alarm nerforge-server-deployment-errors went off",
        "Service deployment rolled back because of alarms",
    ]


# --- a release that shifts ---


@pytest.fixture
def shifting(ecs, monkeypatch):
    """An ECS that shifts requests, a stage a look, once it knows both target groups.

    ``turn`` is what comes of it: ``up``, ``alarm`` or ``bake``. DescribeServices does not say how it stands.
    """

    class ShiftingEcs(type(ecs)):
        def do_update_service(self, deploymentConfiguration, loadBalancers=None, **request):
            self.updates.append(deploymentConfiguration)
            self.balancers = loadBalancers or self.balancers
            self.strategy = deploymentConfiguration["strategy"]
            super().do_update_service(**request)
            if self.strategy != "ROLLING":
                self.steps = iter(getattr(self, f"_shift_{self.turn}")(self.deployments[0]))
                self.record = self._record(self.deployments[0], "PRE_SCALE_UP", running=0)
            return {}

        def do_describe_services(self, **request):
            described = super().do_describe_services(**request)["services"][0]
            if self.strategy != "ROLLING":
                for item in described["deployments"]:
                    del item["rolloutState"]
            more = {
                "loadBalancers": self.balancers,
                "deploymentConfiguration": {"strategy": self.strategy},
            }
            return {"services": [described | more]}

        def do_list_service_deployments(self, cluster, service):
            brief = {name: self.record[name] for name in ("serviceDeploymentArn", "createdAt", "status")}
            brief["targetServiceRevisionArn"] = self.record["targetServiceRevision"]["arn"]
            age = datetime.timedelta(days=1)
            before = brief | {"serviceDeploymentArn": "arn:before", "createdAt": brief["createdAt"] - age}
            return {"serviceDeployments": [before, brief]}

        def do_describe_service_deployments(self, serviceDeploymentArns):
            assert serviceDeploymentArns == [self.record["serviceDeploymentArn"]]
            return {"serviceDeployments": [self.record]}

        def do_describe_service_revisions(self, serviceRevisionArns):
            number = int(serviceRevisionArns[0].rpartition("/")[2])
            return {"serviceRevisions": [{"taskDefinition": [*self.definitions][number]}]}

        def do_stop_service_deployment(self, serviceDeploymentArn, stopType):
            assert (serviceDeploymentArn, stopType) == (self.record["serviceDeploymentArn"], "ROLLBACK")
            self.steps = iter(self._undone("stopped by an operator"))
            return {}

        def _shift_up(self, ours):
            yield self._turn(ours, "SCALE_UP")
            yield self._turn(ours, "PRODUCTION_TRAFFIC_SHIFT", percent=10.0)
            yield self._turn(ours, "BAKE_TIME", percent=100.0)
            self.deployments[1:] = []
            yield self._turn(ours, "CLEAN_UP", percent=100.0, status="SUCCESSFUL")

        def _shift_bake(self, ours):
            yield self._turn(ours, "BAKE_TIME", percent=100.0)

        def _shift_alarm(self, ours):
            yield self._turn(ours, "PRODUCTION_TRAFFIC_SHIFT", percent=10.0)
            yield from self._undone("rolled back because of alarms", alarms=ALARMED)

        def _undone(self, reason, **more):
            ours = self.deployments[0]
            yield self._turn(ours, "PRODUCTION_TRAFFIC_SHIFT", status="ROLLBACK_IN_PROGRESS", **more)
            yield self._turn(
                ours, "CLEAN_UP", status="ROLLBACK_SUCCESSFUL", statusReason=f"Service {reason}.", **more
            )
            self.deployments.remove(ours)
            yield self.deployments[0].update(status="PRIMARY")

        def _turn(self, ours, stage, **more):
            ours["runningCount"] = 2
            self.record = self._record(ours, stage, running=2, **more)

        def _record(self, ours, stage, **more):
            return shift(stage, number=[*self.definitions].index(ours["taskDefinition"]), **more)

    monkeypatch.setattr(rollout, "_INTERVAL", 0)
    ecs.__class__ = ShiftingEcs
    ecs.updates, ecs.balancers, ecs.strategy, ecs.turn = [], ONE_GROUP, "ROLLING", "up"
    return ecs


@pytest.fixture
def site(stack, shifting):
    """A deployment whose releases are canaries, with people:1 to people:3 trained and people:1 served."""
    for version in (1, 2, 3):
        scores = {"f": 0.6, "p": 0.6, "r": 0.6, "on": "test", "labels": {}}
        stack.models.register(
            {"name": "people", "version": version, "run": "R", "created": "2026-03-01T09:14:02.411+00:00"}
            | {"artifact": {"sha256": f"{version}" * 64, "bytes": 10}, "language": "en", "labels": ["PER"]}
            | {"scores": scores}
        )
    site = Deployment(
        models=stack.models,
        service=service(shifting, "CANARY"),
        template=shifting.template,
        family="nerforge-server",
        desired_count=2,
        manifest=lambda record: {"spec": {"name": record["name"]}},
        counts=lambda record, of, dry: None,
        log=lambda task: [],
        keys=lambda: None,
    )
    releases.release(site, order("people:1"), [].append)
    return site


def order(model=None, **more):
    return releases.Order(model=model, alias="production", forced="of no matter here", **more)


def alias(site):
    return site.models.alias("people", "production")["version"]


def test_a_canary_is_followed_from_stage_to_stage(site, shifting, lines):
    assert releases.release(site, order("people:2"), lines)["changed"]
    assert [update["strategy"] for update in shifting.updates] == ["ROLLING", "CANARY"]
    stages = [line for line in lines if line.startswith("people:2: ")]
    assert stages == [
        "people:2: 2 of 2 running, gets no requests yet | people:1: 1 running",
        "people:2: gets 10 % of the requests | people:1: 1 running",
        "people:2: gets all requests and is watched, the tasks before it stand by | people:1: 1 running",
        "people:2: gets all requests, the tasks before it end",
    ]
    assert alias(site) == 2
    assert not releases.release(site, order("people:2"), lines)["changed"]


def test_an_alarm_undoes_a_canary_and_the_alias_stays(site, shifting, lines):
    shifting.turn = "alarm"
    with pytest.raises(UserError) as caught:
        releases.release(site, order("people:2"), lines)
    assert "the alarm nerforge-server-deployment-errors went off" in str(caught.value)
    assert "The service goes on with people:1" in caught.value.fix
    assert "is being undone, the tasks before it get the requests back" in lines.text
    assert [update["strategy"] for update in shifting.updates] == ["ROLLING", "CANARY"]
    assert alias(site) == 1


def test_a_canary_that_takes_too_long_is_undone(site, shifting, lines):
    shifting.turn = "bake"
    site.service._deployment = published("BLUE_GREEN")
    site.service._deployment["deploymentConfiguration"]["bakeTimeInMinutes"] = 0
    with pytest.raises(UserError, match="it was not up after 0 s"):
        releases.release(site, order("people:2", timeout=0), lines)
    assert alias(site) == 1
    assert site.service.release(shifting.deployments[0]["taskDefinition"]).model == "people:1"
    assert (shifting.updates[-1]["strategy"], shifting.updates[-1]["bakeTimeInMinutes"]) == ("BLUE_GREEN", 0)


def test_a_rollback_of_a_canary_under_way_starts_no_task(site, shifting, lines):
    """Those before it run yet: they need only get the requests back."""
    canary = site.service.register("nerforge-server", site.pinned(site.models.get("people", 2)))
    shifting.turn = "bake"
    site.service.update(canary)
    result = releases.rollback(site, order(timeout=60), lines)
    assert result["model"] == "people:1" and alias(site) == 1
    assert "the requests go back to the tasks that had them" in lines
    assert [update["strategy"] for update in shifting.updates] == ["ROLLING", "CANARY"]


def test_a_canary_that_ends_while_it_is_to_be_undone_is_rolled_back(site, shifting, lines, monkeypatch):
    site.service.update(site.service.register("nerforge-server", site.pinned(site.models.get("people", 2))))
    too_late = refused("ConflictException", "the deployment is over")
    monkeypatch.setattr(type(shifting), "do_stop_service_deployment", Mock(side_effect=too_late))
    assert releases.rollback(site, order(timeout=60), lines)["model"] == "people:1" and alias(site) == 1
    assert [update["strategy"] for update in shifting.updates] == ["ROLLING", "CANARY", "BLUE_GREEN"]


def test_a_rollback_after_a_canary_shifts_at_once(site, shifting, lines):
    releases.release(site, order("people:2"), lines)
    assert releases.rollback(site, order(), lines)["model"] == "people:1"
    assert [update["strategy"] for update in shifting.updates] == ["ROLLING", "CANARY", "BLUE_GREEN"]
    assert shifting.updates[-1]["bakeTimeInMinutes"] == 0 and alias(site) == 1


def test_the_record_of_a_shift_may_come_late():
    """Until it does, the latest is that of the release before, which is not PRIMARY any more."""
    new, old = f"{REVISION}1", REVISION
    deployments = [
        {"status": "PRIMARY", "taskDefinition": new, "rolloutState": "IN_PROGRESS", "runningCount": 0},
        {"status": "ACTIVE", "taskDefinition": old, "rolloutState": "COMPLETED", "runningCount": 2},
    ]
    described = {"deployments": deployments}
    assert strategies.seen(described, shift(status="SUCCESSFUL", taskDefinition=old)) == described
    assert strategies.seen(described, None) == described
