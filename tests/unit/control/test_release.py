"""Releases: the gate, the rollout and its ends, and the alias."""

import http.server
import itertools
import json
import socket
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
from ansible_collections.nerforge.aws.plugins.module_utils.contract import names
from ansible_collections.nerforge.aws.plugins.module_utils.contract.errors import UserError
from ansible_collections.nerforge.aws.plugins.plugin_utils import delivery, rollout
from ansible_collections.nerforge.aws.plugins.plugin_utils import release as releases
from ansible_collections.nerforge.aws.plugins.plugin_utils.deployment import Deployment, open_deployment
from ansible_collections.nerforge.aws.plugins.plugin_utils.keys import NoKeys
from ansible_collections.nerforge.aws.plugins.plugin_utils.release import Order, release, rollback
from ansible_collections.nerforge.aws.plugins.plugin_utils.service import (
    KEYS_TAG,
    TEMPLATE_TAG,
    Release,
    Service,
    primary,
)

SCORES = {"f": 0.6, "p": 0.6, "r": 0.6, "on": "test", "labels": {"PER": {"f": 0.7}, "ORG": {"f": 0.4}}}


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(rollout, "_INTERVAL", 0)
    monkeypatch.setattr(rollout, "_VERIFY_EVERY", 0)
    monkeypatch.setattr(rollout, "_VERIFY_HOLD", 0.05)


@pytest.fixture
def gate():
    return {}


@pytest.fixture
def keys():
    """The edition of the API keys, if the server asks for any."""
    return [None]


@pytest.fixture
def counts():
    """What each version finds in the held-out sentences, by its number; the same, if nothing is said."""
    return {}


@pytest.fixture
def site(stack, ecs, gate, keys, counts):
    """A deployment with people:1 to people:3 trained and none served."""

    def edition():
        if keys[0] == "none":
            raise NoKeys("there is none yet", fix="Make one.")
        return keys[0]

    for version in (1, 2, 3):
        stack.models.register(
            {
                "name": "people",
                "version": version,
                "run": "R",
                "created": "2026-03-01T09:14:02.411+00:00",
                "artifact": {"sha256": f"{version}" * 64, "bytes": 10},
                "language": "en",
                "labels": ["PER"],
                "scores": SCORES,
            }
        )
    return Deployment(
        models=stack.models,
        service=Service(ecs, "nerforge", "nerforge-server"),
        template=ecs.template,
        family="nerforge-server",
        desired_count=2,
        manifest=lambda record: {"spec": {"name": record["name"], "gate": gate}},
        counts=lambda record, of, dry: (SCORES, counts.get(record["version"], [[3, 2, 2]] * 20)),
        log=lambda task: [f"log of {task.rpartition('/')[2]}"],
        keys=edition,
    )


def alias(site, name="production"):
    found = site.models.alias("people", name)
    return found and found["version"]


def served(site):
    """The model that the service runs, or is on the way to run."""
    return site.service.release(primary(site.service.describe())["taskDefinition"]).model


def order(model="people:1", **more):
    return Order(model=model, alias="production", **more)


def back(**more):
    """An order to roll back."""
    return order(None, **more)


# --- success ---


def test_the_first_release_starts_tasks_and_moves_the_alias(site, ecs, lines):
    result = release(site, order(), lines)
    assert result["changed"] and result["model"] == "people:1" and result["previous"] is None
    assert ecs.desired == 2
    assert alias(site) == 1
    definition, tags = ecs.definitions[result["task_definition"]]
    environment = {
        item["name"]: item["value"] for item in definition["containerDefinitions"][0]["environment"]
    }
    assert environment == {
        "NERFORGE_BUCKET": "nerforge-bucket",
        "NERFORGE_MODEL": "people:1",
        "NERFORGE_MODEL_SHA256": "1" * 64,
    }
    assert {"key": TEMPLATE_TAG, "value": ecs.template} in tags
    assert {"key": "Name", "value": "nerforge"} in tags
    assert "people:1: 1 of 2 running" in lines.text


def test_the_same_release_again_changes_nothing(site, ecs, lines):
    release(site, order(), lines)
    revisions = len(ecs.definitions)
    again = release(site, order("people@production"), lines)
    assert not again["changed"]
    assert len(ecs.definitions) == revisions
    assert lines[-1] == "people:1 is served already"


def test_the_next_release_leaves_the_number_of_tasks_alone(site, ecs, lines):
    release(site, order(), lines)
    ecs.desired = 5
    result = release(site, order("people"), lines)
    assert (result["previous"], result["model"]) == ("people:1", "people:3")
    assert ecs.desired == 5
    assert alias(site) == 3


