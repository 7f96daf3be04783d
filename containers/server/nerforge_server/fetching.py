"""Bringing the pinned model and the API keys from AWS, in a process of their own.

boto3 takes a while to import and some 30 MiB. In a child both are spent while the parent imports spaCy, and
neither stays in the processes that serve. The child reports over a pipe, in pickled pairs of a kind and what
belongs to it.
"""

import logging
import os
import pickle
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nerforge_contract import names
from nerforge_contract.errors import UserError

from .processes import end_with_parent, fork, unblock_signals
from .settings import Settings

if TYPE_CHECKING:
    from .keys import Keys

_Found = TypeVar("_Found")

RETRY_SECONDS = (1, 2, 4, 8, 15, 30)  # between two tries at AWS; the last one is repeated

log = logging.getLogger(__name__)


class NothingPinned(UserError):
    """The server has been given no model yet, as before a first promotion."""


@dataclass(frozen=True)
class Fetched:
    """What was brought: the model's manifest, and the API keys if the server was told to have some."""

    manifest: dict[str, Any]
    keys: "Keys | None"


class Fetching:
    """The child that fetches.

    Parameters
    ----------
    settings:
        What to fetch.
    folder:
        An existing folder; the model's own will be `model_folder`.
    forget:
        Called in the child first, to let go of what it must not hold on to.
    """

    def __init__(self, settings: Settings, folder: Path, forget: Callable[[], None]) -> None:
        reading, writing = os.pipe()
        parent = os.getpid()

        def child() -> int:
            os.close(reading)
            forget()
            end_with_parent(parent)
            unblock_signals()
            with os.fdopen(writing, "wb") as reports:
                _fetch_and_report(settings, folder, lambda *report: _write(reports, report))
            return 0

        self.model_folder = model_folder(folder)
        self._pid: int | None = fork(child)
        os.close(writing)
        self._reports = os.fdopen(reading, "rb")

    def result(self, tell: Callable[[str], None]) -> Fetched:
        """Wait for the child to end; while it tries again, ``tell`` gets the reason why.

        Raises what `obtain` has raised.
        """
        while True:
            try:
                kind, what = pickle.load(self._reports)
            except EOFError:
                raise RuntimeError("the process that fetches the model ended without a word") from None
            if kind == "waiting":
                tell(what)
            elif kind == "fetched":
                fetched: Fetched = what
                return fetched
            else:
                raise what

    def stop(self) -> None:
        """Make sure that the child is gone."""
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = None


def model_folder(folder: Path) -> Path:
    """Where in its folder `obtain` leaves the model."""
    return folder / "model"


def obtain(settings: Settings, folder: Path, tell: Callable[[str], None], s3: Any = None) -> Fetched:
    """Fetch the API keys and the pinned model, however long AWS refuses; check and unpack the model.

    Parameters
    ----------
    folder:
        An existing folder.
    tell:
        Gets the reason why it is tried again.
    s3:
        A boto3 S3 client; by default one from boto3's ordinary chain.

    Raises NothingPinned if there is no model to fetch, UserError for whatever else waiting does not mend.
    """
    keys = _keys(settings.api_keys, tell) if settings.api_keys else None
    if not settings.model:
        raise NothingPinned(
            "no model pinned", fix="Promote one: ansible-playbook promote.yml -e model=name:version"
        )
    from . import pinned

    pin = pinned.Pin.of(settings)
    log.info("Loading %s from s3://%s", pin.label, pin.bucket)
    client = s3 or _s3()
    manifest = _patiently(lambda: pinned.fetch(client, pin, folder), "S3 does not give the model", tell)
    pinned.unpack(folder / names.ARTIFACT, model_folder(folder))
    (folder / names.ARTIFACT).unlink()
    return Fetched(manifest, keys)


def _keys(reference: str, tell: Callable[[str], None]) -> "Keys":
    from .keys import Keys

    return _patiently(lambda: Keys.fetch(reference), "AWS does not give the API keys", tell)


def _s3() -> Any:
    import boto3
    from botocore.config import Config

    # A few quick tries of boto3's own; what outlasts them shows as the reason for not being ready.
    config = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 3})
    return boto3.client("s3", config=config)


def _patiently(get: Callable[[], _Found], refusal: str, tell: Callable[[str], None]) -> _Found:
    from botocore.exceptions import BotoCoreError, ClientError

    tries = 0
    while True:
        try:
            return get()
        except (BotoCoreError, ClientError) as error:
            wait = RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)]
            tries += 1
            # What AWS says in full names accounts and roles: that is for the log, not for whoever asks.
            kind = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
            log.warning("Not ready: %s: %s. Trying again in %d s.", refusal, error, wait)
            tell(f"{refusal} ({kind}). Trying again in {wait} s.")
            time.sleep(wait)


def _fetch_and_report(settings: Settings, folder: Path, report: Callable[[str, Any], None]) -> None:
    try:
        report("fetched", obtain(settings, folder, lambda reason: report("waiting", reason)))
    except UserError as error:
        report("failed", error)
    except Exception as error:
        log.exception("Not ready: %s", error)
        report("failed", RuntimeError(f"fetching failed: {type(error).__name__}"))


def _write(reports: Any, report: tuple[str, Any]) -> None:
    pickle.dump(report, reports)
    reports.flush()
