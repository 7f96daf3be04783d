"""What a run asks of ECS, read from its stored spec."""

from dataclasses import dataclass
from typing import Any

from nerforge_contract.errors import UserError

MISSING = object()
ON_DEMAND_AFTER_MINUTES = 15  # the schema's default, for runs that were stored before there was the field


@dataclass(frozen=True)
class Demand:
    """The part of a spec that the dispatcher acts on.

    Attributes
    ----------
    model:
        The name of the model that the run makes.
    vcpu:
        Virtual CPUs.
    memory_mib:
        Memory in MiB, beyond which the task is killed.
    gpus:
        GPUs, or 0.
    spot:
        Whether spot capacity will do.
    on_demand_after_minutes:
        How long to wait for spot capacity before turning to on-demand instances, in minutes.
    retries:
        How often a failed attempt may be tried again.
    time_limit_minutes:
        How long an attempt may run, in minutes.
    """

    model: str
    vcpu: float
    memory_mib: int
    gpus: int
    spot: bool
    on_demand_after_minutes: int
    retries: int
    time_limit_minutes: int

    @classmethod
    def of(cls, spec: Any) -> "Demand":
        """Read a stored spec, its defaults filled in. Raises UserError that names the field it cannot use."""
        return cls(
            model=_field(spec, "name", str),
            vcpu=_field(spec, "resources.vcpu", int, float),
            memory_mib=_field(spec, "resources.memory_mib", int),
            gpus=_field(spec, "resources.gpus", int),
            spot=_field(spec, "resources.spot", bool),
            on_demand_after_minutes=_field(
                spec, "resources.on_demand_after_minutes", int, default=ON_DEMAND_AFTER_MINUTES
            ),
            retries=_field(spec, "retries", int),
            time_limit_minutes=_field(spec, "time_limit_minutes", int),
        )


def _field(spec: Any, path: str, *kinds: type, default: Any = MISSING) -> Any:
    value = spec
    for key in path.split("."):
        value = value.get(key, MISSING) if isinstance(value, dict) else MISSING
    if value is MISSING:
        value = default
    # bool is an int to Python, but true is no number of CPUs
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        problem = "is missing" if value is MISSING else f"cannot be {value!r:.40}"
        raise UserError(f"{path} {problem}", "the run's stored spec", "Submit the spec again with train.yml")
    return value
