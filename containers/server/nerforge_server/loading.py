"""From nothing to a recognizer that was tried: spaCy, the fetched model, the engine."""

import logging
import sys
import threading
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nerforge_contract import names, pytorch
from nerforge_contract.errors import UserError

from .fetching import Fetching, NothingPinned

if TYPE_CHECKING:
    from nerforge_engine.recognizer import Recognizer

    from .keys import Keys

TRIAL = (
    "",
    "Ada Lovelace met Charles Babbage in London on 5 June 1833.",
    "Kofi Annan led the United Nations from New York, Gro Harlem Brundtland the WHO from Geneva. \U0001f30d",
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """What is needed to answer."""

    manifest: dict[str, Any]
    recognizer: "Recognizer"
    keys: "Keys | None"


class Loading(threading.Thread):
    """Loads in a thread, while the process's loop already says that it is alive and not ready.

    Parameters
    ----------
    fetching:
        Where model and keys come from.
    refuse:
        Gets the reason why there is no model yet, as often as it changes.
    ended:
        Called at the end.

    After the end one of these is set: ``loaded``; ``error``, if something is wrong that waiting does not
    mend; neither, if no model is pinned.
    """

    def __init__(self, fetching: Fetching, refuse: Callable[[str], None], ended: Callable[[], None]) -> None:
        super().__init__(name="loading", daemon=True)
        self._fetching, self._refuse, self._ended = fetching, refuse, ended
        self.loaded: Loaded | None = None
        self.error: Exception | None = None

    def run(self) -> None:
        """Load; to be called by `start`."""
        try:
            _import_spacy()  # takes a while, in which the model is fetched
            fetched = self._fetching.result(self._refuse)
            label = names.model_label(fetched.manifest["name"], fetched.manifest["version"])
            recognizer = load(self._fetching.model_folder, label, _temperature(fetched.manifest))
            self.loaded = Loaded(fetched.manifest, recognizer, fetched.keys)
        except NothingPinned as error:
            log.error("Not ready: %s", error)
            self._refuse(str(error))
        except Exception as error:
            self.error = error
        finally:
            self._ended()


def _import_spacy() -> None:
    """Import spaCy without its command line, which it imports for `spacy.info`: a fifth of the time."""
    command: Any = types.ModuleType("spacy.cli.info")
    command.info = None
    sys.modules[command.__name__] = command
    import spacy  # noqa: F401

    del sys.modules[command.__name__]  # whoever wants it later gets the real one


def _temperature(manifest: dict[str, Any]) -> float:
    """The one that makes the scores true, as the trainer has found; 1 where it has not looked for one."""
    temperature: float = (manifest.get("calibration") or {}).get("temperature", 1.0)
    return temperature


def load(folder: Path, label: str, temperature: float = 1.0) -> "Recognizer":
    """The recognizer of the pipeline in this folder; UserError if it cannot be loaded or used."""
    import spacy
    from nerforge_engine.recognizer import recognizer

    pytorch.require_for(folder, label)
    try:
        nlp = spacy.load(folder)
    except Exception as error:  # what spaCy raises over a broken folder is of any type
        raise UserError(
            f"spaCy cannot load it: {type(error).__name__}: {error}",
            label,
            "Promote the version again; if that does not help, train it anew.",
        ) from error
    made = recognizer(nlp, temperature)
    attempt(made, label)
    return made


def attempt(recognizer: "Recognizer", label: str) -> None:
    """Ask for entities as a client would; UserError if that fails or an offset does not fit its text."""
    try:
        answers = list(zip(TRIAL, recognizer.entities(TRIAL), strict=True))
    except Exception as error:
        raise UserError(
            f"it loads but cannot be used: {type(error).__name__}", label, "Promote another version."
        ) from error
    for text, entities in answers:
        if any(not 0 <= entity.start < entity.end <= len(text) for entity in entities):
            raise UserError("its offsets do not fit the text", label, "Promote another version.")
