"""Examples as documents: gold words stay, character spans are aligned, what does not fit is unknown."""

import pytest
import spacy
from nerforge_contract.corpus import Example
from nerforge_contract.errors import UserError
from nerforge_trainer import docs
from spacy.training import Corpus


@pytest.fixture(scope="module")
def nlp():
    return spacy.blank("en")


def tags(doc):
    return [f"{token.ent_iob_}-{token.ent_type_}".strip("-") for token in doc]


def test_words_that_the_file_fixes_are_trained_on_as_they_are(nlp, tmp_path):
    example = Example("don't go", ((0, 5, "X"),), ("don't", "go"), 1)
    doc, unfit = docs.to_doc(nlp, example)
    assert ([token.text for token in doc], tags(doc), unfit) == (["don't", "go"], ["B-X", "O"], [])
    docs.write(nlp, [example], tmp_path / "x.spacy", "")
    (read,) = Corpus(tmp_path / "x.spacy")(nlp)
    assert [token.text for token in read.predicted] == ["don't", "go"]


def test_text_is_tokenized(nlp):
    doc, unfit = docs.to_doc(nlp, Example("I don't (Ada).", ((9, 12, "PER"),), None, 1))
    assert [token.text for token in doc] == ["I", "do", "n't", "(", "Ada", ")", "."]
    assert tags(doc) == ["O", "O", "O", "O", "B-PER", "O", "O"]
    assert unfit == []


def test_white_space_at_the_ends_of_a_span_is_left_out(nlp):
    doc, unfit = docs.to_doc(nlp, Example("to  New York \n.", ((2, 14, "LOC"),), None, 1))
    assert [(entity.text, entity.label_) for entity in doc.ents] == [("New York", "LOC")]
    assert unfit == []


def test_a_span_within_a_token_is_neither_an_entity_nor_none(nlp):
    spans = ((0, 3, "PER"), (7, 10, "NUM"), (10, 12, "UNIT"), (13, 16, "PER"))
    doc, unfit = docs.to_doc(nlp, Example("Ada is 100xx Bob", spans, None, 1))
    assert tags(doc) == ["B-PER", "O", "", "B-PER"]
    assert unfit == [(7, 10, "NUM"), (10, 12, "UNIT")]


def test_misfits_are_counted_and_the_first_is_named(nlp, tmp_path):
    examples = [
        Example("Ada", ((0, 3, "PER"),), None, 3),
        Example("Adalyn", ((0, 3, "PER"),), None, 4),
        Example("Bobby", ((0, 3, "PER"),), None, 9),
    ]
    assert docs.write(nlp, examples, tmp_path / "x.spacy", "data.dev: x.jsonl") == [
        "data.dev: x.jsonl: 2 of 3 entities do not begin and end with a token, and are not learnt: "
        "'Ada' (PER), line 4; 'Bob' (PER), line 9"
    ]


def test_a_file_of_nothing_but_misfits_is_refused(nlp, tmp_path):
    with pytest.raises(UserError) as error:
        docs.write(nlp, [Example("Adalyn", ((0, 3, "PER"),), None, 4)], tmp_path / "x.spacy", "data.dev: x")
    assert str(error.value).startswith(
        "data.dev: x: not one of 1 entities begins and ends with a token; the first is 'Ada' (PER), line 4."
    )
    assert not (tmp_path / "x.spacy").exists()
