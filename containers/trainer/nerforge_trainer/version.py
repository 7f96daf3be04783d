"""A model version's files: the packed pipeline, the manifest, the card, and what it found when tested."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nerforge_contract import corpus, names
from nerforge_contract.models import Model
from nerforge_contract.runs import Run, now

from . import card, package, publish
from .fetch import Part

if TYPE_CHECKING:
    from .measure import Measured
    from .train import Trained


@dataclass
class Version:
    """A version in the making.

    Parameters
    ----------
    folder:
        Where its files are written.
    parts:
        The data it was made from.
    trained, measured:
        What came of it.
    """

    folder: Path
    parts: dict[str, Part]
    trained: "Trained"
    measured: "Measured"
    manifest: Model = field(default_factory=dict)

    def describe(
        self,
        run: Run,
        number: int,
        image: str,
        wanted: dict[str, Any],
        report: corpus.Report,
        warnings: list[str],
    ) -> None:
        """Pack the pipeline, and say in the ``manifest`` what it is and where it comes from.

        Parameters
        ----------
        run:
            The record of the run that made it.
        number:
            Its own, among the versions of its name.
        image:
            The image that it was trained in.
        wanted:
            The spec, with its defaults.
        report:
            What the data holds.
        warnings:
            What was to be said against the data.
        """
        artifact = self.folder / names.ARTIFACT
        package.pack(self.trained.best, artifact)
        self.manifest = {
            "format": 1,
            "name": wanted["name"],
            "version": number,
            "run": run["run_id"],
            "created": now(),
            "image": image,
            "commit": run.get("commit"),
            "artifact": {
                "file": names.ARTIFACT,
                "sha256": publish.sha256_of(artifact),
                "bytes": artifact.stat().st_size,
            },
            "seed": wanted["seed"],
            "seconds": self.trained.seconds,
            "spec": wanted,
            **self.measured.about,
            **package.environment(),
            "labels": list(report.labels),
            "data": {
                part: data.source | {"sentences": report.sentences[part], "entities": report.entities[part]}
                for part, data in self.parts.items()
            },
            "examples": {part: corpus.fingerprint(data.examples) for part, data in self.parts.items()},
            "warnings": warnings,
        }

    def files(self) -> dict[str, tuple[Path, str]]:
        """Write what is not there yet; returns each file and its media type by its key in S3.

        The card's page is left out where it cannot be drawn: a model is worth more than its picture.
        """
        name, number = self.manifest["name"], self.manifest["version"]
        label, prefix = names.model_label(name, number), names.model_prefix(name, number)
        evaluation = self.measured.evaluation | {"model": label}
        described = card.card(self.manifest, self.trained.curve, self.measured.errors)
        found = {
            prefix + names.ARTIFACT: (self.folder / names.ARTIFACT, "application/gzip"),
            prefix + names.CARD: self._json(names.CARD, described, indent=1),
            names.evaluation_key(name, number, evaluation["examples"]): self._json(
                "evaluation.json", evaluation
            ),
            prefix + names.MANIFEST: self._json(names.MANIFEST, self.manifest, indent=2),
        }
        page = self.folder / names.CARD_PAGE
        if card.draw(self.folder / names.CARD, page):
            found[prefix + names.CARD_PAGE] = (page, "text/html; charset=utf-8")
        return found

    def _json(self, name: str, content: dict[str, Any], indent: int | None = None) -> tuple[Path, str]:
        path = self.folder / name
        path.write_text(json.dumps(content, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")
        return path, "application/json"
