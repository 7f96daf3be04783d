"""Versions to roll between: two that were trained, copies of them, and copies that no server can serve."""

import hashlib
import io
import json
import re
import tarfile
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nerforge_contract import names
from nerforge_contract.models import Models
from support import serving
from support.deployment import Deployment

from .load import Expected

if TYPE_CHECKING:
    from spacy.language import Language

TEXTS = 40  # to ask for


class Spoiled(StrEnum):
    """What is wrong with a copy; the words are what the reason has to have."""

    CRASHES = "exit code 1"  # its manifest is such that the server dies at start
    CHECKSUM = "sha256"  # its artifact is not the one that is recorded
    UNHEALTHY = "health checks"  # its artifact is as recorded, and the server hangs over it for ever


class Versions:
    """The versions in a deployment's bucket and models table."""

    def __init__(self, deployment: Deployment) -> None:
        self._s3 = deployment.client("s3")
        self._bucket = deployment.parameter("training/bucket")
        self.models = Models(deployment.table(deployment.parameter("training/models_table")))

    def copy(self, label: str, spoiled: Spoiled | None = None) -> str:
        """Register a copy of a version under the next number, whole or spoiled. Returns its label."""
        name, version = names.parse_model_label(label)
        number = self.models.next_version(name)
        copy = names.model_label(name, number)
        files = {key: content.replace(label.encode(), copy.encode()) if key.endswith(".json") else content
                 for key, content in self._files(name, version).items()}  # fmt: skip
        if spoiled is Spoiled.UNHEALTHY:
            files[names.ARTIFACT] = _hanging(files[names.ARTIFACT])
        artifact = files[names.ARTIFACT]
        manifest = json.loads(files[names.MANIFEST]) | {"version": number}
        manifest["artifact"] |= {"sha256": hashlib.sha256(artifact).hexdigest(), "bytes": len(artifact)}
        uploaded = manifest | ({"labels": None} if spoiled is Spoiled.CRASHES else {})
        files[names.MANIFEST] = json.dumps(uploaded).encode()
        if spoiled is Spoiled.CHECKSUM:
            files[names.ARTIFACT] = artifact[:-1] + bytes([artifact[-1] ^ 1])
        for file, content in files.items():
            key = names.model_prefix(name, number) + file
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=content)
        assert self.models.register(manifest)
        return copy

    def expected(self, labels: list[str], texts: list[str]) -> Expected:
        """What spaCy finds with each of the versions, in those of the texts in which no two find the same."""
        found = {label: self._entities(label, texts) for label in labels}
        telling = [
            text for text in texts if len({str(found[label][text]) for label in labels}) == len(labels)
        ][:TEXTS]
        assert telling, f"{labels} find the same in all texts"
        return {label: {text: found[label][text] for text in telling} for label in labels}

    def _entities(self, label: str, texts: list[str]) -> dict[str, list[tuple[int, int, str]]]:
        nlp = _load(self._files(*names.parse_model_label(label))[names.ARTIFACT])
        docs = zip(texts, nlp.pipe(texts), strict=True)
        return {text: [(e.start_char, e.end_char, e.label_) for e in doc.ents] for text, doc in docs}

    def _files(self, name: str, version: int) -> dict[str, bytes]:
        prefix = names.model_prefix(name, version)
        listed = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=prefix)["Contents"]
        return {
            item["Key"].removeprefix(prefix): self._s3.get_object(Bucket=self._bucket, Key=item["Key"])[
                "Body"
            ].read()
            for item in listed
        }


def texts(root: Path) -> list[str]:
    """The sentences of the sample corpus."""
    folder = root / "playbooks" / "specs" / "sample"
    lines = [line for part in ("test", "dev") for line in folder.joinpath(f"{part}.jsonl").open()]
    return list(dict.fromkeys(json.loads(line)["text"] for line in lines))


def spec(root: Path, name: str, seed: int, **changes: Any) -> dict[str, Any]:
    """A spec of the sample corpus that is trained in seconds."""
    folder = root / "playbooks" / "specs" / "sample"
    return {
        "name": name,
        "data": {part: str(folder / f"{part}.jsonl") for part in ("train", "dev", "test")},
        "hyperparameters": {"max_steps": 100, "eval_frequency": 50, "width": 32, "depth": 2},
        "seed": seed,
        "resources": {"vcpu": 1, "memory_mib": 1024},
    } | changes


def _load(artifact: bytes) -> "Language":
    import spacy

    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(artifact)) as archive:
            archive.extractall(folder, filter="data")
        return spacy.load(folder)


def _hanging(artifact: bytes) -> bytes:
    """The model with a tokenizer that does not end over "Brundtland": each server tries its model on that."""
    nlp = _load(artifact)
    nlp.tokenizer.prefix_search = re.compile("Br" + "(" * 20 + r"\w" + "+)" * 20 + "+!").search
    with tempfile.TemporaryDirectory() as folder:
        nlp.to_disk(folder)
        return serving.pack(Path(folder))
