"""A pretrained transformer as a component of a spaCy pipeline, from the files in its archive alone.

What spacy-curated-transformers would fetch from a hub is read from a folder that `prepare` fills: no run
depends on what others publish, change or take away.
"""

import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nerforge_contract import pretrained, pytorch
from nerforge_contract.errors import UserError
from nerforge_contract.pretrained import Contents

COMPONENT = "transformer"
ENCODER = "encoder.pt"
_PACKAGE = "spacy-curated-transformers"
_WINDOW = 128  # pieces that see one another: spacy-curated-transformers' own choice, with a stride of 96
_EMBEDDINGS = "embeddings.word_embeddings.weight"

# The component's setting, and what config.json calls it.
_SETTINGS = {
    "attention_probs_dropout_prob": "attention_probs_dropout_prob",
    "hidden_act": "hidden_act",
    "hidden_dropout_prob": "hidden_dropout_prob",
    "hidden_width": "hidden_size",
    "intermediate_width": "intermediate_size",
    "layer_norm_eps": "layer_norm_eps",
    "max_position_embeddings": "max_position_embeddings",
    "num_attention_heads": "num_attention_heads",
    "num_hidden_layers": "num_hidden_layers",
    "padding_idx": "pad_token_id",
    "type_vocab_size": "type_vocab_size",
    "vocab_size": "vocab_size",
}
_ARCHITECTURES = {  # by model_type: the transformer, and what cuts words into pieces
    "bert": ("BertTransformer", "BertWordpieceEncoder"),
    "camembert": ("CamembertTransformer", "CamembertSentencepieceEncoder"),
    "roberta": ("RobertaTransformer", "ByteBpeEncoder"),
    "xlm-roberta": ("XlmrTransformer", "XlmrSentencepieceEncoder"),
}


@dataclass(frozen=True)
class Transformer:
    """A transformer that is ready to be built into a pipeline.

    Parameters
    ----------
    contents:
        What its archive holds.
    folder:
        Its weights, in `ENCODER`, and the files of its vocabulary.
    """

    contents: Contents
    folder: Path


def prepare(archive: Path, where: str, folder: Path) -> Transformer:
    """Unpack what is needed of an archive.

    Parameters
    ----------
    archive:
        The tar.
    where:
        What errors in it begin with.
    folder:
        The folder to make.

    Raises UserError for an archive that cannot be used.
    """
    contents = pretrained.look(archive, where)
    folder.mkdir()
    with tarfile.open(archive) as tar:
        for name, member in contents.members.items():
            entry = tar.getmember(member)
            tar.extract(entry.replace(name=name, deep=False), folder, filter="data")
    weights = folder / contents.weights
    _convert(weights, contents, where, folder / ENCODER)
    weights.unlink()
    return Transformer(contents, folder)


def component(transformer: Transformer, mixed_precision: bool) -> dict[str, Any]:
    """The section [components.transformer] of a config.

    Parameters
    ----------
    transformer:
        The transformer.
    mixed_precision:
        Whether to compute in 16 bits where that does no harm: faster, and GPUs only.
    """
    encoder, pieces = _ARCHITECTURES[transformer.contents.kind]
    settings = _settings(transformer.contents)
    window = min(_WINDOW, settings["model_max_length"])
    return {
        "factory": pytorch.FACTORY,
        "model": {
            "@architectures": f"{_PACKAGE}.{encoder}.v1",
            **settings,
            "mixed_precision": mixed_precision,
            "piece_encoder": {"@architectures": f"{_PACKAGE}.{pieces}.v1"},
            "with_spans": {
                "@architectures": f"{_PACKAGE}.WithStridedSpans.v1",
                "window": window,
                "stride": window * 3 // 4,
            },
        },
    }


def listener(transformer: Transformer) -> dict[str, Any]:
    """The section [components.ner.model.tok2vec]: a token's vector is the mean of its pieces' vectors."""
    return {
        "@architectures": f"{_PACKAGE}.LastTransformerLayerListener.v1",
        "width": transformer.contents.config["hidden_size"],
        "pooling": {"@layers": "reduce_mean.v1"},
    }


def loaders(transformer: Transformer) -> dict[str, Any]:
    """The section [initialize.components.transformer]; its paths go from ``${paths.transformer}``."""
    return {
        "encoder_loader": {
            "@model_loaders": f"{_PACKAGE}.PyTorchCheckpointLoader.v1",
            "path": f"${{paths.transformer}}/{ENCODER}",
        },
        "piecer_loader": _piecer_loader(transformer.contents),
    }


def _piecer_loader(contents: Contents) -> dict[str, Any]:
    paths = [f"${{paths.transformer}}/{name}" for name in pretrained.VOCABULARIES[contents.kind]]
    fields: dict[str, Any]
    if contents.kind == "roberta":
        loader, fields = "ByteBpeLoader", dict(zip(("vocab_path", "merges_path"), paths, strict=True))
    elif contents.kind == "bert":
        # As Hugging Face's tokenizer does it, accents go with the capitals unless it is told otherwise.
        lowercase = bool(contents.tokenizer.get("do_lower_case", True))
        strip = contents.tokenizer.get("strip_accents")
        fields = {
            "path": paths[0],
            "lowercase": lowercase,
            "strip_accents": lowercase if strip is None else bool(strip),
        }
        loader = "WordpieceLoader"
    else:
        loader, fields = "SentencepieceLoader", {"path": paths[0]}
    return {"@model_loaders": f"{_PACKAGE}.{loader}.v1", **fields}


def _settings(contents: Contents) -> dict[str, Any]:
    """What config.json says; the rest are the architecture's own defaults."""
    config = contents.config
    found = {name: config[theirs] for name, theirs in _SETTINGS.items() if config.get(theirs) is not None}
    # RoBERTa and its like count positions from the padding's number on.
    first = 0 if contents.kind == "bert" else config.get("pad_token_id", 1) + 1
    positions = config["max_position_embeddings"] - first
    # Hugging Face writes 1e30 where a tokenizer has no limit of its own.
    limit = min(contents.tokenizer.get("model_max_length") or positions, positions)
    return found | {"model_max_length": int(limit)}


def _convert(weights: Path, contents: Contents, where: str, target: Path) -> None:
    """Write the weights as the checkpoint that spacy-curated-transformers loads."""
    import torch

    try:
        if weights.suffix == ".safetensors":
            from safetensors.torch import load_file

            parameters = load_file(weights)
        else:
            parameters = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:  # each library has errors of its own for a broken file
        raise UserError(f"{weights.name} cannot be read: {error}", where, "Download it anew") from None
    _check(parameters, contents, where)
    torch.save(parameters, target)


def _check(parameters: dict[str, Any], contents: Contents, where: str) -> None:
    config = contents.config
    try:
        wanted = [config["vocab_size"], config["hidden_size"]]
        layers, __ = config["num_hidden_layers"], config["max_position_embeddings"]
    except KeyError as error:
        raise UserError(f"config.json has no {error}", where, "Download it anew") from None
    shapes = {name: list(value.shape) for name, value in parameters.items()}
    embeddings = next((shape for name, shape in shapes.items() if name.endswith(_EMBEDDINGS)), None)
    deepest = {name.partition("encoder.layer.")[2].partition(".")[0] for name in shapes} - {""}
    if embeddings != wanted or len(deepest) != layers:
        raise UserError(
            f"its weights have embeddings of shape {embeddings} and {len(deepest)} layers, "
            f"and config.json says {wanted} and {layers}",
            where,
            "Take config.json and weights of one and the same model",
        )
