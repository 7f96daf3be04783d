"""A version trained once more: what is checked, what is submitted, and what came out, in words."""

import json

import pytest
from ansible_collections.nerforge.aws.plugins.module_utils.contract import names, purposes
from ansible_collections.nerforge.aws.plugins.module_utils.contract import spec as specs
from ansible_collections.nerforge.aws.plugins.module_utils.contract.errors import UserError
from ansible_collections.nerforge.aws.plugins.plugin_utils import listing, reproduction, retrying, run_report

KEY = f"datasets/{'a' * 64}.conll"
SOURCE = {"from": "train.conll", "key": KEY, "sha256": "a" * 64, "format": "conll"}
GIVEN = {"name": "people", "data": {"train": SOURCE, "dev": SOURCE}, "seed": 3}
SPEC = specs.with_defaults(GIVEN)
RECORD = {"name": "people", "version": 7, "prefix": "models/people/7/"}
ARTIFACT = f"{RECORD['prefix']}{names.ARTIFACT}"

SAME = {"identical": True, "weights": True, "files": [], "environment": {}, "f": 0.5, "f_then": 0.5}
OTHER = {
    "identical": False,
    "weights": False,
    "files": ["meta.json", "ner/model"],
    "environment": {"cpu": [None, "Xeon"], "spacy": ["3.8.6", "3.8.7"]},
    "f_then": 0.8712,
    "f": 0.8701,
}


@pytest.fixture
def manifest(stack):
    """Record people:7 by this spec, with its data and its artifact in the bucket."""
    s3 = stack.aws.client("s3")
    for key in (KEY, ARTIFACT):
        s3.put_object(Bucket="nerforge-bucket", Key=key, Body=b"data")

    def manifest(spec):
        body = json.dumps({"name": "people", "version": 7, "spec": spec}).encode()
        s3.put_object(Bucket="nerforge-bucket", Key=f"{RECORD['prefix']}{names.MANIFEST}", Body=body)
        return reproduction.spec_of(stack.aws, stack.deployment, RECORD)

    return manifest


def test_the_run_has_the_recorded_spec_and_its_purpose(stack, manifest, lines):
    spec = manifest(SPEC)
    run_id = reproduction.submit(stack.aws, "nerforge", stack.deployment, RECORD, spec, lines)
    run = stack.runs.get(run_id)
    assert run["spec"] == SPEC
    assert run["purpose"] == {"kind": "reproduce", "model": "people:7"}
    assert run["submitted_by"]


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (
            SPEC | {"device": "gpu", "resources": SPEC["resources"] | {"gpus": 1}},
            "resources.gpus: 1 asked for",
        ),
        (SPEC | {"dropuot": 0.1}, "dropuot: unknown field"),
    ],
)
def test_what_cannot_be_trained_here_is_told(manifest, spec, told):
    with pytest.raises(UserError) as error:
        manifest(spec)
    assert str(error.value).startswith(told)


def test_a_manifest_or_data_that_is_gone_is_told(stack, manifest):
    with pytest.raises(
        UserError, match=r"people:7: its manifest is gone: s3://nerforge-bucket/models/people/7"
    ):
        reproduction.spec_of(stack.aws, stack.deployment, RECORD)
    stack.aws.client("s3").delete_object(Bucket="nerforge-bucket", Key=KEY)
    with pytest.raises(
        UserError, match=rf"the data that people:7 was made with is gone: s3://\S+/{KEY}\. Put"
    ):
        manifest(SPEC)


def test_an_artifact_that_is_gone_is_told_before_anything_is_trained(stack, manifest):
    stack.aws.client("s3").delete_object(Bucket="nerforge-bucket", Key=ARTIFACT)
    with pytest.raises(UserError, match=rf"people:7: its artifact is gone: s3://nerforge-bucket/{ARTIFACT}"):
        manifest(SPEC)


def test_what_came_out_in_words():
    same = "libraries, Python, platform, CPU and image are the same as then"
    assert list(reproduction.lines(SAME)) == [same]
    assert list(reproduction.lines(OTHER)) == [
        "files that differ: meta.json, ner/model",
        "F 0.871 then, 0.870 now",
        "cpu: not known then, Xeon now",
        "spacy: 3.8.6 then, 3.8.7 now",
    ]


def test_one_that_differs_is_told_from_one_that_does_not_and_from_others():
    assert reproduction.difference(REPRODUCED).startswith(
        "people:7 is not reproduced; files that differ: meta"
    )
    for one in (REPRODUCED | {"result": SAME}, EVALUATED, run(None, model="people:8")):
        assert reproduction.difference(one) is None


# --- such runs among the others ---


def run(purpose, **fields):
    return {
        "run_id": "01JAAAAAAA0000000000000001",
        "name": "people",
        "state": "SUCCEEDED",
        "spec": SPEC,
        "attempt": 1,
        "created": "2026-03-01T09:00:00.000+00:00",
        "ended": "2026-03-01T09:05:00.000+00:00",
        "purpose": purpose,
        **fields,
    }


REPRODUCED = run(purposes.reproduce("people:7"), result=OTHER, reason="people:7 is not reproduced")
EVALUATED = run(
    purposes.evaluate("people:6", "people:7"),
    result={"on": "test", "f": 0.8125, "examples": "e" * 64},
    reason="people:6 has F 0.812 on the test data of people:7",
)


def test_they_are_told_from_trainings_in_the_list():
    __, *rows = listing.runs_table([REPRODUCED, EVALUATED, run(None, model="people:8")])
    assert "reproduce people:7" in rows[0] and "people:7 is not reproduced" in rows[0]
    assert " 0.870 " in rows[0]
    assert "evaluate people:6" in rows[1] and " 0.812 " in rows[1]
    assert " people:8 " in rows[2]


def test_they_are_told_whole():
    told = "\n".join(run_report.lines(REPRODUCED))
    assert "  to          train people:7 once more and compare; it makes no model\n" in told
    assert "  found       files that differ: meta.json, ner/model\n" in told
    assert "promote.yml" not in told
    told = "\n".join(run_report.lines(EVALUATED))
    assert "evaluate people:6 on the held-out data of people:7" in told
    assert "promote.yml" not in told


def test_a_retry_is_for_the_same():
    old = run(purposes.reproduce("people:7"), commit={"id": "f" * 40, "changed": True}, scores={"f": 1})
    assert retrying.kept(old) == {"purpose": old["purpose"], "commit": old["commit"]}
    assert retrying.kept({"run_id": "x", "spec": SPEC}) == {}


def test_one_that_has_succeeded_is_not_retried():
    again = r"nothing to retry\. .* reproduce\.yml -e model=people:7\."
    with pytest.raises(UserError, match=f"it has SUCCEEDED, so there is {again}"):
        retrying.check_ended(REPRODUCED)


@pytest.mark.parametrize("one", [REPRODUCED, EVALUATED])
def test_one_that_failed_for_what_lies_in_s3_is_retried_once_that_is_mended(one):
    failed = one | {"state": "FAILED", "cause": "WRONG_INPUT"}
    steps = run_report.next_steps(failed)
    assert steps == [f"Mend it as the reason says; then retry.yml -e run={one['run_id']}."]
    assert retrying.doubts(failed, {}) is None
