"""Small trained pipelines, shared by the tests of the engine."""

import pytest
import spacy
from support.ner_models import KINDS, train


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """The trained models by name, each loaded from disk when first asked for."""
    made = {}

    def model(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            train(KINDS[name]()).to_disk(folder)
            made[name] = folder
        return spacy.load(made[name])

    return model


@pytest.fixture(scope="session", params=KINDS)
def pair(request, models):
    """A pipeline, and its exact recognizer."""
    from nerforge_engine.recognizer import recognizer

    nlp = models(request.param)
    found = recognizer(nlp)
    assert found.engine == "exact", found.reason
    return nlp, found
