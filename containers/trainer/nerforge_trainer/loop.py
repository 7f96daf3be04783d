"""The training loop: step for step that of `spacy train`, and it can be saved after any step.

spaCy's own loop keeps its state in the local variables of nested generators, out of reach. Here it lies in
`Training`; what a step consists of is left to spaCy.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import srsly
from nerforge_contract.errors import UserError
from spacy.language import Language
from spacy.schemas import ConfigSchemaTraining
from spacy.training.loop import DIR_MODEL_BEST, create_before_to_disk_callback, subdivide_batch, update_meta
from spacy.util import registry, resolve_dot_names
from thinc.api import Model, fix_random_seed

from . import moments, rng
from .batches import Batches
from .curve import Point, point
from .evaluate import scores_of

_STATE, _MOMENTS, _COMPONENTS = "training.msgpack", "moments.msgpack", "components"

_LATER: Any = False  # as ``sgd``: an update that leaves the step to finish_update, as in spaCy's own loop

Stop = Callable[[], bool]


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation on dev found.

    Parameters
    ----------
    score:
        spaCy's one score, by the weights in [training.score_weights].
    scores:
        All of the scorer's but those it could not tell.
    losses:
        By component, summed since the evaluation before.
    """

    score: float
    scores: dict[str, Any]
    losses: dict[str, float]


@dataclass(frozen=True)
class Step:
    """A step that was done.

    Parameters
    ----------
    number, epoch:
        Which, from 0.
    words:
        Seen in training so far.
    seconds:
        Since training began, without the time between a save and going on from it.
    evaluation:
        None if none was due, or if it was told to stop.
    """

    number: int
    epoch: int
    words: int
    seconds: float
    evaluation: Evaluation | None


