"""What the exact engine needs to know of a pipeline, and the proof that this is all there is to know.

`weights` looks at every component and every layer and takes out the parameters. It matches the layers by the
functions that compute them, not by the names in a config, so that a layer which was swapped, wrapped or
registered anew under an old name is not taken for spaCy's. Whatever it does not know it refuses, with the
reason.
"""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.pipeline import EntityRecognizer
    from thinc.api import Model

Floats = numpy.ndarray  # of float32

# Attributes that depend on the token's text alone, or on whether a space follows it.
_LEXICAL = frozenset(
    [
        "ORTH",
        "LOWER",
        "NORM",
        "PREFIX",
        "SUFFIX",
        "SHAPE",
        "SPACY",
        "IS_ALPHA",
        "IS_ASCII",
        "IS_DIGIT",
        "IS_LOWER",
        "IS_PUNCT",
        "IS_SPACE",
        "IS_TITLE",
        "IS_UPPER",
        "IS_STOP",
        "IS_BRACKET",
        "IS_QUOTE",
        "IS_LEFT_PUNCT",
        "IS_RIGHT_PUNCT",
        "IS_CURRENCY",
        "LIKE_URL",
        "LIKE_NUM",
        "LIKE_EMAIL",
    ]
)

_NO_PARSER = "its ner is not a TransitionBasedParser.v2"
_NO_CNN = "its token vectors are not made by MultiHashEmbed.v2 and MaxoutWindowEncoder.v2"


class NotProved(Exception):
    """The exact engine is not proved for the pipeline; says why in a sentence."""


@dataclass(frozen=True)
class Maxout:
    """A maxout layer with layer normalization: ``weights`` (outputs, pieces, inputs), the rest by output."""

    weights: Floats
    bias: Floats  # (outputs, pieces)
    gain: Floats
    shift: Floats


@dataclass(frozen=True)
class HashTable:
    """A hash embedding of the attribute in one column: ``rows`` (rows, width)."""

    rows: Floats
    seed: int


@dataclass(frozen=True)
class StaticVectors:
    """Word vectors that are looked up by an attribute, and the matrix (width, length) that projects them."""

    vectors: Any  # spacy.vectors.Vectors
    projection: Floats


@dataclass(frozen=True)
class Weights:
    """A pipeline's parameters.

    ``attributes`` are the numbers of the token attributes, one for each of ``tables``. ``lower`` is
    (features, outputs, pieces, hidden), ``padding`` (features, outputs, pieces), ``lower_bias`` (outputs,
    pieces); ``upper`` and ``upper_bias`` are None where the lower layer's outputs are the scores. ``actions``
    are the names of the parser's actions in the order of the scores.
    """

    attributes: list[int]
    tables: list[HashTable]
    static: StaticVectors | None
    mixer: Maxout
    convolutions: list[Maxout]
    linear: Floats
    linear_bias: Floats
    lower: Floats
    padding: Floats
    lower_bias: Floats
    upper: Floats | None
    upper_bias: Floats | None
    actions: list[str]


def weights(nlp: "Language") -> Weights:
    """The parameters of a pipeline's entity recognizer.

    Raises
    ------
    NotProved
        Something in the pipeline is not known to leave the entities to what `Weights` holds.
    """
    from thinc.api import NumpyOps

    _check_language(nlp)
    ner, before, after = _components(nlp)
    _check_components(before, after)
    if ner.cfg["beam_width"] != 1:
        raise NotProved("its ner searches with a beam")
    model = ner.model
    has_upper = model.attrs.get("has_upper")
    if _kind(model) != "tb_framework" or [_kind(layer) for layer in model.layers] != [
        "chain",
        "_precomputable_affine",
        "linear" if has_upper else "noop",
    ]:
        raise NotProved(_NO_PARSER)
    if model.attrs["unseen_classes"]:
        raise NotProved("its ner has labels that were added after the training")
    tok2vec, lower, upper = model.layers
    if lower.get_dim("nF") not in (3, 6):
        raise NotProved(f"its ner has {lower.get_dim('nF')} tokens in a state")
    vectors, hidden = _token_vectors(tok2vec, before)
    if not all(isinstance(node.ops, NumpyOps) for node in (*model.walk(), *vectors.walk())):
        raise NotProved("it computes on a GPU")
    embedding = _embedding(nlp, vectors)
    return Weights(
        *embedding,
        convolutions=[_maxout(block) for block in _all(vectors, "residual")],
        linear=_floats(hidden, "W"),
        linear_bias=_floats(hidden, "b"),
        lower=_floats(lower, "W"),
        padding=_floats(lower, "pad")[0],
        lower_bias=_floats(lower, "b"),
        upper=_floats(upper, "W") if has_upper else None,
        upper_bias=_floats(upper, "b") if has_upper else None,
        actions=_actions(ner),
    )


