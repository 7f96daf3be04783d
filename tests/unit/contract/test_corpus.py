"""Reading examples: every format as its tools write it, and each way in which a file can be wrong."""

import hashlib
import json
import sys
import time
import tracemalloc

import pytest
import spacy
from nerforge_contract import corpus
from nerforge_contract.corpus import Example
from nerforge_contract.errors import UserError
from spacy.tokens import Doc, DocBin


@pytest.fixture
def read(tmp_path):
    """Read a file of this content."""

    def read(content, format):
        path = tmp_path / "file"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return corpus.read(path, format, "data.train: file")

    return read


def found(example):
    """The entities as text and label."""
    return [(example.text[start:end], label) for start, end, label in example.spans]


# --- formats by name ---


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.conll", "conll"),
        ("b/a.IOB", "conll"),
        ("a.bio", "conll"),
        ("a.tsv", "conll"),
        ("s3://bucket/a.txt", "conll"),
        ("a.jsonl", "jsonl"),
        ("a.b.spacy", "spacy"),
    ],
)
def test_the_ending_tells_the_format(name, format):
    assert corpus.format_of(name) == format


@pytest.mark.parametrize("name", ["a.json", "a", "a.conll.gz"])
def test_an_unknown_ending_is_refused_with_the_known_ones(name):
    with pytest.raises(UserError, match=r"\.conll.*\.jsonl.*\.spacy.*or give format") as error:
        corpus.format_of(name)
    assert error.value.where == name


# --- CoNLL ---


def test_iob2_separated_by_tabs(read):
    assert read("Ada\tB-PER\nLovelace\tI-PER\nmet\tO\nAda\tB-PER\nBob\tB-PER\n\nYes\tO\n", "conll") == [
        Example(
            "Ada Lovelace met Ada Bob",
            ((0, 12, "PER"), (17, 20, "PER"), (21, 24, "PER")),
            ("Ada", "Lovelace", "met", "Ada", "Bob"),
            1,
        ),
        Example("Yes", (), ("Yes",), 7),
    ]


def test_iob1_begins_with_i_and_uses_b_only_between_two_of_a_kind(read):
    (example,) = read("Ada I-PER\nParis I-LOC\nRome B-LOC\nis O\nold I-MISC", "conll")
    assert found(example) == [("Ada", "PER"), ("Paris", "LOC"), ("Rome", "LOC"), ("old", "MISC")]


@pytest.mark.parametrize("tags", ["B I E S O", "B I L U O"])
def test_bioes_and_biluo(read, tags):
    lines = (f"w{i} {tag}" + ("-X" if tag != "O" else "") for i, tag in enumerate(tags.split()))
    (example,) = read("\n".join(lines), "conll")
    assert found(example) == [("w0 w1 w2", "X"), ("w3", "X")]


def test_after_a_closing_tag_a_new_entity_begins(read):
    (example,) = read("a B-X\nb E-X\nc I-X\nd S-X\ne E-X", "conll")
    assert found(example) == [("a b", "X"), ("c", "X"), ("d", "X"), ("e", "X")]


def test_columns_between_the_first_and_the_last_are_passed_over(read):
    (example,) = read("EU NNP I-NP I-ORG\nrejects VBZ I-VP O\n", "conll")
    assert example.words == ("EU", "rejects")
    assert found(example) == [("EU", "ORG")]


def test_docstart_blank_and_white_lines_end_sentences(read):
    examples = read("-DOCSTART- -X- O\n\na O\n\t\nb O\n  \r\n\n-DOCSTART-\nc O\n", "conll")
    assert [(example.text, example.line) for example in examples] == [("a", 3), ("b", 5), ("c", 9)]


def test_windows_line_ends_bom_and_labels_with_hyphens(read):
    (example,) = read("\ufeffIt\tB-creative-work\r\n2\tI-creative-work\r\n", "conll")
    assert example.text == "It 2"
    assert found(example) == [("It 2", "creative-work")]


def test_a_token_may_hold_a_line_separator_and_with_tabs_a_space(read):
    (example,) = read("New York\tB-LOC\na\u2028b\tO\n", "conll")
    assert example.words == ("New York", "a\u2028b")
    assert example.spans == ((0, 8, "LOC"),)


def test_a_token_may_hold_a_no_break_space(read):
    (example,) = read("10\u00a0000  NN O\nNew\u00a0York B-LOC \n", "conll")
    assert example.words == ("10\u00a0000", "New\u00a0York")


def test_a_file_is_not_held_as_text_and_in_lines_besides(read):
    content = "".join("Ada\tB-PER\nwas\tO\nhere\tO\n\n" for __ in range(3000)) + "😀\tO\n"
    tracemalloc.start()
    try:
        held = read(content, "conll"), tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    now, peak = held[1]
    assert peak - now < 2 * len(content)


