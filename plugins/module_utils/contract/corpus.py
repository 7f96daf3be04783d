"""The examples a model learns from, as CoNLL/IOB, JSONL (Prodigy, doccano) and .spacy files write them.

Offsets are Python character offsets. Every complaint names the file and the line, or of a .spacy file the
document.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard

from .errors import UserError

Span = tuple[int, int, str]

_ENDINGS = {
    ".conll": "conll",
    ".iob": "conll",
    ".bio": "conll",
    ".tsv": "conll",
    ".txt": "conll",
    ".jsonl": "jsonl",
    ".spacy": "spacy",
}
_BOM = b"\xef\xbb\xbf"
_NAMED = 3  # of what may be thousands
_LONGEST = 1_000_000  # characters: spaCy cuts no longer text into tokens


@dataclass(frozen=True, slots=True)
class Example:
    """A text and the entities in it.

    Parameters
    ----------
    text:
        The text; of a CoNLL sentence, its words with a space between them.
    spans:
        The entities, as (start, end, label), in their order, none overlapping another.
    words:
        The words, where the file fixes them; None where the tokenizer is to find them.
    line:
        Where the example begins in its file: a line, or the document's number in a .spacy file, from 1.
    """

    text: str
    spans: tuple[Span, ...]
    words: tuple[str, ...] | None
    line: int


@dataclass(frozen=True, slots=True)
class Report:
    """What `check` found.

    Parameters
    ----------
    sentences:
        Examples of each part.
    entities:
        Entities of each part by label.
    labels:
        The labels to learn, sorted.
    warnings:
        What is allowed but was hardly meant, a sentence each.
    """

    sentences: dict[str, int]
    entities: dict[str, dict[str, int]]
    labels: tuple[str, ...]
    warnings: tuple[str, ...]


def format_of(filename: str) -> str:
    """``conll``, ``jsonl`` or ``spacy``, as the file's ending says; UserError for any other."""
    ending = PurePosixPath(filename).suffix.lower()
    if ending not in _ENDINGS:
        raise UserError(
            f"the ending {ending!r} does not tell the format"
            if ending
            else "it has no ending to tell the format",
            filename,
            f"Name the file with one of {', '.join(_ENDINGS)}, or give format: conll, jsonl or spacy",
        )
    return _ENDINGS[ending]