def test_only_the_alias_moves_where_the_model_is_served_but_another_name_is_wanted(site, ecs, lines):
    release(site, order(), lines)
    revisions = len(ecs.definitions)
    result = release(site, Order(model="people:1", alias="canary"), lines)
    assert result["changed"]
    assert len(ecs.definitions) == revisions
    assert alias(site, "canary") == 1


def test_check_mode_writes_nothing(site, ecs, lines):
    result = release(site, order(dry=True), lines)
    assert result["changed"] and result["task_definition"] == ecs.template
    assert len(ecs.definitions) == 1 and ecs.desired == 0 and alias(site) is None
    assert lines[-1] == "would roll the service to people:1"


def test_a_rollout_that_is_under_way_is_followed_not_repeated(site, ecs, lines):
    first = release(site, order(), lines)
    ecs.deployments[0]["rolloutState"] = "IN_PROGRESS"
    ecs.steps = itertools.chain([None], ecs._up(ecs.deployments[0]))  # the gate looks first
    again = release(site, order(), lines)
    assert again["changed"]
    assert again["task_definition"] == first["task_definition"]
    assert "people:1 is being rolled out already: following" in lines


def test_no_event_matters_for_a_name_that_it_has_in_brackets(site, ecs, lines):
    def up(ours):
        yield ours.update(pendingCount=0, runningCount=1)
        ecs.events[:0] = [
            {"id": "one", "message": "(service rolls-server) has started 1 tasks: (task failsafe)."},
            {"id": "two", "message": "(service rolls-server) (task failsafe) failed its health checks."},
        ]
        yield ours.update(rolloutState="COMPLETED")

    ecs._up = up
    release(site, order(), lines)
    told = [line for line in lines if line.startswith("ECS: ")]
    assert told == ["ECS: (service rolls-server) (task failsafe) failed its health checks."]


# --- the gate ---


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        ({"min_f": 0.65}, "F 0.600 on test, at least 0.650 is asked"),
        ({"labels": {"ORG": 0.5, "PER": 0.7}}, "F of ORG 0.400 on test, at least 0.500 is asked"),
        ({"labels": {"LOC": 0.1}}, "F of LOC has no score on test, at least 0.100 is asked"),
    ],
)
def test_a_gate_that_is_not_reached_refuses_with_the_figures(site, ecs, lines, told):
    with pytest.raises(UserError) as caught:
        release(site, order(), lines)
    assert told in str(caught.value)
    assert "PER" not in str(caught.value)
    assert "force" in caught.value.fix
    assert len(ecs.definitions) == 1 and alias(site) is None
    assert f"gate: {told}: NOT passed" in lines


@pytest.mark.parametrize("gate", [{"min_f": 0.65}])
def test_the_reason_for_passing_over_the_gate_is_kept(site, lines):
    why = "the test data was wrong"
    assert release(site, order(forced=why, by="arn:aws:iam::1:user/ada"), lines)["changed"]
    assert alias(site) == 1
    assert "the gate is passed over: the test data was wrong" in lines
    (move,) = site.models.history("people", "production")
    assert (move["kind"], move["forced"], move["by"]) == ("promote", why, "arn:aws:iam::1:user/ada")


@pytest.mark.parametrize("gate", [{"min_f": 0.6, "labels": {"PER": 0.7}}])
def test_a_gate_that_is_just_reached_lets_pass(site, lines):
    assert release(site, order(), lines)["changed"]
    assert "gate: F of PER 0.700 on test, at least 0.700 is asked: passed" in lines


def test_a_version_worse_than_that_in_production_is_refused(site, ecs, lines, counts):
    release(site, order(), lines)
    counts[2] = [[2, 3, 3]] * 20
    with pytest.raises(UserError) as caught:
        release(site, order("people:2"), lines)
    told = "F 0.400 against 0.600 on the same 20 sentences, difference -0.2000, 95 % interval from -0.2000"
    assert f"people:2 does not pass its gate: beside people:1, in production: {told}" in str(caught.value)
    assert alias(site) == 1 and served(site) == "people:1"
    assert release(site, order("people:2", forced="a trial"), lines)["changed"]


@pytest.mark.parametrize("name", ["canary", "staging"])
def test_another_alias_is_no_way_past_the_version_that_is_served(site, lines, counts, name):
    """All requests would go to it, whatever it is called."""
    release(site, Order("people:1", alias="staging"), lines)
    release(site, order("people:3"), lines)
    counts[1], counts[2] = [[1, 4, 4]] * 20, [[2, 3, 3]] * 20
    with pytest.raises(UserError, match=r"its gate: beside people:3, in service: F 0\.400"):
        release(site, Order("people:2", alias=name), lines)
    assert served(site) == "people:3" and alias(site, "canary") is None


