"""A constant load on the server, through the load balancer, and what became of each request."""

import http.client
import json
import random
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from support.deployment import Deployment

CONNECTIONS = 4  # of each of the two kinds
PATIENCE_SECONDS = 30

Entities = list[tuple[int, int, str]]
Expected = dict[str, dict[str, Entities]]  # model: text: what it finds


@dataclass(frozen=True)
class Answer:
    """What became of one request.

    Parameters
    ----------
    began, ended:
        Seconds of time.monotonic().
    kept:
        Whether it went over a connection that is kept open.
    model:
        The version that the answer names; None where there was no good answer.
    wrong:
        What is wrong with it; empty for a right one.
    """

    began: float
    ended: float
    kept: bool
    model: str | None
    wrong: str = ""


class Load:
    """Asks all the time; a context manager. No request is ever repeated.

    Half of the threads keep their connection open as long as the load balancer does, the others open a new
    one for each request.

    Parameters
    ----------
    deployment:
        Whose server to ask, and with which key.
    expected:
        What each version that may answer finds in each text.
    rate:
        Requests a second, of all threads together.
    """

    def __init__(self, deployment: Deployment, expected: Expected, rate: float) -> None:
        self.answers: list[Answer] = []
        self.connections = 0  # opened by the threads that keep theirs
        self._expected, self._texts = expected, list(next(iter(expected.values())))
        self._url, self._key = urlsplit(deployment.url), deployment.key
        self._pause = 2 * CONNECTIONS / rate
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(random.Random(number), kept), daemon=True)
            for number in range(CONNECTIONS)
            for kept in (True, False)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *__: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, chance: random.Random, kept: bool) -> None:
        connection = http.client.HTTPConnection(self._url.hostname, self._url.port, timeout=PATIENCE_SECONDS)
        while not self._over.wait(chance.expovariate(1 / self._pause)):
            if connection.sock is None:
                self.connections += kept
            text, began = chance.choice(self._texts), time.monotonic()
            model, wrong = self._asked(connection, text, kept)
            self.answers.append(Answer(began, time.monotonic(), kept, model, wrong))
            if wrong or not kept:
                connection.close()
        connection.close()

    def _asked(self, connection: http.client.HTTPConnection, text: str, kept: bool) -> tuple[str | None, str]:
        headers = {"Content-Type": "application/json", "Connection": "keep-alive" if kept else "close"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            connection.request("POST", f"{self._url.path}/ner", json.dumps({"text": text}), headers)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                return None, f"{answer.status}: {content[:200]!r}"
            return self._judged(text, json.loads(content))
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:
            return None, f"{type(error).__name__}: {error}"

    def _judged(self, text: str, answer: dict) -> tuple[str, str]:
        model = answer["model"]
        found = [(entity["start"], entity["end"], entity["tag"]) for entity in answer["entities"]]
        if model not in self._expected:
            return model, f"{model} answered, and was never to"
        if found != self._expected[model][text]:
            return model, f"{model} finds {found} in {text!r}, and should {self._expected[model][text]}"
        return model, ""
