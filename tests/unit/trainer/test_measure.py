"""What a pipeline finds is told sentence by sentence, of those too that hold no word."""

import io
import tarfile

import pytest
import spacy
from nerforge_contract import names
from nerforge_contract.corpus import Example
from nerforge_trainer import docs, measure
from nerforge_trainer.fetch import Part


@pytest.fixture
def best(made, tmp_path):
    """The folder of people:1's pipeline."""
    with tarfile.open(fileobj=io.BytesIO(made[names.model_prefix("people", 1) + names.ARTIFACT])) as archive:
        archive.extractall(tmp_path / "best", filter="data")
    return tmp_path / "best"


def test_documents_without_a_word_count_nothing_and_shift_no_line(best, tmp_path):
    examples = [
        Example("", (), None, 1),
        Example(
            "Ada travelled from Rome to New Paris .",
            ((0, 3, "PER"), (19, 23, "LOC"), (27, 36, "LOC")),
            None,
            2,
        ),
        Example("", (), None, 3),
        Example("Nobody slept .", ((7, 12, "EVENT"),), None, 4),
    ]
    file = tmp_path / "dev.spacy"
    docs.write(spacy.load(best), examples, file, "data.dev: people.spacy")

    measured = measure.measure(best, {"dev": Part(examples, "data.dev: people.spacy", {})}, {"dev": file})

    empty, first, other, last = measured.evaluation["counts"]
    assert empty == other == [0, 0, 0]
    assert first == [3, 0, 0]
    assert last[0] == 0 and last[2] == 1
    assert [error["line"] for error in measured.errors] == [4]
