"""One run in full, at each point of its life, and what to do next."""

import pytest
from ansible_collections.nerforge.aws.plugins.module_utils.contract import causes
from ansible_collections.nerforge.aws.plugins.module_utils.contract import spec as specs
from ansible_collections.nerforge.aws.plugins.plugin_utils import run_report

RUN = "01JAAAAAAA0000000000000001"
RESOURCES = {"vcpu": 4, "memory_mib": 8192, "spot": True}
SPEC = specs.with_defaults(
    {"name": "people", "data": {"train": "a.conll", "dev": "b.conll"}, "resources": RESOURCES}
)
QUEUED = {
    "run_id": RUN,
    "name": "people",
    "state": "QUEUED",
    "cause": "NO_SLOT",
    "reason": "all 2 slots are taken",
    "spec": SPEC,
    "attempt": 0,
    "created": "2026-03-01T09:00:00.000+00:00",
    "submitted_by": "arn:aws:iam::123456789012:user/anna",
}
ENDED = QUEUED | {
    "state": "SUCCEEDED",
    "cause": None,
    "reason": None,
    "attempt": 2,
    "started": "2026-03-01T09:02:00.000+00:00",
    "running": "2026-03-01T09:11:00.000+00:00",
    "ended": "2026-03-01T10:12:05.000+00:00",
    "history": [
        {
            "attempt": 1,
            "task_arn": "arn:x/t1",
            "exit_code": 75,
            "cause": "INTERRUPTED",
            "reason": "the spot instance ended",
            "ended": "2026-03-01T09:10:30.000+00:00",
        }
    ],
    "progress": {"phase": "training", "step": 400, "max_steps": 400, "f": 0.5, "resumed": 200},
    "checkpoint": {"step": 300, "saved": "2026-03-01T09:11:50.000+00:00", "bytes": 11_200_000},
    "model": "people:3",
    "scores": {"f": 0.5, "on": "test", "labels": {"PER": {"f": 0.25}}},
    "retry_of": "01JAAAAAAA0000000000000000",
    "warnings": ["LOC has 3 examples"],
}


def report(run):
    """The report by its heads: what follows a head belongs to it."""
    first, *rest = run_report.lines(run)
    parts, head = {"": [first]}, ""
    for line in rest:
        head = line[2:14].strip() or head
        parts.setdefault(head, []).append(line[14:])
    return parts


def test_a_run_that_waits():
    parts = report(QUEUED)
    assert parts[""] == [f"run {RUN} of people"]
    assert parts["state"] == ["QUEUED: NO_SLOT: all 2 slots are taken"]
    assert parts["spec"] == [
        "language en, at most 20000 steps, seed 0, 4 vCPU, 8192 MiB, spot, retries 1, "
        "at most 240 minutes an attempt",
        "train a.conll, dev b.conll",
    ]
    assert parts["times"][0].startswith("submitted 2026-03-01 09:00:00 UTC, QUEUED ")
    assert parts["by"] == ["arn:aws:iam::123456789012:user/anna"]
    assert parts["next"] == ["Raise max_concurrent_runs, or cancel a run."]
    assert not parts.keys() & {"attempts", "progress", "checkpoint", "model", "retry of"}


def test_a_run_that_was_interrupted_and_ended_well():
    parts = report(ENDED)
    assert parts["state"] == ["SUCCEEDED"]
    assert parts["times"] == [
        "submitted 2026-03-01 09:00:00 UTC, QUEUED 2:00, STARTING 9:00, RUNNING 1:01:05"
    ]
    assert parts["attempts"] == [
        "1     8:30  INTERRUPTED, exit code 75: the spot instance ended",
        "2  1:01:35  SUCCEEDED",
    ]
    assert parts["progress"] == ["training  step 400/400  dev F 0.500  went on from step 200"]
    assert parts["checkpoint"][0].startswith("step 300, ") and parts["checkpoint"][0].endswith("11.2 MB")
    assert parts["model"] == ["people:3  F 0.500 on test  PER 0.250"]
    assert parts["retry of"] == ["01JAAAAAAA0000000000000000"]
    assert parts["warnings"] == ["LOC has 3 examples"]
    assert parts["next"] == ["Serve it: promote.yml -e model=people:3."]


