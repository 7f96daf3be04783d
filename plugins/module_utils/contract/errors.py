"""The one kind of error that a user is meant to read."""


class UserError(Exception):
    """Something a user can put right.

    Parameters
    ----------
    what:
        What is wrong, as a sentence without a full stop.
    where:
        The field, file, line or resource it was found in, e.g. ``data.train: people.jsonl:14``.
    fix:
        What to do about it.
    """

    def __init__(self, what: str, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        message = f"{where}: {what}" if where else what
        told = " ".join(map(_sentence, [message, fix] if fix else [message]))
        # What it quotes may hold half of a surrogate pair, which no terminal and no record takes.
        super().__init__(told.encode("utf-8", "backslashreplace").decode("utf-8"))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."
