"""What attempts have cost; prices and kinds of instances are read once a tick, if some task has stopped."""

import datetime
from typing import Any

from decisions import Task
from nerforge_contract import prices
from nerforge_contract.runs import Run, Runs
from tasks import Tasks


class Accounts:
    """The accounts of attempts whose tasks have stopped.

    Parameters
    ----------
    runs, tasks:
        Where prices and instances are told.
    """

    def __init__(self, runs: Runs, tasks: Tasks) -> None:
        self._runs, self._tasks = runs, tasks
        self._instance_types: dict[str, str] = {}
        self._prices = prices.bundled()

    def look_up(self, stopped: list[Task]) -> None:
        """Read what accounts of these tasks need. Whatever it raises, the accounts then lack a price.

        Parameters
        ----------
        stopped:
            The tasks, as DescribeTasks gives them.
        """
        placed = [task["containerInstanceArn"] for task in stopped if "containerInstanceArn" in task]
        if placed:
            self._prices = self._runs.current_prices()
            self._instance_types = self._tasks.instance_types(placed)  # last: without it nothing has a price

    def cost(self, run: Run, task: Task, now: datetime.datetime) -> dict[str, Any]:
        """The field ``cost`` of the record of this task's run; no field if the task never had an instance.

        The instance was held from the pull of the image on, to the end of the task.
        """
        began = task.get("pullStartedAt") or task.get("startedAt")
        if not began or "containerInstanceArn" not in task:
            return {}
        account = prices.of_attempt(
            run["attempt"],
            began,
            task.get("stoppedAt") or now,
            self._instance_types.get(task["containerInstanceArn"]),
            self._tasks.is_spot(task),
            self._prices,
        )
        return {"cost": prices.with_attempt(run.get("cost"), account)}
