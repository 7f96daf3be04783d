"""Writes the tables that documents take from the code: ``make docs``. A unit test fails where they differ.

A table stands between ``<!-- states -->`` and ``<!-- /states -->``; whatever else stands there is replaced.
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = (ROOT / "README.md", ROOT / "playbooks" / "RUNBOOK.md")

sys.path.append(str(ROOT / "plugins" / "module_utils"))

from contract import causes, states  # noqa: E402

# Fields, settings and commands in the code's plain sentences.
_CODE = re.compile(
    r"\b(?:\w+\.yml(?: -e \w+=\w+)?|resources\.\w+|[a-z]+(?:_[a-z]+)+|[A-Z]+(?:_[A-Z]+)+|[A-Z]{5,})\b"
)


def table(header: tuple[str, ...], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table, in which what one types or greps for is set as code."""
    lines = (header, ("---",) * len(header), *rows)
    return "\n".join(
        "| " + " | ".join(_CODE.sub(r"`\g<0>`", cell or "nothing") for cell in line) + " |" for line in lines
    )


TABLES = {
    "states": table(("state", "what it means"), states.MEANINGS.items()),
    "transitions": table(("from", "to", "by", "when"), states.TRANSITIONS),
    "causes": table(
        ("cause", "what has happened", "what becomes of the run", "what you can do"),
        ((code, *cause) for code, cause in causes.CAUSES.items()),
    ),
    "exit codes": table(
        ("exit code", "what it means", "what becomes of the run"),
        (
            *((str(code), *meaning) for code, meaning in sorted(states.EXIT_CODES.items())),
            ("any other", *states.OTHER_EXIT_CODE),
        ),
    ),
}


def filled(text: str) -> str:
    """A document's text with each table as the code has it now. Raises KeyError for an unknown table."""
    return re.sub(
        r"(<!-- (?P<name>[a-z ]+) -->\n).*?(<!-- /(?P=name) -->)",
        lambda block: f"{block[1]}\n{TABLES[block['name']]}\n\n{block[3]}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    for document in DOCUMENTS:
        before = document.read_text()
        if before != filled(before):
            document.write_text(filled(before))
            print(f"written anew: {document.relative_to(ROOT)}")
