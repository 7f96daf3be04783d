"""Scores of entities: against a replay of the whole greedy path by nothing but spaCy's own transition system.

Cases: entities of one token and of many, labels with a hyphen, white space, sentence starts, the document's
end; a tok2vec of its own or a shared one; batches; temperatures; none for what the NER did not find; spaCy's
findings stay as they are.
"""

import copy
import math
import random
from itertools import chain

import numpy
import pytest
import spacy
from nerforge_engine import confidence
from spacy.tokens import Doc

LABELS = ("PER", "creative-work", "LOC")
WORDS = ("Ada", "went", "to", "New", "York", "in", "May", ".", "\n", "the", "Théâtre", "🌍", "B-2", "12")


def pipeline(before=(), shared=False, after=(), factory="ner", **model):
    """An NER with random weights: it finds entities everywhere, of all lengths."""
    nlp = spacy.blank("en")
    if shared:
        nlp.add_pipe("tok2vec")
        model["tok2vec"] = {"@architectures": "spacy.Tok2VecListener.v1", "width": 96, "upstream": "*"}
    for name in before:
        nlp.add_pipe(name)
    ner = nlp.add_pipe(factory, name="ner", config={"model": model} if model else {})
    for label in LABELS:
        ner.add_label(label)
    nlp.initialize()
    weights = numpy.random.default_rng(3)
    upper = ner.model.get_ref("upper")
    for name in ("W", "b"):
        shape = upper.get_param(name).shape
        upper.set_param(name, weights.normal(0, 1.5, shape).astype("float32"))
    for name in after:
        nlp.add_pipe(name)
    return nlp


def texts(count=40, seed=0):
    """Texts of 0 to 30 words."""
    chosen = random.Random(seed)
    return ["", "Ada", " \n "] + [
        " ".join(chosen.choices(WORDS, k=chosen.randrange(31))) for __ in range(count)
    ]


def scored(nlp, doc):
    """The scores of a document's entities by their text and label."""
    return dict(zip(((e.text, e.label_) for e in doc.ents), *confidence.scores(nlp, [doc]), strict=True))


def replayed(nlp, text, temperature):
    """The entities of the greedy path, each with its product: one document, one action at a time."""
    ner = nlp.get_pipe("ner")
    doc = nlp.make_doc(text)
    for name, component in nlp.pipeline:
        if name == "ner":
            break
        doc = component(doc)
    if not len(doc):
        return []
    step, state = ner.model.predict([doc]), ner.moves.init_batch([doc])[0]
    names = [ner.moves.get_class_name(number) for number in range(ner.moves.n_moves)]
    found, product, start = [], 1.0, None
    while not state.is_final():
        token, logits = state.B(0), step.predict([state])[0]
        valid = {
            name: float(z) for name, z in zip(names, logits, strict=True) if ner.moves.is_valid(state, name)
        }
        taken = max(valid, key=valid.get)
        total = sum(math.exp(z / temperature) for z in valid.values())
        probability = math.exp(valid[taken] / temperature) / total
        ner.moves.apply_transition(state, taken)
        move, __, label = taken.partition("-")
        if move == "O":
            continue
        if move in "BU":
            product, start = 1.0, token
        product *= probability
        if move in "LU":
            found.append((start, token + 1, label, product))
    return found


@pytest.fixture(scope="module")
def nlp():
    return pipeline()


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.5])
@pytest.mark.parametrize(
    ("before", "shared", "after"),
    [((), False, ()), ((), True, ()), (("sentencizer",), True, ()), ((), False, ("sentencizer",))],
    ids=["its own tok2vec", "a shared one", "sentences before", "sentences after"],
)
def test_a_score_is_the_product_along_the_greedy_path(before, shared, after, temperature):
    nlp = pipeline(before, shared=shared, after=after)
    docs = list(nlp.pipe(texts(), batch_size=16))
    lengths = set()
    for doc, scores in zip(docs, confidence.scores(nlp, docs, temperature), strict=True):
        expected = replayed(nlp, doc.text, temperature)
        assert [(e.start, e.end, e.label_) for e in doc.ents] == [entity[:3] for entity in expected]
        assert scores == pytest.approx([entity[3] for entity in expected], rel=1e-3)
        lengths |= {len(entity) for entity in doc.ents}
    assert {1, 2, 3} < lengths  # units, and entities with and without an inside


