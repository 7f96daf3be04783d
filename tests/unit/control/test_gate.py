"""The gate: limits, the paired bootstrap, and what it makes of models that are worse, as good, and better."""

import json
import random

import numpy
import pytest
import spacy
from ansible_collections.nerforge.aws.plugins.module_utils.contract.errors import UserError
from ansible_collections.nerforge.aws.plugins.plugin_utils import gate
from ansible_collections.nerforge.aws.plugins.plugin_utils.gate import check, compare
from spacy.training import Example
from support.ner_models import hash_embed_cnn

SCORES = {"f": 0.8, "on": "test", "labels": {}}
STEPS = 150
WRONG = 0.3  # the share of labels that are shuffled


# --- the bootstrap ---


def some_counts(seed, sentences=200):
    """Counts of two versions that are right and wrong on much the same sentences."""
    chance = random.Random(seed)
    hard = [chance.random() for __ in range(sentences)]

    def version(skill):
        return [
            [found := sum(chance.random() > skill * each for __ in range(3)), chance.randint(0, 1), 3 - found]
            for each in hard
        ]

    return version(0.4), version(0.5)


def f(counts):
    right, spurious, missed = map(sum, zip(*counts, strict=True))
    return 2 * right / (2 * right + spurious + missed)


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_is_that_of_drawing_sentence_by_sentence(seed):
    ours, theirs = some_counts(seed)
    found = compare(ours, theirs)
    assert (found.ours, found.theirs, found.sentences) == (f(ours), f(theirs), 200)
    chance = random.Random(seed)
    drawn = []
    for __ in range(2000):
        chosen = chance.choices(range(200), k=200)
        drawn.append(f([ours[n] for n in chosen]) - f([theirs[n] for n in chosen]))
    low, high = numpy.quantile(drawn, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.004)
    assert compare(ours, theirs) == found


def test_the_other_way_round_it_is_the_same_interval_mirrored():
    first, second = some_counts(7)
    one, other = compare(first, second), compare(second, first)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=0.004)


@pytest.mark.parametrize("counts", [[[3, 1, 1], [0, 0, 0], [1, 0, 2]], [[0, 0, 0]] * 4])
def test_the_same_answers_differ_by_nothing_whatever_is_drawn(counts):
    found = compare(counts, counts)
    assert (found.ours, found.low, found.high) == (found.theirs, 0, 0)


def test_versions_evaluated_on_other_sentences_are_not_compared():
    with pytest.raises(UserError, match="evaluated on 2 and 1 sentences"):
        compare([[1, 0, 0]] * 2, [[1, 0, 0]])


# --- its verdict ---


def refusal(lines, asked=None, rival=None):
    """Why the gate refuses; empty if it lets pass."""
    try:
        rivals = [("people:1, in production", rival)] if rival else []
        check("people:2", asked or {}, SCORES, rivals, lines)
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(("margin", "passes"), [(0, False), (0.01, False), (0.02, True), (0.05, True)])
def test_the_margin_is_what_may_be_lost(lines, margin, passes):
    slightly_worse = gate.Difference(0.79, 0.8, -0.02, 0.004, 500)
    assert (refusal(lines, {"margin": margin}, slightly_worse) == "") == passes
    assert lines == [
        "gate: beside people:1, in production: F 0.790 against 0.800 on the same 500 sentences, "
        "difference -0.0100, 95 % interval from -0.0200 to +0.0040, whose lower end must reach "
        f"{0 - margin:.4f}: {'passed' if passes else 'NOT passed'}"
    ]


def test_all_that_fails_is_told_at_once(lines):
    worse = gate.Difference(0.7, 0.8, -0.2, -0.1, 500)
    told = refusal(lines, {"min_f": 0.9, "labels": {"PER": 0.5}}, worse)
    assert "people:2 does not pass its gate: F 0.800 on test, at least 0.900 is asked; F of PER" in told
    assert "; beside people:1, in production: F 0.700 against 0.800" in told
    assert 'pass over the gate with the reason: force="why' in told
    assert len(lines) == 3