# --- the components ---


def _check_language(nlp: "Language") -> None:
    from spacy.language import Language

    for method in ("__call__", "pipe", "make_doc", "_ensure_doc", "memory_zone"):
        if getattr(type(nlp), method) is not getattr(Language, method):
            raise NotProved(f"its language class {type(nlp).__name__} has a {method} of its own")


def _components(nlp: "Language") -> "tuple[EntityRecognizer, list[Any], list[Any]]":
    """The one ner, the components before it and those after it."""
    from spacy.pipeline import EntityRecognizer

    pipes = [component for __, component in nlp.pipeline]
    found = [place for place, pipe in enumerate(pipes) if isinstance(pipe, EntityRecognizer)]
    if len(found) != 1:
        raise NotProved(f"it has {len(found) or 'no'} ner components, not one")
    place = found[0]
    if pipes[place].__class__ is not EntityRecognizer:
        raise NotProved(f"its ner is a {type(pipes[place]).__name__}")
    return pipes[place], pipes[:place], pipes[place + 1 :]


def _check_components(before: list[Any], after: list[Any]) -> None:
    """Only components that change neither tokens nor entities, nor, ahead of the ner, sentence starts.

    An entity never goes on across a sentence's start (spacy/pipeline/_parser_internals/ner.pyx,
    ``is_valid``), so a parser ahead of the ner changes what it finds, and behind it does not.
    """
    from spacy import pipeline

    harmless = (
        pipeline.Tok2Vec,
        pipeline.Tagger,
        pipeline.Morphologizer,
        pipeline.Lemmatizer,
        pipeline.EditTreeLemmatizer,
        pipeline.TextCategorizer,
        pipeline.SpanCategorizer,
    )
    sentences = (pipeline.DependencyParser, pipeline.SentenceRecognizer, pipeline.Sentencizer)
    for pipe, known in [(p, harmless) for p in before] + [(p, harmless + sentences) for p in after]:
        if not (isinstance(pipe, known) and type(pipe).__module__.startswith("spacy.")):
            if isinstance(pipe, sentences) and type(pipe).__module__.startswith("spacy."):
                raise NotProved(f"its {pipe.name} sets sentence starts ahead of the ner")
            name = getattr(pipe, "name", None) or getattr(pipe, "__name__", None) or type(pipe).__name__
            raise NotProved(f"its component {name} may change tokens or entities")


def _actions(ner: "EntityRecognizer") -> list[str]:
    moves = ner.moves
    from spacy.pipeline._parser_internals.ner import BiluoPushDown

    if moves.__class__ is not BiluoPushDown:
        raise NotProved(f"its ner's transition system is a {type(moves).__name__}")
    names = [moves.get_class_name(number) for number in range(moves.n_moves)]
    labels = {name[2:] for name in names if name[:2] == "B-"}
    wanted = {"O"} | {f"{move}-{label}" for move in "BILU" for label in labels}
    if not labels or wanted != set(names) - {"U-"} or len(names) != len(set(names)):
        raise NotProved("its ner does not have every action for every label")
    return names


# --- the layers ---


def _kind(layer: "Model[Any, Any]") -> str:
    """Which of thinc's and spaCy's layers this is: the name of the module whose ``forward`` computes it."""
    module = layer._func.__module__
    known = module.startswith(("thinc.layers.", "spacy.ml.", "spacy.pipeline.tok2vec"))
    return (
        module.rpartition(".")[2] if known and sys.modules[module].forward is layer._func else f"({module})"
    )


def _shape(model: "Model[Any, Any]") -> tuple[Any, ...]:
    """The kinds of a model's layers in order, those inside a wrapper as a tuple behind its own.

    Chains are flat, for chaining is associative; dropout, which does nothing outside of training, is left
    out.
    """
    kind = _kind(model)
    inner = tuple(found for layer in model.layers for found in _shape(layer))
    if kind == "dropout":
        return ()
    if kind == "chain":
        return inner
    return (kind, inner) if model.layers else (kind,)