def test_of_the_version_of_the_alias_and_that_in_service_each_must_be_reached(site, lines, counts):
    release(site, Order("people:1", alias="staging"), lines)
    release(site, order("people:3"), lines)
    counts[2], counts[3] = [[2, 3, 3]] * 20, [[1, 4, 4]] * 20
    with pytest.raises(UserError, match=r"its gate: beside people:1, in staging: F 0\.400"):
        release(site, Order("people:2", alias="staging"), lines)
    assert "beside people:3, in service: F 0.400 against 0.200" in lines.text


def test_a_version_on_its_way_is_not_yet_in_service(site, ecs, lines, counts):
    site.service.update(site.service.register(site.family, site.pinned(site.models.get("people", 3))), 2)
    ecs.steps = ecs._hang(ecs.deployments[0])
    counts[1] = [[0, 5, 5]] * 20
    assert release(site, order(), lines)["changed"]


def test_an_alias_that_moves_while_the_gate_compares_is_told_before_anything_rolls(site, ecs, lines):
    """What passed beside one version is not served in place of another."""
    release(site, order(), lines)

    def meanwhile(record, of, dry):
        site.models.move_alias("people", "production", 3, 1)
        return site.counts(record, of, dry)

    revisions = len(ecs.definitions)
    with pytest.raises(UserError, match="came between, of people@production, which is people:3 now"):
        release(replace(site, counts=meanwhile), order("people:2"), lines)
    assert len(ecs.definitions) == revisions


def test_a_model_of_another_name_is_not_compared_with(site, lines, counts):
    release(site, order(), lines)
    served = site.service.register(site.family, Release("places:1", "1" * 64, site.template))
    site.service.update(served)
    while primary(site.service.describe())["rolloutState"] != "COMPLETED":
        pass
    lines.clear()
    assert release(site, Order("people:2", alias="canary"), lines)["changed"]
    assert "gate: the spec asks for no score, and there is no other version to compare with" in lines


def test_a_comparison_that_has_yet_to_be_made_is_told_in_check_mode(site, lines):
    release(site, order(), lines)
    unevaluated = Deployment(**site.__dict__ | {"counts": lambda record, of, dry: None})
    assert release(unevaluated, order("people:2", dry=True), lines)["changed"]
    assert "gate: a run would evaluate what is not yet evaluated on the same sentences" in lines


# --- which model ---


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("people:9", "people has no version 9. Its versions are 1, 2, 3."),
        ("people@canary", "people has no alias canary. It has none; or name a version."),
        ("places", "there is no model places"),
        ("people:x", "not of the form name:number"),
    ],
)
def test_a_model_that_is_not_there_is_told(site, lines, model, told):
    with pytest.raises(UserError) as caught:
        release(site, order(model), lines)
    assert told in str(caught.value)


@pytest.mark.parametrize("name", ["", "Production", "production#x", "a b", "x" * 64])
@pytest.mark.parametrize("model", ["people:1", None])
def test_an_alias_that_is_no_name_is_told(name, model):
    """The sort keys of the aliases and of their histories are made of it."""
    with pytest.raises(UserError, match=r"^alias: .* is no alias's name\. Give one such as production"):
        Order(model=model, alias=name)


@pytest.mark.parametrize("url", ["people.example.com", "//people", "https://"])
def test_an_address_that_is_none_is_told_before_anything_rolls(url):
    with pytest.raises(UserError, match=r"^nerforge_url: .* is no URL\. Begin it with http"):
        order(verify_url=url)


# --- failure ---


def test_a_crash_with_a_rollback_fails_with_the_reason_and_leaves_the_alias(site, ecs, lines):
    release(site, order(), lines)
    ecs.plot = "crash"
    with pytest.raises(UserError) as caught:
        release(site, order("people:2"), lines)
    told = str(caught.value)
    assert "people:2 did not come up" in told
    assert "Essential container in task exited; exit code 3" in told
    assert "circuit breaker" in told
    assert "The service goes on with people:1" in told
    assert alias(site) == 1
    assert "log of task3" in lines and "its log ends with: log of task3" in told
    assert lines.text.count("a task of people:2 stopped") == 3
    assert "tasks failed to start" in lines.text
    top = next(item for item in ecs.deployments if item["status"] == "PRIMARY")
    assert site.service.release(top["taskDefinition"]).model == "people:1"


