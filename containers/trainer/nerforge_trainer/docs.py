"""Examples as spaCy's documents."""

from collections.abc import Iterable
from pathlib import Path

from nerforge_contract import alignment
from nerforge_contract.corpus import Example, Span
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
    entities, misfits = 0, []
    for example in examples:
        doc, unfit = to_doc(nlp, example)
        store.add(doc)
        entities += len(example.spans)
        misfits += [(example, span) for span in unfit]
    warnings = [str(finding) for finding in alignment.findings(where, misfits, entities)]
    store.to_disk(path)
    return warnings


def to_doc(nlp: Language, example: Example) -> tuple[Doc, list[Span]]:
    """One example as a document, and those of its spans that fit no tokens."""
    # Words without spaces tell spaCy to train and evaluate on these words, not on its tokenizer's.
    doc = nlp.make_doc(example.text) if example.words is None else Doc(nlp.vocab, words=list(example.words))
    entities, unfit = [], []
    for start, end, label in example.spans:
        entity = doc.char_span(*alignment.trimmed(example.text, start, end), label=label)
        if entity is None:
            unfit.append((start, end, label))
        else:
            entities.append(entity)
    unknown = {
        token.i
        for token in doc
        for start, end, __ in unfit
        if token.idx < end and start < token.idx + len(token)
    }
    doc.set_ents(entities, missing=[doc[i : i + 1] for i in sorted(unknown)], default="outside")
    return doc, unfit
