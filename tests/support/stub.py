"""A server whose entities are known beforehand, in this process: for tests of what clients see of it."""

import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from nerforge_engine.recognizer import Entity
from nerforge_server.app import create_app
from nerforge_server.inference import Unavailable
from nerforge_server.keys import Keys
from nerforge_server.metrics import Metrics
from nerforge_server.serving import Serving
from waitress.server import create_server

WORDS = {
    "Ada Lovelace": ("PER", 0.98761),
    "London": ("LOC", 0.91234),
    "NASA": ("AGENCY", 0.99731),
    "ESA": ("AGENCY", 0.9812),
    "Dragonfly": ("MISSION", 0.87654),
    "Huygens": ("MISSION", 0.9345),
    "Cassini": ("MISSION", 0.6234),
    "Titan": ("BODY", 0.71),
    "Florida": ("PLACE", 0.9589),
    "Falcon Heavy": ("ROCKET", 0.9991),
    "Titan IV": ("ROCKET", 0.5417),
    "somewhere": ("LOC", None),
}
LABELS = sorted({label for label, __ in WORDS.values()})
_SHARES = (0.1, 0.2, 0.22, 0.3, 0.5, 0.52, 0.63, 0.77, 0.84, 0.97)
MODEL = {
    "name": "people",
    "version": 7,
    "language": "en",
    "labels": LABELS,
    "scores": {
        "f": 0.9012,
        "p": 0.921,
        "r": 0.8823,
        "on": "test",
        "labels": {label: {"f": 0.9, "p": 0.92, "r": 0.88, "count": 40} for label in LABELS},
    },
    "run": "01JD0000000000000000000000",
    "created": "2026-01-02T03:04:05.678+00:00",
    "artifact": {"file": "model.tar.gz", "sha256": "5f" * 32, "bytes": 1},
    "calibration": {
        "on": "test",
        "temperature": 1.31,
        "ece": 0.0312,
        "ece_uncalibrated": 0.08,
        "bins": [
            {
                "from": number / 10,
                "to": (number + 1) / 10,
                "confidence": number / 10 + 0.05,
                "accuracy": share,
                "count": 4 + 3 * number**2,
            }
            for number, share in enumerate(_SHARES)
        ],
    },
    "engine": "exact",
    "engine_reason": "it finds what spaCy finds",
}


class Stub:
    """Stands in for `Serving`: finds `WORDS`; a text with the word "burst" fails it.

    Attributes: ``unready``, None or why; ``asked``, the texts that it was asked about.
    """

    def __init__(self) -> None:
        self.unready: str | None = None
        self.asked: list[str] = []

    @property
    def model(self) -> dict[str, Any]:
        self._check()
        return MODEL

    @property
    def label(self) -> str:
        self._check()
        return "people:7"

    def recognize(self, texts: Sequence[str]) -> list[list[Entity]]:
        self._check()
        self.asked += texts
        return [_find(text) for text in texts]

    def stream(self, texts: Iterable[str]) -> Iterator[list[list[Entity]]]:
        self._check()
        ahead = list(texts)
        return ([_find(text)] for text in ahead)

    def _check(self) -> None:
        if self.unready:
            raise Unavailable(f"not ready: {self.unready}", "Try again later.", retry_after=1)


def _find(text: str) -> list[Entity]:
    if "burst" in text:
        raise ValueError(f"no luck with {text!r}")
    longest_first = sorted(WORDS, key=len, reverse=True)
    return [
        Entity(found.start(), found.end(), *WORDS[found[0]])
        for found in re.finditer("|".join(longest_first), text)
    ]


class StubServer:
    """The application over a `Stub`, behind a port on loopback and, as behind a load balancer, a prefix.

    Attributes: ``serving``, ``origin``, ``url`` (with the prefix, without a slash at its end).
    """

    def __init__(self, keys: Keys | None = None, prefix: str = "") -> None:
        self.serving = Stub()
        app = create_app(cast(Serving, self.serving), keys, Metrics(1, LABELS, "exact"))

        def behind_prefix(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            path = environ["PATH_INFO"]
            if not path.startswith(prefix):
                start_response("404 Not Found", [])
                return []
            return app({**environ, "PATH_INFO": path.removeprefix(prefix) or "/"}, start_response)

        self._server = create_server(behind_prefix, host="127.0.0.1", port=0, threads=4)
        self.origin = f"http://127.0.0.1:{self._server.effective_port}"
        self.url = self.origin + prefix
        threading.Thread(target=self._server.run, daemon=True).start()

    def close(self) -> None:
        self._server.close()
