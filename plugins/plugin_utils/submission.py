# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A spec becomes a run: everything is checked before anything is written, and nothing is left half done."""

from __future__ import annotations

import configparser
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..module_utils.contract import pretrained
from ..module_utils.contract import spec as specs
from ..module_utils.contract.errors import UserError
from . import commit, data_checks
from .data_checks import CheckedData
from .datasets import Dataset, Shelf
from .queueing import PARAMETERS as QUEUEING_PARAMETERS
from .queueing import enqueue
from .session import Aws
from .wording import Say

PARAMETERS = ("bucket", "capacity_providers", *QUEUEING_PARAMETERS)


@dataclass(frozen=True)
class Submission:
    """A spec that has passed every check.

    Parameters
    ----------
    spec:
        The spec as the run's record will have it: defaults filled in, sources resolved, the config's text.
    data:
        Its data, which has passed too.
    transformer:
        The archive of the transformer to fine-tune; None where it trains a CNN.
    commit:
        The git commit that the spec stands in: see `commit.of`.
    """

    spec: dict[str, Any]
    data: CheckedData
    transformer: Dataset | None
    commit: dict[str, Any] | None


def check(
    path: Path, spec: dict[str, Any], providers: dict[str, Any] | None, shelf: Shelf, say: Say
) -> Submission:
    """Check all that can be wrong with a valid spec, and resolve what it names. Writes nothing.

    Parameters
    ----------
    path:
        The spec's file.
    spec:
        What is in it, as `contract.spec.load` gives it.
    providers:
        The deployment's capacity providers, as the training stack publishes them; None: none is meant.
    shelf:
        Finds the files.
    say:
        Takes a line for each part of the data, and then for all that is doubtful about it.

    Raises UserError naming the field, or the file and line.
    """
    resolved = specs.with_defaults(spec)
    if providers is not None:
        check_capacity(resolved["resources"], providers)
    files = [path]
    if "config" in resolved:
        files.append(path.parent / Path(resolved["config"]).expanduser())
        resolved["config"], language = _config(files[-1])
        resolved["language"] = _agreed(spec.get("language"), language) or resolved["language"]
    _check_language(resolved["language"])
    datasets = [shelf.find(part, source) for part, source in specs.sources(resolved).items()]
    resolved["data"] = resolved["data"] | {dataset.part: dataset.submitted() for dataset in datasets}
    data = data_checks.check(resolved, datasets, say)
    transformer = _transformer(resolved, shelf, say)
    if transformer:
        resolved["transformer"] = transformer.submitted()
    return Submission(resolved, data, transformer, commit.of(path.parent, files))


def submit(
    aws: Aws, prefix: str, deployment: dict[str, str], submission: Submission, shelf: Shelf, say: Say
) -> tuple[str, str | None]:
    """Upload the data, and queue the run in the deployment under ``prefix``: see `queueing.enqueue`."""
    for dataset in filter(None, (*submission.data.datasets, submission.transformer)):
        uploaded = shelf.keep(dataset)
        say(f"{'uploaded' if uploaded else 'in the bucket already'}: {dataset.name} ({dataset.size})")
    return enqueue(
        aws,
        prefix,
        deployment,
        submission.spec,
        commit=submission.commit,
        warnings=[str(finding) for finding in submission.data.findings] or None,
    )


# --- checks ---


def _check_language(code: str) -> None:
    """Ask the spaCy beside us, if any, without the second that its import takes; the trainer asks again."""
    spacy = importlib.util.find_spec("spacy")
    folders = spacy.submodule_search_locations if spacy else None
    if folders and not (Path(folders[0]) / "lang" / code).is_dir():
        raise UserError(
            f"spaCy knows no language {code!r}",
            "language",
            "Give one of spaCy's codes, or xx for any language.",
        )


def check_capacity(resources: dict[str, Any], providers: dict[str, Any]) -> None:
    """Raise UserError if the deployment has no instances of the kind that a spec asks for."""
    if resources["gpus"] and not providers.get("gpu"):
        raise UserError(
            f"{resources['gpus']} asked for, and this deployment has no GPU instances",
            "resources.gpus",
            "Set device: cpu, or deploy with gpu_max_instances above 0 in nerforge_training_variables.",
        )


def _transformer(spec: dict[str, Any], shelf: Shelf, say: Say) -> Dataset | None:
    source = specs.inputs(spec).get("transformer")
    if source is None:
        return None
    archive = shelf.find_archive("transformer", source)
    contents = pretrained.look(archive.path, archive.where)
    say(f"transformer: {archive.name} ({archive.size}), a {contents.kind}")
    return archive


def _agreed(of_spec: str | None, of_config: str | None) -> str | None:
    """The one language of a spec and its config: the config makes the tokens, whatever the spec says."""
    if of_spec and of_config and of_spec != of_config:
        what = f"{of_spec} here, and {of_config} in the config's [nlp]"
        raise UserError(what, "language", "Leave it out, or mend the config.")
    return of_config or of_spec


def _config(path: Path) -> tuple[str, str | None]:
    """The text of a spaCy config, and its language if it says that plainly."""
    where = f"config: {path}"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UserError(f"cannot be read: {reason}", where, "Paths go from the spec's folder.") from error
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except configparser.Error as error:
        line = getattr(error, "lineno", None) or next((e[0] for e in getattr(error, "errors", [])), None)
        where = f"{where}:{line}" if line else where
        raise UserError(
            f"not a spaCy config: {error.message.splitlines()[0]}", where, "Mend the line."
        ) from error
    for section in ("nlp", "training"):
        if not parser.has_section(section):
            fix = "Give a full one, as `spacy init config` writes it."
            raise UserError(f"a full spaCy config has a section [{section}]", where, fix)
    language = re.fullmatch('"?([a-z]{2,3})"?', parser.get("nlp", "lang", fallback=""))
    return text, language and language[1]