def test_what_fails_by_less_than_is_shown_says_so(lines):
    barely = gate.Difference(0.79, 0.79, -0.00003, 0.004, 500)
    told = refusal(lines, {"min_f": 0.80004}, barely)
    assert "F 0.800 on test, at least 0.800 is asked, and it is 4e-05 short" in told
    assert "whose lower end must reach 0.0000, and it is 3e-05 short" in told


def test_a_first_version_of_which_nothing_is_asked_passes(lines):
    assert refusal(lines) == ""
    assert lines == ["gate: the spec asks for no score, and there is no other version to compare with"]


# --- passing over it ---


@pytest.mark.parametrize("force", ["", "  ", "true", "True", "yes", "1", "false", "no"])
def test_what_is_no_reason_is_refused_with_how_to_write_one(force):
    with pytest.raises(UserError, match="-e 'force=\"why it must be served all the same\"'"):
        gate.reason(force)


def test_a_reason_is_taken_as_it_stands():
    assert gate.reason(" the test data was wrong ") == "the test data was wrong"
    assert gate.reason(None) is None


# --- trained models ---


@pytest.fixture(scope="module")
def found(root):
    """What three models find in the sample's dev and test sentences.

    Two learned the same, from other seeds; a third had three in ten of its labels shuffled.
    """
    folder = root / "playbooks" / "specs" / "sample"
    train = read(folder / "train.jsonl")
    held_out = read(folder / "dev.jsonl") + read(folder / "test.jsonl")
    models = {
        "good": learn(train, seed=0),
        "other seed": learn(train, seed=1),
        "shuffled": learn(shuffled(train), seed=0),
    }
    return {name: counts(nlp, held_out) for name, nlp in models.items()}


def read(path):
    """Texts with their entities."""
    tasks = map(json.loads, path.read_text().splitlines())
    return [(task["text"], [(s["start"], s["end"], s["label"]) for s in task["spans"]]) for task in tasks]


def shuffled(texts):
    """The same texts and spans, of which some have another label."""
    chance = random.Random(0)
    labels = sorted({label for __, spans in texts for *__, label in spans})

    def another(label):
        return chance.choice([other for other in labels if other != label])

    return [
        (text, [(s, e, another(label) if chance.random() < WRONG else label) for s, e, label in spans])
        for text, spans in texts
    ]


def learn(texts, seed):
    """A small pipeline trained for some seconds."""
    chance, nlp = random.Random(seed), spacy.blank("en")
    spacy.util.fix_random_seed(seed)
    parser = {"@architectures": "spacy.TransitionBasedParser.v2", "state_type": "ner", "hidden_width": 32}
    shape = {"extra_state_tokens": False, "maxout_pieces": 2, "use_upper": True}
    nlp.add_pipe("ner", config={"model": parser | shape | {"tok2vec": hash_embed_cnn(32, 2)}})
    examples = [Example.from_dict(nlp.make_doc(text), {"entities": spans}) for text, spans in texts]
    optimizer = nlp.initialize(lambda: examples)
    optimizer.learn_rate = 0.01
    for __ in range(STEPS):
        nlp.update(chance.sample(examples, 32), sgd=optimizer, drop=0.1)
    return nlp


def counts(nlp, texts):
    """Right, spurious and missed entities of each text."""
    found = []
    for doc, (__, spans) in zip(nlp.pipe(text for text, __ in texts), texts, strict=True):
        ours, gold = {(e.start_char, e.end_char, e.label_) for e in doc.ents}, set(spans)
        found.append([len(ours & gold), len(ours - gold), len(gold - ours)])
    return found


def test_a_model_of_shuffled_labels_is_refused(found, lines):
    difference = compare(found["shuffled"], found["good"])
    assert "does not pass its gate" in refusal(lines, rival=difference)
    assert difference.high < 0, difference


def test_a_model_that_is_better_by_chance_only_is_refused(found, lines):
    worse, better = sorted((found["good"], found["other seed"]), key=f)
    difference = compare(better, worse)
    assert difference.ours > difference.theirs
    assert "does not pass its gate" in refusal(lines, rival=difference), difference
    assert refusal(lines, {"margin": 0.1}, difference) == ""


def test_a_model_that_is_really_better_passes(found, lines):
    for name in ("good", "other seed"):
        difference = compare(found[name], found["shuffled"])
        assert refusal(lines, rival=difference) == "", difference
