"""The server as it runs: a process of its own, real sockets, real signals."""

import http.client
import itertools
import json
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from nerforge_contract import names
from support.serving import READY_SECONDS, exchange, unscored

LONG = {"texts": ["Nobody saw Ada Lovelace leave Cape Town . " * 400] * 25}  # seconds of inference, 0.42 MB


def test_64_clients_get_what_spacy_finds(shared, spacy_finds):
    texts = [
        f"{'🌍' * (i % 4)} In Oslo we met Ada Lovelace{i} , not Tim .\r\n" * (1 + i % 5) for i in range(640)
    ]
    right = spacy_finds(texts)

    def client(number: int) -> list:
        connection = shared.connect()
        answers = [exchange(connection, "POST", "/ner", {"text": text}) for text in texts[number::64]]
        connection.close()
        return answers

    with ThreadPoolExecutor(64) as pool:
        for number, answers in enumerate(pool.map(client, range(64))):
            assert [status for status, __, __ in answers] == [200] * 10
            assert [unscored(body["entities"]) for __, __, body in answers] == right[number::64]


def test_health_and_short_texts_are_answered_while_long_ones_are_inferred(shared):
    with ThreadPoolExecutor(1) as pool:
        started = time.monotonic()
        long = pool.submit(shared.request, "POST", "/ner", LONG)
        worst = {"GET /health": 0.0, "POST /ner": 0.0}
        while not long.done():
            for (method, path), document in {
                ("GET", "/health"): None,
                ("POST", "/ner"): {"text": "Tim went to Oslo ."},
            }.items():
                asked = time.monotonic()
                assert shared.request(method, path, document)[0] == 200
                worst[f"{method} {path}"] = max(worst[f"{method} {path}"], time.monotonic() - asked)
        took = time.monotonic() - started
    assert long.result()[0] == 200
    assert worst["GET /health"] < took / 3
    assert worst["POST /ner"] < took / 2


def test_sigterm_answers_what_is_open_and_takes_no_more(server, spacy_finds):
    long = {"texts": LONG["texts"][:14]}
    right = spacy_finds(long["texts"])
    idle = server.connect()
    assert exchange(idle, "GET", "/health")[0] == 200
    with ThreadPoolExecutor(5) as pool:
        open_ = [pool.submit(server.request, "POST", "/ner", long) for __ in range(5)]
        time.sleep(0.2)  # they have all arrived; together they take more than a second
        assert not any(each.done() for each in open_)
        server.process.send_signal(signal.SIGTERM)
        server.wait_until(lambda: any("Stopping" in line["message"] for line in server.lines()))
        while (answer := exchange(idle, "GET", "/ready"))[0] == 200:  # the workers are only just being told
            pass
        status, headers, body = answer
        assert (status, headers["connection"]) == (503, "close")
        assert body["detail"] == "the server is stopping"
        with pytest.raises(ConnectionRefusedError):
            server.request("GET", "/health")
        for each in open_:
            status, headers, body = each.result()
            assert (status, headers["connection"]) == (200, "close")
            assert [unscored(result["entities"]) for result in body["results"]] == right
    assert server.process.wait(10) == 0
    assert server.lines()[-1]["message"] == "Stopped: all requests answered"
    assert list(server.scratch.iterdir()) == []


def test_sigterm_under_steady_load_loses_no_request(server):
    """Clients keep connections alive or make new ones: what they sent is answered, then comes the refusal."""
    lost, answered, stop = [], itertools.count(), threading.Event()

    def client(keep_alive: bool) -> None:
        connection = server.connect()
        while not stop.is_set():
            try:
                if connection.sock is None:
                    connection.connect()
            except ConnectionRefusedError:
                return
            try:
                status, headers, __ = exchange(connection, "POST", "/ner", {"text": "Tim went to Oslo ."})
            except (OSError, http.client.HTTPException) as error:
                lost.append(repr(error))
                return
            if status != 200:
                lost.append(status)
            next(answered)
            if not keep_alive or headers.get("connection") == "close":
                connection.close()

    clients = [threading.Thread(target=client, args=(number % 2 == 0,)) for number in range(16)]
    for each in clients:
        each.start()
    time.sleep(1)
    code = server.terminate()
    stop.set()
    for each in clients:
        each.join()
    assert code == 0
    assert lost == []
    assert next(answered) > 16


