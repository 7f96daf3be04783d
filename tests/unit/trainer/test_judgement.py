"""What is right, spurious and missed: always as spaCy's scorer has it, whatever the tokens."""

import numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from nerforge_trainer import judgement
from spacy.scorer import get_ner_prf
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab

VOCAB = Vocab()
LABELS = ("LOC", "ORG", "PER")


def doc(words, tags):
    """Tags as spaCy's Doc takes them; "" is a token of which nothing is known."""
    made = Doc(VOCAB, words=words)
    entities, start = [], 0
    while start < len(words):
        end = start + 1
        if tags[start][:1] == "B":
            while end < len(words) and tags[end] == f"I{tags[start][1:]}":
                end += 1
            entities.append(Span(made, start, end, tags[start][2:]))
        start = end
    unknown = [made[i : i + 1] for i, tag in enumerate(tags) if not tag]
    made.set_ents(entities, missing=unknown, default="outside")
    return made


def example(gold, found, words=None):
    words = words or [f"w{i}" for i in range(len(gold))]
    return Example(doc(words, found), doc(words, gold))


def texts(pairs):
    return [tuple(span and (span.text, span.label_) for span in pair) for pair in pairs]


def test_gold_and_found_are_paired_by_their_tokens():
    one = example(
        ["B-PER", "O", "B-LOC", "I-LOC", "O", "B-ORG", "", "B-PER"],
        ["B-PER", "B-ORG", "B-LOC", "O", "O", "B-PER", "B-LOC", "O"],
    )
    assert texts(judgement.pairs(one)) == [
        (("w0", "PER"), ("w0", "PER")),
        (None, ("w1", "ORG")),
        (None, ("w2", "LOC")),
        (("w2 w3", "LOC"), None),
        (("w5", "ORG"), ("w5", "PER")),
        (("w7", "PER"), None),
    ]
    assert judgement.counts(one) == [1, 3, 3]
    assert judgement.confusion([one]) == {
        "labels": ["LOC", "ORG", "PER"],
        "counts": [[0, 0, 0, 1], [0, 0, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0]],
    }


def test_of_two_on_the_same_tokens_of_gold_one_is_right():
    """Its own tokens may be shorter than gold's."""
    reference = doc(["NewYork", "sleeps"], ["B-LOC", "O"])
    predicted = doc(["New", "York", "sleeps"], ["B-PER", "B-LOC", "O"])
    for made in (reference, predicted):
        assert made.text.replace(" ", "") == "NewYorksleeps"
    one = Example(predicted, reference)
    assert texts(judgement.pairs(one)) == [
        (("NewYork", "LOC"), ("York", "LOC")),
        (None, ("New", "PER")),
    ]
    assert judgement.counts(one) == [1, 1, 0]


TAGS = st.sampled_from(["O", "O", *(f"{position}-{label}" for position in "BI" for label in LABELS)])
SPLITS = st.lists(st.sampled_from([0, 1]), min_size=6, max_size=6)


@st.composite
def examples(draw):
    """Gold with gaps in what it knows, and findings on other tokens: of a word, both halves."""
    gold = draw(st.lists(st.one_of(TAGS, st.just("")), min_size=6, max_size=6))
    words = [f"ab{i}" for i in range(6)]
    halves = [
        piece
        for word, is_split in zip(words, draw(SPLITS), strict=True)
        for piece in ((word[:1], word[1:]) if is_split else (word,))
    ]
    found = draw(st.lists(TAGS, min_size=len(halves), max_size=len(halves)))
    return Example(doc(halves, found), doc(words, gold))


@settings(max_examples=300, deadline=None)
@given(st.lists(examples(), min_size=1, max_size=4))
def test_the_sums_are_those_of_spacys_scorer(some):
    expected = get_ner_prf(some)
    right, spurious, missed = numpy.sum([judgement.counts(one) for one in some], axis=0)
    if expected["ents_f"] is None:
        assert right + spurious + missed == 0
        return
    precision = right / (right + spurious + 1e-100)
    recall = right / (right + missed + 1e-100)
    assert precision == expected["ents_p"]
    assert recall == expected["ents_r"]
    assert 2 * (precision * recall) / (precision + recall + 1e-100) == expected["ents_f"]

    table = judgement.confusion(some)
    counts = numpy.array(table["counts"])
    assert counts.trace() == right
    assert counts[:, :-1].sum() == right + spurious
    assert counts[:-1].sum() == right + missed
    assert counts[-1, -1] == 0
    assert set(table["labels"]) <= set(expected["ents_per_type"])  # it names those it counts neither way too
