"""Which pipelines the exact engine takes, what is said of the others, and that the comparison can fail."""

import functools

import numpy
import pytest
import spacy
from nerforge_engine.recognizer import SpacyRecognizer, recognizer
from nerforge_engine.selfcheck import TEXTS
from spacy.language import Language
from support.ner_models import by_spacy, train


@Language.component("drops_entities")
def drops_entities(doc):
    doc.ents = []
    return doc


@Language.component("refuses_blanks")
def refuses_blanks(doc):
    assert not doc.text.isspace() and doc.text
    return doc


def rules(nlp):
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "PER", "pattern": "Ada"}])


def custom(nlp):
    nlp.add_pipe("drops_entities")


def sentences_first(nlp):
    nlp.add_pipe("sentencizer", name="first_sentences", first=True)


def second_ner(nlp):
    nlp.add_pipe("beam_ner", name="another")


def none_at_all(nlp):
    nlp.remove_pipe("ner")


def new_label(nlp):
    nlp.get_pipe("ner").add_label("NEW")


def beam(nlp):
    nlp.get_pipe("ner").cfg["beam_width"] = 4


def other_layer(nlp):
    node = next(n for n in nlp.get_pipe("ner").model.walk() if n.name == "layernorm")
    forward = node._func
    node._func = functools.partial(forward)


def wider_window(nlp):
    node = next(n for n in nlp.get_pipe("ner").model.walk() if n.name == "expand_window")
    node.attrs["window_size"] = 2


def token_attribute(nlp):
    node = next(n for n in nlp.get_pipe("ner").model.walk() if n.name == "extract_features")
    node.attrs["columns"] = ["NORM", "PREFIX", "SUFFIX", "TAG"]


def special_case_with_space(nlp):
    nlp.tokenizer.add_special_case("New York", [{"ORTH": "New York"}])


def tokenizer_of_ones_own(nlp):
    theirs = nlp.tokenizer
    nlp.tokenizer = functools.partial(theirs)


def word_changed_by_hand(nlp):
    nlp.vocab["Ada"].norm_ = "lovelace"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (rules, "component entity_ruler may change tokens or entities"),
        (custom, "component drops_entities may change tokens or entities"),
        (sentences_first, "first_sentences sets sentence starts ahead of the ner"),
        (second_ner, "it has 2 ner components, not one"),
        (none_at_all, "it has no ner components, not one"),
        (new_label, "labels that were added after the training"),
        (beam, "searches with a beam"),
        (other_layer, "not made by MultiHashEmbed.v2 and MaxoutWindowEncoder.v2"),
        (wider_window, "its window is not 1"),
        (token_attribute, "it embeds TAG"),
        (special_case_with_space, "special cases with white space in them"),
        (tokenizer_of_ones_own, "its tokenizer is a partial"),
        (word_changed_by_hand, "given attributes by hand"),
    ],
)
def test_what_is_not_proved_is_left_to_spacy(models, change, reason):
    nlp = models("english_with_its_own")
    change(nlp)
    found = recognizer(nlp)
    assert found.engine == "spacy"
    assert reason in found.reason


def test_the_fallback_finds_what_the_pipeline_finds(models):
    nlp = models("english_with_its_own")
    rules(nlp)
    found = recognizer(nlp)
    assert [[entity[:3] for entity in entities] for entities in found.entities(TEXTS)] == by_spacy(nlp, TEXTS)
    assert [entity[:3] for entity in list(found.piecewise(TEXTS[0]))[-1]] == by_spacy(nlp, TEXTS[:1])[0]


def test_tok2vec_that_the_ner_cannot_hear(models):
    nlp = models("english_that_listens")
    nlp.disable_pipe("tok2vec")
    assert "does not listen to the one tok2vec" in recognizer(nlp).reason


def test_other_architectures(tmp_path):
    nlp = spacy.blank("en")
    encoder = {
        "@architectures": "spacy.Tok2Vec.v2",
        "embed": {
            "@architectures": "spacy.MultiHashEmbed.v2",
            "width": 16,
            "attrs": ["NORM"],
            "rows": [50],
            "include_static_vectors": False,
        },
        "encode": {
            "@architectures": "spacy.MishWindowEncoder.v2",
            "width": 16,
            "depth": 1,
            "window_size": 1,
        },
    }
    nlp.add_pipe("ner", config={"model": {"tok2vec": encoder}})
    assert "not made by MultiHashEmbed.v2" in recognizer(train(nlp, steps=1)).reason


def perturbed(build):
    """The engine's weights as they would be if it computed something else than spaCy."""

    def changed(nlp):
        weights = build(nlp)
        noise = numpy.random.default_rng(0).normal(0, 1, weights.linear_bias.shape)
        weights.linear_bias[:] += noise.astype("float32")
        return weights

    return changed


def test_an_engine_that_differs_steps_aside(models, monkeypatch):
    from nerforge_engine import exact

    monkeypatch.setattr(exact, "weights", perturbed(exact.weights))
    found = recognizer(models("english_with_its_own"))
    assert found.engine == "spacy"
    assert "stepped aside: it differs from spaCy on" in found.reason


def test_an_engine_that_fails_steps_aside(models, monkeypatch):
    from nerforge_engine import exact

    monkeypatch.setattr(exact.ExactRecognizer, "_batch", lambda *__: 1 / 0)
    assert "raised ZeroDivisionError" in recognizer(models("english_with_its_own")).reason


def test_a_pipeline_is_not_asked_about_blank_texts():
    nlp = spacy.blank("en")
    nlp.add_pipe("refuses_blanks")
    rules(nlp)
    made = SpacyRecognizer(nlp, "it is the test's")
    texts = ["", " \n", "Ada", "\t", "of Ada", "\u2003"]
    found = [[texts[i][e.start : e.end] for e in entities] for i, entities in enumerate(made.entities(texts))]
    assert found == [[], [], ["Ada"], [], ["Ada"], []]
    assert made.entities(["", " "]) == [[], []]
