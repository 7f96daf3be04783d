"""A pretrained transformer's archive: a tar of the files that its publisher gives, in Hugging Face's layout.

``config.json`` says what it is, ``model.safetensors`` or ``pytorch_model.bin`` holds the weights, and the
vocabulary's files depend on its kind. They stand at the archive's root or in one folder; others do not count.
"""

import difflib
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from .errors import UserError

CONFIG, TOKENIZER = "config.json", "tokenizer_config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there is taken
# The files of the vocabulary, by config.json's model_type: those that spacy-curated-transformers reads.
VOCABULARIES = {
    "bert": ("vocab.txt",),
    "camembert": ("sentencepiece.bpe.model",),
    "roberta": ("vocab.json", "merges.txt"),
    "xlm-roberta": ("sentencepiece.bpe.model",),
}
_MAKE_ONE = "Make it of the folder that you downloaded: tar -cf NAME.tar -C FOLDER ."


@dataclass(frozen=True)
class Contents:
    """What an archive holds.

    Parameters
    ----------
    config:
        Its ``config.json``.
    tokenizer:
        Its ``tokenizer_config.json``; empty where there is none.
    members:
        The members of the tar that are needed, by the names of the files.
    """

    config: dict[str, Any]
    tokenizer: dict[str, Any]
    members: dict[str, str]

    @property
    def kind(self) -> str:
        """Its ``model_type``, one of `VOCABULARIES`."""
        return str(self.config["model_type"])

    @property
    def weights(self) -> str:
        """The name of the file that holds the weights."""
        return next(name for name in WEIGHTS if name in self.members)


def look(path: Path, where: str) -> Contents:
    """Look into an archive without unpacking it.

    Parameters
    ----------
    path:
        The tar.
    where:
        What errors in it begin with.

    Raises UserError if it is no tar, or no transformer that can be trained here.
    """
    try:
        with tarfile.open(path) as archive:
            members = _by_name(archive)
            config, tokenizer = (_json(archive, members, name, where) for name in (CONFIG, TOKENIZER))
    except UserError:
        raise
    except Exception as error:  # each compression has errors of its own for a broken file
        why = str(error).partition(":\n")[0]  # before what each way to read it says
        raise UserError(f"it is no tar that can be read: {why}", where, _MAKE_ONE) from None
    needed = _needed(config, members, where)
    return Contents(config, tokenizer, {name: members[name] for name in needed})


def _by_name(archive: tarfile.TarFile) -> dict[str, str]:
    """The members at the root or in a folder there, by file name; of two, the one at the root."""
    last = {member.name: member for member in archive}  # which is what a name in a tar stands for
    files = [name for name, member in last.items() if member.isfile()]
    files.sort(key=lambda name: len(PurePosixPath(name).parts), reverse=True)
    return {PurePosixPath(name).name: name for name in files if len(PurePosixPath(name).parts) <= 2}


def _json(archive: tarfile.TarFile, members: dict[str, str], name: str, where: str) -> dict[str, Any]:
    if name not in members:
        return {}
    try:
        found = json.load(archive.extractfile(members[name]))  # type: ignore[arg-type]  # it is a file
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name} is not valid JSON: {error}", where, "Download it anew.") from None
    return found if isinstance(found, dict) else {}


def _needed(config: dict[str, Any], members: dict[str, str], where: str) -> list[str]:
    if CONFIG not in members:
        raise UserError(f"there is no {CONFIG} in it", where, _MAKE_ONE)
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in VOCABULARIES:
        known = ", ".join(VOCABULARIES)
        close = difflib.get_close_matches(str(kind), VOCABULARIES, 1)
        hint = f"such as a {close[0]}" if close else "such as roberta-base"
        what = f"its model_type is {kind}, and those that can be trained are {known}"
        raise UserError(what, where, f"Take one of these, {hint}.")
    weights = next((name for name in WEIGHTS if name in members), None)
    if weights is None:
        raise UserError(
            f"there is neither {' nor '.join(WEIGHTS)} in it",
            where,
            "Add its weights for PyTorch, in one file: those cut into several are not read.",
        )
    missing = [name for name in VOCABULARIES[kind] if name not in members]
    if missing:
        fix = "Add it: it stands beside the weights where they were published."
        raise UserError(f"there is no {missing[0]} in it, the vocabulary of a {kind}", where, fix)
    return [weights, *VOCABULARIES[kind]]