def test_a_failed_deployment_that_ecs_has_already_forgotten_is_a_failure(site, ecs, lines):
    release(site, order(), lines)
    ecs.plot = "vanish"
    with pytest.raises(UserError, match="people:2 did not come up"):
        release(site, order("people:2"), lines)
    assert alias(site) == 1


def test_a_first_release_that_crashes_leaves_no_task_behind(site, ecs, lines):
    ecs.plot = "crash"
    with pytest.raises(UserError, match="The service runs no task, as before"):
        release(site, order(), lines)
    assert ecs.desired == 0
    assert ecs.deployments[0]["taskDefinition"] == ecs.template
    assert alias(site) is None


def test_a_rollout_past_its_time_is_undone(site, ecs, lines):
    release(site, order(), lines)
    ecs.plot = "hang"
    with pytest.raises(UserError) as caught:
        release(site, order("people:2", timeout=0), lines)
    assert "it was not up after 0 s" in str(caught.value)
    assert "unable to place a task" in lines.text
    assert site.service.release(ecs.deployments[0]["taskDefinition"]).model == "people:1"
    assert alias(site) == 1


def test_another_release_in_between_is_named(site, ecs, lines):
    release(site, order(), lines)
    ecs.plot = "usurp"
    with pytest.raises(UserError, match=r"another release, of other:9, took the place of people:2") as caught:
        release(site, order("people:2"), lines)
    assert "The service goes on with" not in str(caught.value)  # that is the other's to say
    assert alias(site) == 1


def test_another_release_of_the_same_is_followed(site, ecs, lines):
    ecs.plot = "twin"
    result = release(site, order(), lines)
    assert result["changed"] and result["task_definition"] == ecs.deployments[0]["taskDefinition"]
    assert "somebody else is rolling out the same (nerforge-server:3): following" in lines
    assert alias(site) == 1 and ecs.deployments[0]["rolloutState"] == "COMPLETED"


class NoAnswer(Exception):
    """What boto3 raises once it has tried often enough."""


def test_an_ecs_that_gives_no_answer_for_a_while_is_asked_again(site, ecs, lines, monkeypatch):
    monkeypatch.setattr(rollout, "aws_errors", lambda: (NoAnswer,))
    monkeypatch.setattr(rollout, "is_transient", lambda error: True)
    describe, looks = site.service.describe, itertools.count()

    def at_times():
        if next(looks) == 3:
            raise NoAnswer("connection reset")
        return describe()

    monkeypatch.setattr(site.service, "describe", at_times)
    assert release(site, order(), lines)["changed"]
    assert "ECS gives no answer, and is asked again: connection reset" in lines


def test_an_alias_that_cannot_be_moved_leaves_the_model_before_in_service(site, lines, monkeypatch):
    release(site, order(), lines)

    def denied(*__):
        raise NoAnswer("AccessDenied")

    monkeypatch.setattr(site.models, "move_alias", denied)
    with pytest.raises(NoAnswer):
        release(site, order("people:2"), lines)
    assert lines[-1] == "The service goes on with people:1, and the alias is unmoved"
    assert alias(site) == 1 and served(site) == "people:1"


def test_a_service_that_cannot_be_put_back_is_told_beside_what_failed(site, ecs, lines, monkeypatch):
    """As by credentials that run out while a release is followed."""
    release(site, order(), lines)
    update, updates = site.service.update, itertools.count()

    def once(*request, **more):
        if next(updates):
            raise NoAnswer("ExpiredToken")
        update(*request, **more)

    monkeypatch.setattr(site.service, "update", once)
    monkeypatch.setattr(delivery, "aws_errors", lambda: (NoAnswer,))
    ecs.plot = "hang"
    with pytest.raises(UserError) as caught:
        release(site, order("people:2", timeout=0), lines)
    assert "people:2 did not come up: it was not up after 0 s" in caught.value.what
    assert caught.value.fix.startswith("It could not be put back (ExpiredToken): once that is mended, ")
    assert "rollback.yml" in caught.value.fix and alias(site) == 1


def test_an_alias_whose_move_was_not_confirmed_leaves_the_new_model_in_service(site, monkeypatch, lines):
    release(site, order(), lines)
    move = site.models.move_alias

    def lost(*request):
        move(*request)
        raise NoAnswer("read timeout")

    monkeypatch.setattr(site.models, "move_alias", lost)
    with pytest.raises(NoAnswer):
        release(site, order("people:2"), lines)
    assert alias(site) == 2 and served(site) == "people:2"


# --- the whole of it, from what the stacks publish ---