def test_sigterm_closes_connections_that_say_nothing(server):
    silent = [socket.create_connection(("127.0.0.1", server.port)) for __ in range(3)]
    silent[1].sendall(b"POST /ner HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf")
    started = time.monotonic()
    assert server.terminate() == 0
    assert time.monotonic() - started < 5
    for each in silent:
        each.close()


def test_sigterm_as_it_starts(start):
    server = start()
    while not server.log.read_text():  # its first line
        time.sleep(0.001)
    assert server.terminate() == 0
    assert list(server.scratch.iterdir()) == []


def test_sigterm_while_the_model_is_awaited(start, aws):
    aws.faults += [500] * 1000
    server = start()
    server.wait_until(lambda: "S3 does not give the model" in server.request("GET", "/ready")[2]["detail"])
    assert server.request("GET", "/health")[0] == 200
    assert server.terminate() == 0
    assert list(server.scratch.iterdir()) == []


def test_passing_faults_of_s3_are_waited_out(start, aws):
    aws.faults += [503] * 4  # more than one call's own tries
    server = start()
    server.wait_ready()
    assert any("Trying again" in line["message"] for line in server.lines())


def test_without_a_model_pinned_it_is_alive_and_says_why_it_is_not_ready(start):
    server = start(**{names.ENV_MODEL: ""})
    server.wait_until(lambda: "no model pinned" in server.request("GET", "/ready")[2].get("detail", ""))
    assert server.request("GET", "/health")[0] == 200
    status, headers, body = server.request("POST", "/ner", {"text": "Tim"})
    assert (status, headers["retry-after"]) == (503, "5")
    assert "no model pinned" in body["detail"]
    assert any(line["level"] == "error" and "no model pinned" in line["message"] for line in server.lines())
    assert server.terminate() == 0


def test_a_model_that_waiting_does_not_mend_ends_it_and_the_log_says_why(start, aws):
    """Whoever rolls the service out learns of it at once, not when a health check has lost its patience."""
    for changed, why in (
        ({names.ENV_MODEL_SHA256: "0" * 64}, "was pinned"),
        ({names.ENV_MODEL: "people:999"}, "it is not there"),
        ({names.ENV_MODEL: "people"}, names.ENV_MODEL),
    ):
        server = start(**changed)
        assert server.process.wait(READY_SECONDS) == 1
        [line] = [line for line in server.lines() if line["level"] == "error"]
        assert line["message"].startswith("The server does not start: ") and why in line["message"]
        assert "exception" not in line
        assert list(server.scratch.iterdir()) == []


def test_a_port_that_is_taken(start, shared):
    second = start(**{names.ENV_PORT: str(shared.port)})
    assert second.process.wait(READY_SECONDS) == 1
    [line] = second.lines()
    assert f"cannot listen at 127.0.0.1:{shared.port}" in line["message"]


def test_what_the_http_layer_refuses_is_a_problem_too(shared):
    for sent, status in (
        (b"POST /ner HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: secret\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n", 400),
        (b"GET http://[secret HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: secret\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nX: " + b"secret" * 50_000 + b"\r\n\r\n", 431),
    ):
        with socket.create_connection(("127.0.0.1", shared.port)) as connection:
            connection.sendall(sent)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            body = answer.read()
        assert (answer.status, json.loads(body)["status"]) == (status, status)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert b"secret" not in body


def test_a_body_somewhat_over_the_limit_gets_its_refusal_whole(shared):
    status, __, body = shared.request("POST", "/ner", {"text": "a" * (1 << 21)})
    assert (status, body["detail"]) == (413, "The body has more than 1,048,576 bytes.")


def test_the_log_has_a_line_a_request_and_no_text(shared):
    __, headers, __ = shared.request("POST", "/ner", {"text": "Ada Lovelace went to London ."})
    asked = headers["x-request-id"]
    shared.wait_until(lambda: any(line.get("id") == asked for line in shared.lines()))  # at the turn's end
    line = next(line for line in shared.lines() if line.get("id") == asked)
    assert (line["message"], line["path"]) == ("request", "/ner")
    assert (line["method"], line["status"], line["texts"]) == ("POST", 200, 1)
    assert "Lovelace" not in shared.log.read_text()
