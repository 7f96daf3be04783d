"""What each path answers, over a real small model, with no socket in between."""

import hashlib
import io
import json
import logging
import re
import time
from datetime import datetime

import pytest
import spacy
from falcon import testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nerforge_engine.recognizer import SpacyRecognizer
from nerforge_server import api, logs, pages, problems
from nerforge_server.app import create_app
from nerforge_server.headers import PAGE_HEADERS, SECURITY_HEADERS
from nerforge_server.inference import Unavailable
from nerforge_server.keys import Keys
from nerforge_server.logs import JsonFormatter
from nerforge_server.metrics import Metrics
from nerforge_server.serving import Serving
from support.serving import unscored
from support.stub import Stub

TEXTS = [
    "Ada Lovelace went to London .",
    "",
    " \t\r\n",
    "In Kyōto we met José Saramago .",
    "🌍🌍 Grace Hopper lives near Oslo now .",
    "Tim\r\nlives near\r\nNew York now .\r\n",
    "In Gene\u0300ve we met Marie Curie .",  # a letter and its accent as two code points
    "\ufeffKofi Annan went to Cape Town .",
    "Nobody saw \x00 Marie Curie leave London .",
    "👩‍👩‍👧‍👦 Ada Lovelace 👩🏽‍🚀 London",
]


KEY = "nfk_" + "k" * 43
FORWARDED = {"X-Forwarded-Proto": "https"}


@pytest.fixture(scope="module")
def recognizer(model_folder):
    return SpacyRecognizer(spacy.load(model_folder), "it is the test's")


@pytest.fixture
def serving(recognizer, manifest):
    serving = Serving()
    serving.serve(manifest, recognizer)
    return serving


def client_of(serving, keys=None):
    """A client of the application over this serving."""
    return testing.TestClient(create_app(serving, keys, Metrics(1, ["LOC", "PER"], "exact")))


@pytest.fixture
def client(serving):
    return client_of(serving)


@pytest.fixture
def stub():
    """A client of the application over known entities."""
    return client_of(Stub())


@pytest.fixture
def logged(tmp_path, monkeypatch):
    """A function that gives the log's text so far, but for what goes through logging."""
    with (tmp_path / "log").open("w") as log:
        monkeypatch.setattr(logs, "_lines", logs._Lines(log.fileno()))
        yield (tmp_path / "log").read_text


def ask_plain(client, text: str):
    return client.simulate_post("/ner", body=text.encode(), content_type="text/plain")


def ask(client, document):
    return client.simulate_post("/ner", json=document)


def stream(client, *lines, separator=b"\n", **options):
    """The answer to a stream of these lines, and its own lines, each as JSON."""
    body = separator.join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    answer = client.simulate_post("/ner", body=body, content_type=api.LINES, **options)
    return answer, [json.loads(line) for line in answer.text.splitlines()]


