"""The training loop beside spaCy's own, and saved and restored after each of its steps.

Cases: the quick-start config; gradients accumulated; a last epoch; patience; averages, schedules and RAdam;
batches by words, padded size and sequence; a stream that is shuffled and augmented; a frozen component that
annotates, and a source; a score that is missing; callbacks. An evaluation that is given up; losses, scores
and words that go on; wrong settings.
"""

import io
import json
import random
from collections.abc import Callable

import numpy
import pytest
import spacy
from nerforge_contract.errors import UserError
from nerforge_trainer.loop import Training
from spacy.cli.init_config import init_config
from spacy.training import Corpus
from spacy.training.initialize import init_nlp
from spacy.training.loop import train as spacys_train
from thinc.api import Linear

COMPOUNDING = {"@schedules": "compounding.v1", "start": 30, "stop": 90, "compound": 1.1}
CASES = {
    "quick start": {},
    "accumulated gradients": {"training.accumulate_gradient": 2},
    "two epochs": {"training.max_epochs": 2, "training.max_steps": 0},
    "patience": {"training.patience": 4, "training.eval_frequency": 2, "training.max_steps": 0},
    "averages and schedules": {
        "training.optimizer": {
            "@optimizers": "Adam.v1",
            "use_averages": True,
            "learn_rate": {
                "@schedules": "warmup_linear.v1",
                "warmup_steps": 4,
                "total_steps": 40,
                "initial_rate": 0.01,
            },
        }
    },
    "RAdam": {"training.optimizer": {"@optimizers": "RAdam.v1", "learn_rate": 0.01}},
    "padded": {
        "training.batcher": {
            "@batchers": "spacy.batch_by_padded.v1",
            "size": COMPOUNDING | {"start": 60},
            "buffer": 12,
            "discard_oversize": False,
        }
    },
    "sequences": {"training.batcher": {"@batchers": "spacy.batch_by_sequence.v1", "size": 5}},
    "stream": {
        "training.max_epochs": -1,
        "corpora.train.@readers": "test.Shuffled",
        "corpora.train.augmenter": {"@augmenters": "spacy.lower_case.v1", "level": 0.3},
    },
    "frozen and annotating": {
        "nlp.pipeline": ["older", "tok2vec", "ner"],
        "components.older": {"source": "OLDER", "component": "ner", "replace_listeners": ["model.tok2vec"]},
        "training.frozen_components": ["older"],
        "training.annotating_components": ["older"],
    },
    "a score that nobody can tell": {  # no sentences are marked in the data
        "nlp.pipeline": ["sentencizer", "tok2vec", "ner"],
        "components.sentencizer": {"factory": "sentencizer"},
        "training.score_weights": {"ents_f": 0.5, "sents_f": 0.5},
    },
    "callbacks": {
        "training.before_update": {"@callbacks": "test.dropout"},
        "training.before_to_disk": {"@callbacks": "test.meta"},
    },
}

RESUMED = {
    "averages, schedules, padded, to the end of an epoch": {
        **CASES["averages and schedules"],
        **CASES["padded"],
        "training.accumulate_gradient": 2,
        "training.max_epochs": 2,
        "training.max_steps": 0,
    },
    "stream": CASES["stream"],
    "frozen, annotating, RAdam": CASES["frozen and annotating"] | CASES["RAdam"],
}


@spacy.registry.readers("test.Shuffled")
def shuffled(path: str, augmenter: Callable, max_length: int, gold_preproc: bool, limit: int):
    return Corpus(path, augmenter=augmenter, shuffle=True)


@spacy.registry.callbacks("test.dropout")
def slower_and_slower():
    def before_update(nlp, about):
        random.random()
        nlp.get_pipe("ner").cfg["update_with_oracle_cut_size"] = 100 - about["step"] - about["epoch"]

    return before_update


@spacy.registry.callbacks("test.meta")
def author():
    def before_to_disk(nlp):
        nlp.meta["author"] = "Ada"
        return nlp

    return before_to_disk


@spacy.registry.loggers("test.Log")
def log():
    """spaCy's own account of its steps."""

    def begin(nlp, *__):
        nlp.steps = []
        return (
            lambda info: nlp.steps.append(info and (info | {"losses": dict(info["losses"])}))
        ), lambda: None

    return begin


