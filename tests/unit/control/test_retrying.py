"""What a retry may change, and which runs may be retried."""

import pytest
from ansible_collections.nerforge.aws.plugins.module_utils.contract import spec as specs
from ansible_collections.nerforge.aws.plugins.module_utils.contract.errors import UserError
from ansible_collections.nerforge.aws.plugins.plugin_utils import queueing, retrying

OLD, NEW = "01JAAAAAAA0000000000000001", "01JAAAAAAB0000000000000002"
KEY = f"datasets/{'a' * 64}.conll"
SOURCE = {"from": "train.conll", "key": KEY, "sha256": "a" * 64, "format": "conll"}
SPEC = specs.with_defaults({"name": "people", "data": {"train": SOURCE, "dev": SOURCE}})


def test_a_change_reaches_only_the_fields_it_names():
    new = retrying.changed(SPEC, {"resources": {"memory_mib": 8192}, "retries": 3})
    assert new["resources"] == SPEC["resources"] | {"memory_mib": 8192}
    same = {field: value for field, value in SPEC.items() if field not in ("resources", "retries")}
    assert new == same | {"resources": new["resources"], "retries": 3}
    assert retrying.changed(SPEC, {}) == SPEC


def test_a_full_config_stays():
    spec = specs.with_defaults(
        {"name": "people", "data": {"train": SOURCE, "dev": SOURCE}, "config": "[nlp]\n"}
    )
    assert retrying.changed(spec, {"time_limit_minutes": 600}) == spec | {"time_limit_minutes": 600}


def test_all_that_may_change_is_known_to_the_schema():
    assert set(retrying.CHANGEABLE) <= specs.schema()["properties"].keys()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seed": 1}, "changes.seed: would make another model. A retry may change checkpoints, resources"),
        ({"data": {}}, "changes.data: would make another model"),
        ({"resource": {}}, r"changes.resource: unknown field. Did you mean resources\?"),
        ({"foo": 1}, "changes.foo: unknown field. A retry may change checkpoints, resources"),
        ({"resources": {"memory": 8192}}, "resources.memory: unknown field. Did you mean memory_mib"),
        ({"resources": {"memory_mib": 1}}, "resources.memory_mib: must be at least 512, not 1"),
        ({"resources": {"gpus": 1}}, "resources.gpus: device cpu has no use for 1"),
        ({"resources": 8192}, "resources: must be a mapping of fields"),
        ({"retries": "3"}, "retries: must be a whole number"),
    ],
)
def test_what_may_not_change_is_told(changes, told):
    with pytest.raises(UserError, match=told):
        retrying.changed(SPEC, changes)


@pytest.mark.parametrize(
    ("run", "told"),
    [
        (
            {"state": "SUCCEEDED", "model": "people:3"},
            r"SUCCEEDED as people:3, so there .* train\.yml -e spec",
        ),
        ({"state": "RUNNING"}, rf"has not ended: it is RUNNING\. .*cancel\.yml -e run={OLD}\."),
        ({"state": "QUEUED"}, "it is QUEUED"),
    ],
)
def test_a_run_that_has_a_model_or_has_not_ended_is_not_retried(run, told):
    with pytest.raises(UserError, match=told):
        retrying.check_ended(run | {"run_id": OLD})


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED"])
def test_a_run_that_ended_without_a_model_is(state):
    retrying.check_ended({"run_id": OLD, "state": state})


@pytest.fixture
def old(stack):
    """Reads a run that was cancelled."""
    stack.runs.create(OLD, SPEC)
    stack.runs.move(OLD, "QUEUED", "CANCELLED")
    return lambda: stack.runs.get(OLD)


def test_a_retry_under_way_is_found_until_it_ends(stack, old):
    assert retrying.under_way(stack.runs, old()) is None
    assert stack.runs.create_retry(NEW, SPEC, old())
    assert retrying.under_way(stack.runs, old())["run_id"] == NEW
    stack.runs.claim(NEW, 1)
    assert retrying.under_way(stack.runs, old())["run_id"] == NEW
    stack.runs.move(NEW, "STARTING", "FAILED")
    assert retrying.under_way(stack.runs, old()) is None


def test_of_two_that_retry_a_run_at_once_one_is_told(stack, old):
    read = old()
    first, __ = queueing.enqueue(stack.aws, "nerforge", stack.deployment, SPEC, read)
    with pytest.raises(UserError, match=rf"run {OLD}: somebody else has just begun it anew\. .* again"):
        queueing.enqueue(stack.aws, "nerforge", stack.deployment, SPEC, read)
    assert [run["run_id"] for run in stack.runs.in_state("QUEUED")] == [first]
    assert old() == read | {"retried_as": first}


@pytest.mark.parametrize(
    ("cause", "changes", "doubted"),
    [
        ("OUT_OF_MEMORY", {}, True),
        ("OUT_OF_MEMORY", {"retries": 2}, True),
        ("OUT_OF_MEMORY", {"resources": {"memory_mib": 8192}}, False),
        ("WRONG_INPUT", {"resources": {"memory_mib": 8192}}, True),
        ("ERROR", {}, False),
        (None, {}, False),
    ],
)
def test_a_retry_that_must_end_alike_is_doubted(cause, changes, doubted):
    assert bool(retrying.doubts({"cause": cause}, changes)) is doubted