def test_what_was_found_in_the_same_sentences_decides(stack, ecs, lines):
    """The figures come from the evaluations in S3."""
    aws = stack.aws
    for name in names.SERVING_PARAMETERS:
        path = names.parameter("nerforge", "serving", name)
        value = {"desired_count": "2", "deployment": "{}"}.get(name, name)
        aws.client("ssm").put_parameter(Name=path, Value=value, Type="String")

    def put(key, content):
        aws.client("s3").put_object(Bucket="nerforge-bucket", Key=key, Body=json.dumps(content))

    for version, counts in ((1, [[4, 1, 1]] * 40), (2, [[5, 0, 0], [3, 2, 2]] * 20)):
        about = {"name": "people", "version": version, "scores": SCORES, "examples": {"test": "ab"}}
        created = {
            "run": "R",
            "created": "2026-03-01T09:14:02.411+00:00",
            "language": "en",
            "labels": ["PER"],
        }
        manifest = about | created | {"artifact": {"sha256": "1" * 64, "bytes": 1}, "spec": {"gate": {}}}
        stack.models.register(manifest)
        put(f"models/people/{version}/manifest.json", manifest)
        put(names.evaluation_key("people", version, "ab"), {"scores": SCORES, "counts": counts})
    stack.models.move_alias("people", "production", 1, None)
    with pytest.raises(UserError, match="people:2 does not pass its gate: beside people:1") as caught:
        service = Service(ecs, "nerforge", "nerforge-server")
        release(replace(open_deployment(aws, "nerforge", lines), service=service), order("people:2"), lines)
    assert "F 0.800 against 0.800 on the same 40 sentences, difference +0.0000, 95 % interval from -0." in (
        caught.value.what
    )
    assert alias(SimpleNamespace(models=stack.models)) == 1


# --- rolling back ---


def test_a_rollback_serves_the_release_before_and_no_gate_is_asked(site, ecs, lines, gate, counts):
    release(site, order("people:1"), lines)
    release(site, order("people:2"), lines)
    gate["min_f"], counts[1] = 0.99, [[0, 5, 5]] * 20
    result = rollback(site, back(by="ada"), lines)
    assert (result["changed"], result["model"], result["previous"]) == (True, "people:1", "people:2")
    assert alias(site) == 1 and served(site) == "people:1"
    environment = ecs.definitions[result["task_definition"]][0]["containerDefinitions"][0]["environment"]
    assert {"name": "NERFORGE_MODEL_SHA256", "value": "1" * 64} in environment
    assert "rolling back to people:1 in place of people:2" in lines.text
    move = site.models.history("people", "production")[-1]
    assert (move["kind"], move["before"], move["version"], move["by"]) == ("rollback", 2, 1, "ada")


def test_a_rollback_again_goes_one_release_more_and_then_there_is_none(site, lines):
    for number in (1, 2, 3):
        release(site, order(f"people:{number}"), lines)
    assert rollback(site, back(), lines)["model"] == "people:2"
    assert rollback(site, back(), lines)["model"] == "people:1"
    with pytest.raises(UserError, match="people@production has no release before this one"):
        rollback(site, back(), lines)
    assert alias(site) == 1 and served(site) == "people:1"


def test_a_rollback_in_check_mode_writes_nothing(site, ecs, lines):
    release(site, order("people:1"), lines)
    release(site, order("people:2"), lines)
    revisions, claim = len(ecs.definitions), site.models.claimed()
    assert rollback(site, back(dry=True), lines)["changed"]
    assert lines[-1] == "would roll the service back to people:1"
    assert len(ecs.definitions) == revisions and site.models.claimed() == claim and alias(site) == 2


def test_a_rollback_ends_a_promotion_that_is_stuck(site, ecs, lines):
    release(site, order("people:1"), lines)
    release(site, order("people:2"), lines)
    site.service.update(site.service.register(site.family, site.pinned(site.models.get("people", 3))))
    ecs.steps = ecs._hang(ecs.deployments[0])
    assert served(site) == "people:3"
    with pytest.raises(UserError, match="another release, of people:3, is under way"):
        release(site, order("people:1"), lines)
    assert rollback(site, back(), lines)["model"] == "people:2"
    assert alias(site) == 2 and served(site) == "people:2"
    assert len(site.models.history("people", "production")) == 2


def cut_short(site, command, until, monkeypatch):
    """Give a command that is killed as it begins to roll, or once it has rolled."""

    def killed(*__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rollout.Rollout, "follow", killed)
        with pytest.raises(KeyboardInterrupt):
            command()
    while until == "rolled" and primary(site.service.describe())["rolloutState"] != "COMPLETED":
        pass


