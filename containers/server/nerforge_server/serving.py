"""What the process serves at the moment: nothing yet and why, a model, or a model to its end."""

import logging
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from nerforge_contract import names
from nerforge_contract.errors import UserError

from . import pinned
from .inference import Entity, Inference, Unavailable
from .pinned import Pin
from .settings import Settings

RETRY_SECONDS = (1, 2, 4, 8, 15, 30)  # between two tries at S3; the last one is repeated
TRIAL = (
    "",
    "Ada Lovelace met Charles Babbage in London on 5 June 1833.",
    "Kofi Annan led the United Nations from New York, Gro Harlem Brundtland the WHO from Geneva. \U0001f30d",
)

log = logging.getLogger(__name__)


class Serving:
    """The model that answers, if there is one, and whether new work should be sent here.

    Written by the thread that brings the model up and by the one that stops the server, read by all: every
    attribute is set whole and never changed in place.
    """

    def __init__(self) -> None:
        self._reason: str | None = "the model is being loaded"
        self._stopped = False
        self._model: tuple[dict[str, Any], Inference] | None = None

    @property
    def unready(self) -> str | None:
        """Why no new work should be sent here; None if it may."""
        return "the server is stopping" if self._stopped else self._reason

    def refuse(self, reason: str) -> None:
        """Say why there is no model to serve."""
        self._reason = reason

    def serve(self, manifest: dict[str, Any], inference: Inference) -> None:
        """Answer from this model from now on."""
        self._model = manifest, inference
        self._reason = None

    def stop(self) -> None:
        """Be ready no more, whatever comes; requests that still arrive are answered."""
        self._stopped = True

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest of the model that answers; Unavailable while there is none."""
        return self._current()[0]

    def entities(self, texts: Sequence[str]) -> tuple[str, list[list[Entity]]]:
        """The label of the model that answers, and its entities for each text.

        Raises Unavailable while there is no model, and whatever `Inference.entities` raises.
        """
        manifest, inference = self._current()
        return names.model_label(manifest["name"], manifest["version"]), inference.entities(texts)

    def _current(self) -> tuple[dict[str, Any], Inference]:
        reason, model = self.unready, self._model  # in this order: without a model there is a reason
        if model is None:
            raise Unavailable(f"not ready: {reason}", "Try again once GET ready answers 200.", retry_after=5)
        return model


def bring_up(serving: Serving, settings: Settings, scratch: Path, s3: Any = None) -> None:
    """Fetch, check, load and try the pinned model, and let ``serving`` answer from it, or say why it cannot.

    Parameters
    ----------
    scratch:
        A folder for the time of loading.
    s3:
        A boto3 S3 client; by default one from boto3's ordinary chain.
    """
    try:
        pin = Pin.of(settings)
        log.info("Loading %s from s3://%s", pin.label, pin.bucket)
        with tempfile.TemporaryDirectory(dir=scratch) as name:
            folder = Path(name)
            manifest = _fetch(serving, s3 or _client(), pin, folder)
            pinned.unpack(folder / names.ARTIFACT, folder / "model")
            inference = Inference(pinned.load(folder / "model", pin.label))
        _try(inference, pin.label)
    except UserError as error:
        log.error("Not ready: %s", error)
        serving.refuse(str(error))
    except Exception as error:
        log.exception("Not ready: %s", error)
        serving.refuse(
            f"the model could not be brought up ({type(error).__name__}); the server's log says more"
        )
    else:
        serving.serve(manifest, inference)
        log.info("Ready: %s answers, labels %s", pin.label, ", ".join(manifest["labels"]))


def _client() -> Any:
    # A few quick tries of boto3's own; what outlasts them shows as the reason for not being ready.
    config = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 3})
    return boto3.client("s3", config=config)


def _fetch(serving: Serving, s3: Any, pin: Pin, folder: Path) -> dict[str, Any]:
    """Fetch the pinned version, however long S3 refuses; UserError for what waiting does not mend."""
    tries = 0
    while True:
        try:
            return pinned.fetch(s3, pin, folder)
        except (BotoCoreError, ClientError) as error:
            wait = RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)]
            tries += 1
            # What S3 says in full names accounts and roles: that is for the log, not for whoever asks.
            kind = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
            log.warning("Not ready: S3 does not give the model: %s. Trying again in %d s.", error, wait)
            serving.refuse(f"S3 does not give the model ({kind}). Trying again in {wait} s.")
            time.sleep(wait)


def _try(inference: Inference, label: str) -> None:
    """Ask for entities as a client would; UserError if that fails or an offset does not fit its text."""
    try:
        answers = inference.entities(TRIAL)
    except Exception as error:
        raise UserError(
            f"it loads but cannot be used: {type(error).__name__}", label, "Promote another version."
        ) from error
    for text, entities in zip(TRIAL, answers, strict=True):
        if any(text[entity["start"] : entity["end"]] != entity["text"] for entity in entities):
            raise UserError("its offsets do not fit the text", label, "Promote another version.")