def test_offsets_count_characters_not_bytes(read):
    (example,) = read("😀😀 O\nÉlan B-X\n", "conll")
    assert found(example) == [("Élan", "X")]
    assert example.spans == ((3, 7, "X"),)


@pytest.mark.parametrize(
    ("content", "where", "what"),
    [
        ("a O\nb\n", 2, "no tag column: the line is only 'b'"),
        ("a O\n\nb X-PER\n", 3, "'X-PER' is no IOB tag"),
        ("a B\n", 1, "'B' is no IOB tag"),
        ("a B-\n", 1, "'B-' is no IOB tag"),
        ("a O\n\tB-PER\n", 2, "no token before the tag 'B-PER'"),
        (b"a O\nb\xff O\n", 2, "not UTF-8: byte 0xff"),
    ],
)
def test_a_wrong_conll_line_is_named(read, content, where, what):
    with pytest.raises(UserError) as error:
        read(content, "conll")
    assert error.value.what == what
    assert error.value.where == f"data.train: file:{where}"
    assert error.value.fix


# --- JSONL ---


def jsonl(*tasks):
    return "".join(json.dumps(task) + "\n" for task in tasks)


def test_prodigy_accepts_count_and_rejects_do_not(read):
    spans = [{"start": 0, "end": 3, "label": "PER", "token_start": 0, "token_end": 0}]
    tokens = [{"text": "Ada", "start": 0, "end": 3, "id": 0, "ws": True}]
    examples = read(
        jsonl(
            {"text": "Ada is", "spans": spans, "tokens": tokens, "answer": "accept", "_input_hash": 1},
            {"text": "Bob is", "spans": spans, "answer": "reject"},
            {"text": "Eve is", "spans": spans, "answer": "ignore"},
            {"text": "nobody", "answer": "accept"},
        ),
        "jsonl",
    )
    assert examples == [Example("Ada is", ((0, 3, "PER"),), None, 1), Example("nobody", (), None, 4)]


@pytest.mark.parametrize(
    "marked",
    [
        {"label": [[4, 7, "X"], [0, 3, "Y"]]},
        {"labels": [[0, 3, "Y"], [4, 7, "X"]]},
        {
            "entities": [
                {"id": 1, "start_offset": 0, "end_offset": 3, "label": "Y"},
                {"id": 2, "start_offset": 4, "end_offset": 7, "label": "X"},
            ],
            "relations": [],
        },
    ],
)
def test_doccano_in_each_of_its_versions(read, marked):
    (example,) = read(jsonl({"id": 9, "text": "Ada Bob", **marked}), "jsonl")
    assert example.spans == ((0, 3, "Y"), (4, 7, "X"))


def test_entities_may_touch(read):
    (example,) = read(jsonl({"text": "NewYork", "label": [[0, 3, "X"], [3, 7, "Y"]]}), "jsonl")
    assert found(example) == [("New", "X"), ("York", "Y")]


def test_blank_lines_bom_and_astral_characters(read):
    (example,) = read(
        "\ufeff\n" + json.dumps({"text": "😀 Ada", "label": [[2, 5, "PER"]]}) + "\r\n\n", "jsonl"
    )
    assert found(example) == [("Ada", "PER")]
    assert example.line == 2


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"text": ', "not JSON: Expecting value at column 10"),
        ("[1]", "not a JSON object"),
        ('{"txt": "a"}', 'no "text"'),
        ('{"text": " "}', 'no "text"'),
        ('{"text": 7}', 'no "text"'),
        (r'{"text": "a\ud83d"}', "character 1 of the text is half of a surrogate pair"),
        ('{"text": "Ada", "spans": "x"}', '"spans" is not a list'),
        ('{"text": "Ada", "label": ["x"]}', """an entry of "label" is no span: '"x"'"""),
        ('{"text": "Ada", "label": [[0, true, "x"]]}',
         """an entry of "label" is no span: '[0, true, "x"]'"""),
        ('{"text": "Ada", "spans": [{"start": 0, "end": 1}]}',
         """an entry of "spans" is no span: '{"start": 0, "end": 1}'"""),
        ('{"text": "Ad", "label": [[0, 3, "X"]]}',
         "the span 0-3 (X) is outside the text, which has 2 characters"),
        ('{"text": "Ad", "label": [[-1, 1, "X"]]}',
         "the span -1-1 (X) is outside the text, which has 2 characters"),
        ('{"text": "Ad", "label": [[1, 0, "X"]]}',
         "the span 1-0 (X) is outside the text, which has 2 characters"),
        ('{"text": "Ada", "label": [[1, 1, "X"]]}', "the span 1-1 (X) holds no text"),
        ('{"text": "A a", "label": [[1, 2, "X"]]}', "the span 1-2 (X) holds no text"),
        ('{"text": "Ada Bob", "label": [[4, 7, "P"], [0, 5, "Q"]]}',
         "overlapping spans: 'Ada B' (0-5, Q) and 'Bob' (4-7, P)"),
    ],
)  # fmt: skip
def test_a_wrong_jsonl_line_is_named(read, line, what):
    with pytest.raises(UserError) as error:
        read('{"text": "fine"}\n' + line + "\n", "jsonl")
    assert error.value.what == what
    assert error.value.where == "data.train: file:2"
    assert error.value.fix


