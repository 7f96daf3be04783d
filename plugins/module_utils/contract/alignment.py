"""Whether entities begin and end with tokens, as spaCy cuts a text into them: others cannot be learnt."""

from collections.abc import Iterable, Sequence

from .corpus import Example, Span
from .errors import UserError
from .findings import Finding, first, shown


def unfit(examples: Iterable[Example], language: str) -> list[tuple[Example, Span]]:
    """The entities that do not begin and end with a token, each with its example.

    Parameters
    ----------
    examples:
        Where to look; those whose words the file fixes have none.
    language:
        The language's code, whose rules of spaCy's find the tokens.

    Raises ImportError where spaCy, or what it needs for the language, is not installed.
    """
    import spacy

    tokenizer = spacy.blank(language).tokenizer
    found = []
    for example in examples:
        if example.words is not None or not example.spans:
            continue
        doc = tokenizer(example.text)
        found += [
            (example, span)
            for span in example.spans
            if doc.char_span(*trimmed(example.text, span[0], span[1])) is None
        ]
    return found


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without white space at its ends, which no entity of spaCy's may have."""
    inner = text[start:end]
    return start + len(inner) - len(inner.lstrip()), end - len(inner) + len(inner.rstrip())


def findings(where: str, unfit: Sequence[tuple[Example, Span]], entities: int) -> list[Finding]:
    """What is to be said of the entities of one file that fit no tokens; nothing if there are none.

    Parameters
    ----------
    where:
        What the user calls the file, such as ``data.train: people.jsonl``.
    unfit:
        Those entities, each with its example.
    entities:
        How many entities the file has.

    Raises UserError when not one fits.
    """
    places = first(f"{shown(example, span)}, line {example.line}" for example, span in unfit)
    if unfit and len(unfit) == entities:
        raise UserError(
            f"not one of {entities:,} entities begins and ends with a token; the first is {places[0]}",
            where,
            "Check the offsets (they count characters from 0; the end is after the last) and the language",
        )
    if not unfit:
        return []
    what = f"{len(unfit):,} of {entities:,} entities do not begin and end with a token, and are not learnt"
    return [Finding(f"{where}: {what}", len(unfit), places)]
