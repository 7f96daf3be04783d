"""What the process reads from its environment."""

from collections.abc import Mapping
from dataclasses import dataclass

from nerforge_contract import names
from nerforge_contract.errors import UserError


@dataclass(frozen=True)
class Settings:
    """Where to listen and what to serve; an empty string stands for a variable that is not set."""

    host: str
    port: int
    model: str
    sha256: str
    bucket: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """The settings in these environment variables.

        Raises UserError for a port that is none. What is wrong with the pinned model is found when it is
        fetched: the server then says so on its ready path, where whoever rolls it out looks.
        """
        port = environment.get(names.ENV_PORT, str(names.SERVER_PORT))
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise UserError(
                f"{port!r} is not a port",
                names.ENV_PORT,
                f"Give a number from 1 to 65535, such as {names.SERVER_PORT}.",
            )
        return cls(
            host=environment.get(names.ENV_HOST, "0.0.0.0"),
            port=int(port),
            model=environment.get(names.ENV_MODEL, ""),
            sha256=environment.get(names.ENV_MODEL_SHA256, ""),
            bucket=environment.get(names.ENV_BUCKET, ""),
        )
