"""``python -m nerforge_trainer``: the process of an ECS task. Its exit codes are those of contract.states."""

import os
import sys
from typing import TYPE_CHECKING

from nerforge_contract import states
from nerforge_contract.errors import UserError

from .interruption import Interrupted, Interruption
from .settings import Settings

if TYPE_CHECKING:
    from .attempt import Attempt


def main(kind: "type[Attempt] | None" = None) -> int:
    """Do the attempt that the environment names; returns the exit code.

    Parameters
    ----------
    kind:
        What does it; by default `Attempt` itself.
    """
    interruption = Interruption()
    interruption.listen()
    try:
        code = _attempt(interruption, kind)
    except Interrupted as signal:
        print(f"stopped by {signal}; a new attempt goes on", file=sys.stderr, flush=True)
        return states.EXIT_INTERRUPTED
    return states.EXIT_INTERRUPTED if code == states.EXIT_ERROR and interruption.seen else code


def _attempt(interruption: Interruption, kind: "type[Attempt] | None") -> int:
    try:
        settings = Settings.from_environment(os.environ)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return states.EXIT_WRONG_INPUT
    # Not before the signals are listened to: these imports take half a second, in which one would kill us.
    import boto3
    from nerforge_contract.models import Models
    from nerforge_contract.runs import Runs

    from .attempt import Attempt

    session = boto3.Session()
    tables = session.resource("dynamodb")
    return (kind or Attempt)(
        settings,
        runs=Runs(tables.Table(settings.runs_table)),
        models=Models(tables.Table(settings.models_table)),
        s3=session.client("s3"),
        interruption=interruption,
    ).run()


if __name__ == "__main__":
    sys.exit(main())