@pytest.mark.parametrize("cut", ["rolling", "rolled"])
@pytest.mark.parametrize("keys_change", [False, True])
def test_a_rollback_that_was_cut_short_is_finished_by_the_next(
    site, lines, monkeypatch, keys, cut, keys_change
):
    for number in (1, 2, 3):
        release(site, order(f"people:{number}"), lines)
    cut_short(site, lambda: rollback(site, back(), lines), cut, monkeypatch)
    assert alias(site) == 3 and served(site) == "people:2"
    if keys_change:
        keys[0] = "two"
        release(site, order(releases.SERVING), lines)
    assert rollback(site, back(), lines)["model"] == "people:2"
    assert alias(site) == 2 and served(site) == "people:2"


@pytest.mark.parametrize("cut", ["rolling", "rolled"])
def test_a_promotion_of_the_release_before_that_was_cut_short_is_ended_too(site, lines, monkeypatch, cut):
    """It is no rollback, though it serves what a rollback would: what the alias says is wanted back."""
    for number in (1, 2):
        release(site, order(f"people:{number}"), lines)
    cut_short(site, lambda: release(site, order("people:1"), lines), cut, monkeypatch)
    assert alias(site) == 2 and served(site) == "people:1"
    assert lines[-1].startswith("cut short, this leaves the service rolling and the alias unmoved: ")
    assert rollback(site, back(), lines)["model"] == "people:2"
    assert alias(site) == 2 and served(site) == "people:2"


def test_what_a_promotion_has_left_that_was_cut_short_hinders_no_other(site, lines, monkeypatch):
    release(site, order("people:1"), lines)
    cut_short(site, lambda: release(site, order("people:2"), lines), "rolled", monkeypatch)
    assert alias(site) == 1 and served(site) == "people:2"
    assert release(site, order("people:3"), lines)["changed"]
    assert alias(site) == 3 and served(site) == "people:3"


def test_a_rollback_follows_a_failed_promotion_on_its_way_back(site, ecs, lines):
    """ECS is going back to what the alias says: to go one release further would be one too many."""
    release(site, order("people:1"), lines)
    release(site, order("people:2"), lines)
    ecs.plot = "crash"
    with pytest.raises(UserError):
        release(site, order("people:3"), lines)
    failed, old = ecs.deployments[0], primary({"deployments": ecs.deployments})
    failed["runningCount"], ecs.steps = 1, ecs._up(old)
    assert rollback(site, back(), lines)["model"] == "people:2"
    assert alias(site) == 2


def test_a_rollback_that_does_not_come_up_leaves_what_runs(site, ecs, lines):
    release(site, order("people:1"), lines)
    release(site, order("people:2"), lines)
    ecs.plot = "crash"
    with pytest.raises(UserError, match=r"people:1 did not come up: .* The service goes on with people:2"):
        rollback(site, back(), lines)
    assert alias(site) == 2 and served(site) == "people:2"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (None, "no model is served"),
        ("people", "people has no alias production. It has none; or name a version."),
        ("peeple", "there is no model peeple"),
        ("people:1", "model: 'people:1' is no model's name. Give one such as people; "),
    ],
)
def test_with_nothing_released_there_is_nothing_to_go_back_to(site, lines, name, told):
    with pytest.raises(UserError) as caught:
        rollback(site, Order(model=name, alias="production"), lines)
    assert told in str(caught.value)
    assert site.models.claimed() is None


def test_the_release_of_another_name_before_is_told_of(site, lines):
    release(site, order(), lines)
    site.models.register(
        {
            "name": "places",
            "version": 1,
            "run": "R",
            "created": "2026-03-01T09:14:02.411+00:00",
            "artifact": {"sha256": "4" * 64, "bytes": 10},
            "language": "en",
            "labels": ["LOC"],
            "scores": SCORES,
        }
    )
    release(site, order("places:1"), lines)
    with pytest.raises(UserError, match=r"places@production has no release before .* another name that was"):
        rollback(site, back(), lines)
    assert rollback(site, Order("people", alias="production"), lines)["model"] == "people:1"


# --- the model that is served ---


def test_serving_with_nothing_served_changes_nothing(site, ecs, lines):
    result = release(site, order(releases.SERVING), lines)
    assert result == {
        "changed": False,
        "model": None,
        "previous": None,
        "task_definition": ecs.template,
    }


