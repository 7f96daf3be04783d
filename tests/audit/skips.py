"""The comments that make checkov skip a check, and which of its findings each is about."""

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_SKIP = re.compile(r"checkov:skip=(\w+)(?::(.*))?")


@dataclass(frozen=True)
class Skip:
    """A comment that skips a check in the block it stands in; in a Dockerfile, in all of it."""

    file: str
    line: int
    check: str
    reason: str

    def is_about(self, finding: "Finding") -> bool:
        """Whether the finding is one that the comment skips."""
        first, last = (1, sys.maxsize) if self.file.endswith("Dockerfile") else finding.lines
        return (self.file, self.check) == (finding.file, finding.check) and first <= self.line <= last


@dataclass(frozen=True)
class Finding:
    """A check that a block fails.

    Parameters
    ----------
    file, lines:
        Where the block is: the file's name from the project's root on, the block's first line and its last.
    check:
        The check's id.
    what:
        What it says of what.
    """

    file: str
    lines: tuple[int, int]
    check: str
    what: str


def skips(root: Path, files: Iterable[Path]) -> Iterator[Skip]:
    """The comments in files below ``root``."""
    for file in files:
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if found := _SKIP.search(line):
                yield Skip(file.relative_to(root).as_posix(), number, found[1], (found[2] or "").strip())


def complaints(comments: list[Skip], findings: list[Finding]) -> list[str]:
    """What is wrong: findings that no comment skips, comments about nothing, comments that do not say why."""
    return [
        *(
            f"{finding.file}:{finding.lines[0]}: {finding.check}: {finding.what}"
            for finding in findings
            if not any(comment.is_about(finding) for comment in comments)
        ),
        *(
            f"{comment.file}:{comment.line}: {comment.check} is skipped, and nothing fails it"
            for comment in comments
            if not any(map(comment.is_about, findings))
        ),
        *(
            f"{comment.file}:{comment.line}: {comment.check} is skipped without a reason"
            for comment in comments
            if not comment.reason
        ),
    ]