def problem(answer, status: int) -> dict:
    """The problem that this answer is, having checked its form."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == problems.CONTENT_TYPE
    document = answer.json
    assert document["status"] == status
    assert document["title"] and document["detail"]
    assert "Traceback" not in answer.text
    return document


# --- entities ---


@pytest.mark.parametrize("text", TEXTS)
def test_plain_text_gives_what_spacy_finds(client, spacy_finds, text):
    answer = ask_plain(client, text)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert unscored(answer.json) == spacy_finds([text])[0]
    for entity in answer.json:
        assert text[entity["start"] : entity["end"]] == entity["text"]


def test_the_models_entities_are_found_at_code_points(client):
    assert unscored(ask_plain(client, "🌍🌍 Grace Hopper lives near Oslo now .").json) == [
        {"text": "Grace Hopper", "tag": "PER", "start": 3, "end": 15},
        {"text": "Oslo", "tag": "LOC", "start": 27, "end": 31},
    ]


def test_json_with_one_text_names_the_model(client):
    answer = ask(client, {"text": "Tim went to Oslo ."})
    assert answer.json["model"] == "people:7"
    assert answer.json["entities"] == ask_plain(client, "Tim went to Oslo .").json
    assert answer.json["entities"]


def test_json_with_many_texts_keeps_their_order(client):
    answer = ask(client, {"texts": TEXTS})
    assert answer.json["model"] == "people:7"
    assert [result["entities"] for result in answer.json["results"]] == [
        ask_plain(client, text).json for text in TEXTS
    ]


def test_no_texts_give_no_results(client):
    assert ask(client, {"texts": []}).json == {"model": "people:7", "results": []}


def test_content_type_parameters_and_case_are_understood(client):
    answer = client.simulate_post(
        "/ner", body=b"Tim went to Oslo .", content_type='Text/Plain; Charset="UTF-8"'
    )
    assert answer.status_code == 200


def test_scores_have_four_digits_or_are_null(stub):
    answer = ask_plain(stub, "Ada Lovelace was somewhere")
    assert [(entity["text"], entity["score"]) for entity in answer.json] == [
        ("Ada Lovelace", 0.9876),
        ("somewhere", None),
    ]


# --- streams ---


def test_a_stream_answers_each_line_in_its_place(client):
    answer, lines = stream(client, *({"text": text, "id": number} for number, text in enumerate(TEXTS * 20)))
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [line["id"] for line in lines] == list(range(20 * len(TEXTS)))
    assert [line["entities"] for line in lines] == [ask_plain(client, text).json for text in TEXTS] * 20


def test_ids_are_echoed_as_they_came_or_left_out(stub):
    ids = [7, -1, "", "a", "\U0001f30d", 10**200]
    __, lines = stream(stub, *({"id": each, "text": ""} for each in ids), {"text": "London"})
    assert [line.get("id") for line in lines] == [*ids, None]
    assert "id" not in lines[-1]


@pytest.mark.parametrize("separator", [b"\n", b"\r\n", b"\n\n  \n"])
def test_lines_may_end_as_they_like(stub, separator):
    __, lines = stream(stub, {"text": "London"}, {"text": "ESA"}, b"", separator=separator)
    assert [line["entities"][0]["text"] for line in lines] == ["London", "ESA"]


def test_a_stream_of_nothing(stub):
    answer, lines = stream(stub, b"\n\n")
    assert (answer.status_code, lines) == (200, [])


@pytest.mark.parametrize(
    ("wrong", "status", "detail"),
    [
        (b"secret", 400, "Line 4 is not JSON at character 0."),
        (b'{"text": "secret\xe9"}', 400, "Line 4 is not UTF-8 at byte 16."),
        (b'["secret"]', 400, "Line 4 is not an object."),
        (b'{"text": "secret", "text": ""}', 400, "Line 4 is not strict JSON"),
        (b'{"text": NaN}', 400, "Line 4 is not strict JSON"),
        (b'{"text": "secret", "more": 1}', 400, "Line 4 must have the member text"),
        (b'{"id": 1}', 400, "Line 4 must have the member text"),
        (b'{"id": true, "text": "secret"}', 400, "The id of line 4"),
        (b'{"id": 1.5, "text": "secret"}', 400, "The id of line 4"),
        (b'{"id": "%s", "text": "secret"}' % (b"x" * 257), 400, "The id of line 4"),
        (b'{"id": "\\ud800", "text": "secret"}', 400, "The id of line 4 holds half of a surrogate pair"),
        (b'{"text": "secret\\ud800"}', 400, "The text of line 4 holds half of a surrogate pair"),
        (b'{"text": "%s"}' % (b"x" * (api.MAX_CHARACTERS + 1)), 422, "The text of line 4 has more than"),
    ],
)
def test_a_line_that_is_wrong_gets_a_problem_and_the_others_their_answers(stub, wrong, status, detail):
    answer, lines = stream(stub, {"text": "London"}, b"", {"text": "ESA"}, wrong, {"text": "NASA"})
    assert answer.status_code == 200
    assert [line["entities"][0]["text"] for line in lines if "entities" in line] == ["London", "ESA", "NASA"]
    told = lines[2]
    assert (told["status"], told["line"], told["type"]) == (status, 4, "about:blank")
    assert told["detail"].startswith(detail)
    assert told["fix"]
    assert "secret" not in answer.text


def test_wrong_lines_at_the_end_and_their_ids(stub):
    __, lines = stream(stub, {"text": ""}, {"id": "x", "text": 1}, {"id": 9})
    assert [(line.get("line"), line.get("id")) for line in lines] == [(None, None), (2, "x"), (3, 9)]


def test_what_is_wrong_before_the_first_answer_is_the_requests_problem(stub):
    answer, __ = stream(stub, b"", b"{", {"text": "London"})
    assert problem(answer, 400)["detail"] == "Line 2 is not JSON at character 1."


def test_a_stream_over_the_limits(stub, monkeypatch):
    body = b" " * (api.MAX_STREAM_BODY + 1)
    problem(stub.simulate_post("/ner", body=body, content_type=api.LINES), 413)
    monkeypatch.setattr("nerforge_server.bodies.MAX_STREAM_TEXTS", 3)
    __, lines = stream(stub, *[{"text": "London"}] * 9)
    assert [line.get("status", 200) for line in lines] == [200, 200, 200, 422]
    assert (lines[-1]["line"], "from here on none" in lines[-1]["detail"]) == (4, True)


class _Bursting(Stub):
    """Fails over the third text, with the given error."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def stream(self, texts):
        for number, __ in enumerate(list(texts)):
            if number == 2:
                raise self.error
            yield [[]]


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("no luck with 'Ada Lovelace'"), 500), (Unavailable("it took too long", "wait", 7), 503)],
)
def test_a_stream_that_fails_says_from_which_line_on(error, status, caplog):
    answer, lines = stream(client_of(_Bursting(error)), *[{"text": "Ada Lovelace", "id": 5}] * 6)
    assert [line.get("line") for line in lines] == [None, None, 3]
    assert (lines[-1]["status"], lines[-1]["id"]) == (status, 5)
    assert lines[-1]["detail"].endswith("There is no answer from line 3 on.")
    assert "Lovelace" not in answer.text + "".join(map(JsonFormatter().format, caplog.records))


