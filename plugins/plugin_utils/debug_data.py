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
_FOUND_FAULTS = 1  # its exit code then, and also where it cannot look at all
_END = "Summary"  # the heading of its last lines


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
        config = _written(spec, examples, folder)
    except (ImportError, ValueError) as error:  # what is not installed, a config that is none to spaCy
        fix = "Mend what it says, in the config or beside Ansible, or leave debug_data out."
        told = " ".join(str(error).split())
        raise UserError(f"spaCy cannot look at the data: {told}", "debug_data", fix) from error
    command = [sys.executable, "-m", "spacy", "debug", "data", str(config), "--no-format"]
    process = subprocess.Popen(
        command,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    ended = False
    with process:
        lines: Any = process.stdout
        for line in filter(str.strip, lines):
            ended |= line.strip() == _END
            say(f"    {line.rstrip()}")
    if process.returncode not in (0, _FOUND_FAULTS) or not ended:
        fix = "The lines above say why; leave debug_data out to go without it."
        raise UserError(f"spaCy ended with exit code {process.returncode}", "debug_data", fix)


def _written(spec: dict[str, Any], examples: dict[str, list[Example]], folder: Path) -> Path:
    """The config, which names the data, as files that spaCy reads."""
    import spacy
    from spacy.cli.init_config import init_config
    from spacy.tokens import Doc, DocBin

    if "config" in spec:
        config = spacy.util.load_config_from_str(spec["config"], interpolate=False)
    else:
        config = init_config(lang=spec["language"], pipeline=["ner"], silent=True)
    files = {part: folder / f"{part}.spacy" for part in _PARTS}
    config.setdefault("paths", {}).update({part: str(file) for part, file in files.items()})
    nlp = spacy.blank(spec["language"])
    for part, file in files.items():
        docs = DocBin()
        for example in examples[part]:
            words = example.words
            doc = nlp.make_doc(example.text) if words is None else Doc(nlp.vocab, words=list(words))
            spans = (
                doc.char_span(*alignment.trimmed(example.text, start, end), label=label)
                for start, end, label in example.spans
            )
            doc.ents = [span for span in spans if span is not None]
            docs.add(doc)
        docs.to_disk(file)
    config.to_disk(folder / "config.cfg")
    return folder / "config.cfg"
