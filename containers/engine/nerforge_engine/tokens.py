"""Texts to tokens, as spaCy's tokenizer has them, with work only for what was not seen lately.

spaCy's ``Tokenizer`` cuts a text at every change between white space and anything else, drops one ASCII space
behind a word, and tokenizes each of these pieces with no look at its neighbours (``_tokenize_affixes`` in
spacy/tokenizer.pyx). So what a piece's tokens are can be kept by the piece. Two things reach across pieces,
and both are seen to:

- the attribute SPACY of a piece's last token: where the model reads it, the space is made part of the piece;
- ``_apply_special_cases``, which runs over the finished tokens with a matcher of the special cases. A match
  that spans pieces replaces nothing, for its text, with the space in it, is no special case; but it may
  overlap a shorter match within one of the pieces, which then is not replaced either. That takes a piece of
  several tokens that is not itself a special case, beside a boundary whose two tokens are neighbours in some
  special case. The bits at their boundaries say where this may be, and such pieces are tokenized as one.

Special cases with white space amid other characters would be a third; a tokenizer with one is refused.
"""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy

from .weights import NotProved

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

# Bits of `Tokens.before` and `Tokens.after`: the bitwise "and" of a piece's last token and the next one's
# first has JOINED set if the two are neighbours in special cases, and one of RISKY if one piece could be
# changed too.
JOINED, RISKY = 4, 3

_RUNS = re.compile(r"\s+|\S+")
_SEPARATOR = "\n"  # a piece by itself, between words that are tokenized in one go
_RENEWAL = 100_000  # tokens made, until the vocabulary is made anew, in some 50 ms


class Pieces(NamedTuple):
    """A text's pieces, and the numbers of those with no dropped space behind them, the last one aside."""

    keys: list[str]
    tight: list[int]


class Tokens(NamedTuple):
    """The tokens of some pieces, one behind the other.

    ``sizes`` are the tokens of each piece. By token: ``attributes`` of shape (tokens, attributes), of uint64;
    ``lengths`` in characters; ``advances``, to the next token's start if the piece has a space behind it;
    ``spaces``, whether it is white space; and the bits ``before`` and ``after`` a boundary of pieces.
    """

    sizes: list[int]
    attributes: numpy.ndarray
    lengths: numpy.ndarray
    advances: numpy.ndarray
    spaces: numpy.ndarray
    before: list[int]
    after: list[int]