class Training:
    """A training under way.

    Its folder holds the best pipeline so far, and after `save` all the rest that another process needs to go
    on, in a `Training` of the same config and data, as if nothing had happened.

    Saved is what spaCy's own parts keep. A component or callback from elsewhere that has a state outside its
    model must see to that itself.

    Parameters
    ----------
    nlp:
        The initialized pipeline.
    folder:
        It exists, and nobody else writes there.
    """

    def __init__(self, nlp: Language, folder: Path) -> None:
        self._nlp, self._folder = nlp, folder
        config = nlp.config.interpolate()
        if config["training"]["seed"] is not None:
            fix_random_seed(config["training"]["seed"])
        settings = registry.resolve(config["training"], schema=ConfigSchemaTraining)
        train, self._dev = resolve_dot_names(config, [settings["train_corpus"], settings["dev_corpus"]])
        self._settings, self._optimizer = settings, settings["optimizer"]
        self._before_to_disk = create_before_to_disk_callback(settings["before_to_disk"])
        self._batches = Batches(nlp, train, settings["batcher"], settings["max_epochs"])
        self._weights = {
            name: weight for name, weight in settings["score_weights"].items() if weight is not None
        }
        self._step, self._epoch, self._words = -1, 0, 0
        self._due = False  # an evaluation, after this step
        self._results: list[tuple[float, int]] = []  # score and step of each evaluation
        self._curve: list[Point] = []
        self._losses: dict[str, float] = {}
        self._began = time.monotonic()
        self._rng = rng.capture()  # as training left it: between two steps others may draw

    @property
    def step(self) -> int:
        """The last step that was done; -1 before the first."""
        return self._step

    @property
    def seconds(self) -> float:
        """Since training began, without the time between a save and going on from it."""
        return time.monotonic() - self._began

    @property
    def best(self) -> Path:
        """The folder of the pipeline that scored best."""
        return self._folder / DIR_MODEL_BEST

    @property
    def curve(self) -> list[Point]:
        """The learning curve so far."""
        return self._curve

    def steps(self, stop: Stop) -> Iterator[Step]:
        """Train to the end; after each step that is yielded, the training may be saved.

        Parameters
        ----------
        stop:
            Asked between the documents of an evaluation. Once it says yes, the evaluation is given up as if
            it had not begun, and its step is yielded without; it is made up for when the loop goes on.

        Whoever trains, and `stop`, may use random numbers of their own: training's go on as if nobody had.
        boto3 does, for the pauses between its tries.
        """
        rng.restore(self._rng)
        while self._due or (not self._is_over() and self._update()):
            evaluation = self._evaluate(stop) if self._due else None
            done = Step(self._step, self._epoch, self._words, self.seconds, evaluation)
            if evaluation is not None:
                self._curve.append(point(done))
            self._rng = rng.capture()
            yield done
            rng.restore(self._rng)

    # --- one step ---

    def _is_over(self) -> bool:
        if not self._results:
            return False
        __, best = max(self._results, key=lambda result: (result[0], -result[1]))
        limits = ((self._step - best, self._settings["patience"]), (self._step, self._settings["max_steps"]))
        return any(limit and steps >= limit for steps, limit in limits)

    def _update(self) -> bool:
        """Do the next step; False if there is no batch left for it."""
        taken = self._batches.take()
        if taken is None:
            return False
        self._epoch, batch = taken
        self._step += 1
        nlp, settings = self._nlp, self._settings
        if settings["before_update"]:
            settings["before_update"](nlp, {"step": self._step, "epoch": self._epoch})
        for part in subdivide_batch(batch, settings["accumulate_gradient"]):
            nlp.update(
                part,
                drop=settings["dropout"],
                losses=self._losses,
                sgd=_LATER,
                exclude=settings["frozen_components"],
                annotates=settings["annotating_components"],
            )
        for __, component in self._trained():
            component.finish_update(self._optimizer)
        self._optimizer.step_schedules()
        self._words += sum(map(len, batch))
        self._due = self._step % settings["eval_frequency"] == 0
        return True

    def _trained(self) -> Iterator[tuple[str, Any]]:
        """The components that training changes."""
        pipeline: list[tuple[str, Any]] = self._nlp.pipeline
        for name, component in pipeline:
            trainable = getattr(component, "is_trainable", False) and isinstance(component.model, Model)
            if trainable and name not in self._settings["frozen_components"]:
                yield name, component

    def _evaluate(self, stop: Stop) -> Evaluation | None:
        """Evaluate on dev, and keep the pipeline if it is the best; None if told to stop."""
        before = rng.capture()

        def stop_undisturbed() -> bool:
            with rng.kept():
                return stop()

        # Not to be left by an exception: spaCy would not put the weights back.
        with self._nlp.use_params(self._optimizer.averages):
            scores = scores_of(self._nlp, self._dev, stop_undisturbed)
            if scores is not None:
                scores = {name: score for name, score in scores.items() if score is not None}
                found = Evaluation(self._score(scores), scores, self._losses)
                self._results.append((found.score, self._step))
                if found.score == max(self._results)[0]:
                    self._keep(found)
        if scores is None:
            rng.restore(before)
            return None
        self._due, self._losses = False, {}
        return found

    def _score(self, scores: dict[str, Any]) -> float:
        # As in spaCy, a score that was missing once counts no more.
        self._weights = {name: weight for name, weight in self._weights.items() if name in scores}
        for name in self._weights:
            if not isinstance(scores[name], int | float):
                raise UserError(
                    f"{name} is not one number, and cannot have a weight",
                    "config: [training.score_weights]",
                    "Set it to null",
                )
        score: float = sum(scores[name] * weight for name, weight in self._weights.items())
        return score

    def _keep(self, found: Evaluation) -> None:
        info = {"other_scores": found.scores, "losses": found.losses}
        with self._nlp.select_pipes(disable=self._settings["frozen_components"]):
            update_meta(self._settings, self._nlp, info)
        shutil.rmtree(self.best, ignore_errors=True)
        self._before_to_disk(self._nlp).to_disk(self.best)

    # --- all of it, on disk ---

    def save(self) -> None:
        """Write into the folder what `restore` needs; only between two steps."""
        shutil.rmtree(self._folder / _COMPONENTS, ignore_errors=True)
        (self._folder / _COMPONENTS).mkdir()
        for name, component in self._trained():
            component.to_disk(self._folder / _COMPONENTS / name, exclude=["vocab"])
        moments.save(self._nlp, self._optimizer, self._folder / _MOMENTS)
        state = {
            "step": self._step,
            "epoch": self._epoch,
            "words": self._words,
            "due": self._due,
            "results": self._results,
            "curve": self._curve,
            "losses": self._losses,
            "weights": list(self._weights),
            "seconds": self.seconds,
            "batches": self._batches.state(),
            "strings": list(self._nlp.vocab.strings),
            "rng": self._rng,
        }
        (self._folder / _STATE).write_bytes(srsly.msgpack_dumps(state))

    def restore(self) -> None:
        """Go on from what lies in the folder; only before the first step."""
        state = srsly.msgpack_loads((self._folder / _STATE).read_bytes())
        for string in state["strings"]:
            self._nlp.vocab.strings.add(string)
        for name, component in self._trained():
            component.from_disk(self._folder / _COMPONENTS / name, exclude=["vocab"])
        moments.restore(self._nlp, self._optimizer, self._folder / _MOMENTS)
        self._step, self._epoch, self._words = state["step"], state["epoch"], state["words"]
        for __ in range(self._step + 1):
            self._optimizer.step_schedules()
        self._due, self._losses = state["due"], state["losses"]
        self._results = list(map(tuple, state["results"]))
        self._curve = state["curve"]
        self._weights = {name: weight for name, weight in self._weights.items() if name in state["weights"]}
        self._batches.restore(state["batches"])
        self._began = time.monotonic() - state["seconds"]
        self._rng = state["rng"]
        if rng.reseed_gpu(state["rng"]):
            print("on a GPU, dropout goes on with other random numbers: theirs cannot be saved", flush=True)
