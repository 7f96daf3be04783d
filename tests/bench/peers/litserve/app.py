"""LitServe: requests are batched in front of two workers of the one device, which is the CPU."""

import os
from typing import Any

import litserve
from pipeline import BATCH, find, load


class Ner(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.nlp = load()

    def decode_request(self, request: dict[str, Any]) -> list[str]:
        return request["texts"] if "texts" in request else [request["text"]]

    def batch(self, inputs: list[list[str]]) -> list[list[str]]:
        return inputs

    def predict(self, requests: list[list[str]]) -> list[Any]:
        answers = iter(find(self.nlp, [text for texts in requests for text in texts]))
        return [[next(answers) for __ in texts] for texts in requests]

    def unbatch(self, output: list[Any]) -> list[Any]:
        return output

    def encode_response(self, output: Any) -> Any:
        return output


if __name__ == "__main__":
    api = Ner(max_batch_size=BATCH, batch_timeout=0.005, api_path="/ner")
    # fast_queue was slower, and as many processes for HTTP as for inference is the default.
    server = litserve.LitServer(
        api, accelerator="cpu", devices=1, workers_per_device=2, healthcheck_path="/ready"
    )
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
