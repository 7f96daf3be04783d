"""Specs as spaCy configs: what each field becomes, and how a wrong config is told."""

from pathlib import Path

import pytest
import spacy
from nerforge_contract import spec
from nerforge_contract.errors import UserError
from nerforge_trainer import config
from spacy.cli.init_config import init_config

TRAIN, DEV = Path("/data/train.spacy"), Path("/data/dev.spacy")


def build(**fields):
    """The training config of a spec, with its variables filled in."""
    wanted = spec.with_defaults({"name": "people", "data": {}, **fields})
    return config.build(wanted, TRAIN, DEV).config.interpolate()


@pytest.fixture(scope="module")
def full():
    """The text of a full config."""
    return init_config(lang="en", pipeline=["ner"], optimize="efficiency", gpu=False).to_str()


def test_the_schema_s_defaults_are_those_of_spacys_quick_start(full):
    quick_start = spacy.util.load_config_from_str(full, interpolate=True)
    quick_start["paths"] |= {"train": str(TRAIN), "dev": str(DEV)}
    for part, path in (("train", TRAIN), ("dev", DEV)):
        quick_start["corpora"][part]["path"] = str(path)
    assert build() == quick_start


def test_each_hyperparameter_has_its_place():
    built = build(
        seed=3,
        language="de",
        hyperparameters={
            "max_steps": 11,
            "max_epochs": 12,
            "patience": 13,
            "eval_frequency": 14,
            "dropout": 0.15,
            "learn_rate": 0.16,
            "batch_words": [17, 18],
            "width": 24,
            "depth": 2,
        },
    )
    training, tok2vec = built["training"], built["components"]["tok2vec"]["model"]
    assert built["nlp"]["lang"] == "de"
    assert training["seed"] == 3
    assert training["max_steps"] == 11
    assert training["max_epochs"] == 12
    assert training["patience"] == 13
    assert training["eval_frequency"] == 14
    assert training["dropout"] == 0.15
    assert training["optimizer"]["learn_rate"] == 0.16
    assert (training["batcher"]["size"]["start"], training["batcher"]["size"]["stop"]) == (17, 18)
    assert (tok2vec["encode"]["width"], tok2vec["encode"]["depth"]) == (24, 2)
    assert tok2vec["embed"]["width"] == 24
    assert built["components"]["ner"]["model"]["tok2vec"]["width"] == 24


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_accuracy_is_the_wider_cnn_without_vectors_on_either_device(device):
    built = build(optimize="accuracy", device=device)
    tok2vec = built["components"]["tok2vec"]["model"]
    assert (tok2vec["encode"]["width"], tok2vec["encode"]["depth"]) == (256, 8)
    assert tok2vec["embed"]["include_static_vectors"] is False
    assert built["initialize"]["vectors"] is None


def test_of_a_full_config_only_paths_seed_and_allocator_change(full):
    text = full.replace("dropout = 0.1", "dropout = 0.25").replace("seed = 0", "seed = 9")
    text = text.replace("gpu_allocator = null", 'gpu_allocator = "pytorch"')
    text = text.replace("path = ${paths.train}", 'path = "elsewhere.spacy"')
    built = build(config=text, seed=5)
    expected = spacy.util.load_config_from_str(full, interpolate=True)
    expected["training"] |= {"dropout": 0.25, "seed": 5}
    expected["system"]["seed"] = 5
    expected["paths"] |= {"train": str(TRAIN), "dev": str(DEV)}
    for part, path in (("train", TRAIN), ("dev", DEV)):
        expected["corpora"][part]["path"] = str(path)
    assert built == expected


def test_a_short_config_is_filled():
    built = build(
        config='[nlp]\nlang = "xx"\npipeline = ["ner"]\n[components]\n[components.ner]\nfactory = "ner"\n'
    )
    assert built["corpora"]["train"]["path"] == str(TRAIN)
    assert built["training"]["patience"] == 1600


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("dropout = 0.1", 'dropout = "x"', "config: [training] dropout: value is not a valid float."),
        ("patience =", "patienc =", "config: [training] patienc: extra fields not permitted."),
        ("width = 96", 'width = "x"',
         "config: [components.tok2vec.model.embed] width: value is not a valid integer."),
        ("${paths.dev}", "${paths.dve}",
         "config: Bad value substitution: option 'path' in section 'corpora.dev'"),
        ('factory = "ner"', 'factory = "nerr"', "config: [E002] Can't find factory for 'nerr'"),
        ('factory = "ner"', 'source = "my_model"', "config: [E050] Can't find model 'my_model'"),
        ("Adam.v1", "Eve.v1", "config: [E893] Could not find function 'Eve.v1'"),
        ("spacy.Corpus.v1", "my.Corpus.v1", "config: [E893] Could not find function 'my.Corpus.v1'"),
        ('lang = "en"', 'lang = "qq"', "config: [E048] Can't import language qq"),
        ("[nlp]", "[npl]", "config: [E985] Can't load model from config file: no [nlp] section found."),
        ("[training]\n", "[training]\nseed = 1\n", "config: While reading from '<string>' [line"),
        ("[paths]", "paths",
         "config: Make sure the sections and values are formatted correctly. File contains no section"),
        ('train_corpus = "corpora.train"', 'train_corpus = "corpora.people"',
         "config: [corpora.people]: there is no path to put the data in,"),
        ("vectors = null", 'vectors = "en_core_web_lg"',
         "config: [initialize] vectors: en_core_web_lg is not installed in the trainer's image."),
        ('["tok2vec","ner"]', '["tok2vec"]',
         "config: [nlp] pipeline: the pipeline ['tok2vec'] finds no entities."),
        ('["tok2vec","ner"]', "3", "config: [nlp] pipeline: "),
    ],
)  # fmt: skip
def test_a_wrong_config_is_told_with_its_section(full, old, new, message):
    assert old in full
    with pytest.raises(UserError) as error:
        build(config=full.replace(old, new))
    assert str(error.value).startswith(message)
    assert error.value.fix


@pytest.mark.parametrize("language", ["qq", "ja"])
def test_a_language_that_spacy_cannot_read_is_refused(language):
    with pytest.raises(UserError, match=f"^language: spaCy cannot read '{language}' here: .*Use a language"):
        build(language=language)
