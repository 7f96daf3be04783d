"""What the process serves at the moment: nothing yet and why, a model, or a model to its end."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nerforge_contract import names

from .inference import Inference, Meter, Unavailable

if TYPE_CHECKING:
    from nerforge_engine.recognizer import Entity, Recognizer


class Serving:
    """The model that answers, if there is one, and whether new work should be sent here.

    `refuse` may be called from another thread: the reason is set whole and never changed in place. All else
    belongs to the one thread in which requests are answered.
    """

    def __init__(self) -> None:
        self._reason: str | None = "the model is being loaded"
        self._stopped = False
        self._model: dict[str, Any] = {}
        self._label = ""
        self._inference: Inference | None = None

    # --- what the application asks ---

    @property
    def unready(self) -> str | None:
        """Why no new work should be sent here; None if it may."""
        return "the server is stopping" if self._stopped else self._reason

    @property
    def model(self) -> Mapping[str, Any]:
        """The manifest of the model that answers, and its ``engine`` and ``engine_reason``.

        Raises Unavailable while there is none.
        """
        self._current()
        return self._model

    @property
    def label(self) -> str:
        """The model that answers, as people write it: ``people:7``. Unavailable while there is none."""
        self._current()
        return self._label

    def recognize(self, texts: Sequence[str]) -> "list[list[Entity]]":
        """The entities of each text, in the order of the texts; waits in the greenlet that calls.

        Raises Unavailable while there is no model, too much is waiting or the deadline passes, and whatever
        the pipeline raised over one of the texts.
        """
        return self._current().recognize(texts)

    def stream(self, texts: Iterable[str]) -> "Iterator[list[list[Entity]]]":
        """The same in parts, as the texts come, with a bounded number of them in flight.

        What refuses the whole stream is raised at once, what befalls a part from the iterator.
        """
        return self._current().stream(texts)

    def _current(self) -> Inference:
        reason, inference = self.unready, self._inference  # in this order: without a model there is a reason
        if inference is None:
            raise Unavailable(f"not ready: {reason}", "Try again once GET ready answers 200.", retry_after=5)
        return inference

    # --- what the process tells it ---

    def refuse(self, reason: str) -> None:
        """Say why there is no model to serve."""
        self._reason = reason

    def serve(
        self, manifest: Mapping[str, Any], recognizer: "Recognizer", meter: Meter | None = None
    ) -> None:
        """Answer from this model from now on."""
        self._model = {**manifest, "engine": recognizer.engine, "engine_reason": recognizer.reason}
        self._label = names.model_label(manifest["name"], manifest["version"])
        self._inference = Inference(recognizer, meter)
        self._reason = None

    def stop(self) -> None:
        """Be ready no more, whatever comes; requests that still arrive are answered."""
        self._stopped = True

    # --- what the process's loop does between two looks at its sockets ---

    @property
    def busy(self) -> bool:
        """Whether `turn` has something to do."""
        return self._inference is not None and self._inference.busy

    def turn(self) -> None:
        """Do one bounded piece of the work that waits."""
        if self._inference is not None:
            self._inference.turn()
