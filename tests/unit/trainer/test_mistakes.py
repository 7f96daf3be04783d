"""The worst mistakes: which, in what order, and where in the text."""

import pytest
import spacy
from nerforge_engine import confidence
from nerforge_trainer import mistakes
from spacy.training import Example

nlp = spacy.blank("en")


def example(text, gold, found):
    """Spans as (text, label), each the first of its kind in the text."""
    predicted, reference = nlp.make_doc(text), nlp.make_doc(text)
    for doc, spans in ((predicted, found), (reference, gold)):
        doc.ents = [
            doc.char_span(text.index(words), text.index(words) + len(words), label) for words, label in spans
        ]
    return Example(predicted, reference)


@pytest.fixture
def scored(monkeypatch):
    """Scores of what was found, by its text."""
    known = {}

    def scores(nlp, docs, temperature):
        assert temperature == 1.5
        return [[known.get(entity.text) for entity in doc.ents] for doc in docs]

    monkeypatch.setattr(confidence, "scores", scores)
    return known


def worst(examples):
    return mistakes.worst(nlp, examples, [10 * (i + 1) for i in range(len(examples))], 1.5)


def test_most_mistakes_first_then_the_surest(scored):
    scored |= {"Ada": 0.5, "Bob": 0.9876543, "Rome": 0.3}
    right = example("Rome is old", [("Rome", "LOC")], [("Rome", "LOC")])
    unsure = example("Ada sings", [], [("Ada", "PER")])
    sure = example("Bob sings", [("Bob", "LOC")], [("Bob", "PER")])
    missed = example("Eve sings", [("Eve", "PER")], [])
    two = example("Eve and Ada in Rome", [("Eve", "PER"), ("Ada", "PER"), ("Rome", "LOC")], [("Rome", "LOC")])
    assert worst([right, unsure, sure, missed, two]) == [
        {
            "line": 50,
            "text": "Eve and Ada in Rome",
            "gold": [[0, 3, "PER"], [8, 11, "PER"], [15, 19, "LOC"]],
            "found": [[15, 19, "LOC", 0.3]],
        },
        {"line": 30, "text": "Bob sings", "gold": [[0, 3, "LOC"]], "found": [[0, 3, "PER", 0.9877]]},
        {"line": 20, "text": "Ada sings", "gold": [], "found": [[0, 3, "PER", 0.5]]},
        {"line": 40, "text": "Eve sings", "gold": [[0, 3, "PER"]], "found": []},
    ]
    assert worst([right]) == []


def test_of_a_long_text_the_surroundings_of_the_first_mistake_are_shown(scored):
    text = "Rome " + "lorem " * 200 + "Ada " + "ipsum " * 200 + "Bob"
    (shown,) = worst([example(text, [("Rome", "LOC"), ("Ada", "PER"), ("Bob", "PER")], [("Rome", "LOC")])])
    assert 500 < len(shown["text"]) < 700
    assert shown["text"] in text
    ((start, end, label),) = shown["gold"]
    assert (shown["text"][start:end], label) == ("Ada", "PER")
    assert shown["found"] == []


@pytest.mark.parametrize("at", [0, 3000, 5996])
def test_a_long_text_without_spaces_is_cut_too(scored, at):
    text = "x" * at + "\nAda\n" + "x" * (5996 - at)
    (shown,) = worst([example(text, [("Ada", "PER")], [])])
    assert 100 < len(shown["text"]) <= 700 and shown["text"] in text
    ((start, end, label),) = shown["gold"]
    assert (shown["text"][start:end], label) == ("Ada", "PER")


def test_a_mistake_is_shown_whole_however_long_it_is(scored):
    name = "Ada " * 199 + "Ada"
    text = "Rome " * 100 + name + " sings" * 100
    (shown,) = worst([example(text, [(name, "PER")], [])])
    assert [shown["text"][start:end] for start, end, __ in shown["gold"]] == [name]


def test_no_more_than_thirty(scored):
    scored |= {"Ada": 0.5, "Bob": 0.9}
    some = [example("Ada sings", [], [("Ada", "PER")])] * 60 + [
        example("Bob sings", [], [("Bob", "PER")])
    ] * 2
    shown = worst(some)
    assert len(shown) == mistakes.MOST
    assert [error["text"] for error in shown[:3]] == ["Bob sings", "Bob sings", "Ada sings"]
    assert [error["line"] for error in shown[:3]] == [610, 620, 10]
