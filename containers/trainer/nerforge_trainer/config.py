"""A spec as a spaCy training config, through spaCy's own config system."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nerforge_contract.errors import UserError
from spacy import util
from spacy.cli.init_config import init_config
from spacy.language import Language
from spacy.schemas import ConfigSchemaTraining
from thinc.api import Config, ConfigValidationError

_HYPERPARAMETERS = {
    "max_steps": "training.max_steps",
    "max_epochs": "training.max_epochs",
    "patience": "training.patience",
    "eval_frequency": "training.eval_frequency",
    "dropout": "training.dropout",
    "learn_rate": "training.optimizer.learn_rate",
    "width": "components.tok2vec.model.encode.width",
    "depth": "components.tok2vec.model.encode.depth",
}
_SECTIONS = ("paths", "system", "nlp", "components", "corpora", "training", "pretraining", "initialize")
_FIX = "Mend the config; `spacy debug config` shows the same on your machine"


def build(spec: dict[str, Any], train: Path, dev: Path) -> Language:
    """The pipeline that a spec asks for, as yet untrained; its ``config`` is the whole training config.

    Of a full config in the spec, only the paths of the data, the seed and the GPU allocator are replaced.

    Parameters
    ----------
    spec:
        A valid spec with its defaults.
    train, dev:
        The .spacy files that the config is to name; they need not be there yet.

    Raises
    ------
    UserError
        A config that spaCy refuses, naming its section; a language that spaCy cannot read here.
    """
    if "config" in spec:
        with _told():
            nlp = _filled(util.load_config_from_str(spec["config"], interpolate=False))
    else:
        nlp = _filled(_quick_start(spec))
    _place(nlp.config, spec["seed"], train, dev)
    with _told():
        _check(nlp)
    return nlp


def _quick_start(spec: dict[str, Any]) -> Config:
    """spaCy's quick-start config, with the spec's hyperparameters.

    Always the CNN meant for the CPU: it trains on a GPU as it is, while the config for the GPU wants a
    transformer. For ``accuracy`` the quick start names word vectors, which are no part of the image: here it
    is the wider and deeper CNN without them.
    """
    try:
        config = init_config(
            lang=spec["language"], pipeline=["ner"], optimize=spec["optimize"], gpu=False, silent=True
        )
    except ImportError as error:
        raise UserError(
            f"spaCy cannot read {spec['language']!r} here: {_line(error)}",
            "language",
            "Use a language of spaCy's that needs no further package, such as en or de, or xx for any",
        ) from None
    config["paths"]["vectors"] = None
    config["components"]["tok2vec"]["model"]["embed"]["include_static_vectors"] = False
    hyperparameters = spec["hyperparameters"]
    for name, place in _HYPERPARAMETERS.items():
        if name in hyperparameters:
            util.set_dot_to_object(config, place, hyperparameters[name])
    size = config["training"]["batcher"]["size"]
    size["start"], size["stop"] = hyperparameters["batch_words"]
    return config


def _filled(config: Config) -> Language:
    nlp = util.load_model_from_config(config, auto_fill=True)
    # Loading replaces "source" by what it stands for; training must start from the source.
    nlp.config["components"].update(util.get_sourced_components(config))
    return nlp


def _place(config: Config, seed: int, train: Path, dev: Path) -> None:
    for name, path in (("train", train), ("dev", dev)):
        config["paths"][name] = str(path)
        corpus = config["training"][f"{name}_corpus"]
        try:
            section = util.dot_to_object(config, corpus)
        except KeyError:
            section = {}
        if "path" not in section:
            raise UserError(
                f"there is no path to put the data in, yet [training] {name}_corpus names this section",
                f"config: [{corpus}]",
                'Use spaCy\'s reader for it: @readers = "spacy.Corpus.v1", path = null',
            )
        section["path"] = f"${{paths.{name}}}"
    config["system"]["seed"] = seed
    config["training"]["seed"] = "${system.seed}"
    # Any other allocator is another library's, which the image does not carry.
    config["system"]["gpu_allocator"] = None
    config["training"]["gpu_allocator"] = "${system.gpu_allocator}"


def _check(nlp: Language) -> None:
    config = nlp.config.interpolate()
    training = util.registry.resolve(config["training"], schema=ConfigSchemaTraining)
    util.resolve_dot_names(config, [training["train_corpus"], training["dev_corpus"]])
    if not any("doc.ents" in nlp.get_pipe_meta(name).assigns for name in nlp.pipe_names):
        raise UserError(
            f"the pipeline {nlp.pipe_names} finds no entities", "config: [nlp] pipeline", 'Put "ner" into it'
        )
    vectors = config["initialize"]["vectors"]
    if vectors and not util.is_package(vectors) and not Path(vectors).exists():
        raise UserError(
            f"{vectors} is not installed in the trainer's image",
            "config: [initialize] vectors",
            "Set it to null, and include_static_vectors to false",
        )


@contextmanager
def _told() -> Iterator[None]:
    """Tell what spaCy says of a config in our words."""
    try:
        yield
    except ConfigValidationError as error:
        if not error.errors:
            raise UserError(" ".join(str(error.desc or error).split()), "config", _FIX) from None
        first = error.errors[0]
        *inner, field = [str(step) for step in first["loc"]]
        section = ".".join([error.parent, *inner] if error.parent else inner)
        # spaCy resolves each component by itself, and so leaves out where they all stand.
        if section.partition(".")[0] not in _SECTIONS:
            section = f"components.{section}"
        raise UserError(first["msg"], f"config: [{section}] {field}", _FIX) from None
    except UserError:
        raise
    except Exception as error:  # whatever a config trips spaCy over, trying again will not mend it
        raise UserError(_line(error), "config", _FIX) from None


def _line(error: object) -> str:
    """The first paragraph of an error, on one line."""
    return " ".join(str(error).strip().split("\n\n")[0].split()).rstrip(".")
