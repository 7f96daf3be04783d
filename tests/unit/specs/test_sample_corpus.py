"""The sample corpus is whole, consistent and fit to be learned from."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import spacy
from nerforge_contract import corpus, quality, spec
from nerforge_contract.corpus import Example

SPEC = Path(__file__).resolve().parents[3] / "playbooks" / "specs" / "sample.yml"
LABELS = {"MISSION", "BODY", "AGENCY", "ROCKET"}
PARTS = ("train", "dev", "test")

Parts = dict[str, list[Example]]


@pytest.fixture(scope="module")
def parts() -> Parts:
    sources = spec.sources(spec.load(SPEC))
    return {
        part: corpus.read(SPEC.parent / source["from"], "jsonl", source["from"])
        for part, source in sources.items()
    }


@pytest.fixture(scope="module")
def examples(parts: Parts) -> list[Example]:
    return list(itertools.chain.from_iterable(parts.values()))


@pytest.fixture(scope="module")
def tokenize() -> Callable[[str], spacy.tokens.Doc]:
    return spacy.blank("en").make_doc


def entities(examples: list[Example]) -> set[tuple[str, str]]:
    return {(example.text[start:end], label) for example in examples for start, end, label in example.spans}


def test_has_at_least_400_sentences_in_three_parts(parts: Parts) -> None:
    assert set(parts) == set(PARTS)
    assert sum(map(len, parts.values())) >= 400
    assert len(parts["train"]) > 4 * max(len(parts["dev"]), len(parts["test"]))


@pytest.mark.parametrize("part", PARTS)
def test_every_part_has_every_label_of_the_spec(parts: Parts, part: str) -> None:
    assert set(spec.load(SPEC)["labels"]) == LABELS
    assert {label for __, label in entities(parts[part])} == LABELS


def test_passes_the_check_of_a_submission_without_a_warning(parts: Parts) -> None:
    assert corpus.check(parts, sorted(LABELS)).warnings == ()
    assert quality.examine(parts, {part: f"{part}.jsonl" for part in PARTS}) == []


def test_no_text_occurs_twice(examples: list[Example]) -> None:
    texts = [example.text.casefold() for example in examples]
    assert len(set(texts)) == len(texts)


def test_about_an_eighth_of_the_sentences_have_no_entity(examples: list[Example]) -> None:
    assert 0.1 < sum(not example.spans for example in examples) / len(examples) < 0.15


def test_spans_are_whole_tokens(examples: list[Example], tokenize: Callable[[str], spacy.tokens.Doc]) -> None:
    torn = [
        (example.text, example.text[start:end])
        for example in examples
        for start, end, label in example.spans
        if tokenize(example.text).char_span(start, end, label) is None
    ]
    assert torn == []


def test_spans_do_not_overlap_and_hold_no_space_at_their_ends(examples: list[Example]) -> None:
    for example in examples:
        for start, end, __ in example.spans:
            assert example.text[start:end] == example.text[start:end].strip() != ""
        for (__, end, __), (start, __, __) in itertools.pairwise(sorted(example.spans)):
            assert end <= start, example.text


@pytest.mark.parametrize("part", ["dev", "test"])
def test_asks_for_names_that_train_has_not_shown(parts: Parts, part: str) -> None:
    unseen = entities(parts[part]) - entities(parts["train"])
    assert 0.1 < len(unseen) / len(entities(parts[part])) < 0.4


def test_one_name_can_have_two_labels(examples: list[Example]) -> None:
    assert {("Europa", "BODY"), ("Europa", "ROCKET")} <= entities(examples)


@pytest.mark.parametrize("word", ["Mercury", "mercury", "Apollo", "sun", "earth", "Atlas", "Curiosity"])
def test_some_names_also_occur_as_ordinary_words(examples: list[Example], word: str) -> None:
    plain = [example.text for example in examples if word in example.text and not example.spans]
    assert plain