def test_what_it_has_cost():
    first = {"attempt": 1, "seconds": 510, "instance_type": "m6i.xlarge", "spot": True, "usd": 0.0136}
    second = {"attempt": 2, "seconds": 3695, "instance_type": None, "spot": False, "usd": None}
    accounts = [each | {"prices": "2031-01-01"} for each in (first, second)]
    assert report(ENDED | {"cost": {"usd": 0.0136, "attempts": accounts}})["cost"] == [
        "0.01 USD, and 1 attempt whose price is not known",
        "1     8:30  0.01 USD: m6i.xlarge, spot, prices of 2031-01-01",
        "2  1:01:35  price not known: an instance that ECS no longer knew, on demand, prices of 2031-01-01",
    ]
    assert "cost" not in report(ENDED | {"cost": {"usd": None, "attempts": accounts[1:]}})  # the local AWS
    rare = accounts[0] | {"instance_type": "x9.huge", "usd": None}
    assert report(ENDED | {"cost": {"usd": None, "attempts": [rare]}})["cost"] == [
        "not known",
        "1     8:30  price not known: x9.huge, spot, prices of 2031-01-01",
    ]


def test_a_last_attempt_whose_end_is_told_is_shown_once():
    last = {"attempt": 2, "cause": "ERROR", "reason": "exit code 1", "ended": ENDED["ended"], "exit_code": 1}
    parts = report(ENDED | {"state": "FAILED", "history": [*ENDED["history"], last]})
    assert parts["attempts"][1:] == ["2  1:01:35  ERROR, exit code 1: exit code 1"]


def test_a_config_of_its_own_and_gpus():
    given = {"name": "people", "device": "gpu", "data": {"train": "a.conll", "dev": "b.conll"}}
    spec = specs.with_defaults(given | {"config": "[nlp]"})
    line = report(QUEUED | {"spec": spec})["spec"][0]
    assert "a config of its own" in line and "1 GPU" in line and "spot" not in line


def test_a_record_whose_spec_cannot_be_read_is_shown_all_the_same():
    assert report(QUEUED | {"spec": None})["state"] == ["QUEUED: NO_SLOT: all 2 slots are taken"]


@pytest.mark.parametrize(
    ("state", "cause", "steps"),
    [
        ("FAILED", "OUT_OF_MEMORY", [f"Raise resources.memory_mib in retry.yml -e run={RUN}."]),
        ("FAILED", "ERROR", [f"logs.yml -e run={RUN}, then retry.yml -e run={RUN}."]),
        (
            "FAILED",
            "IMAGE",
            ["deploy.yml, which builds and pushes it.", f"Begin it anew: retry.yml -e run={RUN}."],
        ),
        ("FAILED", "WRONG_INPUT", ["Mend it as the reason says; then train.yml."]),
        ("FAILED", None, [f"Begin it anew: retry.yml -e run={RUN}."]),
        ("CANCELLED", "CANCELLED", [f"retry.yml -e run={RUN} begins it anew, from its last checkpoint."]),
        ("RUNNING", None, [f"See what it writes: logs.yml -e run={RUN} -e follow=true."]),
        ("STARTING", "STARTING", []),
    ],
)
def test_what_to_do_next(state, cause, steps):
    assert run_report.next_steps(QUEUED | {"state": state, "cause": cause}) == steps


@pytest.mark.parametrize("cause", causes.CAUSES)
def test_the_fix_of_every_cause_names_the_run(cause):
    fix = run_report.fix(QUEUED | {"cause": cause})
    assert "run=ID" not in fix and "retry.yml " not in fix.replace(f"retry.yml -e run={RUN}", "")
    assert fix == "" or (fix.endswith(".") and not fix.endswith(".."))