def test_a_stream_is_counted_and_logged_when_it_has_ended(stub, logged):
    answer, __ = stream(stub, {"text": "London"}, b"{", {"text": "ESA"})
    line = json.loads(logged())
    assert (line["texts"], line["status"], line["id"]) == (2, 200, answer.headers["x-request-id"])


def test_the_lines_of_a_part_are_sent_together_as_soon_as_they_are_there(client):
    """Each piece is sent by itself: 300 of them would cost more than the inference."""
    texts = [{"text": "Tim"}] * 150 + [{"text": 1}] * 5
    environ = testing.create_environ("/ner", method="POST", headers={"Content-Type": api.LINES})
    environ["wsgi.input"] = io.BytesIO(b"\n".join(json.dumps(text).encode() for text in texts))
    pieces = list(client.app(environ, testing.StartResponseMock()))
    assert [piece.count(b"\n") for piece in pieces] == [64, 64, 27]


# --- refusals ---


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/html", "text/plain; charset=latin-1", "application/x-www-form-urlencoded"],
)
def test_other_content_types(client, content_type):
    answer = client.simulate_post("/ner", body=b"Tim", content_type=content_type)
    assert "text/plain" in problem(answer, 415)["fix"]
    assert answer.headers["accept"] == "text/plain, application/json, application/x-ndjson"


@pytest.mark.parametrize(
    ("accept", "content_type", "status"),
    [
        ("text/html", "text/plain", 406),
        ("application/json;q=0, */*", "text/plain", 406),
        ("application/json", "application/x-ndjson", 406),
        ("text/html, application/*;q=0.1", "text/plain", 200),
        ("application/x-ndjson", "application/x-ndjson", 200),
        ("nonsense;;", "text/plain", 200),
    ],
)
def test_what_a_client_accepts(stub, accept, content_type, status):
    body = b'{"text": "London"}'
    answer = stub.simulate_post("/ner", body=body, content_type=content_type, headers={"Accept": accept})
    assert answer.status_code == status


