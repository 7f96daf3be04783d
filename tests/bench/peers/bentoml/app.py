"""BentoML: a service of two workers, each of which batches the requests that wait for it."""

import bentoml
from pipeline import BATCH, find, load


@bentoml.service(
    workers=2, traffic={"timeout": 60}, metrics={"enabled": False}, logging={"access": {"enabled": False}}
)
class Ner:
    def __init__(self) -> None:
        self.nlp = load()

    @bentoml.api(batchable=True, batch_dim=0, max_batch_size=2 * BATCH, max_latency_ms=10_000, route="/ner")
    def ner(self, texts: list[str]) -> list[list[dict]]:
        """The entities of each text."""
        return find(self.nlp, texts)
