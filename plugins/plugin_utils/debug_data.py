# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""spaCy's own check of training data, ``spacy debug data``.

It initializes the pipeline of the spec's config with the data, so that it sees what ours does not: a config
that does not fit the data, sentences that end within an entity, words without a vector.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..module_utils.contract import alignment
from ..module_utils.contract.corpus import Example
from ..module_utils.contract.errors import UserError
from .wording import Say

_PARTS = ("train", "dev")  # it knows no others
_FOUND_FAULTS = 1  # its exit code then


def run(spec: dict[str, Any], examples: dict[str, list[Example]], folder: Path, say: Say) -> None:
    """Have spaCy check train and dev, in a process of its own.

    Parameters
    ----------
    spec:
        The spec, with its defaults and the text of its config.
    examples:
        What train and dev hold, at least.
    folder:
        Where files may lie for as long as it takes.
    say:
        Takes a line for each line that spaCy prints.

    Raises UserError if spaCy is not installed here, or cannot do it.
    """
    say("spaCy's debug data:")
    try:
        config, files = _written(spec, examples, folder)
    except ImportError as error:
        fix = "Install what it asks for beside Ansible, or leave debug_data out."
        raise UserError(f"spaCy cannot look at the data: {error}", "debug_data", fix) from error
    paths = [word for part in _PARTS for word in (f"--paths.{part}", str(files[part]))]
    command = [sys.executable, "-m", "spacy", "debug", "data", str(config), "--no-format", *paths]
    process = subprocess.Popen(
        command,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    with process:
        for line in filter(str.strip, process.stdout):
            say(f"    {line.rstrip()}")
    if process.returncode not in (0, _FOUND_FAULTS):
        fix = "The lines above say why; leave debug_data out to go without it."
        raise UserError(f"spaCy ended with exit code {process.returncode}", "debug_data", fix)


def _written(
    spec: dict[str, Any], examples: dict[str, list[Example]], folder: Path
) -> tuple[Path, dict[str, Path]]:
    """The config and the data, as files that spaCy reads."""
    import spacy
    from spacy.cli.init_config import init_config
    from spacy.tokens import Doc, DocBin

    config = folder / "config.cfg"
    if "config" in spec:
        config.write_text(spec["config"], encoding="utf-8")
    else:
        init_config(lang=spec["language"], pipeline=["ner"], silent=True).to_disk(config)
    nlp = spacy.blank(spec["language"])
    files = {part: folder / f"{part}.spacy" for part in _PARTS}
    for part, file in files.items():
        docs = DocBin()
        for example in examples[part]:
            words = example.words
            doc = nlp.make_doc(example.text) if words is None else Doc(nlp.vocab, words=words)
            spans = (
                doc.char_span(*alignment.trimmed(example.text, start, end), label=label)
                for start, end, label in example.spans
            )
            doc.ents = [span for span in spans if span is not None]
            docs.add(doc)
        docs.to_disk(file)
    return config, files