def test_compressed_bodies(client):
    headers = {"Content-Encoding": "gzip"}
    problem(client.simulate_post("/ner", body=b"\x1f\x8b", content_type="text/plain", headers=headers), 415)


def test_bytes_that_are_not_utf8(client):
    answer = client.simulate_post("/ner", body=b"Jos\xe9 Saramago", content_type="text/plain")
    assert problem(answer, 400)["detail"] == "The body is not UTF-8 at byte 3."


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b'{"text": 1}',
        b'{"text": null}',
        b'{"texts": "Tim"}',
        b'{"texts": ["Tim", 1]}',
        b'{"text": "Tim", "texts": ["Tim"]}',
        b'{"text": "Tim", "secret": 1}',
        b'{"text": "\\ud83c"}',
        b'{"texts": ["Tim", "\\udf0d\\ud83c"]}',
        b"[" * 500_000,
        b'{"text": ' + b"9" * 10_000 + b"}",
        b'{"text": "Tim", "text": "Tim"}',
        b'{"texts": [{"a": 1, "a": 1}]}',
        b'{"text": NaN}',
        b'{"texts": [-Infinity]}',
        b'\xef\xbb\xbf{"text": "Tim"}',
    ],
)
def test_json_of_another_shape(client, body):
    problem(client.simulate_post("/ner", body=body, content_type="application/json"), 400)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b'{"text": Tim}', "at character 9"),
        (b'{"texts": ["Tim", "a\\ud83c"]}', "Text 2 of 2 holds half of a surrogate pair at character 1"),
        (b'{"text": ' + b"9" * 10_000 + b"}", "too long"),
        (b"[" * 500_000, "too deep"),
    ],
    ids=("no JSON", "surrogate", "number", "depth"),
)
def test_a_refusal_says_where(client, body, where):
    answer = client.simulate_post("/ner", body=body, content_type="application/json")
    assert where in problem(answer, 400)["detail"]


def test_a_body_over_the_limit(client):
    body = b'{"texts": ["' + b"a" * api.MAX_BODY + b'"]}'
    problem(client.simulate_post("/ner", body=body, content_type="application/json"), 413)


def test_a_text_over_the_limit(client):
    assert ask_plain(client, "a" * api.MAX_CHARACTERS).status_code == 200
    answer = ask(client, {"texts": ["", "a" * (api.MAX_CHARACTERS + 1)]})
    assert "Text 2 of 2 has more than" in problem(answer, 422)["detail"]
    problem(ask_plain(client, "a" * (api.MAX_CHARACTERS + 1)), 422)


def test_more_texts_than_the_limit(client):
    problem(ask(client, {"texts": ["a"] * (api.MAX_TEXTS + 1)}), 422)
    assert len(ask(client, {"texts": ["a"] * api.MAX_TEXTS}).json["results"]) == api.MAX_TEXTS


def test_unknown_paths_and_methods(client):
    problem(client.simulate_get("/secret-words"), 404)
    answer = client.simulate_get("/ner")
    problem(answer, 405)
    assert "POST" in answer.headers["allow"]


