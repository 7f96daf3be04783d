"""What each path answers, over a real small model, with no socket in between."""

import json
import logging

import pytest
import spacy
from falcon import testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nerforge_server import app, problems
from nerforge_server.inference import Inference, Unavailable
from nerforge_server.serving import Serving

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


@pytest.fixture(scope="module")
def inference(model_folder):
    return Inference(spacy.load(model_folder))


@pytest.fixture
def serving(inference, manifest):
    serving = Serving()
    serving.serve(manifest, inference)
    return serving


@pytest.fixture
def client(serving):
    return testing.TestClient(app.create_app(serving))


def ask_plain(client, text: str):
    return client.simulate_post("/ner", body=text.encode(), content_type="text/plain")


def ask(client, document):
    return client.simulate_post("/ner", json=document)


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
    assert answer.json == spacy_finds([text])[0]
    for entity in answer.json:
        assert text[entity["start"] : entity["end"]] == entity["text"]


def test_the_models_entities_are_found_at_code_points(client):
    assert ask_plain(client, "🌍🌍 Grace Hopper lives near Oslo now .").json == [
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


# --- refusals ---


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/html", "text/plain; charset=latin-1", "application/x-www-form-urlencoded"],
)
def test_other_content_types(client, content_type):
    answer = client.simulate_post("/ner", body=b"Tim", content_type=content_type)
    assert "text/plain" in problem(answer, 415)["fix"]
    assert answer.headers["accept"] == "text/plain, application/json"


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
    body = b'{"texts": ["' + b"a" * app.MAX_BODY + b'"]}'
    problem(client.simulate_post("/ner", body=body, content_type="application/json"), 413)


def test_a_text_over_the_limit(client):
    assert ask_plain(client, "a" * app.MAX_CHARACTERS).status_code == 200
    answer = ask(client, {"texts": ["", "a" * (app.MAX_CHARACTERS + 1)]})
    assert "Text 2 of 2 has more than" in problem(answer, 413)["detail"]
    problem(ask_plain(client, "a" * (app.MAX_CHARACTERS + 1)), 413)


def test_more_texts_than_the_limit(client):
    problem(ask(client, {"texts": ["a"] * (app.MAX_TEXTS + 1)}), 413)
    assert len(ask(client, {"texts": ["a"] * app.MAX_TEXTS}).json["results"]) == app.MAX_TEXTS


def test_unknown_paths_and_methods(client):
    problem(client.simulate_get("/secret-words"), 404)
    answer = client.simulate_get("/ner")
    problem(answer, 405)
    assert "POST" in answer.headers["allow"]


class _Broken:
    """A model that fails in the given way."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def entities(self, texts):
        raise self.error


def test_a_full_queue_says_when_to_try_again(manifest):
    serving = Serving()
    serving.serve(manifest, _Broken(Unavailable("full", "wait", retry_after=7)))
    answer = ask_plain(testing.TestClient(app.create_app(serving)), "Tim")
    assert problem(answer, 503)["detail"] == "full"
    assert answer.headers["retry-after"] == "7"


def test_a_failure_tells_the_client_and_the_log_nothing_of_the_text(manifest, caplog):
    serving = Serving()
    serving.serve(manifest, _Broken(ValueError("no luck with 'Ada Lovelace'")))
    answer = ask_plain(testing.TestClient(app.create_app(serving)), "Ada Lovelace")
    problem(answer, 500)
    from nerforge_server.logs import JsonFormatter

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
    content_type=st.sampled_from(["application/json", "text/plain"]),
)
def test_any_body_gets_an_answer_or_a_problem(client, body, content_type):
    answer = client.simulate_post("/ner", body=body, content_type=content_type)
    if answer.status_code == 200:
        answer.json  # noqa: B018  (it parses)
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
    }


def test_head_has_the_headers_of_get(client):
    for path in ("/", "/health", "/ready", "/model"):
        head, get = client.simulate_head(path), client.simulate_get(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == get.headers["content-length"]


def test_without_a_model_it_is_alive_but_not_ready():
    serving = Serving()
    serving.refuse("the checksum is wrong")
    client = testing.TestClient(app.create_app(serving))
    assert client.simulate_get("/health").status_code == 200
    for answer in (client.simulate_get("/ready"), client.simulate_get("/model"), ask_plain(client, "Tim")):
        assert "the checksum is wrong" in problem(answer, 503)["detail"]
        assert answer.headers["retry-after"] == "5"


def test_a_stopping_server_is_not_ready_but_answers(client, serving, manifest, inference):
    serving.stop()
    serving.serve(manifest, inference)  # a model that is up only now changes nothing
    assert problem(client.simulate_get("/ready"), 503)["detail"] == "the server is stopping"
    assert ask_plain(client, "Tim went to Oslo .").status_code == 200


def test_every_answer_has_the_security_headers_and_an_id(client):
    paths = ("/", "/health", "/ready", "/model", "/ner", "/nothing")
    for answer in map(client.simulate_get, paths):
        for header in app.SECURITY_HEADERS:
            assert header in answer.headers
        assert len(answer.headers["x-request-id"]) == 32


def test_a_clients_own_id_is_kept_only_if_it_is_harmless(client):
    given = client.simulate_get("/health", headers={"X-Request-Id": "a-1.b_2"})
    assert given.headers["x-request-id"] == "a-1.b_2"
    for other in ("a b", "a" * 65, '"', "é"):
        answer = client.simulate_get("/health", headers={"X-Request-Id": other})
        assert answer.headers["x-request-id"] != other


def test_a_request_is_one_line_in_the_log_without_its_text(client, caplog):
    caplog.set_level(logging.INFO)
    answer = ask(client, {"texts": ["Ada Lovelace", "Tim"]})
    [record] = [record for record in caplog.records if record.getMessage() == "request"]
    assert record.fields.pop("ms") >= 0
    assert record.fields == {
        "method": "POST",
        "path": "/ner",
        "status": 200,
        "texts": 2,
        "id": answer.headers["x-request-id"],
    }
    assert "Lovelace" not in caplog.text


# --- the page ---


def test_the_page_may_run_its_own_script_and_nothing_else(client):
    answer = client.simulate_get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert policy.count("'sha256-") == 2


def test_the_page_needs_nothing_from_elsewhere(client):
    page = client.simulate_get("/").text
    for outside in ("http://", "https://", "src=", "@import", "innerHTML", "style=", "onclick="):
        assert outside not in page
