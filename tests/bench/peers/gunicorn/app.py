"""Falcon on gunicorn: each request is answered by itself."""

import json

import falcon
from pipeline import find, load


class Ner:
    def __init__(self) -> None:
        self.nlp = load()

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """The entities of each text."""
        question = json.loads(req.bounded_stream.read())
        texts = question["texts"] if "texts" in question else [question["text"]]
        resp.data = json.dumps(find(self.nlp, texts)).encode()


class Ready:
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer once the pipeline is loaded."""


app = falcon.App()
app.add_route("/ner", Ner())
app.add_route("/ready", Ready())
