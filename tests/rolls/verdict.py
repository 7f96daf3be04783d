"""What has to hold of the answers that came while the service was rolled."""

from collections.abc import Sequence
from dataclasses import dataclass

from .load import Answer

ROLLBACK_SECONDS = 30.0


@dataclass(frozen=True)
class Roll:
    """A command that rolls the service, or several given at once.

    Parameters
    ----------
    command:
        In words.
    kind:
        What it is counted as.
    before:
        The version that was served.
    tried:
        The versions that may answer besides while it is under way.
    leaves:
        The version that is served once it has returned.
    began, ended:
        Seconds of time.monotonic(): the command was given, and had returned.
    """

    command: str
    kind: str
    before: str
    tried: frozenset[str]
    leaves: str
    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """From the command to its return."""
        return self.ended - self.began

    def turned(self, answers: Sequence[Answer]) -> float:
        """Seconds from the command to the last answer of the version before."""
        ends = (
            answer.ended
            for answer in answers
            if answer.model == self.before and self.began <= answer.began <= self.ended
        )
        return max(ends, default=self.began) - self.began


def violations(answers: Sequence[Answer], rolls: Sequence[Roll], first: str) -> list[str]:
    """Every answer that should not have been, and every rollback that took too long, in words.

    Parameters
    ----------
    rolls:
        In their order, none of which overlap.
    first:
        The version that is served before the first of them.
    """
    wrong = [f"{_when(answer, rolls)}: {answer.wrong}" for answer in answers if answer.wrong]
    wrong += [
        f"{_when(answer, rolls)}: {answer.model} answered, and only {' or '.join(sorted(allowed))} may"
        for answer in answers
        if not answer.wrong and answer.model not in (allowed := _allowed(answer, rolls, first))
    ]
    wrong += [
        f"after {roll.command} no answer came: this shows nothing"
        for roll in rolls
        if not any(answer.model == roll.leaves and answer.began > roll.ended for answer in answers)
    ]
    wrong += [
        f"{roll.command}: {roll.turned(answers):.1f} s until {roll.leaves} alone answered; "
        f"the bar is {ROLLBACK_SECONDS:.0f} s"
        for roll in rolls
        if roll.kind == "rollback" and roll.turned(answers) > ROLLBACK_SECONDS
    ]
    return wrong


def _allowed(answer: Answer, rolls: Sequence[Roll], first: str) -> set[str]:
    """Who may answer a request: who was served when it began, and who came to be until it ended."""
    over = [roll.leaves for roll in rolls if roll.ended <= answer.began]
    under_way = [roll for roll in rolls if roll.began <= answer.ended and answer.began <= roll.ended]
    tried = {model for roll in under_way for model in roll.tried}
    return {over[-1] if over else first} | tried


def _when(answer: Answer, rolls: Sequence[Roll]) -> str:
    before = [roll for roll in rolls if roll.began <= answer.ended]
    kind = "kept connection" if answer.kept else "new connection"
    if not before:
        return f"before the first roll, {kind}"
    return f"{answer.began - before[-1].began:.2f} s after the command to {before[-1].command}, {kind}"
