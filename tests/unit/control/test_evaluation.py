"""What a version finds in another's held-out data: read where it is recorded, and else found out by a run."""

import json

import pytest
from ansible_collections.nerforge.aws.plugins.module_utils.contract import names
from ansible_collections.nerforge.aws.plugins.module_utils.contract import spec as specs
from ansible_collections.nerforge.aws.plugins.module_utils.contract.errors import UserError
from ansible_collections.nerforge.aws.plugins.plugin_utils import evaluation, queueing
from botocore.exceptions import ClientError
from support.aws_double import refused

KEY = f"datasets/{'a' * 64}.conll"
SOURCE = {"from": "train.conll", "key": KEY, "sha256": "a" * 64, "format": "conll"}
GIVEN = {"name": "people", "data": {"train": SOURCE, "dev": SOURCE}, "seed": 3}
SPEC = specs.with_defaults(GIVEN)
OLD = {"name": "people", "version": 6, "prefix": "models/people/6/"}
EXAMPLES = {"train": "1" * 64, "dev": "2" * 64}
CANDIDATE = {
    "name": "people",
    "version": 7,
    "spec": SPEC,
    "scores": {"f": 0.9, "on": "dev"},
    "examples": EXAMPLES,
}
SCORES = {"f": 2 / 3, "p": 1.0, "r": 0.5, "on": "dev"}
COUNTS = [[1, 0, 1], [0, 0, 0]]


@pytest.fixture
def bucket(stack):
    """The bucket, with the data in it; puts and lists objects."""
    s3 = stack.aws.client("s3")
    s3.put_object(Bucket="nerforge-bucket", Key=KEY, Body=b"data")
    return s3


def record(s3, examples=EXAMPLES["dev"]):
    """Write what people:6 finds in these examples."""
    found = {"format": 1, "model": "people:6", "examples": examples, "scores": SCORES, "counts": COUNTS}
    key = names.evaluation_key("people", 6, examples)
    s3.put_object(Bucket="nerforge-bucket", Key=key, Body=json.dumps(found).encode())


@pytest.fixture
def counts_on(stack, lines):
    def counts_on(candidate=None):
        model = candidate or CANDIDATE
        return evaluation.counts_on(stack.aws, stack.deployment, "nerforge", OLD, model, lines)

    return counts_on


@pytest.fixture
def trainer(stack, bucket, monkeypatch):
    """Whoever takes a message off the queue ends the run so."""
    send = queueing.send
    ran = []

    def trainer(state="SUCCEEDED", examples=EXAMPLES["dev"], writes=True, **fields):
        def sent(aws, queue_url, run_id):
            send(aws, queue_url, run_id)
            ran.append(run_id)
            assert stack.runs.claim(run_id, 10) == "claimed"
            stack.runs.move(run_id, "STARTING", "RUNNING", 1)
            if writes:
                record(bucket, examples)
            result = {"on": "dev", "f": SCORES["f"], "examples": examples}
            done = {"reason": "people:6 has F 0.667 on the dev data of people:7", "result": result}
            stack.runs.move(run_id, "RUNNING", state, 1, **(done | fields))

        monkeypatch.setattr(queueing, "send", sent)
        return ran

    return trainer


def test_what_is_recorded_is_read_and_no_run_is_made(stack, bucket, counts_on, lines):
    record(bucket)
    assert counts_on() == (SCORES, COUNTS)
    assert lines == []
    assert list(stack.runs.in_state("QUEUED")) == []


def test_what_is_not_recorded_a_run_finds_out(stack, trainer, counts_on, lines):
    ran = trainer()
    assert counts_on() == (SCORES, COUNTS)
    (run_id,) = ran
    run = stack.runs.get(run_id)
    assert run["purpose"] == {"kind": "evaluate", "model": "people:6", "of": "people:7"}
    assert run["spec"] == SPEC
    specs.validate(run["spec"], submitted=True)
    assert lines[0] == "people:6 was not yet evaluated on the dev data of people:7: a run does so now"
    assert lines[-1].endswith("SUCCEEDED people:6 has F 0.667 on the dev data of people:7")
    counts_on()
    assert len(ran) == 1


def test_one_trained_on_a_gpu_needs_none_and_no_instance_of_its_size(stack, trainer, counts_on):
    ran = trainer()
    needs = {"vcpu": 16, "memory_mib": 60_000, "gpus": 1}
    counts_on(CANDIDATE | {"spec": specs.with_defaults(GIVEN | {"device": "gpu", "resources": needs})})
    assert stack.runs.get(ran[0])["spec"] == SPEC


def test_without_checksums_of_the_examples_the_run_tells_which_they_are(trainer, counts_on):
    """As of a version from before manifests had them."""
    ran = trainer(examples="3" * 64)
    older = {key: value for key, value in CANDIDATE.items() if key != "examples"}
    assert counts_on(older) == (SCORES, COUNTS)
    assert len(ran) == 1


def test_nothing_but_what_is_recorded_is_asked_for_where_nothing_may_change(stack, bucket):
    assert evaluation.recorded_on(stack.aws, "nerforge-bucket", OLD, CANDIDATE) is None
    assert evaluation.recorded_on(stack.aws, "nerforge-bucket", OLD, CANDIDATE | {"examples": {}}) is None
    record(bucket)
    assert evaluation.recorded_on(stack.aws, "nerforge-bucket", OLD, CANDIDATE) == (SCORES, COUNTS)
    assert list(stack.runs.in_state("QUEUED")) == []


def test_a_run_that_fails_is_told_with_its_reason(trainer, counts_on):
    trainer("FAILED", writes=False, reason="out of memory", result=None)
    with pytest.raises(UserError) as error:
        counts_on()
    told = str(error.value)
    assert told.startswith("people:6 could not be evaluated on the dev data of people:7: run ")
    assert " FAILED: out of memory. " in told
    assert told.endswith("Then give the same command again.")


def test_a_run_that_left_nothing_is_told(trainer, counts_on):
    trainer(writes=False)
    with pytest.raises(
        UserError, match="the run has SUCCEEDED, but there is no s3://nerforge-bucket/models/"
    ):
        counts_on()


def test_data_that_is_gone_is_told_before_any_run(stack, bucket, counts_on):
    bucket.delete_object(Bucket="nerforge-bucket", Key=KEY)
    with pytest.raises(
        UserError, match=r"data\.train: train\.conll: the data that people:7 was made with is "
    ):
        counts_on()
    assert list(stack.runs.in_state("QUEUED")) == []


def test_a_bucket_that_may_not_be_read_is_no_missing_evaluation(stack, counts_on, answer):
    answer(stack.aws.client("s3"), get_object=refused("AccessDenied"))
    with pytest.raises(ClientError):
        counts_on()
