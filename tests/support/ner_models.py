"""Pipelines of different shapes, trained for a moment so that they find entities; and what spaCy finds."""

import random
import warnings
from typing import Any

import numpy
import spacy
from spacy.language import Language
from spacy.training import Example
from spacy.vectors import Vectors
from thinc.api import fix_random_seed

Config = dict[str, Any]

STEPS = 30
NAMES = {
    "PER": [
        "Ada",
        "Bob",
        "Carol",
        "Frank",
        "Grace",
        "Heidi",
        "Mallory",
        "Müller",
        "O'Brien",
        "Jean-Luc",
        "Иван",
        "田中",
    ],
    "LOC": ["Rome", "Oslo", "Lima", "Quito", "Cairo", "Köln", "Tokyo", "U.S.", "Norway", "Paris"],
    "ORG": ["NASA", "Apple", "Bosch", "Lufthansa", "AC/DC", "Inc.", "Bank", "Council", "University"],
}
PLAIN = [
    "the",
    "a",
    "of",
    "and",
    "said",
    "went",
    "to",
    "from",
    "with",
    "who",
    "never",
    "saw",
    ",",
    ".",
    "'s",
    "in",
    "on",
    "1999",
    "3.5",
    "%",
    "very",
    "old",
    "new",
    ",",
    "that",
    "it",
    "was",
]


def _parser(**changes: Any) -> Config:
    return {
        "@architectures": "spacy.TransitionBasedParser.v2",
        "state_type": "ner",
        "extra_state_tokens": False,
        "hidden_width": 24,
        "maxout_pieces": 2,
        "use_upper": True,
    } | changes


def _cnn(width: int, depth: int, pieces: int, **changes: Any) -> Config:
    embed = {"attrs": ["NORM", "PREFIX", "SUFFIX", "SHAPE"], "rows": [400, 100, 200, 200]} | changes
    return {
        "@architectures": "spacy.Tok2Vec.v2",
        "embed": {
            "@architectures": "spacy.MultiHashEmbed.v2",
            "width": width,
            "include_static_vectors": False,
        }
        | embed,
        "encode": {
            "@architectures": "spacy.MaxoutWindowEncoder.v2",
            "width": width,
            "depth": depth,
            "window_size": 1,
            "maxout_pieces": pieces,
        },
    }


def hash_embed_cnn(width: int = 32, depth: int = 4, pieces: int = 3) -> Config:
    """The config of a HashEmbedCNN."""
    return {
        "@architectures": "spacy.HashEmbedCNN.v2",
        "width": width,
        "depth": depth,
        "embed_size": 400,
        "window_size": 1,
        "maxout_pieces": pieces,
        "subword_features": True,
        "pretrained_vectors": None,
    }


def english_with_its_own() -> Language:
    """HashEmbedCNN within the ner, and components that leave entities alone."""
    nlp = spacy.blank("en")
    nlp.add_pipe("ner", config={"model": _parser(tok2vec=hash_embed_cnn())})
    nlp.add_pipe("sentencizer")
    return nlp


def english_that_listens() -> Language:
    """A shared tok2vec that reads spaces, other widths, depth and pieces."""
    nlp = spacy.blank("en")
    reads = {"attrs": ["NORM", "SHAPE", "SPACY", "IS_SPACE"], "rows": [300, 150, 50, 50]}
    nlp.add_pipe("tok2vec", config={"model": _cnn(40, 2, 2, **reads)})
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 40, "upstream": "*"}
    nlp.add_pipe("ner", config={"model": _parser(tok2vec=listener, maxout_pieces=3, hidden_width=16)})
    return nlp


def german_with_vectors() -> Language:
    """Static vectors, one layer, the larger set of state tokens."""
    nlp = spacy.blank("de")
    words = [word for words in (*NAMES.values(), PLAIN) for word in words]
    data = numpy.random.default_rng(0).normal(size=(len(words), 20)).astype("float32")
    nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings, data=data, keys=words)
    tok2vec = _cnn(24, 1, 3, include_static_vectors=True)
    nlp.add_pipe("ner", config={"model": _parser(tok2vec=tok2vec, extra_state_tokens=True)})
    return nlp


def french_without_upper() -> Language:
    """One attribute, one piece everywhere, scores from the lower layer."""
    nlp = spacy.blank("fr")
    tok2vec = _cnn(36, 3, 1, attrs=["SHAPE"], rows=[300])
    nlp.add_pipe("ner", config={"model": _parser(tok2vec=tok2vec, use_upper=False, maxout_pieces=1)})
    return nlp


KINDS = {
    build.__name__: build
    for build in (english_with_its_own, english_that_listens, german_with_vectors, french_without_upper)
}


def sentence(chance: random.Random, nlp: Language) -> Example:
    """A made-up sentence with its entities, as an example to learn from."""
    text, entities = "", []
    for __ in range(chance.randint(4, 14)):
        if chance.random() < 0.3:
            label = chance.choice(list(NAMES))
            words = " ".join(_name(chance, label) for __ in range(chance.choice((1, 1, 2, 3, 4))))
            entities.append((len(text), len(text) + len(words), label))
        else:
            words = chance.choice(PLAIN) if chance.random() < 0.5 else _letters(chance)
        text += words + chance.choice((" ", " ", " ", " ", "  ", "\n"))
    doc = nlp.make_doc(text)
    spans = [doc.char_span(*entity) for entity in entities]
    return Example.from_dict(doc, {"entities": [e for e, span in zip(entities, spans, strict=True) if span]})


def _name(chance: random.Random, label: str) -> str:
    return chance.choice(NAMES[label]) if chance.random() < 0.3 else _letters(chance).capitalize()


def _letters(chance: random.Random) -> str:
    return "".join(chance.choices("aeioulnrstbdgmp", k=chance.randint(2, 9)))


def train(nlp: Language, steps: int = STEPS) -> Language:
    """Train a pipeline until it finds entities in most texts."""
    chance = random.Random(0)
    examples = [sentence(chance, nlp) for __ in range(200)]
    fix_random_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer = nlp.initialize(lambda: examples)
        if nlp.vocab.vectors.size:
            assert nlp.vocab.vectors.shape[1] == 20
        optimizer.learn_rate = 0.01
        for __ in range(steps):
            nlp.update(chance.sample(examples, 16), sgd=optimizer, drop=0.1)
    return nlp


def by_spacy(nlp: Language, texts: list[str], batch_size: int = 64) -> list[list[tuple[int, int, str]]]:
    """What `nlp.pipe` finds: start, end and label of each entity."""
    with nlp.memory_zone():
        return [
            [(e.start_char, e.end_char, e.label_) for e in doc.ents]
            for doc in nlp.pipe(texts, batch_size=batch_size)
        ]
