"""Pruning: what the rule chooses goes, what is used stays, whoever comes between or cuts it short."""

import datetime

import pytest
from ansible_collections.nerforge.aws.plugins.module_utils.contract.errors import UserError
from ansible_collections.nerforge.aws.plugins.module_utils.contract.models import ROLLBACK
from ansible_collections.nerforge.aws.plugins.plugin_utils import pruning
from ansible_collections.nerforge.aws.plugins.plugin_utils.pruning import Rule
from ansible_collections.nerforge.aws.plugins.plugin_utils.service import Release, Service

BUCKET, FAMILY = "nerforge-bucket", "nerforge-server"
FILES = ("model.tar.gz", "manifest.json", f"evaluations/{'a' * 64}.json")


@pytest.fixture
def make(stack):
    """Makes versions of a model, each a day older than the next one."""

    def make(name, *versions):
        now = datetime.datetime.now(datetime.UTC)
        for version in versions:
            for file in FILES:
                key = f"models/{name}/{version}/{file}"
                stack.aws.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"x")
            stack.models.register(
                {
                    "name": name,
                    "version": version,
                    "run": f"01JAAAAAAA{version:016}",
                    "created": (now - datetime.timedelta(days=versions[-1] - version + 0.5)).isoformat(),
                    "artifact": {"sha256": f"{version:064}", "bytes": 1_000_000},
                    "language": "en",
                    "labels": ["PER"],
                    "scores": {"f": 0.5},
                }
            )

    return make


@pytest.fixture
def prune(stack, lines):
    """Prunes by a rule; returns the labels of what has gone."""

    def prune(keep=1, dry=False, service=None, models=None, uses=None, delete=None, **rule):
        models = models or stack.models
        gone = pruning.prune(
            models,
            Rule(keep, **rule),
            uses or (lambda: pruning.uses(models, service, stack.runs)),
            delete or (lambda model: pruning.delete_files(stack.aws.client("s3"), BUCKET, model)),
            dry,
            lines,
        )
        return [f"{model['name']}:{model['version']}" for model in gone]

    return prune


def recorded(stack):
    return [f"{model['name']}:{model['version']}" for model in stack.models.all()[0]]


def stored(stack):
    """The versions that have files, each with all of them."""
    keys = [item["Key"] for item in stack.aws.client("s3").list_objects_v2(Bucket=BUCKET).get("Contents", ())]
    folders = sorted({tuple(key.split("/")[1:3]) for key in keys}, key=lambda of: (of[0], int(of[1])))
    assert len(keys) == len(folders) * len(FILES)
    return [":".join(folder) for folder in folders]


# --- the rule ---


def test_the_newest_of_each_model_stay(stack, make, prune, lines):
    make("people", *range(1, 11))
    make("places", 1, 2)
    assert prune(keep=8) == ["people:1", "people:2"]
    left = [f"people:{version}" for version in range(3, 11)] + ["places:1", "places:2"]
    assert recorded(stack) == stored(stack) == left
    assert lines[0].startswith("deleted people:1: F 0.500, 1.0 MB, made 9d ago by run 01J")
    assert lines[-1] == "deleted 2 versions, 2.0 MB"


def test_one_whose_number_begins_another_takes_nothing_of_it_along(stack, make, prune):
    make("people", 1, 10, 11)
    assert prune(keep=2) == ["people:1"]
    assert stored(stack) == ["people:10", "people:11"]


def test_only_what_is_old_enough_goes(make, prune):
    make("people", 1, 2, 3, 4)
    assert prune(older_than=2) == ["people:1", "people:2"]


def test_only_the_model_that_is_named_is_pruned(stack, make, prune):
    make("people", 1, 2)
    make("places", 1, 2)
    stack.models.mark_pruned("places", 1)
    assert prune(name="people") == ["people:1"]
    assert stored(stack) == ["people:2", "places:1", "places:2"]


def test_check_mode_tells_and_deletes_nothing(stack, make, prune, lines):
    make("people", 1, 2, 3)
    assert prune(dry=True) == ["people:1", "people:2"]
    assert recorded(stack) == stored(stack) == ["people:1", "people:2", "people:3"]
    assert stack.models.marked_pruned() == []
    assert lines[-1] == "would delete 2 versions, 2.0 MB"


def test_nothing_to_delete_is_said(make, prune, lines):
    make("people", 1)
    assert prune() == [] and lines == ["no version to delete"]


# --- what is used ---


def test_what_an_alias_points_at_or_may_be_rolled_back_to_stays(stack, make, prune, lines):
    """Seven promotions, and one that was rolled back: five rollbacks from the seventh lead to the second."""
    make("people", *range(1, 11))
    for version in range(1, 8):
        stack.models.move_alias("people", "production", version, before=version - 1 or None)
    stack.models.move_alias("people", "production", 8, before=7)
    stack.models.move_alias("people", "production", 7, before=8, kind=ROLLBACK)
    stack.models.move_alias("people", "staging", 9, before=None)
    assert prune() == ["people:1", "people:8"]
    assert "people:7 stays: people@production points at it" in lines
    assert "people:2 stays: people@production can be rolled back to it" in lines
    assert "people:9 stays: people@staging points at it" in lines