@pytest.fixture(scope="module")
def data(conll, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "data.spacy"
    nlp = spacy.blank("xx")
    docs = []
    for sentence in conll.strip().split("\n\n"):
        words, tags = zip(*(line.split("\t") for line in sentence.split("\n")), strict=True)
        docs.append(spacy.tokens.Doc(nlp.vocab, words=words, ents=tags))
    docs[3] = docs[5] = docs[3][:5].as_doc()  # not all are of one length
    spacy.tokens.DocBin(docs=docs).to_disk(path)
    return path


@pytest.fixture(scope="module")
def config(data, older):
    """The quick-start config of a very small and short training, with some fields set."""

    def config(changes):
        made = _config(data, changes)
        if "older" in made["components"]:
            made["components"]["older"]["source"] = str(older)
        return made

    return config


@pytest.fixture(scope="module")
def older(data, tmp_path_factory):
    """A pipeline trained earlier."""
    folder = tmp_path_factory.mktemp("older")
    training = begun(_config(data, {"training.max_steps": 3}), folder)
    list(training.steps(never))
    return training.best


def _config(data, changes):
    made = init_config(lang="xx", pipeline=["ner"], optimize="efficiency", gpu=False, silent=True)
    made["paths"].update(train=str(data), dev=str(data))
    made["training"] |= {"max_steps": 13, "eval_frequency": 5, "seed": 3, "logger": {"@loggers": "test.Log"}}
    made["training"]["batcher"]["size"] = COMPOUNDING
    made["components"]["tok2vec"]["model"]["encode"] |= {"width": 16, "depth": 1}
    made["components"]["tok2vec"]["model"]["embed"]["rows"] = [50, 50, 50, 50]
    for place, value in changes.items():
        *sections, field = place.split(".")
        part = made
        for section in sections:
            part = part[section]
        part[field] = value
    return made


def never():
    """Says no, after a draw from Python's generator, as boto3 does when AWS refuses a call."""
    random.random()
    return False


def to_the_end(training):
    """All steps; between them others draw, too."""
    random.random()
    for step in training.steps(never):
        random.random()
        yield step


def begun(config, folder):
    folder.mkdir(exist_ok=True)
    return Training(init_nlp(config), folder)


def told(step):
    """What can be compared of a step."""
    found = step.evaluation
    return step.number, step.epoch, step.words, found and (found.score, found.losses)


def content(folder):
    """A pipeline's files; the meta as data, and without how fast the machine was."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    files["meta.json"] = json.loads(files["meta.json"])
    return files


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_steps_and_model_are_those_of_spacy_train(config, tmp_path, changes):
    theirs = init_nlp(config(changes))
    (tmp_path / "theirs").mkdir()
    spacys_train(theirs, tmp_path / "theirs", stdout=io.StringIO(), stderr=io.StringIO())
    training = begun(config(changes), tmp_path / "ours")
    steps = list(to_the_end(training))

    assert [step.evaluation is None for step in steps] == [info is None for info in theirs.steps]
    assert [told(step) for step in steps if step.evaluation] == [
        (info["step"], info["epoch"], info["words"], (info["score"], info["losses"]))
        for info in theirs.steps
        if info
    ]
    assert content(training.best) == content(tmp_path / "theirs" / "model-best")


@pytest.mark.parametrize("changes", RESUMED.values(), ids=RESUMED)
def test_a_training_that_is_left_and_taken_up_after_every_step_is_the_same(config, tmp_path, changes):
    """Every other evaluation is given up in the middle, too."""
    changes = {"training.max_steps": 6, "training.eval_frequency": 3} | changes
    training = begun(config(changes), tmp_path / "whole")
    whole = list(to_the_end(training))
    expected = list(map(told, whole))
    expected_content = content(training.best)

    folder, found, evaluations = tmp_path / "pieces", [], 0
    training = begun(config(changes), folder)
    while step := next(training.steps(after(9) if evaluations % 2 == 0 else never), None):
        evaluations += step.number % 3 == 0
        if step.evaluation or step.number % 3:
            found.append(told(step))
        random.random()
        training.save()
        disturb()
        training = begun(config(changes), folder)
        training.restore()
        random.random()
        assert training.step == step.number
    assert found == expected
    assert evaluations > sum(step.evaluation is not None for step in whole)
    assert content(training.best) == expected_content


def after(count):
    """Says yes from the ``count``th time on that it is asked."""
    asked = iter(range(1000))
    return lambda: never() or next(asked) >= count


def disturb():
    """What another process would find otherwise: random numbers, and the ids of models."""
    random.seed()
    numpy.random.seed()
    Linear()


def test_seconds_go_on_where_they_were(config, tmp_path, monkeypatch):
    clock = iter(range(100, 1000, 100))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    training = begun(config({}), tmp_path)
    assert next(training.steps(never)).seconds == 100
    training.save()  # at 200
    again = begun(config({}), tmp_path)
    again.restore()  # at 500
    assert next(again.steps(never)).seconds == 300


def test_a_score_that_is_no_number_cannot_be_weighed(config, tmp_path):
    training = begun(config({"training.score_weights": {"ents_per_type": 1.0}}), tmp_path)
    with pytest.raises(UserError, match="ents_per_type is not one number"):
        next(training.steps(never))


def test_a_batcher_that_discards_all_is_told_so_instead_of_asked_for_ever(config, tmp_path):
    batcher = {
        "@batchers": "spacy.batch_by_words.v1",
        "size": 3,
        "tolerance": 0.1,
        "discard_oversize": True,
    }
    training = begun(config({"training.batcher": batcher}), tmp_path)
    with pytest.raises(UserError, match="not one batch comes of the training corpus"):
        next(training.steps(never))


def test_a_corpus_without_examples_is_told_so(config, tmp_path):
    nlp = init_nlp(config({}))
    nlp.config["corpora"]["train"]["max_length"] = 1
    with pytest.raises(UserError, match="the training corpus gives no example"):
        Training(nlp, tmp_path)
