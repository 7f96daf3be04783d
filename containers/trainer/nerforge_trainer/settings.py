"""What the task definition and the dispatcher tell the trainer, by environment variables."""

from collections.abc import Mapping
from dataclasses import dataclass

from nerforge_contract import names, ulid
from nerforge_contract.errors import UserError


@dataclass(frozen=True)
class Settings:
    """Which attempt of which run this is, and where its records and files are.

    Parameters
    ----------
    run_id:
        The run.
    attempt:
        Which attempt of it, from 1.
    bucket:
        The S3 bucket of data and models.
    runs_table, models_table:
        The DynamoDB tables.
    image:
        The image this process runs in, as the task definition names it.
    """

    run_id: str
    attempt: int
    bucket: str
    runs_table: str
    models_table: str
    image: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read them; UserError naming the variable that is missing or wrong."""
        run_id = _get(environment, names.ENV_RUN)
        attempt = _get(environment, names.ENV_ATTEMPT)
        if not ulid.is_ulid(run_id):
            raise UserError(f"{run_id!r} is no run id", names.ENV_RUN, "Give the id that train.yml printed")
        if not attempt.isascii() or not attempt.isdigit() or attempt == "0":
            raise UserError(
                f"{attempt!r} is no number from 1", names.ENV_ATTEMPT, "Give the attempt's number"
            )
        return cls(
            run_id=run_id,
            attempt=int(attempt),
            bucket=_get(environment, names.ENV_BUCKET),
            runs_table=_get(environment, names.ENV_RUNS_TABLE),
            models_table=_get(environment, names.ENV_MODELS_TABLE),
            image=environment.get(names.ENV_IMAGE, ""),
        )


def _get(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise UserError(
            "not set",
            name,
            "The task definition sets it: deploy the training stack again, and run a task of it",
        )
    return value