def read(path: str | Path, format: str, where: str, language: str = "en") -> list[Example]:
    """All examples of one file.

    Parameters
    ----------
    path:
        The file.
    format:
        ``conll``, ``jsonl`` or ``spacy``.
    where:
        What the user calls the file, such as ``data.train: people.jsonl``; errors begin with it.
    language:
        The language's code, by which spaCy reads a .spacy file.

    Raises
    ------
    UserError
        For anything in the file that is not as the format has it.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(
            f"cannot be read: {error.strerror}", where, "Check the path and its permissions"
        ) from None
    if format == "spacy":
        return _read_spacy(data, where, language)
    return list({"conll": _read_conll, "jsonl": _read_jsonl}[format](_lines(data, where), where))


def split(
    examples: list[Example], percents: tuple[int, int, int] | list[int]
) -> tuple[list[Example], list[Example], list[Example]]:
    """Cut the examples, in their order, into train, dev and test, of which each has its percent."""
    if sum(percents) != 100:
        raise UserError(
            f"{' + '.join(map(str, percents))} makes {sum(percents)}", "data.split", "Make it 100"
        )
    first = len(examples) * percents[0] // 100
    second = len(examples) * (percents[0] + percents[1]) // 100
    return examples[:first], examples[first:second], examples[second:]


def fingerprint(examples: Sequence[Example]) -> str:
    """What tells one list of examples from another: the SHA-256, in hexadecimal, of a JSON line for each.

    A line holds the text, the spans and the words, in this order. The numbers of the lines in the file do not
    count: the same examples from another file, or in another format, have the same fingerprint.
    """
    digest = hashlib.sha256()
    for example in examples:
        # ASCII, for a label may hold half of a surrogate pair, which UTF-8 cannot write.
        line = json.dumps([example.text, example.spans, example.words], separators=(",", ":"))
        digest.update(line.encode("ascii") + b"\n")
    return digest.hexdigest()


def check(parts: dict[str, list[Example]], labels: list[str] | None) -> Report:
    """Whether a model can be trained on these parts.

    Parameters
    ----------
    parts:
        The examples of ``train``, ``dev`` and, where there is one, ``test``.
    labels:
        The labels to learn, if they are fixed; None: those of train.

    Raises
    ------
    UserError
        A part without entities; a text too long for spaCy; a fixed label that train lacks; a label in the
        data that is not a fixed one, or holds characters that no table or page can show.
    """
    entities = {part: _count(examples) for part, examples in parts.items()}
    for part, counts in entities.items():
        if not counts:
            raise UserError(
                f"no entities in {len(parts[part])} sentences",
                f"data.{part}",
                "Give a file that marks some, and check that its format is the one it is read as",
            )
    _check_lengths(parts)
    _check_printable(parts, entities)
    learnt = set(entities["train"])
    warnings = []
    if labels is None:
        warnings = [
            f"data.{part} has {enumerated(of_label)}, which train has none of: they cannot be found"
            for part, counts in entities.items()
            if (of_label := [f"{counts[label]} of label {label}" for label in counts if label not in learnt])
        ]
    else:
        _check_fixed(parts, entities, labels)
        learnt = set(labels)
    return Report(
        sentences={part: len(examples) for part, examples in parts.items()},
        entities=entities,
        labels=tuple(sorted(learnt)),
        warnings=tuple(warnings),
    )


def enumerated(names: Sequence[str]) -> str:
    """``A, B and C``, or the first three of many, and how many more there are."""
    *most, last = names if len(names) <= _NAMED else [*names[:_NAMED], f"{len(names) - _NAMED:,} more"]
    return f"{', '.join(most)} and {last}" if most else last


def _count(examples: list[Example]) -> dict[str, int]:
    counts = Counter(label for example in examples for __, __, label in example.spans)
    return dict(sorted(counts.items()))


def _check_lengths(parts: dict[str, list[Example]]) -> None:
    for part, examples in parts.items():
        for example in examples:
            if example.words is None and len(example.text) > _LONGEST:
                raise UserError(
                    f"a text of {len(example.text):,} characters; spaCy takes up to {_LONGEST:,}",
                    f"data.{part}: line {example.line}",
                    "Cut it into paragraphs or sentences",
                )


def _check_printable(parts: dict[str, list[Example]], entities: dict[str, dict[str, int]]) -> None:
    """Labels stand in records, tables, pages and URLs: no control characters, and no half surrogate pairs."""
    for part, counts in entities.items():
        for label in counts:
            if not label.isprintable():
                raise UserError(
                    f"the label {label!r} holds characters that cannot be shown",
                    f"data.{part}: line {_line_of(label, parts[part])}",
                    "Give it another name",
                )


def _line_of(label: str, examples: list[Example]) -> int:
    return next(e.line for e in examples if any(span[2] == label for span in e.spans))


def _check_fixed(
    parts: dict[str, list[Example]], entities: dict[str, dict[str, int]], labels: list[str]
) -> None:
    for label in labels:
        if label not in entities["train"]:
            raise UserError(
                f"no example in train has the label {label}",
                "labels",
                _did_you_mean(label, entities["train"]) + "Take it out of labels, or add examples of it",
            )
    for part, counts in entities.items():
        for label in counts:
            if label not in labels:
                raise UserError(
                    f"the label {label} is not one of labels ({', '.join(labels)})",
                    f"data.{part}: line {_line_of(label, parts[part])}",
                    _did_you_mean(label, labels) + "Add it to labels, or mend the data",
                )


def _did_you_mean(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    same = [name for name in known if name.lower() == word.lower()]
    return f"Did you mean {(same or close)[0]}? " if same or close else ""


# --- text files ---


def _lines(data: bytes, where: str) -> Iterator[tuple[int, str]]:
    """The file's lines and their numbers. Only a line feed ends a line: texts hold U+2028 and its like."""
    # Line by line: all of a large file as text, and then in lines, would take several times its size.
    for number, line in enumerate(io.BytesIO(data.removeprefix(_BOM)), 1):
        try:
            yield number, line.removesuffix(b"\n").decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                f"not UTF-8: byte 0x{line[error.start]:02x}", f"{where}:{number}", "Save the file as UTF-8"
            ) from None