class Tokenizer:
    """A pipeline's tokenizer, over a vocabulary of its own.

    A new word costs spaCy some twenty attribute getters. This vocabulary has those that are read here, and
    forgets every word after it was seen, so that nothing grows.

    Parameters
    ----------
    nlp:
        The pipeline. It stays as it is.
    attributes:
        The numbers of the attributes that the model reads.

    Raises
    ------
    NotProved
        The tokenizer is not spaCy's rule-based one, or has special cases that span white space, or words of
        the vocabulary were given attributes by hand.
    """

    def __init__(self, nlp: "Language", attributes: Sequence[int]) -> None:
        from spacy import attrs
        from spacy.tokenizer import Tokenizer

        theirs: Any = nlp.tokenizer
        if theirs.__class__ is not Tokenizer:
            raise NotProved(f"its tokenizer is a {type(theirs).__name__}")
        self._columns = [attrs.ORTH, attrs.LENGTH, attrs.SPACY, attrs.IS_SPACE, *attributes]
        self._spacy = [4 + at for at, number in enumerate(attributes) if number == attrs.SPACY]
        vocab: Any = nlp.vocab  # spaCy's types leave the getters out
        getters = vocab.lex_attr_getters
        self._getters = {number: getters[number] for number in self._columns if number in getters}
        self._patterns = {
            name: getattr(theirs, name)
            for name in ("prefix_search", "suffix_search", "infix_finditer", "token_match", "url_match")
        }
        self._faster_heuristics = theirs.faster_heuristics
        self._special = theirs.rules
        self._renew()
        if any(_has_inner_space(text) for text in self._special) or len(self._tokenizer("a\nb")) != 3:
            raise NotProved("its tokenizer has special cases with white space in them")
        self._separator = self._vocab.strings[_SEPARATOR]
        self._lefts, self._rights = self._neighbours(Tokenizer(self._vocab, **self._patterns))
        self._check_words(nlp)

    def pieces(self, text: str) -> Pieces:
        """The pieces of a text that are tokenized each by itself."""
        words = text.split(" ")
        if words == text.split():  # all of its white space is single ASCII spaces between words
            tight: list[int] = []
        else:
            words, tight = _pieces(text)
        if self._spacy:
            spaced = [word + " " for word in words]
            for number in tight if tight or not words else [len(words) - 1]:
                spaced[number] = words[number]
            words = spaced
        return Pieces(words, tight)

    def joined(self, pieces: Pieces, joints: Sequence[int]) -> Pieces:
        """The same with pieces made one where a match may reach across.

        Parameters
        ----------
        joints:
            For each piece but the last, the bits at its boundary with the next.
        """
        if not any(joint & RISKY for joint in joints):
            return pieces
        keys: list[str] = []
        tight: list[int] = []
        tights = set(pieces.tight)
        start = 0
        for number in range(len(pieces.keys)):
            if number < len(joints) and joints[number] & JOINED:
                continue
            together = pieces.keys[start : number + 1]
            if any(joint & RISKY for joint in joints[start:number]):
                keys.append(("" if self._spacy else " ").join(together))
                tight += [len(keys) - 1] if number in tights else []
            else:
                tight += [len(keys) + at for at in range(len(together)) if start + at in tights]
                keys += together
            start = number + 1
        return Pieces(keys, tight)

    def tokens(self, keys: Sequence[str]) -> Tokens:
        """The tokens of pieces; whatever spaCy raises over one, such as a lone surrogate."""
        if self._made > _RENEWAL:
            self._renew()
        # The exception must not cross the zone's end: spaCy closes a zone only when its block ends normally.
        with self._vocab.memory_zone():
            try:
                return self._tokens(keys)
            except Exception as error:
                failure = error
        raise failure

    def _renew(self) -> None:
        """Begin with an empty vocabulary: a zone's end frees words, but not their cells in its maps."""
        from spacy.tokenizer import Tokenizer
        from spacy.vocab import Vocab

        self._vocab = Vocab(self._getters)
        self._tokenizer = Tokenizer(
            self._vocab, self._special, faster_heuristics=self._faster_heuristics, **self._patterns
        )
        self._made = 0

    def _tokens(self, keys: Sequence[str]) -> Tokens:
        # A model that reads SPACY has the space behind a word in its key.
        words = [key[:-1] if self._spacy and key[-1] == " " and not key.isspace() else key for key in keys]
        if any(word.isspace() or " " in word for word in words):
            arrays = [self._tokenizer(word).to_array(self._columns) for word in words]
            sizes = list(map(len, arrays))
            array = numpy.concatenate(arrays)
        else:
            array = self._tokenizer(_SEPARATOR.join(words)).to_array(self._columns)
            ends = numpy.flatnonzero(array[:, 0] == self._separator)
            sizes = (numpy.diff(ends, prepend=-1, append=len(array)) - 1).tolist()
            array = numpy.delete(array, ends, axis=0)
        self._made += len(array)
        lasts = numpy.cumsum(sizes) - 1
        firsts = lasts - sizes + 1
        array[lasts, 2] = 1
        if self._spacy:
            array[lasts[:, None], self._spacy] = [
                [word is not key] for word, key in zip(words, keys, strict=True)
            ]
        before, after = [0] * len(array), [0] * len(array)
        edges = zip(words, sizes, array[firsts, 0].tolist(), array[lasts, 0].tolist(), strict=True)
        for (word, size, first, last), start, end in zip(edges, firsts.tolist(), lasts.tolist(), strict=True):
            if first in self._rights or last in self._lefts:
                mutable = size > 1 and word not in self._special
                before[end] = (JOINED + 1 + 2 * mutable) * (last in self._lefts)
                after[start] = (JOINED + 2 + mutable) * (first in self._rights)
        lengths = array[:, 1].astype("int32")
        return Tokens(
            sizes,
            array[:, 4:],
            lengths,
            lengths + array[:, 2].astype("int32"),
            array[:, 3] != 0,
            before,
            after,
        )

    def _neighbours(self, bare: "Callable[[str], Doc]") -> tuple[set[int], set[int]]:
        """What stands to the left and to the right of another token within the matcher's patterns.

        A pattern is a special case as tokenized without any (``add_special_case`` in spacy/tokenizer.pyx).
        """
        # All in one text, for a Doc a case takes long: they have no white space in them, so where a token has
        # a space behind it a case ends.
        cases = " ".join(text for text in self._special if not text.isspace())
        with self._vocab.memory_zone():
            array = bare(cases).to_array(["ORTH", "SPACY"])
        orths, ends = array[:, 0], array[:, 1] != 0
        ends[-1:] = True
        lefts = set(orths[~ends].tolist())
        rights = set(orths[1:][~ends[:-1]].tolist())
        return lefts, rights

    def _check_words(self, nlp: "Language") -> None:
        """A loaded pipeline's vocabulary holds few words; none may differ from what the getters say."""
        from spacy.tokens import Doc

        words = [word.orth_ for word in nlp.vocab if word.orth_]
        with self._vocab.memory_zone():
            same = all(
                numpy.array_equal(
                    Doc(nlp.vocab, words=words).to_array(column),
                    Doc(self._vocab, words=words).to_array(column),
                )
                for column in self._columns
            )
        if not same:
            raise NotProved("words of its vocabulary were given attributes by hand")


def _pieces(text: str) -> tuple[list[str], list[int]]:
    """The pieces of a text with any white space, as ``_tokenize_affixes`` cuts them."""
    keys: list[str] = []
    tight: list[int] = []
    for run in _RUNS.findall(text):
        if run.isspace():
            if keys and run[0] == " ":
                run = run[1:]
            elif keys:
                tight.append(len(keys) - 1)
            if run:
                tight.append(len(keys))
        if run:
            keys.append(run)
    if keys and not text[-1].isspace():
        tight.append(len(keys) - 1)
    return keys, tight


def _has_inner_space(text: str) -> bool:
    return any(map(str.isspace, text)) and not text.isspace()
