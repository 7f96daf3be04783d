"""Calibration: the judgements, the temperature, the bins and the error, and that nothing else is touched.

Cases: ECE by hand; the bins' edges; temperatures that are known; all right, all wrong, too few; gold that
does not know; nothing found; no gold entity; the same twice; WikiGold, trained and held out.
"""

import io
import random

import numpy
import pytest
import spacy
from nerforge_contract import corpus
from nerforge_contract import spec as specs
from nerforge_trainer import calibration, config, docs
from nerforge_trainer.calibration import Judged, calibrate, fitted_temperature, judged
from nerforge_trainer.evaluate import evaluate, predicted
from spacy.tokens import Doc
from spacy.training import Corpus, Example, loop
from spacy.training.initialize import init_nlp

SENTENCES = (
    ("Ada met Bob in New York .", "U-PER O U-PER O B-LOC L-LOC O"),
    ("Paris was far from Oslo .", "U-LOC O O O U-LOC O"),
    ("It rained .", "O O O"),
)


def error(scores, right):
    return calibration.expected_calibration_error(calibration.binned(numpy.array(scores), numpy.array(right)))


# --- the bins, and the error in them ---


def test_the_error_is_that_computed_by_hand():
    scores = [0.91, 0.95, 0.99, 0.55, 0.52, 0.12]
    right = [1.0, 1.0, 0.0, 1.0, 0.0, 0.0]
    # (0.9, 1]: 0.95 and 2/3; (0.5, 0.6]: 0.535 and 1/2; (0.1, 0.2]: 0.12 and 0
    by_hand = (3 * (0.95 - 2 / 3) + 2 * (0.535 - 0.5) + 1 * 0.12) / 6
    assert error(scores, right) == pytest.approx(by_hand, abs=1e-6)
    bins = calibration.binned(numpy.array(scores), numpy.array(right))
    assert [(one["from"], one["to"], one["count"]) for one in bins] == [
        (0.1, 0.2, 1),
        (0.5, 0.6, 2),
        (0.9, 1, 3),
    ]
    assert bins[1]["confidence"] == 0.535
    assert bins[2]["accuracy"] == 0.666667


def test_scores_that_are_as_often_right_as_they_say_have_no_error():
    assert error([0.5, 0.5, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0]) == 0
    assert error([1.0, 1.0], [0.0, 0.0]) == 1
    assert error([], []) is None


@pytest.mark.parametrize(
    ("score", "upper"), [(0, 0.1), (1e-300, 0.1), (0.1, 0.1), (0.1001, 0.2), (0.5, 0.5), (1, 1)]
)
def test_a_bin_includes_its_upper_edge(score, upper):
    (one,) = calibration.binned(numpy.array([score]), numpy.array([1.0]))
    assert one["to"] == upper


# --- the temperature ---


def drawn(count, distortion, seed=5):
    """Entities of one to four transitions, as often right as they say, whose logits then are multiplied."""
    numbers = numpy.random.default_rng(seed)
    paths = []
    for __ in range(count):
        path = [-numbers.gamma(2, 1.5, numbers.integers(1, 8)) for __ in range(numbers.integers(1, 5))]
        paths.append([numpy.append(margins, 0.0) for margins in path])
    right = numbers.random(count) < Judged(paths, numpy.zeros(count)).scores(1.0)
    return Judged([[margins * distortion for margins in path] for path in paths], right.astype(float))


@pytest.mark.parametrize("distortion", [0.4, 1, 1.7, 4])
def test_a_known_distortion_is_found_and_undone(distortion):
    found = drawn(4000, distortion)
    temperature = fitted_temperature(found)
    assert temperature == pytest.approx(distortion, rel=0.06)
    assert error(found.scores(temperature), found.right) < 0.03
    if distortion != 1:
        assert error(found.scores(1.0), found.right) > 0.06


def test_a_few_entities_that_all_are_right_do_not_make_the_scores_1():
    found = drawn(40, 1)
    right = Judged(found.paths, numpy.ones(40))
    wrong = Judged(found.paths, numpy.zeros(40))
    assert fitted_temperature(right) < 1 < fitted_temperature(wrong)
    assert 0.9 < right.scores(fitted_temperature(right)).mean() < 0.995


@pytest.mark.parametrize(("distortion", "limit"), [(0.01, 0.1), (100, 10)])
def test_a_temperature_keeps_to_its_limits(distortion, limit):
    assert fitted_temperature(drawn(400, distortion)) == limit


def test_scores_of_0_and_1_have_a_temperature():
    """Paths so sure that a score is 1, or 0, in 64 bits, right and wrong alike."""
    sure, hopeless = [numpy.array([0.0, -1e5])], [numpy.array([0.0] + [-1e-9] * 9)] * 400
    found = Judged([sure, hopeless] * 20, numpy.array([1.0, 0.0] * 10 + [0.0, 1.0] * 10))
    assert found.scores(1.0)[:2].tolist() == [1, 0]
    assert fitted_temperature(found) == 1  # as all others do, it changes none of them
    assert error(found.scores(1.0), found.right) == 0.5


def test_too_few_entities_leave_the_scores_as_they_are():
    found = drawn(19, 4)
    assert fitted_temperature(found) == 1
    assert fitted_temperature(Judged([], numpy.zeros(0))) == 1


# --- the judgements ---


@pytest.fixture(scope="module")
def nlp():
    """A pipeline that has learnt two sentences by heart."""
    spacy.util.fix_random_seed(0)
    nlp = spacy.blank("en")
    nlp.add_pipe("ner")
    examples = [example(nlp, *sentence) for sentence in SENTENCES]
    optimizer = nlp.initialize(lambda: examples)
    for __ in range(40):
        nlp.update(examples, sgd=optimizer)
    return nlp