# --- CoNLL ---


def _read_conll(lines: Iterator[tuple[int, str]], where: str) -> Iterator[Example]:
    words: list[str] = []
    tags: list[tuple[str, str]] = []
    first = 1
    for number, line in lines:
        if not line or line.isspace() or line.startswith("-DOCSTART-"):
            if words:
                yield _sentence(words, tags, first)
            words, tags = [], []
            continue
        if not words:
            first = number
        word, tag = _columns(line, f"{where}:{number}")
        words.append(word)
        tags.append(_tag(tag, f"{where}:{number}"))
    if words:
        yield _sentence(words, tags, first)


def _columns(line: str, where: str) -> tuple[str, str]:
    # Not at any white space: a token may hold a no-break space, as in 10 000.
    columns = line.rstrip().split("\t") if "\t" in line else line.strip().split(" ")
    if len(columns) < 2:
        raise UserError(
            f"no tag column: the line is only {_quote(columns[0])}",
            where,
            "Write the token, a tab or a space, and its tag, such as O or B-PER",
        )
    word = columns[0].strip()
    if not word:
        raise UserError(f"no token before the tag {_quote(columns[-1])}", where, "Take the line out")
    return word, columns[-1].strip()


def _tag(tag: str, where: str) -> tuple[str, str]:
    if tag == "O":
        return "O", ""
    position, dash, label = tag.partition("-")
    if position not in ("B", "I", "E", "L", "S", "U") or not dash or not label:
        raise UserError(
            f"{_quote(tag)} is no IOB tag",
            where,
            "The last column holds O, or B- or I- and a label, such as B-PER",
        )
    return position, label


def _sentence(words: list[str], tags: list[tuple[str, str]], line: int) -> Example:
    """IOB1, IOB2 and BIOES at once: I, E, L of its own label go on with an entity, E, L, S, U end one."""
    spans: list[Span] = []
    start: int | None = None
    label = ""
    offset = end = 0
    for word, (position, tag_label) in zip(words, tags, strict=True):
        goes_on = start is not None and position in ("I", "E", "L") and tag_label == label
        if start is not None and not goes_on:
            spans.append((start, end, label))
            start = None
        if position != "O":
            if start is None:
                start, label = offset, tag_label
            if position not in ("B", "I"):
                spans.append((start, offset + len(word), label))
                start = None
        end = offset + len(word)
        offset = end + 1
    if start is not None:
        spans.append((start, end, label))
    return Example(" ".join(words), tuple(spans), tuple(words), line)


# --- JSONL ---


def _read_jsonl(lines: Iterator[tuple[int, str]], where: str) -> Iterator[Example]:
    for number, line in lines:
        if not line or line.isspace():
            continue
        here = f"{where}:{number}"
        task = _json_object(line, here)
        if task.get("answer", "accept") != "accept":
            continue
        text = _text(task, here)
        yield Example(text, _spans(task, text, here), None, number)


def _json_object(line: str, where: str) -> dict[str, Any]:
    try:
        task = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(
            f"not JSON: {error.msg} at column {error.colno}", where, "Write one JSON object a line"
        ) from None
    except (ValueError, RecursionError):
        raise UserError(
            "it holds a number too long to read, or lists too deep in one another",
            where,
            'Leave out what is neither "text" nor "spans"',
        ) from None
    if not isinstance(task, dict):
        raise UserError("not a JSON object", where, 'Write one JSON object a line, with "text" and "spans"')
    return task


