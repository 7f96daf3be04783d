"""Tell in_process.py, in a process and an environment of its own, what to do."""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from servers import ONE_THREAD


class InProcess:
    """spaCy in a process of its own; see in_process.py for what it can be told.

    Parameters
    ----------
    model:
        The folder of the pipeline.
    python:
        The Python that has spaCy.
    """

    def __init__(self, model: Path, python: Path) -> None:
        self._process = subprocess.Popen(
            [python, Path(__file__).with_name("in_process.py"), model],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | ONE_THREAD,
            text=True,
        )
        self.spacy: str = self.answer()["spacy"]

    def __enter__(self) -> "InProcess":
        return self

    def __exit__(self, *__: object) -> None:
        self._process.kill()
        self._process.wait()

    def do(self, **command: Any) -> Any:
        """Tell it a command, and return the answer."""
        self.tell(**command)
        return self.answer()

    def tell(self, **command: Any) -> None:
        """Tell it a command, without waiting for the answer."""
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """The answer to the oldest command that has none yet."""
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"in_process.py ended with {self._process.wait()}")
        return json.loads(line)


def written(folder: Path, texts: Sequence[str]) -> Path:
    """A file of the folder that holds the texts as in_process.py reads them."""
    file = folder / "texts"
    file.write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="utf-8")
    return file