def example(nlp, text, tags):
    return Example.from_dict(nlp.make_doc(text), {"words": text.split(), "entities": tags.split()})


def found(nlp, text, tags):
    """An example with what the pipeline finds in it."""
    one = example(nlp, text, tags)
    one.predicted = nlp(text)
    return one


@pytest.mark.parametrize(
    ("tags", "right"),
    [
        ("U-PER O U-PER O B-LOC L-LOC O", [1, 1, 1]),
        ("U-PER O U-LOC O B-LOC L-LOC O", [1, 0, 1]),
        ("U-PER O U-PER O O U-LOC O", [1, 1, 0]),
        ("O O O O O O O", [0, 0, 0]),
        ("U-PER O - O B-LOC L-LOC O", [1, 1]),
        ("U-PER O U-PER O U-LOC - O", [1, 1]),
        ("- - - - - - -", []),
    ],
    ids=["all", "a label", "a span", "none in gold", "gold unknown", "gold unknown in part", "no gold"],
)
def test_what_is_right_is_what_the_scorer_has_right(nlp, tags, right):
    one = found(nlp, SENTENCES[0][0], tags)
    assert [(entity.text, entity.label_) for entity in one.predicted.ents] == [
        ("Ada", "PER"),
        ("Bob", "PER"),
        ("New York", "LOC"),
    ]
    judgement = judged(nlp, [one])
    assert judgement.right.tolist() == right
    assert len(judgement.paths) == len(right)
    if right:
        assert evaluate(nlp, [one], "test")["p"] == pytest.approx(sum(right) / len(right), abs=1e-6)


def test_words_that_are_cut_otherwise_are_aligned(nlp):
    """The pipeline's tokens here are not gold's: "York." is one word there."""
    text = "Ada met Bob in New York."
    reference = Doc(nlp.vocab, words=["Ada", "met", "Bob", "in", "New", "York."], spaces=[True] * 5 + [False])
    reference.ents = [spacy.tokens.Span(reference, 0, 1, label="PER")]
    one = Example(nlp(text), reference)
    assert len(one.predicted) == 7
    assert judged(nlp, [one]).right.tolist() == [1, 0, 0]


# --- the whole ---


def test_a_model_that_finds_nothing_has_no_error(nlp):
    nothing = [found(nlp, "It rained .", "O O O"), found(nlp, "It rained .", "O O O")]
    assert not any(one.predicted.ents for one in nothing)
    empty = {"on": "test", "temperature": 1.0, "ece": None, "ece_uncalibrated": None, "bins": []}
    assert calibrate(nlp, nothing, nothing, "test") == empty
    assert calibrate(nlp, [], [], "test") == empty


def test_it_is_the_same_twice_and_touches_neither_weights_nor_random_numbers(nlp):
    some = [found(nlp, *sentence) for sentence in SENTENCES * 10]
    before = nlp.to_bytes(), random.getstate(), numpy.random.get_state()[1].tolist()
    first = calibrate(nlp, some, some, "dev")
    assert calibrate(nlp, some, some, "dev") == first
    assert (nlp.to_bytes(), random.getstate(), numpy.random.get_state()[1].tolist()) == before
    assert first["on"] == "dev"
    assert calibrate(nlp, list(some), some, "dev") == first  # whether dev is judged once or twice
    assert sum(one["count"] for one in first["bins"]) == 50


# --- real data ---


@pytest.fixture(scope="module")
def wikigold(corpora, tmp_path_factory):
    """A model that knows 150 sentences of WikiGold all too well; dev and test are 400 others each."""
    folder = tmp_path_factory.mktemp("wikigold")
    examples = corpus.read(corpora / "wikigold" / "wikigold.conll", "conll", "wikigold")
    random.Random(0).shuffle(examples)
    cuts = {"train": examples[:150], "dev": examples[150:550], "test": examples[550:950]}
    files = {part: folder / f"{part}.spacy" for part in cuts}
    hyperparameters = {"max_steps": 300, "eval_frequency": 300, "width": 48}
    wanted = specs.with_defaults({"name": "wikigold", "data": {}, "hyperparameters": hyperparameters})
    nlp = config.build(wanted, files["train"], files["dev"])
    for part, cut in cuts.items():
        docs.write(nlp, cut, files[part], part)
    loop.train(init_nlp(nlp.config), folder, stdout=io.StringIO(), stderr=io.StringIO())
    return spacy.load(folder / loop.DIR_MODEL_BEST), files


def test_on_wikigold_scores_tell_right_from_wrong_and_the_temperature_mends_them(wikigold):
    nlp, files = wikigold
    dev, test = (predicted(nlp, files[part]) for part in ("dev", "test"))
    scores = evaluate(nlp, test, "test")
    as_spacy_has_it = nlp.evaluate(list(Corpus(files["test"])(nlp)))
    assert [scores[name] for name in "fpr"] == pytest.approx(
        [as_spacy_has_it[f"ents_{name}"] for name in "fpr"], abs=1e-6
    )

    measured = calibrate(nlp, dev, test, "test")
    total = sum(one["count"] for one in measured["bins"])
    assert total == sum(len(one.predicted.ents) for one in test) > 300
    share_right = sum(one["count"] * one["accuracy"] for one in measured["bins"]) / total
    assert share_right == pytest.approx(scores["p"], abs=1e-5)

    known = judged(nlp, test)
    values, right = known.scores(measured["temperature"]), known.right == 1
    ranked_right = numpy.mean(values[right][:, None] > values[~right][None])  # the area under the ROC curve
    assert ranked_right > 0.65
    assert measured["ece_uncalibrated"] > 0.2
    assert measured["ece"] < 0.1