@pytest.mark.parametrize("value", ["1" * 5000, "[" * 100_000 + "]" * 100_000], ids=["number", "lists"])
def test_what_python_does_not_read_as_json_is_named(read, value):
    with pytest.raises(UserError, match=r"^data.train: file:1: it holds a number too long to read, or lists"):
        read(f'{{"text": "a", "meta": {value}}}', "jsonl")


def test_an_error_can_be_printed_whatever_it_quotes(read):
    with pytest.raises(UserError) as error:
        read(r'{"text": "Ada", "label": [[0, 9, "\ud800"]]}', "jsonl")
    assert r"the span 0-9 (\ud800) is outside" in str(error.value)
    assert str(error.value).encode()


# --- .spacy ---


def test_docbin(read):
    nlp = spacy.blank("en")
    tokenized = nlp("Ada is in Rome.")
    tokenized.set_ents([tokenized.char_span(0, 3, "PER"), tokenized.char_span(10, 14, "LOC")])
    worded = Doc(nlp.vocab, words=["Ada", "is"], ents=["B-PER", "O"])
    nothing_said = nlp("Bob was here.")
    nobody = nlp("No one.")
    nobody.set_ents([], default="outside")
    content = DocBin(docs=[tokenized, worded, nothing_said, nobody]).to_bytes()
    assert read(content, "spacy") == [
        Example("Ada is in Rome.", ((0, 3, "PER"), (10, 14, "LOC")), None, 1),
        Example("Ada is ", ((0, 3, "PER"),), ("Ada", "is"), 2),
        Example("No one.", (), None, 4),
    ]


def test_what_is_no_docbin_is_refused(read):
    with pytest.raises(UserError, match=r"^data.train: file: not a .spacy file: .*DocBin"):
        read("text", "spacy")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"^data.dev: gone.conll: cannot be read: No such file"):
        corpus.read(tmp_path / "gone.conll", "conll", "data.dev: gone.conll")


def test_a_spacy_file_where_there_is_no_spacy(read, monkeypatch):
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(
        UserError, match=r"spaCy, which reads it, lacks something here: .*spacy.*CoNLL or JSONL"
    ):
        read(b"", "spacy")


# --- split and check ---


def example(*labels, line=1):
    text = " ".join(labels) or "none"
    spans, at = [], 0
    for label in labels:
        spans.append((at, at + len(label), label))
        at += len(label) + 1
    return Example(text, tuple(spans), None, line)


def test_split_keeps_the_order_and_loses_nothing():
    examples = [example(line=i) for i in range(1696)]
    train, dev, test = corpus.split(examples, [80, 10, 10])
    assert (len(train), len(dev), len(test)) == (1356, 170, 170)
    assert train + dev + test == examples


def test_split_percents_must_make_a_hundred():
    with pytest.raises(UserError, match=r"^data.split: 80 \+ 10 \+ 5 makes 95\. Make it 100"):
        corpus.split([], [80, 10, 5])


def test_report_counts_each_part():
    report = corpus.check({"train": [example("B", "A"), example()], "dev": [example("A")]}, None)
    assert report.sentences == {"train": 2, "dev": 1}
    assert report.entities == {"train": {"A": 1, "B": 1}, "dev": {"A": 1}}
    assert report.labels == ("A", "B")
    assert report.warnings == ()


def test_a_label_only_dev_has_is_a_warning():
    report = corpus.check({"train": [example("A")], "dev": [example("A", "B")]}, None)
    assert report.labels == ("A",)
    assert report.warnings == ("data.dev has 1 of label B, which train has none of: they cannot be found",)


def test_of_many_such_labels_only_the_first_are_named():
    dev = [example("A"), *(example(f"Q{n:04}") for n in range(5000))]
    (warning,) = corpus.check({"train": [example("A")], "dev": dev}, None).warnings
    assert warning == (
        "data.dev has 1 of label Q0000, 1 of label Q0001, 1 of label Q0002 and 4,997 more, which train has "
        "none of: they cannot be found"
    )


