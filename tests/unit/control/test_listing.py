"""Finding and listing runs, and the table they are shown in."""

import itertools
import re
from types import SimpleNamespace

import pytest
from ansible_collections.nerforge.aws.plugins.module_utils.contract.errors import UserError
from ansible_collections.nerforge.aws.plugins.plugin_utils import listing, wording

IDS = ["01JAAAAAAA0000000000000001", "01JAAAAAAB0000000000000002", "01JBBBBBBB0000000000000003"]


@pytest.fixture
def runs(stack):
    """Three runs, of which the second has failed."""
    for run_id in IDS:
        stack.runs.create(run_id, {"name": "people"})
    stack.runs.move(IDS[1], "QUEUED", "FAILED", reason="the data\nis wrong " + "x" * 200)
    return stack.runs


def found(runs, **only):
    return [run["run_id"] for run in listing.newest(runs, **only)]


def test_runs_come_newest_first_whatever_their_state(runs):
    assert found(runs) == IDS[::-1]
    assert found(runs, only=["FAILED"]) == [IDS[1]]
    assert found(runs, prefix="01JA") == [IDS[1], IDS[0]]


def test_the_newest_of_many_are_had_without_reading_the_others(stack, monkeypatch):
    ids = [f"01JAAAAAAA00000000{number:08}" for number in range(120)]
    with stack.runs._table.batch_writer() as batch:
        for run_id in ids:
            batch.put_item(Item={"run_id": run_id, "state": "FAILED", "name": "people"})
    read, query = [], stack.runs._table.query

    def counted(**request):
        answer = query(**request)
        read.extend(answer["Items"])
        return answer

    monkeypatch.setattr(stack.runs._table, "query", counted)
    newest = list(itertools.islice(listing.newest(stack.runs), 20))
    assert [run["run_id"] for run in newest] == ids[:-21:-1]
    assert len(read) < 100


def test_a_run_that_moves_while_the_states_are_read_comes_once():
    def in_state(state, **__):
        return iter([{"run_id": IDS[0], "state": state}])

    assert found(SimpleNamespace(in_state=in_state)) == [IDS[0]]


@pytest.mark.parametrize("wanted", ["latest", "LATEST", IDS[2], "01JB", "01jbbb", " 01JB "])
def test_a_run_is_found(runs, wanted):
    assert listing.find(runs, wanted)["run_id"] == IDS[2]


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (
            "01JA",
            r"begins with 01JA: 01JAAAAAAB \(people, FAILED\), 01JAAAAAAA \(people, QUEUED\)\. Give more",
        ),
        ("01JC", "there is no run 01JC"),
        ("01JC" + "0" * 22, "there is no run 01JC"),
        ("#slots", "there is no run"),
    ],
)
def test_a_run_that_is_not_found_is_told(runs, wanted, told):
    with pytest.raises(UserError, match=told):
        listing.find(runs, wanted)


@pytest.mark.parametrize("wanted", ["", " "])
def test_no_name_is_not_the_name_of_the_only_run(stack, wanted):
    stack.runs.create(IDS[0], {"name": "people"})
    with pytest.raises(UserError, match=r"^run: no run is named\. Give an id"):
        listing.find(stack.runs, wanted)


def test_runs_of_one_moment_are_shown_by_as_much_of_their_ids_as_tells_them_apart(runs):
    twin = f"{IDS[2][:15]}9{IDS[2][16:]}"
    runs.create(twin, {"name": "people"})
    with pytest.raises(UserError) as told:
        listing.find(runs, IDS[2][:10])
    named = re.findall(r"01J\w{8,}", str(told.value).partition(":")[2])
    assert [listing.find(runs, short)["run_id"] for short in named] == [twin, IDS[2]]
    shown = [line.split()[0] for line in listing.runs_table(listing.newest(runs))[1:]]
    assert [listing.find(runs, short)["run_id"] for short in shown] == [twin, *IDS[::-1]]
    assert {len(short) for short in shown} == {16}


def test_so_many_runs_fit_that_not_all_are_named(runs):
    for number in range(4, 10):
        runs.create(f"01JAAAAAAC000000000000000{number}", {"name": "people"})
    with pytest.raises(UserError, match=r"01JAAAAAAC0000000000000005 \(people, QUEUED\), and more\."):
        listing.find(runs, "01JA")


@pytest.mark.parametrize(
    ("cause", "told"),
    [(None, "why"), ("SUBMITTED", "why"), ("CANCELLED", "why"), ("NO_SPOT", "NO_SPOT: why")],
)
def test_a_cause_is_told_where_it_adds_something(cause, told):
    assert listing.told({"cause": cause, "reason": "why"}) == told
    assert listing.told({"cause": cause}) == told.removesuffix(": why").removesuffix("why")


def test_latest_of_none(stack):
    with pytest.raises(UserError, match="there are no runs yet"):
        listing.find(stack.runs, "latest")


def test_the_table_of_runs_fits_a_hundred_columns(runs):
    runs.move(
        IDS[2], "QUEUED", "STARTING", progress={"phase": "training", "step": 5, "max_steps": 90, "f": 0.5}
    )
    heads, newest, failed, __ = listing.runs_table(listing.newest(runs))
    assert heads.split() == ["RUN", "MODEL", "STATE", "AGE", "STEP", "F", "REASON"]
    assert newest.split()[:3] == ["01JBBBBBBB", "people", "STARTING"]
    assert newest.split()[4:6] == ["5/90", "0.500"]
    assert "the data is wrong xx" in failed and failed.endswith("…") and len(failed) == 100


# --- wording ---


def test_the_table_of_runs_has_a_column_of_costs_where_any_is_known():
    runs = [
        {"run_id": run_id, "name": "people", "state": "FAILED", "created": "2026-03-01T09:00:00.000+00:00"}
        for run_id in IDS
    ]
    assert "USD" not in listing.runs_table([run | {"cost": {"usd": None}} for run in runs])[0]
    head, dear, *others = listing.runs_table([runs[0] | {"cost": {"usd": 1.2345}}, *runs[1:]])
    assert head.split()[-2:] == ["USD", "REASON"]
    assert dear.split()[-1] == "1.23" and not any("1.23" in other for other in others)


def test_figures_as_people_read_them():
    assert [wording.size(n) for n in (812, 41_200, 3_000_000, 7.2e9)] == [
        "812 B",
        "41.2 KB",
        "3.0 MB",
        "7.2 GB",
    ]
    assert [wording.clock(n) for n in (-1, 7, 750, 3723)] == ["0:00", "0:07", "12:30", "1:02:03"]
    assert [wording.age(n) for n in (-5, 7, 720, 10_800, 800_000)] == ["0s", "7s", "12m", "3h", "9d"]


def test_progress_is_said_every_two_seconds(lines, monkeypatch):
    passed = [0.0]
    monkeypatch.setattr(wording.time, "monotonic", lambda: passed[0])
    progress = wording.Progress("uploading a.conll", 3000, lines)
    for __ in range(6):
        passed[0] += 1
        progress(500)
    assert lines == [
        "uploading a.conll: 1.0 KB of 3.0 KB",
        "uploading a.conll: 2.0 KB of 3.0 KB",
        "uploading a.conll: 3.0 KB of 3.0 KB",
    ]
