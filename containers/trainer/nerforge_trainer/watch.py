"""What the log and the run's record say of a training under way."""

from typing import TYPE_CHECKING, Any

from .progress import Progress

if TYPE_CHECKING:
    from .loop import Step


class Watch:
    """Follows a training.

    Parameters
    ----------
    shown:
        What is on the run's record; `Superseded` passes through.
    max_steps:
        How many steps there may be; 0 if nobody knows.
    """

    def __init__(self, shown: Progress, max_steps: int) -> None:
        self._shown, self._max_steps = shown, max_steps
        self._of = f" of {max_steps}" if max_steps else ""

    def resumed(self, checkpoint: dict[str, Any]) -> None:
        """It goes on from this checkpoint."""
        step, saved = checkpoint["step"], checkpoint["saved"]
        print(f"goes on from step {step}{self._of}, saved at {saved}", flush=True)
        self._shown.step(step=step, max_steps=self._max_steps, resumed=step)

    def did(self, step: "Step") -> None:
        """It has done a step."""
        found = step.evaluation
        if found is None:
            self._shown.step(step=step.number, max_steps=self._max_steps)
            return
        loss = round(float(sum(found.losses.values())), 2)
        f = round(float(found.scores.get("ents_f") or 0), 4)
        self._shown.step(step=step.number, max_steps=self._max_steps, epoch=step.epoch, loss=loss, f=f)
        print(
            f"step {step.number}{self._of}, epoch {step.epoch}, {step.seconds:.0f} s: "
            f"loss {loss}, F {f:.3f} on dev",
            flush=True,
        )

    def alive(self) -> None:
        """It is within a long evaluation; called often."""
        self._shown.step()

    def saved(self, checkpoint: dict[str, Any]) -> None:
        """This checkpoint is whole in S3."""
        self._shown.checkpoint(checkpoint)