def test_scores_lie_between_0_and_1_and_do_not_depend_on_the_batch(nlp):
    docs = list(nlp.pipe(texts(20)))
    together = confidence.scores(nlp, docs)
    alone = [confidence.scores(nlp, [doc])[0] for doc in docs]
    for one, other in zip(together, alone, strict=True):
        assert one == pytest.approx(other, rel=1e-4)
        assert all(0 < score <= 1 for score in one)
    assert confidence.scores(nlp, docs) == together


def test_the_score_of_a_path_is_that_of_its_transitions_multiplied():
    begin, last = numpy.array([0.0, math.log(0.25)]), numpy.array([math.log(0.5), 0.0, math.log(0.5)])
    products = confidence.probabilities([[begin, last], [begin], [last]], 1)
    assert products == pytest.approx([0.8 * 0.5, 0.8, 0.5])
    assert confidence.probabilities([[begin]], 0.5) == pytest.approx([1 / (1 + 0.25**2)])
    assert confidence.probabilities([[begin, last]], 1e6) == pytest.approx([1 / 6], rel=1e-4)
    assert confidence.probabilities([], 1).shape == (0,)


def test_a_higher_temperature_lowers_every_score(nlp):
    docs = list(nlp.pipe(texts(10)))
    cold, hot = (list(chain(*confidence.scores(nlp, docs, temperature))) for temperature in (1, 2))
    assert len(cold) > 20
    # An entity that is as good as certain may stay so to the last digit.
    assert all(high > low or high > 0.999 for high, low in zip(cold, hot, strict=True))
    assert sum(cold) > sum(hot)


def test_what_spacy_finds_stays_as_it_is(nlp):
    doc, same = nlp("Ada went to New York ."), nlp("Ada went to New York .")
    weights = nlp.get_pipe("ner").to_bytes()
    confidence.scores(nlp, [doc])
    assert doc.to_bytes() == same.to_bytes()
    assert nlp.get_pipe("ner").to_bytes() == weights
    assert nlp("Ada went to New York .").to_bytes() == same.to_bytes()


def test_no_documents_and_no_entities(nlp):
    assert confidence.scores(nlp, []) == []
    assert confidence.scores(nlp, [nlp(""), nlp(" \n ")]) == [[], []]


# --- none where the transitions do not explain it ---


def test_an_entity_of_a_ruler_has_none_and_those_of_the_ner_keep_theirs(nlp):
    ruled = copy.deepcopy(nlp)
    ruler = ruled.add_pipe("entity_ruler", config={"overwrite_ents": True})
    ruler.add_patterns([{"label": "RULE", "pattern": "York"}])
    plain, doc = nlp("Ada went to New York ."), ruled("Ada went to New York .")
    expected, scores = scored(nlp, plain), scored(ruled, doc)
    assert scores.pop(("York", "RULE")) is None
    assert scores
    assert scores == pytest.approx({entity: expected[entity] for entity in scores})


@pytest.mark.parametrize("label", ["PER", "OTHER"])
def test_an_entity_that_the_ner_would_not_build_has_none(nlp, label):
    doc = nlp("Ada went to New York .")
    found = {(e.start, e.end, e.label_) for e in doc.ents}
    start = next(i for i in range(len(doc)) if (i, i + 1, label) not in found)
    doc.ents = [spacy.tokens.Span(doc, start, start + 1, label=label)]
    assert confidence.scores(nlp, [doc]) == [[None]]


def test_white_space_at_an_entitys_start_and_a_sentence_within_have_none(nlp):
    doc = Doc(nlp.vocab, words=["\n", "Ada", "Bob"], sent_starts=[True, False, True])
    doc.ents = [spacy.tokens.Span(doc, 0, 1, label="PER"), spacy.tokens.Span(doc, 1, 3, label="PER")]
    assert confidence.scores(nlp, [doc]) == [[None, None]]


@pytest.mark.parametrize(
    "make",
    [
        lambda: pipeline(factory="beam_ner"),
        lambda: pipeline(after=("merge_entities",)),
        lambda: pipeline(maxout_pieces=1),
    ],
    ids=["a beam", "tokens merged", "another step model"],
)
def test_pipelines_whose_entities_cannot_be_explained(make):
    nlp = make()
    doc = nlp("Ada went to New York in May .")
    assert doc.ents
    assert confidence.scores(nlp, [doc]) == [[None] * len(doc.ents)]


def test_a_pipeline_without_an_ner():
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "LOC", "pattern": "York"}])
    assert confidence.scores(nlp, [nlp("York"), nlp("")]) == [[None], []]
