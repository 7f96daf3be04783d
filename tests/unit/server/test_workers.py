"""The workers: replaced when they die or hang, gone when the parent is, evenly loaded, drained together."""

import hashlib
import http.client
import itertools
import json
import os
import signal
import threading
import time
from contextlib import closing
from pathlib import Path
from statistics import median

import pytest
from nerforge_contract import names
from nerforge_server import workers as workers_module
from nerforge_server.processes import unblock_signals
from nerforge_server.workers import Board, Seat, Workers
from support.serving import READY_SECONDS, exchange, unscored

KEY = "nfk_" + "k" * 43


@pytest.fixture
def supervise(tmp_path):
    """Supervise workers that run a function; they are tended for some seconds, and killed in the end."""
    supervised = []

    def supervise(count, work):
        supervised.append(Workers(count, work, lambda: (tmp_path / "replaced").open("a").write("x")))
        return supervised[-1]

    yield supervise
    for each in supervised:
        each.kill()


def tend(workers: Workers, seconds: float, until=lambda: False) -> None:
    limit = time.monotonic() + seconds
    while time.monotonic() < limit and not until():
        workers.tend()
        time.sleep(0.01)


def _note(folder: Path, slot: int) -> None:
    with (folder / str(slot)).open("a") as file:
        file.write("x")


def _born(folder: Path, slot: int) -> int:
    path = folder / str(slot)
    return path.stat().st_size if path.exists() else 0


def _sleep() -> int:
    unblock_signals()
    time.sleep(60)
    return 0


def test_who_dies_at_once_is_replaced_later_and_later(supervise, tmp_path):
    def work(seat):
        _note(tmp_path, seat.slot)
        return 3 if seat.slot else _sleep()

    tend(supervise(2, work), 2.2)  # after 0, 0.5 and 1.5 seconds; the next would come after 3.5
    assert _born(tmp_path, 0) == 1
    assert 2 <= _born(tmp_path, 1) <= 3


def test_who_dies_later_is_replaced_at_once_and_counted(supervise, tmp_path, monkeypatch):
    monkeypatch.setattr(workers_module, "EARLY_SECONDS", 0.0)

    def work(seat):
        _note(tmp_path, seat.slot)
        if _born(tmp_path, 0) == 1:
            raise RuntimeError
        return _sleep()

    workers = supervise(1, work)
    tend(workers, 5, lambda: _born(tmp_path, 0) == 2)
    assert workers.running == 1
    assert (tmp_path / "replaced").read_text() == "x"


def test_who_hangs_is_killed_and_replaced(supervise, tmp_path, monkeypatch):
    monkeypatch.setattr(workers_module, "STUCK_SECONDS", 0.5)
    monkeypatch.setattr(workers_module, "EARLY_SECONDS", 0.0)

    def work(seat):
        _note(tmp_path, seat.slot)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        unblock_signals()
        for __ in range(600):
            time.sleep(0.1)
            if seat.slot:
                seat.beat(0)
        return 0

    workers = supervise(2, work)
    tend(workers, 5, lambda: _born(tmp_path, 0) == 2)
    assert (_born(tmp_path, 0), _born(tmp_path, 1)) == (2, 1)
    workers.stop()
    workers.kill()
    assert workers.failed and not workers.running


def test_who_ends_as_told_has_not_failed(supervise):
    def work(seat):
        signal.signal(signal.SIGTERM, lambda *__: os._exit(0))
        return _sleep()

    workers = supervise(3, work)
    tend(workers, 0.1)
    workers.stop()
    tend(workers, 5, lambda: not workers.running)
    assert not workers.running and not workers.failed


def test_a_seat_is_ahead_only_by_more_than_one_connection_of_the_least_that_are_there():
    board = Board(3)
    first, second = Seat(board, 0), Seat(board, 1)
    first.beat(10)
    assert not first.ahead(10)  # nobody else is there
    second.beat(9)
    assert not first.ahead(10)
    second.beat(8)
    assert first.ahead(10) and not second.ahead(8)
    board.turned[1] -= workers_module.LATE_SECONDS  # it hangs, and would take nothing
    assert not first.ahead(10)


# --- real ones ---


def test_workers_that_are_killed_are_replaced_and_every_answer_is_right(server, spacy_finds):
    texts = [f"In Oslo we met Ada Lovelace{i} , not Tim ." for i in range(50)]
    right = dict(zip(texts, spacy_finds(texts), strict=True))
    wrong, answered, cut, stop = [], itertools.count(), itertools.count(), threading.Event()

    def client(number: int) -> None:
        connection = server.connect(timeout=20)  # longer than a deadline: what hangs is found
        for text in itertools.cycle(texts[number:] + texts[:number]):
            if stop.is_set():
                return
            try:
                status, __, body = exchange(connection, "POST", "/ner", {"text": text})
            except (ConnectionError, http.client.HTTPException):
                next(cut)
                connection.close()
                continue
            except Exception as error:
                wrong.append(repr(error))
                return
            if (status, unscored(body.get("entities", []))) != (200, right[text]):
                wrong.append((status, body))
            next(answered)

    clients = [threading.Thread(target=client, args=(number,)) for number in range(16)]
    for each in clients:
        each.start()
    try:
        for __ in range(3):
            server.wait_until(lambda: len(server.workers()) == 2)
            victim = server.workers()[0]
            time.sleep(0.5)
            os.kill(victim, signal.SIGKILL)
            server.wait_until(lambda: victim not in server.workers())  # noqa: B023
        server.wait_until(lambda: len(server.workers()) == 2)
        time.sleep(0.5)
    finally:
        stop.set()
        for each in clients:
            each.join()
    assert wrong == []
    assert next(answered) > 100
    assert 1 <= next(cut) <= 16 * 3
    assert sum("died (signal 9)" in line["message"] for line in server.lines()) == 3
    assert server.request("GET", "/ready")[0] == 200
    assert server.terminate() == 0


