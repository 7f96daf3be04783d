"""Releases: the gate, the rollout and its ends, and the alias."""

import http.server
import json
import threading

import pytest
from ansible_collections.nerforge.aws.plugins.module_utils.contract.errors import UserError
from ansible_collections.nerforge.aws.plugins.plugin_utils import release as releases
from ansible_collections.nerforge.aws.plugins.plugin_utils.keys import NoKeys
from ansible_collections.nerforge.aws.plugins.plugin_utils.release import Deployment, Order, release
from ansible_collections.nerforge.aws.plugins.plugin_utils.service import KEYS_TAG, TEMPLATE_TAG, Service

SCORES = {"f": 0.6, "p": 0.6, "r": 0.6, "on": "test", "labels": {"PER": {"f": 0.7}, "ORG": {"f": 0.4}}}


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(releases, "_INTERVAL", 0)


@pytest.fixture
def gate():
    return {}


@pytest.fixture
def keys():
    """The edition of the API keys, if the server asks for any."""
    return [None]


@pytest.fixture
def site(stack, ecs, gate, keys):
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
        log=lambda task: [f"log of {task.rpartition('/')[2]}"],
        keys=edition,
    )


def alias(site, name="production"):
    found = site.models.alias("people", name)
    return found and found["version"]


def order(model="people:1", **more):
    return Order(model=model, alias="production", **more)


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
    assert lines == ["would roll the service to people:1"]


def test_a_rollout_that_is_under_way_is_followed_not_repeated(site, ecs, lines):
    first = release(site, order(), lines)
    ecs.deployments[0]["rolloutState"] = "IN_PROGRESS"
    ecs.steps = ecs._up(ecs.deployments[0])
    again = release(site, order(), lines)
    assert again["changed"]
    assert again["task_definition"] == first["task_definition"]
    assert "people:1 is being rolled out already: following" in lines


# --- the gate ---


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        ({"min_f": 0.65}, "F 0.600, the gate asks 0.650"),
        ({"labels": {"ORG": 0.5, "PER": 0.7}}, "ORG 0.400, the gate asks 0.500"),
        ({"labels": {"LOC": 0.1}}, "LOC has no score, the gate asks 0.100"),
    ],
)
def test_a_gate_that_is_not_reached_refuses_with_the_figures(site, ecs, lines, told):
    with pytest.raises(UserError) as caught:
        release(site, order(), lines)
    assert told in str(caught.value)
    assert "PER" not in str(caught.value)
    assert "force" in caught.value.fix
    assert len(ecs.definitions) == 1 and alias(site) is None


@pytest.mark.parametrize("gate", [{"min_f": 0.65}])
def test_force_passes_over_the_gate(site, lines):
    assert release(site, order(force=True), lines)["changed"]
    assert alias(site) == 1


@pytest.mark.parametrize("gate", [{"min_f": 0.6, "labels": {"PER": 0.7}}])
def test_a_gate_that_is_just_reached_lets_pass(site, lines):
    assert release(site, order(), lines)["changed"]


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
    assert "log of task3" in lines
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
    with pytest.raises(UserError, match=r"another release, of other:9, took the place of people:2"):
        release(site, order("people:2"), lines)
    assert alias(site) == 1


def test_another_release_of_the_same_is_followed(site, ecs, lines):
    ecs.plot = "twin"
    result = release(site, order(), lines)
    assert result["changed"] and result["task_definition"] == ecs.deployments[0]["taskDefinition"]
    assert "somebody else is rolling out the same (nerforge-server:3): following" in lines
    assert alias(site) == 1 and ecs.deployments[0]["rolloutState"] == "COMPLETED"


def test_an_alias_that_moved_meanwhile_is_not_moved_over(site, lines, monkeypatch):
    monkeypatch.setattr(releases, "_pointed_at", lambda *_: 7)
    with pytest.raises(UserError, match="another release moved people@production meanwhile"):
        release(site, order(), lines)
    assert alias(site) is None


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
    return [arn for arn, (definition, _) in ecs.definitions.items() if definition["status"] == "ACTIVE"]


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
def server():
    """A server that answers /ready with what `answers` holds, the last for ever."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(200 if self.path == "/ready" and answer else 503)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_):
            pass

    answers = []
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=web.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{web.server_port}", answers
    web.shutdown()
    web.server_close()


def test_the_url_is_asked_until_it_names_the_version(site, lines, server):
    url, answers = server
    answers += [None, {"model": "people:2"}, {"model": "people:1"}]
    release(site, order(verify_url=f"{url}/"), lines)
    assert alias(site) == 1
    assert f"{url}/ answers as people:1" in lines


def test_a_url_that_names_another_version_leaves_the_alias(server, lines):
    url, answers = server
    answers += [{"model": "people:2"}]
    with pytest.raises(UserError, match="answers: people:2"):
        releases.verify(url, "people:1", lines, patience=0)
    answers[0] = {"message": "not it"}
    with pytest.raises(UserError, match="answers: KeyError"):
        releases.verify(url, "people:1", lines, patience=0)


def test_a_service_that_is_not_there_is_told(site, ecs):
    ecs.do_describe_services = None
    service = Service(ecs, "nerforge", "nerforge-server")
    described = ecs.describe_services(cluster="nerforge", services=["nerforge-server"])
    described["services"][0]["status"] = "INACTIVE"
    ecs.__dict__["describe_services"] = lambda **_: described
    with pytest.raises(UserError, match=r"nerforge/nerforge-server: there is no such ECS service"):
        service.describe()
