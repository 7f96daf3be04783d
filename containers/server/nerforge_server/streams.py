"""Streams of texts: each line's answer in its place, also where a line is wrong."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from . import problems
from .bodies import Line
from .problems import Problem

if TYPE_CHECKING:
    from nerforge_engine.recognizer import Entity

Answer = tuple[Line, "list[Entity] | Problem"]


def answers(
    lines: Iterable[Line],
    recognize: "Callable[[Iterable[str]], Iterator[list[list[Entity]]]]",
    request_id: str,
) -> Iterator[list[Answer]]:
    """Each line with the entities of its text, or with what is wrong with it, in the order of the lines.

    They come in lists of what is there at one time; none of them is empty.

    Parameters
    ----------
    lines:
        Taken as they are needed, which may be ahead of the answers.
    recognize:
        Gives the entities of each of some texts, in their order, a part at a time. What it raises ends the
        stream: the last answer is a Problem that says so.
    request_id:
        What the log calls the request.
    """
    due: deque[Line] = deque()  # taken, not answered yet

    def texts() -> Iterator[str]:
        for line in lines:
            due.append(line)
            if isinstance(line.content, str):
                yield line.content

    def wrong() -> Iterator[Answer]:
        while due and isinstance(problem := due[0].content, Problem):
            yield due.popleft(), problem

    results = recognize(texts())
    while True:
        try:
            part = next(results, None)
        except Exception as error:
            answered = [*wrong()]
            if not due:
                raise
            problem, line = problems.of(error, request_id), due[0]
            ending = f"{problem.what} There is no answer from line {line.number} on."
            yield [*answered, (line, Problem(problem.status, ending, problem.fix, problem.headers))]
            return
        answered = []
        for entities in part or ():
            answered += wrong()
            answered.append((due.popleft(), entities))
        answered += wrong()
        if answered:
            yield answered
        if part is None:
            return
