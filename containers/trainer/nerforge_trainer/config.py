"""A spec as a spaCy training config, through spaCy's own config system."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nerforge_contract import pytorch
from nerforge_contract.errors import UserError
from spacy import util
from spacy.cli.init_config import init_config
from spacy.language import Language
from spacy.schemas import ConfigSchemaTraining
from thinc.api import Config, ConfigValidationError

from . import transformer as transformers
from .transformer import Transformer

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
_WARMUP_STEPS = 250  # as in spaCy's quick start
_SECTIONS = ("paths", "system", "nlp", "components", "corpora", "training", "pretraining", "initialize")
_FIX = "Mend the config; `spacy debug config` shows the same on your machine"


def build(spec: dict[str, Any], train: Path, dev: Path, transformer: Transformer | None = None) -> Language:
    """The pipeline that a spec asks for, as yet untrained; its ``config`` is the whole training config.

    Of a full config in the spec, only the paths of the data, the seed, the GPU allocator and where a
    transformer comes from are replaced.

    Parameters
    ----------
    spec:
        A valid spec with its defaults.
    train, dev:
        The .spacy files that the config is to name; they need not be there yet.
    transformer:
        The one that the spec names, if it does.

    Raises
    ------
    UserError
        A config that spaCy refuses, naming its section; a language that spaCy cannot read here.
    """
    if "config" in spec:
        with _told():
            config = util.load_config_from_str(spec["config"], interpolate=False)
            _check_hubs(config, transformer)
            nlp = _filled(config)
    elif transformer:
        nlp = _filled(_fine_tuning(spec, transformer))
    else:
        nlp = _filled(_quick_start(spec))
    _place(nlp.config, spec["seed"], train, dev)
    if transformer:
        _place_transformer(nlp.config, transformer)
    with _told():
        _check(nlp)
    return nlp


def _quick_start(spec: dict[str, Any]) -> Config:
    """spaCy's quick-start config, with the spec's hyperparameters.

    Always the CNN meant for the CPU: it trains on a GPU as it is, while the config for the GPU wants a
    transformer. For ``accuracy`` the quick start names word vectors, which are no part of the image: here it
    is the wider and deeper CNN without them.
    """
    config = _init_config(spec["language"], spec["optimize"])
    config["components"]["tok2vec"]["model"]["embed"]["include_static_vectors"] = False
    _set_hyperparameters(config, spec["hyperparameters"])
    return config


def _fine_tuning(spec: dict[str, Any], transformer: Transformer) -> Config:
    """The quick start's config with the transformer in the CNN's place, trained as is usual for these."""
    config = _init_config(spec["language"], "efficiency")
    _set_hyperparameters(config, spec["hyperparameters"])
    components, optimizer = config["components"], config["training"]["optimizer"]
    del components["tok2vec"]
    components[transformers.COMPONENT] = transformers.component(transformer, spec["device"] == "gpu")
    components["ner"]["model"] |= {"tok2vec": transformers.listener(transformer), "use_upper": False}
    config["nlp"]["pipeline"] = [transformers.COMPONENT, "ner"]
    optimizer["learn_rate"] = {
        "@schedules": "warmup_linear.v1",
        "warmup_steps": _WARMUP_STEPS,
        "total_steps": config["training"]["max_steps"],
        "initial_rate": spec["hyperparameters"]["learn_rate"],
    }
    return config


def _init_config(language: str, optimize: str) -> Config:
    try:
        config = init_config(lang=language, pipeline=["ner"], optimize=optimize, gpu=False, silent=True)
    except ImportError as error:
        raise UserError(
            f"spaCy cannot read {language!r} here: {_line(error)}",
            "language",
            "Use a language of spaCy's that needs no further package, such as en or de, or xx for any",
        ) from None
    config["paths"]["vectors"] = None
    return config


def _set_hyperparameters(config: Config, hyperparameters: dict[str, Any]) -> None:
    for name, place in _HYPERPARAMETERS.items():
        if name in hyperparameters:
            util.set_dot_to_object(config, place, hyperparameters[name])
    size = config["training"]["batcher"]["size"]
    size["start"], size["stop"] = hyperparameters["batch_words"]


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
    # Any other allocator is another library's, which the image need not carry.
    config["system"]["gpu_allocator"] = None
    config["training"]["gpu_allocator"] = "${system.gpu_allocator}"


def _place_transformer(config: Config, transformer: Transformer) -> None:
    config["paths"]["transformer"] = str(transformer.folder)
    # One pool of the GPU's memory for both libraries; spaCy asks for it only where a GPU is in use.
    config["system"]["gpu_allocator"] = "pytorch"
    name = _transformer_in(config)
    if name is None:
        raise UserError(
            "the config has no component to load it into",
            "transformer",
            f'Leave it out, or give the config a component with factory = "{pytorch.FACTORY}"',
        )
    config["initialize"]["components"][name] = transformers.loaders(transformer)


def _transformer_in(config: Config) -> str | None:
    """The name of the pipeline's first component that is a transformer."""
    factories = {name: part.get("factory") for name, part in config.get("components", {}).items()}
    return next((name for name, factory in factories.items() if factory == pytorch.FACTORY), None)


def _check_hubs(config: Config, transformer: Transformer | None) -> None:
    """Raise UserError for a transformer from a hub: what is there tomorrow nobody knows."""
    ours = _transformer_in(config)
    if ours is not None:
        pytorch.require("config")
    for name, part in (config.get("initialize", {}).get("components") or {}).items():
        loaders = [loader for loader in (part or {}).values() if isinstance(loader, dict)]
        from_hub = any(".HF" in loader.get("@model_loaders", "") for loader in loaders)
        if from_hub and not (transformer and name == ours):
            raise UserError(
                "its weights come from a hub, which is not asked while training",
                f"config: [initialize.components.{name}]",
                "Give their archive in the spec's transformer, which takes the place of these loaders",
            )


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
        first, *__ = error.errors
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
    return " ".join(str(error).strip().partition("\n\n")[0].split()).rstrip(".")