def _all(model: "Model[Any, Any]", kind: str) -> "list[Model[Any, Any]]":
    return [node for node in model.walk(order="dfs_pre") if _kind(node) == kind]


def _token_vectors(
    tok2vec: "Model[Any, Any]", before: list[Any]
) -> "tuple[Model[Any, Any], Model[Any, Any]]":
    """The model of the token vectors, the ner's own or the one that it listens to, and the linear layer."""
    from spacy.pipeline import Tok2Vec
    from spacy.pipeline.tok2vec import Tok2VecListener

    if len(tok2vec.layers) != 3 or _shape(tok2vec)[-2:] != ("list2array", "linear"):
        raise NotProved(_NO_PARSER)
    own, __, hidden = tok2vec.layers
    if not isinstance(own, Tok2VecListener):
        return own, hidden
    shared = [pipe for pipe in before if isinstance(pipe, Tok2Vec)]
    if len(shared) != 1 or own.upstream_name not in ("*", shared[0].name):
        raise NotProved("its ner does not listen to the one tok2vec ahead of it")
    return shared[0].model, hidden


def _embedding(
    nlp: "Language", model: "Model[Any, Any]"
) -> tuple[list[int], list[HashTable], StaticVectors | None, Maxout]:
    """Attributes, tables, static vectors and mixer; refuses all layers but those that `Weights` describes."""
    from spacy.attrs import IDS

    tables, static = _all(model, "hashembed"), _all(model, "staticvectors")
    looked_up = ("array_getitem", "hashembed") * len(tables)
    features: tuple[Any, ...] = (
        "featureextractor",
        "list2ragged",
        "with_array",
        ("concatenate", looked_up) if len(tables) > 1 else looked_up,
    )
    if static:
        features = ("concatenate", (*features, "staticvectors"))
    depth = len(_all(model, "residual"))
    encoder = ("residual", ("expand_window", "maxout", "layernorm")) * depth
    wanted = (*features, "with_array", ("maxout", "layernorm"), "ragged2list", "with_array", encoder)
    if not depth or _shape(model) != wanted:
        raise NotProved(_NO_CNN)
    if any(node.attrs["window_size"] != 1 for node in _all(model, "expand_window")):
        raise NotProved("its window is not 1")
    if _all(model, "with_array")[-1].attrs["pad"] != depth:
        raise NotProved("its padding is not as wide as its receptive field")
    if [node.attrs["index"] for node in _all(model, "array_getitem")] != [
        (slice(0, None), number) for number in range(len(tables))
    ]:
        raise NotProved("its attributes are not embedded in their order")
    names = _all(model, "featureextractor")[0].attrs["columns"]
    numbers = [IDS[name] if isinstance(name, str) else name for name in names]
    _check_lexical(numbers)
    return (
        numbers,
        [HashTable(_floats(node, "E"), node.attrs["seed"]) for node in tables],
        _static(nlp, static[0]) if static else None,
        _maxout(model),
    )


def _check_lexical(attributes: list[int]) -> None:
    from spacy.attrs import IDS

    names = {number: name for name, number in IDS.items()}
    for number in attributes:
        if names[number] not in _LEXICAL:
            raise NotProved(f"it embeds {names[number]}, which is not an attribute of the word alone")


def _static(nlp: "Language", node: "Model[Any, Any]") -> StaticVectors:
    from spacy.vectors import Mode, Vectors

    vectors = nlp.vocab.vectors
    if vectors.__class__ is not Vectors or vectors.mode != Mode.default:
        raise NotProved("its static vectors are not a plain table")
    _check_lexical([vectors.attr])
    return StaticVectors(vectors, _floats(node, "W"))


def _maxout(model: "Model[Any, Any]") -> Maxout:
    """The first maxout of a model, and the layer normalization behind it."""
    layer, norm = _all(model, "maxout")[0], _all(model, "layernorm")[0]
    return Maxout(_floats(layer, "W"), _floats(layer, "b"), _floats(norm, "G"), _floats(norm, "b"))


def _floats(model: "Model[Any, Any]", name: str) -> Floats:
    return numpy.array(model.get_param(name), dtype="float32")
