"""What a Markdown document shows: its blocks of code, and the commands in them and in its text."""

import itertools
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
# Stand for a program with arguments that do not change: a document says so in a line `alias NAME='...'`.
_ALIAS = re.compile(r"^alias (\w+)='(.*)'$", re.MULTILINE)
_PROGRAMS = ("ansible-playbook", "make", "play", "aws", "curl")
# In the text a playbook's name stands for the whole command.
_PLAYBOOK = re.compile(r"(?:playbooks/)?\w+\.yml")


@dataclass(frozen=True)
class Command:
    """A command as a shell would take it: its program's name, its arguments, and the line it stands in."""

    program: str
    arguments: tuple[str, ...]
    line: str

    def options(self, name: str) -> list[str]:
        """What each option of this name is given, such as ``-e``."""
        return [value for option, value in itertools.pairwise(self.arguments) if option == name]


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language, in their order."""
    return [code for kind, code in _BLOCK.findall(text) if kind == language]


def files(text: str) -> dict[str, str]:
    """The fenced blocks that name their file in a comment on their first line, by that name."""
    found = re.findall(r"^```\w+\n# ([\w.]+\.\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return dict(found)


def exchange(text: str) -> tuple[str, Any]:
    """What the first block of output shows: the text that curl sends, and the JSON that comes back."""
    asked, __, answer = blocks(text, "text")[0].partition("\n[")
    return shlex.split(asked.replace("\\\n", ""))[-1], json.loads(f"[{answer}")


def commands(text: str) -> Iterator[Command]:
    """Every command: of blocks marked ``console``, in output after a prompt, and of code in the text."""
    aliases = dict(_ALIAS.findall(text))
    shown = [line for line in _lines(blocks(text, "text")) if line.startswith("$ ")]
    for line in [*_lines(blocks(text, "console")), *shown]:
        yield from _of_line(line.removeprefix("$ "), aliases)
    for code in _INLINE.findall(_BLOCK.sub("", text)):
        line = " ".join(code.replace("\\|", "|").split())
        program, __, arguments = line.partition(" ")
        if arguments and program.rpartition("/")[2] in _PROGRAMS:
            yield from _of_line(line, aliases)
        elif arguments and _PLAYBOOK.fullmatch(program):
            yield from _of_line(f"ansible-playbook playbooks/{line.removeprefix('playbooks/')}", aliases)


def _lines(texts: list[str]) -> Iterator[str]:
    for text in texts:
        yield from re.sub(r"\\\n\s*", "", text).splitlines()


def _of_line(line: str, aliases: dict[str, str]) -> Iterator[Command]:
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        raise ValueError(f"no shell could read {line!r}: {error}") from error
    for part in _parts(words):
        while part and _ASSIGNMENT.match(part[0]):
            part = part[1:]
        if part and part[0] in aliases:
            part = [*shlex.split(aliases[part[0]]), *part[1:]]
        if part:
            yield Command(Path(part[0]).name, tuple(part[1:]), line)


def _parts(words: list[str]) -> Iterator[list[str]]:
    """A line's commands, which && or a pipe part."""
    part: list[str] = []
    for word in words:
        if word in ("&&", "|", "||", ";"):
            yield part
            part = []
        else:
            part.append(word)
    yield part