def test_without_their_parent_the_workers_end(server):
    workers = server.workers()
    assert len(workers) == 2
    server.kill()
    limit = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_as_many_as_told_share_the_model_and_have_one_thread_each(start):
    server = start(**{names.ENV_WORKERS: "3"})
    server.wait_ready()
    server.wait_until(lambda: len(server.workers()) == 3)
    for pid in [server.process.pid, *server.workers()]:
        assert len(list(Path(f"/proc/{pid}/task").iterdir())) == 1
    assert server.terminate() == 0


def test_connections_spread_evenly(server):
    connections = [server.connect() for __ in range(40)]
    for connection in connections:
        assert exchange(connection, "GET", "/health")[0] == 200

    def sockets(pid: int) -> int:
        links = (path.readlink() for path in Path(f"/proc/{pid}/fd").iterdir())
        return sum(str(link).startswith("socket:") for link in links)

    few, many = sorted(map(sockets, server.workers()))
    assert many - few <= 6
    for connection in connections:
        connection.close()


def test_a_long_text_starves_nobody(start):
    """Clients ask for long texts without a pause: a short one overtakes them, and liveness waits for none.

    Six long texts are open at any time. By the clock of the long answers, so that a busy machine changes
    nothing: in the order of arrival, some five of them would be answered before a short one.
    """
    server = start(**{names.ENV_WORKERS: "1"})
    server.wait_ready()
    stop = threading.Event()
    long = {"text": "Nobody saw Ada Lovelace leave Cape Town . " * 2_300}
    long_seconds = []

    def client() -> None:
        with closing(server.connect()) as connection:
            while not stop.is_set():
                asked = time.monotonic()
                assert exchange(connection, "POST", "/ner", long)[0] == 200
                long_seconds.append(time.monotonic() - asked)

    clients = [threading.Thread(target=client) for __ in range(6)]
    for each in clients:
        each.start()
    server.wait_until(lambda: len(long_seconds) >= 6)
    overtaken_by, health_seconds = [], []
    for __ in range(11):
        before = len(long_seconds)
        assert server.request("POST", "/ner", {"text": "Tim left Oslo ."})[0] == 200
        overtaken_by.append(len(long_seconds) - before)
        asked = time.monotonic()
        assert server.request("GET", "/health")[0] == 200
        health_seconds.append(time.monotonic() - asked)
    stop.set()
    for each in clients:
        each.join()
    assert median(overtaken_by) <= 2
    assert median(health_seconds) < median(long_seconds) / 8


# --- API keys ---


def test_a_server_told_to_have_keys_never_starts_without(start, aws):
    aws.parameters["empty"] = "{}"
    for server in [start(**{names.ENV_API_KEYS: name}) for name in ("missing", "empty")]:
        assert server.process.wait(READY_SECONDS) == 1
        [line] = [line for line in server.lines() if line["level"] == "error"]
        assert "API keys" in line["message"] and names.ENV_API_KEYS in line["message"]
        assert list(server.scratch.iterdir()) == []


def test_keys_that_aws_does_not_give_for_now_are_waited_for_and_then_needed(start, aws):
    aws.parameters["keys"] = json.dumps({"tester": hashlib.sha256(KEY.encode()).hexdigest()})
    aws.faults += [500] * 7
    server = start(**{names.ENV_API_KEYS: "keys"})
    refused = "AWS does not give the API keys"
    server.wait_until(lambda: refused in server.request("GET", "/ready")[2].get("detail", ""))
    assert server.request("POST", "/ner", {"text": "Tim"})[0] == 503
    server.wait_ready()
    assert server.request("POST", "/ner", {"text": "Tim"})[0] == 401
    with closing(server.connect()) as connection:
        connection.request(
            "POST", "/ner", b"Tim", {"Content-Type": "text/plain", "Authorization": f"Bearer {KEY}"}
        )
        assert connection.getresponse().status == 200
    upload = {"Content-Type": "application/x-ndjson"}
    for key, status in (("", 401), (KEY, 200)):
        with closing(server.connect()) as connection:
            connection.request(
                "POST", "/ner", b'{"text": "Tim"}\n' * 50_000, upload | {"Authorization": f"Bearer {key}"}
            )
            answer = connection.getresponse()
            assert (answer.status, answer.read().count(b"\n")) == (status, 50_000 if key else 0)
    assert KEY not in server.log.read_text()