def test_serving_rolls_only_when_the_template_changed(site, ecs, lines):
    release(site, order(), lines)
    assert not release(site, order(releases.SERVING), lines)["changed"]
    ecs.template = ecs._add(ecs.definitions[ecs.template][0] | {"cpu": "512"}, [])
    changed = Deployment(**(site.__dict__ | {"template": ecs.template}))
    result = release(changed, order(releases.SERVING), lines)
    assert result["changed"] and result["model"] == "people:1"
    assert ecs.definitions[result["task_definition"]][0]["cpu"] == "512"
    assert alias(site) == 1


def test_a_changed_template_that_does_not_come_up_is_undone(site, ecs, lines):
    before = release(site, order(), lines)["task_definition"]
    ecs.template = ecs._add(ecs.definitions[ecs.template][0] | {"cpu": "512"}, [])
    ecs.plot = "hang"
    with pytest.raises(UserError, match=r"it was not up after 0 s\. The service goes on with people:1, and"):
        release(replace(site, template=ecs.template), order(releases.SERVING, timeout=0), lines)
    assert primary(site.service.describe())["taskDefinition"] == before and alias(site) == 1


# --- API keys ---


def test_a_server_without_a_key_is_not_rolled_out(site, ecs, lines, keys):
    keys[0] = "none"
    for dry in (True, False):
        with pytest.raises(NoKeys, match="there is none yet"):
            release(site, order(dry=dry), lines)
    assert len(ecs.definitions) == 1 and ecs.desired == 0 and alias(site) is None


def test_a_deployment_without_a_model_says_that_a_key_is_missing(site, lines, keys):
    keys[0] = "none"
    assert not release(site, order(releases.SERVING), lines)["changed"]
    assert lines == ["no model is served yet", "there is none yet. Make one."]


def test_other_keys_roll_the_model_in_service_once(site, ecs, lines, keys):
    keys[0] = "one"
    first = release(site, order(), lines)
    assert {"key": KEYS_TAG, "value": "one"} in ecs.definitions[first["task_definition"]][1]
    assert not release(site, order(releases.SERVING), lines)["changed"]
    keys[0] = "two"
    second = release(site, order(releases.SERVING), lines)
    assert second["changed"] and second["model"] == "people:1"
    assert ecs.definitions[second["task_definition"]][1].count({"key": KEYS_TAG, "value": "two"}) == 1
    assert "rolling out people:1 with other API keys" in lines.text
    assert not release(site, order(), lines)["changed"]


def test_a_later_release_with_the_keys_that_there_are_now_is_followed(site, ecs, lines, keys):
    """Two operators change keys at once: the later rollout has what both of them wanted."""
    keys[0] = "one"
    ecs.plot, ecs.rekeyed = "rekey", lambda: keys.__setitem__(0, "two")
    result = release(site, order(), lines)
    assert result["task_definition"] == ecs.deployments[0]["taskDefinition"]
    assert {"key": KEYS_TAG, "value": "two"} in ecs.definitions[result["task_definition"]][1]
    assert "nerforge-server:3): following" in lines.text and alias(site) == 1


def test_a_later_release_with_older_keys_is_not(site, ecs, lines, keys):
    keys[0] = "one"
    ecs.plot, ecs.rekeyed = "rekey", lambda: None
    with pytest.raises(UserError, match="another release, of people:1, took the place of people:1"):
        release(site, order(), lines)


def test_where_a_revision_says_the_keys_are(site, ecs):
    definition = json.loads(json.dumps(ecs.definitions[ecs.template][0]))
    assert site.service.api_keys(ecs.template) is None
    told = {"name": "NERFORGE_API_KEYS", "value": "/nerforge/serving/api_keys"}
    definition["containerDefinitions"][0]["environment"].append(told)
    assert site.service.api_keys(ecs._add(definition, [])) == "/nerforge/serving/api_keys"


# --- the end of all releases ---


def active(ecs):
    return [arn for arn, (definition, __) in ecs.definitions.items() if definition["status"] == "ACTIVE"]


def test_withdrawing_deregisters_every_release_and_nothing_of_terraforms(site, ecs, lines):
    for number in (1, 2, 3):
        release(site, order(f"people:{number}"), lines)
    released = active(ecs)[1:]
    another = ecs._add(ecs.definitions[released[0]][0] | {"family": "nerforge-server-2"}, [])
    ecs.definitions[another][1].extend(ecs.definitions[released[0]][1])
    lines.clear()

    dry = releases.withdraw(site.service, site.family, True, lines)
    assert dry == {"changed": True, "deregistered": released}
    assert active(ecs) == [ecs.template, *released, another]
    assert lines[0] == "would deregister nerforge-server:2 (people:1)"

    assert releases.withdraw(site.service, site.family, False, lines) == dry
    assert active(ecs) == [ecs.template, another]
    assert lines[-1] == "deregistered nerforge-server:4 (people:3)"
    assert not releases.withdraw(site.service, site.family, False, lines)["changed"]


