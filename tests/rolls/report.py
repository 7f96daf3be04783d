"""What the rolls have to tell, in a table."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from .load import Answer, Load
from .verdict import Roll


def table(load: Load, rolls: Sequence[Roll]) -> str:
    """What happened, counted and timed."""
    rows = [*_requests(load), *_commands(rolls, load.answers)]
    width = max(len(name) for name, __ in rows)
    return "\n".join(f"{name:{width}}  {value:>14}" for name, value in rows)


def _requests(load: Load) -> Iterator[tuple[str, str]]:
    answers, kept = load.answers, sum(answer.kept for answer in load.answers)
    yield "requests", f"{len(answers):,}"
    yield f"  over {load.connections} connections that were kept open", f"{kept:,}"
    yield "  over a new connection each", f"{len(answers) - kept:,}"
    for model, count in sorted(Counter(answer.model for answer in answers if not answer.wrong).items()):
        yield f"  answered by {model}", f"{count:,}"
    yield "  failed, or answered wrongly", f"{sum(bool(answer.wrong) for answer in answers):,}"
    took = sorted(answer.ended - answer.began for answer in answers)
    at = (took[math.ceil(len(took) * share) - 1] * 1000 for share in (0.5, 0.99, 1)) if took else ()
    yield "  ms to the answer: p50, p99, most", ", ".join(f"{each:.0f}" for each in at)


def _commands(rolls: Sequence[Roll], answers: Sequence[Answer]) -> Iterator[tuple[str, str]]:
    for kind, count in Counter(roll.kind for roll in rolls).items():
        these = [roll for roll in rolls if roll.kind == kind]
        yield f"{count} x {kind}: s from the command to its end", _span(roll.seconds for roll in these)
        if all(roll.leaves in roll.tried for roll in these):
            yield (
                "  s until the version before answered no more",
                _span(roll.turned(answers) for roll in these),
            )


def _span(seconds: Iterable[float]) -> str:
    found = sorted(seconds)
    return f"{found[0]:.1f} to {found[-1]:.1f}"