@pytest.mark.parametrize(
    ("names", "told"),
    [("A", "A"), ("AB", "A and B"), ("ABC", "A, B and C"), ("ABCD", "A, B, C and 1 more")],
)
def test_names_are_enumerated(names, told):
    assert corpus.enumerated(list(names)) == told


def test_a_text_too_long_for_spacy_is_refused_with_its_line():
    long, words = "a" * spacy.blank("en").max_length, ("a" * 2_000_000,)
    good = [example("A"), Example(long, (), None, 2), Example(words[0], (), words, 3)]
    corpus.check({"train": good, "dev": good}, None)
    with pytest.raises(UserError, match=r"^data.dev: line 9: a text of 1,000,001 characters; spaCy takes up"):
        corpus.check({"train": good, "dev": [*good, Example(long + "a", (), None, 9)]}, None)


@pytest.mark.parametrize("label", ["A\nB", "\x1b[31m", "\u202eA", "\ud800"])
@pytest.mark.parametrize("fixed", [True, False])
def test_a_label_that_cannot_be_shown_is_refused_with_its_line(label, fixed):
    train = [example("A"), example("A", label, line=7)]
    with pytest.raises(UserError) as error:
        corpus.check({"train": train, "dev": train}, ["A", label] if fixed else None)
    assert error.value.where == "data.train: line 7"
    assert error.value.what.isprintable()


@pytest.mark.parametrize(
    ("parts", "labels", "message"),
    [
        ({"train": [example()], "dev": [example("A")]}, None, "data.train: no entities in 1 sentences."),
        ({"train": [example("A")], "dev": []}, ["A"], "data.dev: no entities in 0 sentences."),
        ({"train": [example("PER")], "dev": [example("PER")]}, ["PER", "LOC"],
         "labels: no example in train has the label LOC. Take it out"),
        ({"train": [example("PER")], "dev": [example("PER")]}, ["per"],
         "labels: no example in train has the label per. Did you mean PER?"),
        ({"train": [example("PERSON")], "dev": [example(), example("PERSON", "PERSN", line=2)]}, ["PERSON"],
         "data.dev: line 2: the label PERSN is not one of labels (PERSON). Did you mean PERSON?"),
    ],
)  # fmt: skip
def test_data_that_cannot_be_learnt_from_is_refused(parts, labels, message):
    with pytest.raises(UserError) as error:
        corpus.check(parts, labels)
    assert str(error.value).startswith(message)


# --- fingerprints ---


def test_a_fingerprint_is_the_sha256_of_a_json_line_an_example():
    examples = [Example("Ada é", ((0, 3, "PER"),), None, 7), Example("a b", (), ("a", "b"), 9)]
    lines = '["Ada \\u00e9",[[0,3,"PER"]],null]\n["a b",[],["a","b"]]\n'
    assert corpus.fingerprint(examples) == hashlib.sha256(lines.encode()).hexdigest()


def test_the_same_examples_on_other_lines_have_the_same_fingerprint(read):
    task = jsonl({"text": "Ada", "spans": [[0, 3, "PER"]]})
    assert corpus.fingerprint(read(task, "jsonl")) == corpus.fingerprint(read(f"\n\n{task}", "jsonl"))


@pytest.mark.parametrize(
    "other",
    [
        [],
        [Example("Bob", ((0, 3, "PER"),), None, 1)],
        [Example("Ada", (), None, 1)],
        [Example("Ada", ((0, 3, "LOC"),), None, 1)],
        [Example("Ada", ((0, 3, "PER"),), ("Ada",), 1)],
        [Example("Ada", ((0, 3, "PER"),), None, 1)] * 2,
        [Example("Ada", ((0, 3, "\ud800"),), None, 1)],
    ],
)
def test_whatever_is_learnt_from_counts(other):
    assert corpus.fingerprint(other) != corpus.fingerprint([Example("Ada", ((0, 3, "PER"),), None, 1)])


def test_the_order_counts():
    examples = [example("A"), example("B")]
    assert corpus.fingerprint(examples) != corpus.fingerprint(examples[::-1])


# --- the public corpora ---


@pytest.mark.parametrize(
    ("name", "sentences", "entities"),
    [
        ("wnut17/train.conll", 3394, 1975),
        ("wnut17/dev.conll", 1009, 836),
        ("wnut17/test.conll", 1287, 1079),
        ("wikigold/wikigold.conll", 1696, 3558),
    ],
)
def test_public_corpora_as_they_are(corpora, name, sentences, entities):
    began = time.perf_counter()
    examples = corpus.read(corpora / name, "conll", name)
    assert time.perf_counter() - began < 1
    assert len(examples) == sentences
    assert sum(len(example.spans) for example in examples) == entities
