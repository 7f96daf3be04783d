# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A spec's data, read once: what keeps a model from being trained on it, and what is doubtful about it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ..module_utils.contract import alignment, corpus, quality
from ..module_utils.contract.corpus import Example
from ..module_utils.contract.errors import UserError
from ..module_utils.contract.findings import Finding
from .datasets import Dataset
from .wording import Say, counted

_SPLIT_PARTS = ("train", "dev", "test")
_SLOW_BYTES = 4_000_000  # files beyond this take long enough to say that they are being read
_SLOW_TEXTS = 20_000  # so do checks of more examples
_SPACYS_TOKENIZER = "spacy.Tokenizer.v1"


@dataclass(frozen=True)
class CheckedData:
    """Data that can be trained on.

    Parameters
    ----------
    datasets:
        Its files.
    examples:
        What is in them, by part.
    report:
        How much of it there is.
    findings:
        What is doubtful about it, what weighs most first.
    """

    datasets: list[Dataset]
    examples: dict[str, list[Example]]
    report: corpus.Report
    findings: list[Finding]

    def result(self) -> dict[str, Any]:
        """What a task returns of it."""
        return {
            "labels": list(self.report.labels),
            "data": {
                part: {"sentences": sentences, "entities": self.report.entities[part]}
                for part, sentences in self.report.sentences.items()
            },
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
            "files": [dataset.submitted() for dataset in self.datasets],
        }


def check(spec: dict[str, Any], datasets: list[Dataset], say: Say) -> CheckedData:
    """Read all examples, and look at each.

    Parameters
    ----------
    spec:
        A spec with its defaults.
    datasets:
        Its files, on this machine.
    say:
        Takes a line for each part, and then for all that is doubtful.

    Raises UserError naming the field, or the file and line, of what cannot be trained on.
    """
    examples = _read(spec, datasets, say)
    report = corpus.check(examples, spec.get("labels"))
    _check_gate(spec, report)
    for line in _told(report, datasets):
        say(line)
    findings = _doubts(spec, datasets, examples, report, say)
    for finding in findings:
        _say_finding(finding, say)
    return CheckedData(datasets, examples, report, findings)


def _read(spec: dict[str, Any], datasets: list[Dataset], say: Say) -> dict[str, list[Example]]:
    parts = {}
    for dataset in datasets:
        if dataset.path.stat().st_size > _SLOW_BYTES:
            say(f"reading {dataset.name} ({dataset.size})")
        parts[dataset.part] = corpus.read(dataset.path, dataset.format, dataset.where, spec["language"])
    if "all" in parts:
        return dict(zip(_SPLIT_PARTS, corpus.split(parts["all"], spec["data"]["split"]), strict=True))
    return parts


def _check_gate(spec: dict[str, Any], report: corpus.Report) -> None:
    for label in spec.get("gate", {}).get("labels", {}):
        if label not in report.labels:
            known = ", ".join(report.labels)
            raise UserError(
                "no example in train has this label", f"gate.labels.{label}", f"Train has {known}."
            )


def _doubts(
    spec: dict[str, Any],
    datasets: list[Dataset],
    examples: dict[str, list[Example]],
    report: corpus.Report,
    say: Say,
) -> list[Finding]:
    """What is allowed, and was hardly meant: entities that cannot be learnt before all else."""
    files = {dataset.part: dataset for dataset in datasets}
    of_part = {part: files.get(part) or files["all"] for part in examples}
    if sum(report.sentences.values()) > _SLOW_TEXTS:
        say("looking for leaks, repetitions and what is marked in more than one way")
    return [
        *map(Finding, report.warnings),
        *_misaligned(spec, of_part, examples, report, say),
        *quality.examine(examples, {part: dataset.name for part, dataset in of_part.items()}),
    ]


def _misaligned(
    spec: dict[str, Any],
    of_part: dict[str, Dataset],
    examples: dict[str, list[Example]],
    report: corpus.Report,
    say: Say,
) -> list[Finding]:
    """Entities that fit no tokens; the trainer, which always has spaCy, looks again."""
    of_text = {part: own for part, own in examples.items() if any(each.words is None for each in own)}
    if not of_text or _SPACYS_TOKENIZER not in spec.get("config", _SPACYS_TOKENIZER):
        return []
    say("comparing the entities with spaCy's tokens")
    findings = []
    for part, own in of_text.items():
        try:
            unfit = alignment.unfit(own, spec["language"])
        except ImportError as error:
            say(f"that is left to the trainer: {str(error).splitlines()[0]}")
            return []
        entities = sum(report.entities[part].values())
        findings += alignment.findings(of_part[part].where, unfit, entities)
    return findings


def _say_finding(finding: Finding, say: Say) -> None:
    say(f"warning: {finding.what}")
    for place in finding.places:
        say(f"    {place}")
    if finding.more:
        say(f"    and {finding.more:,} more")


def _told(report: corpus.Report, datasets: list[Dataset]) -> list[str]:
    files = {dataset.part: dataset for dataset in datasets}
    lines = []
    for part, sentences in report.sentences.items():
        counts = report.entities[part]
        of = f", of {files[part].name}" if part in files else ""
        line = f"{part}: {sentences:,} sentences, {sum(counts.values()):,} entities ({counted(counts)}){of}"
        lines.append(line)
    return lines
