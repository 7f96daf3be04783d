"""MLServer: two inference processes behind one that speaks HTTP and batches requests."""

import json

from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse
from pipeline import find, load


class Ner(MLModel):
    async def load(self) -> bool:
        self.nlp = load()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The entities of each text, as JSON."""
        texts = StringCodec.decode_input(payload.inputs[0])
        answers = [json.dumps(entities) for entities in find(self.nlp, texts)]
        return InferenceResponse(
            model_name=self.name, outputs=[StringCodec.encode_output("entities", answers)]
        )
