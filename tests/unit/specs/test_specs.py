"""The specs that come with nerforge are valid, and name the public corpora by their right checksums."""

import hashlib
from pathlib import Path

import pytest
from nerforge_contract import corpus, spec

SPECS = Path(__file__).resolve().parents[3] / "playbooks" / "specs"

PUBLIC = [
    ("wnut17", "train", "wnut17/train.conll"),
    ("wnut17", "dev", "wnut17/dev.conll"),
    ("wnut17", "test", "wnut17/test.conll"),
    ("wikigold", "all", "wikigold/wikigold.conll"),
]


@pytest.mark.parametrize("path", sorted(SPECS.glob("*.yml")), ids=lambda path: path.stem)
class TestEverySpec:
    def test_is_valid(self, path: Path) -> None:
        spec.validate(spec.load(path))

    def test_names_the_schema_for_editors(self, path: Path) -> None:
        first = path.read_text(encoding="utf-8").splitlines()[0]
        marker, schema = first.split("$schema=")
        assert marker == "# yaml-language-server: "
        assert (path.parent / schema).resolve() == Path(spec.__file__).with_name("spec.schema.json").resolve()


def test_there_are_three_specs() -> None:
    assert {path.stem for path in SPECS.glob("*.yml")} == {"sample", "wikigold", "wnut17"}


@pytest.mark.parametrize(("name", "part", "file"), PUBLIC)
def test_public_corpus_has_the_sha256_of_the_spec(corpora: Path, name: str, part: str, file: str) -> None:
    source = spec.sources(spec.load(SPECS / f"{name}.yml"))[part]
    assert source["from"].startswith("https://")
    assert source["sha256"] == hashlib.sha256((corpora / file).read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["wnut17", "wikigold"])
def test_public_corpus_has_the_labels_of_the_spec(corpora: Path, name: str) -> None:
    loaded = spec.load(SPECS / f"{name}.yml")
    parts = {
        part: corpus.read(corpora / file, "conll", file) for owner, part, file in PUBLIC if owner == name
    }
    if "all" in parts:
        train, dev, test = corpus.split(parts["all"], loaded["data"]["split"])
        parts = {"train": train, "dev": dev, "test": test}
    assert sorted(corpus.check(parts, loaded["labels"]).labels) == sorted(loaded["labels"])