class _Broken(Stub):
    """Fails in the given way."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def recognize(self, texts):
        raise self.error


def test_a_full_queue_says_when_to_try_again():
    answer = ask_plain(client_of(_Broken(Unavailable("full", "wait", retry_after=7))), "Tim")
    assert problem(answer, 503)["detail"] == "full"
    assert answer.headers["retry-after"] == "7"


def test_a_failure_tells_the_client_and_the_log_nothing_of_the_text(caplog):
    answer = ask_plain(client_of(_Broken(ValueError("no luck with 'Ada Lovelace'"))), "Ada Lovelace")
    problem(answer, 500)
    lines = [JsonFormatter().format(record) for record in caplog.records]
    failure = next(json.loads(line) for line in lines if "exception" in line)
    assert failure["exception"] == "ValueError"
    assert failure["id"] == answer.headers["x-request-id"]
    assert any("test_app.py" in frame for frame in failure["stack"])
    assert "Lovelace" not in answer.text + "".join(lines)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(
    body=st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200).map(lambda text: json.dumps({"text": text}).encode()),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(max_size=10),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["text", "texts"]), inner)
            ),
            max_leaves=6,
        ).map(lambda document: json.dumps(document).encode()),
    ),
    content_type=st.sampled_from(["application/json", "text/plain", "application/x-ndjson"]),
)
def test_any_body_gets_an_answer_or_a_problem(client, body, content_type):
    answer = client.simulate_post("/ner", body=body, content_type=content_type)
    if answer.status_code == 200:
        lines = answer.text.splitlines() if content_type == api.LINES else [answer.text]
        assert all(map(json.loads, lines)) or answer.text in ("[]", "")
    else:
        problem(answer, 400)


# --- the paths about the server ---


def test_health_ready_and_model(client, manifest):
    assert client.simulate_get("/health").json == {"status": "alive"}
    assert client.simulate_get("/ready").json == {"status": "ready", "model": "people:7"}
    answer = client.simulate_get("/model").json
    assert answer == {
        "model": "people:7",
        "name": "people",
        "version": 7,
        "language": "en",
        "labels": ["LOC", "PER"],
        "scores": manifest["scores"],
        "run": manifest["run"],
        "created": manifest["created"],
        "sha256": manifest["artifact"]["sha256"],
        "engine": "spacy",
        "engine_reason": "it is the test's",
        "calibration": None,
    }


def test_the_calibration_is_the_manifests(stub):
    assert len(stub.simulate_get("/model").json["calibration"]["bins"]) == 10


def test_head_has_the_headers_of_get(client):
    for path in ("/", "/health", "/ready", "/model"):
        head, get = client.simulate_head(path), client.simulate_get(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == get.headers["content-length"]


def test_without_a_model_it_is_alive_but_not_ready():
    serving = Serving()
    serving.refuse("the checksum is wrong")
    client = client_of(serving)
    assert client.simulate_get("/health").status_code == 200
    assert client.simulate_get("/metrics").status_code == 200
    for answer in (client.simulate_get("/ready"), client.simulate_get("/model"), ask_plain(client, "Tim")):
        assert "the checksum is wrong" in problem(answer, 503)["detail"]
        assert answer.headers["retry-after"] == "5"


def test_a_stopping_server_is_not_ready_but_answers(client, serving, manifest, recognizer):
    serving.stop()
    serving.serve(manifest, recognizer)  # a model that is up only now changes nothing
    assert problem(client.simulate_get("/ready"), 503)["detail"] == "the server is stopping"
    assert ask_plain(client, "Tim went to Oslo .").status_code == 200


def test_every_answer_has_the_security_headers_and_an_id(client):
    paths = ("/", "/health", "/ready", "/model", "/ner", "/nothing")
    for answer in map(client.simulate_get, paths):
        for header in SECURITY_HEADERS:
            assert header in answer.headers
        assert len(answer.headers["x-request-id"]) == 32


def test_a_clients_own_id_is_kept_only_if_it_is_harmless(client):
    given = client.simulate_get("/health", headers={"X-Request-Id": "a-1.b_2"})
    assert given.headers["x-request-id"] == "a-1.b_2"
    for other in ("a b", "a" * 65, '"', "é"):
        answer = client.simulate_get("/health", headers={"X-Request-Id": other})
        assert answer.headers["x-request-id"] != other


def test_a_request_is_one_line_in_the_log_without_its_text(client, logged):
    answer = ask(client, {"texts": ["Ada Lovelace", "Tim"]})
    line = json.loads(logged())
    assert line.pop("ms") >= 0
    assert abs(datetime.fromisoformat(line.pop("time")).timestamp() - time.time()) < 60
    assert line == {
        "level": "info",
        "message": "request",
        "method": "POST",
        "path": "/ner",
        "status": 200,
        "texts": 2,
        "id": answer.headers["x-request-id"],
    }
    assert "Lovelace" not in logged()


def test_a_path_cannot_break_its_line_in_the_log(client, logged):
    path = '/a"b\\c\n\x85\u2028é'
    client.simulate_get(path)
    assert logged().count("\n") == 1 and logged().isascii()
    assert json.loads(logged())["path"] == path


def test_transport_security_is_for_those_who_came_by_tls(client):
    assert "strict-transport-security" not in client.simulate_get("/health").headers
    assert (
        client.simulate_get("/health", headers=FORWARDED).headers["strict-transport-security"]
        == "max-age=31536000"
    )


def test_the_metrics_tell_what_was_answered(stub):
    ask(stub, {"texts": ["ESA in London", "Ada Lovelace", ""]})
    stub.simulate_get("/nothing")
    stub.simulate_get("/docs/nothing")
    metrics = stub.simulate_get("/metrics")
    assert metrics.headers["content-type"] == api.METRICS
    for line in (
        'nerforge_requests_total{method="POST",route="/ner",status="200"} 1.0',
        'nerforge_requests_total{method="GET",route="other",status="404"} 1.0',
        'nerforge_requests_total{method="GET",route="/docs/{name}",status="404"} 1.0',
        'nerforge_entities_total{label="PER"} 1.0',
        'nerforge_entities_total{label="other"} 1.0',
        'nerforge_engine_info{engine="exact",model="people:7"} 1.0',
    ):
        assert line in metrics.text.splitlines()


# --- the door ---


@pytest.fixture
def locked():
    """A client of an application with one key, `KEY`, named ada."""
    return client_of(Stub(), Keys({"ada": hashlib.sha256(KEY.encode()).hexdigest()}))


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", f"Basic {KEY}", KEY])
def test_without_a_key(locked, authorization):
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = locked.simulate_get("/model", headers=headers)
    assert "Bearer" in problem(answer, 401)["fix"]
    assert answer.headers["www-authenticate"] == 'Bearer realm="nerforge"'


def test_with_a_wrong_key(locked, caplog, logged):
    caplog.set_level(logging.INFO)
    answer = locked.simulate_get("/model", headers={"Authorization": "Bearer nfk_wrong\xe9"})
    problem(answer, 401)
    assert answer.headers["www-authenticate"] == 'Bearer realm="nerforge", error="invalid_token"'
    assert "nfk_" not in answer.text + logged() + "".join(map(JsonFormatter().format, caplog.records))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER "])
def test_with_a_key_the_log_has_its_name_and_never_itself(locked, caplog, logged, scheme):
    caplog.set_level(logging.INFO)
    answer = locked.simulate_get("/model", headers={"Authorization": f"{scheme} {KEY}"})
    assert answer.status_code == 200
    lines = logged() + "".join(map(JsonFormatter().format, caplog.records))
    assert '"key": "ada"' in lines
    assert KEY not in lines


# --- the pages ---


def test_the_documentations_files_are_kept_by_browsers_under_names_that_change_with_them(client):
    page = client.simulate_get("/docs").text
    names = re.findall(r'(?:src|href)="(docs/[^"]+)"', page)
    assert len(names) == 2
    for name in names:
        answer = client.simulate_get(f"/{name}")
        digest = hashlib.sha256(answer.content).hexdigest()
        assert digest[:16] in name
        assert answer.headers["etag"] == f'"{digest[:32]}"'
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        again = client.simulate_get(f"/{name}", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    problem(client.simulate_get("/docs/other.js"), 404)


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_has_the_headers_of_a_page(client, path):
    headers = client.simulate_get(path).headers
    for header, value in PAGE_HEADERS.items():
        assert headers[header] == value
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_documentation_is_not_read_for_every_process_anew():
    assert pages.docs() is pages.docs()


def test_the_page_may_run_its_own_script_and_nothing_else(client):
    answer = client.simulate_get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].count("'sha256-") == 2


def test_the_page_needs_nothing_from_elsewhere(client):
    page = client.simulate_get("/").text.replace("http://www.w3.org/2000/svg", "")  # a name, not an address
    for outside in ("http://", "https://", "src=", "@import", "innerHTML", "style=", "onclick="):
        assert outside not in page
