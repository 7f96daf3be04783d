"""Examples as spaCy's documents."""

from collections.abc import Iterable
from pathlib import Path

from nerforge_contract.corpus import Example, Span
from nerforge_contract.errors import UserError
from spacy.language import Language
from spacy.tokens import Doc, DocBin


def write(nlp: Language, examples: Iterable[Example], path: Path, where: str) -> list[str]:
    """Write examples as a .spacy file.

    An entity that does not begin and end with a token cannot be learnt: its tokens are marked as unknown, and
    so are learnt neither as an entity nor as none.

    Parameters
    ----------
    nlp:
        The pipeline whose tokenizer finds the words, where the example does not fix them.
    examples:
        What to write.
    path:
        The file to make.
    where:
        What the user calls the examples' file.

    Returns
    -------
    Warnings, a sentence each.

    Raises
    ------
    UserError
        When not one entity fits the tokens.
    """
    store = DocBin()
    total, misfits = 0, []
    for example in examples:
        doc, unfit = to_doc(nlp, example)
        store.add(doc)
        total += len(example.spans)
        misfits += [
            f"'{example.text[start:end]}' ({label}, line {example.line})" for start, end, label in unfit
        ]
    if misfits and len(misfits) == total:
        raise UserError(
            f"not one of {total} entities begins and ends with a token; the first is {misfits[0]}",
            where,
            "Check the offsets (they count characters from 0; the end is after the last) and the language",
        )
    store.to_disk(path)
    if not misfits:
        return []
    return [
        f"{where}: {len(misfits)} of {total} entities do not begin and end with a token, and are not learnt; "
        f"the first is {misfits[0]}"
    ]


def to_doc(nlp: Language, example: Example) -> tuple[Doc, list[Span]]:
    """One example as a document, and those of its spans that fit no tokens."""
    # Words without spaces tell spaCy to train and evaluate on these words, not on its tokenizer's.
    doc = nlp.make_doc(example.text) if example.words is None else Doc(nlp.vocab, words=example.words)
    entities, unfit = [], []
    for start, end, label in example.spans:
        entity = doc.char_span(*_trimmed(example.text, start, end), label=label)
        if entity is None:
            unfit.append((start, end, label))
        else:
            entities.append(entity)
    unknown = {
        token.i
        for token in doc
        for start, end, _ in unfit
        if token.idx < end and start < token.idx + len(token)
    }
    doc.set_ents(entities, missing=[doc[i : i + 1] for i in sorted(unknown)], default="outside")
    return doc, unfit


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without white space at its ends, which no entity of spaCy's may have."""
    inner = text[start:end]
    return start + len(inner) - len(inner.lstrip()), end - len(inner) + len(inner.rstrip())