# --- verification ---


@pytest.fixture
def web():
    """A server that answers /ready with what `answers` holds, the last for ever."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(200 if self.path == "/ready" and answer else 503)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *__):
            pass

    answers = []
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=web.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{web.server_port}", answers
    web.shutdown()
    web.server_close()


def test_the_url_is_asked_until_every_answer_names_the_version(site, lines, web, monkeypatch):
    monkeypatch.setattr(rollout, "_VERIFY_HOLD", 1)  # longer than two answers take
    url, answers = web
    one, two = {"model": "people:1"}, {"model": "people:2"}
    answers += [None, two, one, one, two, one]  # tasks answer in turn
    release(site, order(verify_url=f"{url}/"), lines)
    assert alias(site) == 1 and answers == [one]
    assert f"{url}/ answers as people:1, " in lines.text


def test_one_answer_of_another_version_begins_the_wait_anew(lines, monkeypatch):
    answers = iter(["people:1", "people:1", "people:2", *["people:1"] * 9])
    clock = SimpleNamespace(monotonic=itertools.count().__next__, sleep=lambda seconds: None)
    monkeypatch.setattr(rollout, "_asked", lambda url: next(answers))
    monkeypatch.setattr(rollout, "_VERIFY_HOLD", 3)
    monkeypatch.setattr(rollout, "time", clock)
    rollout.verify("http://ner", "people:1", lines)
    assert lines[-1] == "http://ner answers as people:1, 4 times in a row" and len(list(answers)) == 5


def test_a_promotion_that_another_version_answers_for_is_undone(site, lines, web, monkeypatch):
    url, answers = web
    release(site, order(), lines)
    monkeypatch.setattr(rollout, "_VERIFY_FOR", 0)
    answers += [{"model": "people:1"}]
    with pytest.raises(UserError) as caught:
        release(site, order("people:2", verify_url=url), lines)
    told = f"ECS has completed the rollout of people:2, but {url}/ready answers: people:1"
    assert told in str(caught.value)
    assert "The service goes on with people:1" in caught.value.fix
    assert alias(site) == 1 and served(site) == "people:1"
    assert primary(site.service.describe())["rolloutState"] == "COMPLETED"


def test_a_rollback_is_not_undone_whoever_answers(site, lines, web, monkeypatch):
    url, answers = web
    release(site, order("people:1"), lines)
    release(site, order("people:2"), lines)
    monkeypatch.setattr(rollout, "_VERIFY_FOR", 0)
    answers += [{"message": "not it"}]
    with pytest.raises(UserError, match="answers: KeyError"):
        rollback(site, back(verify_url=url), lines)
    assert alias(site) == 2 and served(site) == "people:1"
    answers[0] = {"model": "people:1"}
    assert rollback(site, back(verify_url=url), lines)["changed"]
    assert alias(site) == 1


@pytest.mark.parametrize("begins", [b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", b"what?\r\n\r\n"])
def test_what_answers_in_no_http_is_not_the_version(monkeypatch, lines, begins):
    monkeypatch.setattr(rollout, "_VERIFY_FOR", 0)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            client, __ = listening.accept()
            with client:
                client.recv(1000)
                client.sendall(begins)

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(rollout.Unverified, match=r"/ready answers: (IncompleteRead|BadStatusLine)"):
            rollout.verify(f"http://127.0.0.1:{listening.getsockname()[1]}", "people:1", lines)


def test_where_nobody_can_be_asked_that_is_said(site, lines):
    release(site, order(), lines)
    assert "nerforge_url is not set: which model answers is not asked, and ECS is taken at its word" in lines


def test_a_service_that_is_not_there_is_told(site, ecs):
    service = Service(ecs, "nerforge", "nerforge-server")
    (gone,) = ecs.describe_services(cluster="nerforge", services=["nerforge-server"])["services"]
    arn = "arn:aws:ecs:us-east-1:123456789012:service/nerforge/nerforge-server"
    missing = {"arn": arn, "reason": "MISSING"}
    for answer in (
        {"services": [gone | {"status": "INACTIVE"}], "failures": []},
        {"services": [], "failures": [missing]},
    ):
        ecs.do_describe_services = lambda answer=answer, **__: answer
        with pytest.raises(UserError, match=r"nerforge/nerforge-server: there is no such ECS service"):
            service.describe()
