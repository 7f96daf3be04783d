"""Entities against spaCy's tokens: what the trainer could not learn is found before it is submitted."""

import pytest
import spacy
from nerforge_contract import alignment
from nerforge_contract.corpus import Example
from nerforge_contract.errors import UserError
from nerforge_trainer import docs

TEXTS = [
    Example("Ada met Bob.", ((0, 3, "PER"), (8, 11, "PER")), None, 1),
    Example("Adalyn met Bob", ((0, 3, "PER"), (11, 14, "PER")), None, 2),
    Example("don't", ((0, 2, "X"), (2, 5, "X")), None, 3),
    Example("Adalyn it", ((0, 3, "X"),), ("Adalyn", "it"), 4),
    Example("to  New York \n.", ((2, 14, "LOC"),), None, 5),
    Example("10xx", ((0, 2, "NUM"),), None, 6),
    Example("no entity", (), None, 7),
]


def test_entities_within_a_token_are_found_and_none_else():
    assert [(example.line, span) for example, span in alignment.unfit(TEXTS, "en")] == [
        (2, (0, 3, "PER")),
        (6, (0, 2, "NUM")),
    ]


def test_the_trainer_finds_the_same():
    nlp = spacy.blank("en")
    texts = [example for example in TEXTS if example.words is None]
    trainers = [(example, span) for example in texts for span in docs.to_doc(nlp, example)[1]]
    assert alignment.unfit(texts, "en") == trainers


def test_the_tokens_are_those_of_the_language():
    example = Example("l'olio", ((2, 6, "X"),), None, 1)
    assert alignment.unfit([example], "it") == []
    assert alignment.unfit([example], "en") == [(example, (2, 6, "X"))]


def test_they_are_counted_and_the_first_are_named():
    unfit = [(TEXTS[1], (0, 3, "PER"))] * 2 + [(TEXTS[5], (0, 2, "NUM"))] * 2
    (finding,) = alignment.findings("data.dev: x.jsonl", unfit, 9)
    assert finding.count == 4
    assert str(finding) == (
        "data.dev: x.jsonl: 4 of 9 entities do not begin and end with a token, and are not learnt: "
        "'Ada' (PER), line 2; 'Ada' (PER), line 2; '10' (NUM), line 6; and 1 more"
    )
    assert alignment.findings("data.dev: x.jsonl", [], 9) == []
    assert alignment.findings("data.dev: x.jsonl", unfit[:1], 2)[0].count == 1


def test_a_file_of_nothing_else_is_refused():
    with pytest.raises(
        UserError, match=r"^data.dev: x: not one of 1 entities begins .*'Ada' \(PER\), line 2\."
    ):
        alignment.findings("data.dev: x", [(TEXTS[1], (0, 3, "PER"))], 1)