def test_many_promotions_that_were_rolled_back_do_not_push_out_the_release_before(stack, make, prune):
    make("people", *range(1, 12))
    stack.models.move_alias("people", "production", 1, before=None)
    stack.models.move_alias("people", "production", 2, before=1)
    for bad in range(3, 11):
        stack.models.move_alias("people", "production", bad, before=2)
        stack.models.move_alias("people", "production", 2, before=bad, kind=ROLLBACK)
    assert prune() == [f"people:{version}" for version in range(3, 11)]


def test_what_the_service_runs_or_a_recent_release_pins_stays(make, prune, ecs, lines):
    make("people", *range(1, 12))
    service = Service(ecs, "nerforge", "nerforge-server")
    revisions = [
        service.register(FAMILY, Release(f"people:{version}", f"{version}" * 8, ecs.template))
        for version in range(1, 10)
    ]
    ecs.desired, ecs.plot = 1, "hang"
    service.update(revisions[1])  # people:2 runs,
    ecs.deployments[0]["rolloutState"] = "COMPLETED"
    service.update(revisions[0])  # and people:1 is on its way
    assert prune(service=(service, FAMILY)) == ["people:3", "people:10"]
    assert "people:1 stays: the service runs it (nerforge-server:2)" in lines
    assert "people:2 stays: the service runs it (nerforge-server:3)" in lines
    assert "people:4 stays: a recent release, nerforge-server:5, pins it" in lines


def test_what_a_run_works_on_stays_until_it_has_ended(stack, make, prune, lines):
    make("people", 1, 2, 3, 4)
    run_id = "01JAAAAAAA0000000000000001"
    purpose = {"kind": "evaluate", "model": "people:2", "of": "people:3"}
    stack.runs.create(run_id, {"name": "people"}, purpose=purpose)
    assert prune() == ["people:1"]
    assert f"people:3 stays: run {run_id} works on it" in lines
    stack.runs.move(run_id, "QUEUED", "FAILED")
    assert prune() == ["people:2", "people:3"]


# --- who comes between, and what cuts it short ---


class Between:
    """The models table, which does something before the call of that number."""

    def __init__(self, models, number, act):
        self._models, self._left, self._act = models, number, act

    def step(self):
        self._left -= 1
        if self._left == 0:
            self._act()

    def __getattr__(self, name):
        method = getattr(self._models, name)

        def call(*args):
            self.step()
            return method(*args)

        return call


def cut_short():
    raise KeyboardInterrupt


def prune_between(stack, prune, models):
    """Prune with these; to delete a version's files is a step like each of theirs, before and after."""

    def delete(model):
        models.step()
        pruning.delete_files(stack.aws.client("s3"), BUCKET, model)
        models.step()

    return prune(models=models, uses=lambda: pruning.uses(models, None, stack.runs), delete=delete)


@pytest.mark.parametrize("step", range(1, 17))
def test_a_version_that_an_alias_moves_to_meanwhile_is_whole_or_the_move_fails(stack, make, prune, step):
    make("people", 1, 2, 3)
    stack.models.move_alias("people", "production", 3, before=None)
    moved = []

    def promote():
        try:
            moved.append(stack.models.move_alias("people", "production", 1, before=3))
        except UserError:
            moved.append(False)

    models = Between(stack.models, step, promote)

    gone = prune_between(stack, prune, models)
    assert recorded(stack) == stored(stack)
    assert stack.models.marked_pruned() == []
    if moved == [True]:
        assert recorded(stack) == ["people:1", "people:3"] and gone == ["people:2"]
    else:
        assert moved == [False] and recorded(stack) == ["people:3"]


@pytest.mark.parametrize("step", range(1, 15))
def test_a_prune_that_was_cut_short_is_finished_by_the_next(stack, make, prune, step):
    make("people", 1, 2, 3)
    models = Between(stack.models, step, cut_short)

    with pytest.raises(KeyboardInterrupt):
        prune_between(stack, prune, models)
    assert set(recorded(stack)) <= set(stored(stack))
    prune(keep=3)
    assert stack.models.marked_pruned() == []
    assert recorded(stack) == stored(stack)
    prune(keep=1)
    assert recorded(stack) == stored(stack) == ["people:3"]