def _text(task: dict[str, Any], where: str) -> str:
    text = task.get("text")
    if not isinstance(text, str) or not text or text.isspace():
        raise UserError('no "text"', where, 'Give the text as a string under "text"')
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(
            f"character {error.start} of the text is half of a surrogate pair",
            where,
            "Export the text as UTF-8",
        ) from None
    return text


def _spans(task: dict[str, Any], text: str, where: str) -> tuple[Span, ...]:
    key = next((key for key in ("spans", "entities", "label", "labels") if task.get(key) is not None), None)
    if key is None:
        return ()
    found = task[key]
    if not isinstance(found, list):
        raise UserError(f'"{key}" is not a list', where, "Give a list of spans")
    spans = sorted(_span(entry, key, text, where) for entry in found)
    for one, other in itertools.pairwise(spans):
        if other[0] < one[1]:
            raise UserError(
                f"overlapping spans: {_describe(one, text)} and {_describe(other, text)}",
                where,
                "An entity cannot lie in another: keep one of them",
            )
    return tuple(spans)


def _span(entry: Any, key: str, text: str, where: str) -> Span:
    if isinstance(entry, dict):
        start = entry.get("start", entry.get("start_offset"))
        end = entry.get("end", entry.get("end_offset"))
        label = entry.get("label")
    elif isinstance(entry, list) and len(entry) == 3:
        start, end, label = entry
    else:
        start = end = label = None
    if not (_is_whole(start) and _is_whole(end) and isinstance(label, str) and label.strip()):
        raise UserError(
            f'an entry of "{key}" is no span: {_quote(json.dumps(entry, ensure_ascii=False))}',
            where,
            'Give whole numbers and a label: {"start": 0, "end": 5, "label": "PER"} or [0, 5, "PER"]',
        )
    if not 0 <= start <= end <= len(text):
        raise UserError(
            f"the span {start}-{end} ({label}) is outside the text, which has {len(text)} characters",
            where,
            "Offsets count characters from 0, and end is that of the character after the last",
        )
    if not text[start:end].strip():
        raise UserError(
            f"the span {start}-{end} ({label}) holds no text", where, "Take it out, or mend its offsets"
        )
    return start, end, label


def _describe(span: Span, text: str) -> str:
    start, end, label = span
    return f"{_quote(text[start:end])} ({start}-{end}, {label})"


def _quote(text: str) -> str:
    return f"'{text[:60]}…'" if len(text) > 60 else f"'{text}'"


# --- .spacy ---


def _read_spacy(data: bytes, where: str, language: str) -> list[Example]:
    try:
        import spacy
        from spacy.tokens import DocBin

        vocab = spacy.blank(language).vocab
    except ImportError as error:
        raise UserError(
            f"spaCy, which reads it, lacks something here: {str(error).splitlines()[0]}",
            where,
            "Install that beside what runs this command, or give the data as CoNLL or JSONL",
        ) from None
    try:
        docs = list(DocBin().from_bytes(data).get_docs(vocab))
    except Exception as error:  # msgpack, zlib, numpy: whatever the bytes trip
        raise UserError(
            f"not a .spacy file: {error}", where, "Write it with spaCy's DocBin.to_disk or `spacy convert`"
        ) from None
    # A document that says nothing of entities is not one without entities.
    return [_from_doc(doc, number) for number, doc in enumerate(docs, 1) if doc.has_annotation("ENT_IOB")]


def _from_doc(doc: Any, number: int) -> Example:
    spans = tuple((ent.start_char, ent.end_char, ent.label_) for ent in doc.ents)
    words = tuple(token.text for token in doc) if doc.has_unknown_spaces else None
    return Example(doc.text, spans, words, number)


def _is_whole(number: object) -> TypeGuard[int]:
    return isinstance(number, int) and not isinstance(number, bool)