@pytest.mark.parametrize("step", range(9, 17))
def test_what_was_begun_is_finished_or_taken_back_even_if_it_has_come_into_use(stack, make, prune, step):
    """A rollback moves the window onto a version that was chosen, and may have lost its files by then."""
    make("people", *range(1, 9))
    for version in range(1, 9):
        stack.models.move_alias("people", "production", version, before=version - 1 or None)
    models = Between(stack.models, step, cut_short)

    with pytest.raises(KeyboardInterrupt):
        prune_between(stack, prune, models)
    stack.models.move_alias("people", "production", 7, before=8, kind=ROLLBACK)
    stack.models.move_alias("people", "production", 6, before=7, kind=ROLLBACK)
    prune(keep=8)
    assert stack.models.marked_pruned() == []
    assert recorded(stack) == stored(stack)
    assert recorded(stack)[-6:] == [f"people:{version}" for version in range(3, 9)]


def test_a_prune_takes_no_version_back_whose_files_another_one_deletes(stack, make, prune):
    """The other has seen it in no use; this one sees a release that had found it before it was marked."""
    make("people", 1, 2)

    def delete(model):
        prune(keep=2, uses=lambda: {("people", 1): "a recent release pins it"}, delete=lambda model: None)
        assert stack.models.get("people", 1) is None
        pruning.delete_files(stack.aws.client("s3"), BUCKET, model)

    assert prune(delete=delete) == ["people:1"]
    assert recorded(stack) == stored(stack) == ["people:2"]


def test_a_prune_deletes_no_files_of_a_version_that_another_one_has_taken_back(stack, make, prune):
    make("people", 1, 2)
    looks = iter([{}, {}])

    def uses():
        if next(looks, None) is not None and stack.models.marked_pruned():
            prune(keep=2, uses=lambda: {("people", 1): "a recent release pins it"})
        return {}

    assert prune(uses=uses) == []
    assert recorded(stack) == stored(stack) == ["people:1", "people:2"]


def test_the_version_of_a_run_that_has_not_ended_stays(stack, make, prune, lines):
    """It has registered it and then was lost: its next attempt finds it, or would give the number again."""
    make("people", 1, 2)
    run_id = "01JAAAAAAA0000000000000001"
    stack.runs.create(run_id, {"name": "people"})
    assert stack.runs.claim(run_id, 1) == "claimed"
    stack.runs.move(run_id, "STARTING", "RUNNING", 1)
    assert stack.runs.reserve_version(run_id, 1, 1) == 1
    assert prune() == []
    assert f"people:1 stays: run {run_id} works on it" in lines


def test_check_mode_says_of_what_was_begun_too_whether_it_goes(stack, make, prune):
    make("people", 1, 2, 3)
    for version in (1, 2):
        stack.models.mark_pruned("people", version)
    assert prune(dry=True, uses=lambda: {("people", 1): "the service runs it"}) == ["people:2"]
    assert prune(uses=lambda: {("people", 1): "the service runs it"}) == ["people:2"]
    assert recorded(stack) == stored(stack) == ["people:1", "people:3"]


def test_a_model_that_is_not_there_is_told(stack, make, prune):
    make("people", 1, 2)
    with pytest.raises(UserError, match="there is no model peopel"):
        prune(name="peopel")


def test_more_files_than_s3_lists_or_deletes_at_once(stack, make, prune, monkeypatch):
    make("people", 1, 2)
    s3 = stack.aws.client("s3")
    delete = s3.delete_objects

    def refuses_more(Bucket, Delete):  # as S3 does, and moto does not
        assert len(Delete["Objects"]) <= 1000
        return delete(Bucket=Bucket, Delete=Delete)

    monkeypatch.setattr(s3, "delete_objects", refuses_more)
    for number in range(1001):
        s3.put_object(Bucket=BUCKET, Key=f"models/people/1/evaluations/{number:064}.json", Body=b"x")
    assert prune() == ["people:1"] and stored(stack) == ["people:2"]


def test_one_that_is_released_once_it_was_chosen_stays(stack, make, prune, lines):
    make("people", 1, 2)
    looks = iter([{}, {("people", 1): "the service runs it"}])
    assert prune(uses=lambda: next(looks)) == []
    assert recorded(stack) == stored(stack) == ["people:1", "people:2"]
    assert stack.models.marked_pruned() == [] and "people:1 stays: the service runs it" in lines


def test_a_version_whose_files_s3_keeps_is_not_forgotten(stack, make, prune, monkeypatch):
    make("people", 1, 2)
    refused = {"Errors": [{"Key": "models/people/1/model.tar.gz", "Message": "Access Denied"}]}
    s3 = stack.aws.client("s3")
    monkeypatch.setattr(s3, "delete_objects", lambda **__: refused)
    with pytest.raises(
        UserError, match=r"models/people/1/model\.tar\.gz: S3 does not delete it: Access Denied"
    ):
        prune()
    assert [model["version"] for model in stack.models.marked_pruned()] == [1]
    monkeypatch.undo()
    assert prune() == ["people:1"] and stored(stack) == ["people:2"]
