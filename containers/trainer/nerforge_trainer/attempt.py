"""One attempt, from the run's record to the registered model, or to what else the run is for.

spaCy is imported only once the run is RUNNING and the threads are limited: numpy reads the limits when it is
imported, and nobody should wait for spaCy to see that a run has begun.
"""

import json
import os
import sys
import tempfile
import traceback
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nerforge_contract import causes, corpus, names, purposes, pytorch, spec, states
from nerforge_contract.errors import UserError
from nerforge_contract.models import Model, Models
from nerforge_contract.purposes import Purpose
from nerforge_contract.runs import Run, Runs, now

from . import progress, publish
from .checkpoint import Checkpoints, Timetable
from .fetch import Part, fetch_archive, fetch_parts, held_out
from .interruption import Interruption
from .progress import Progress, Superseded
from .settings import Settings
from .version import Version
from .watch import Watch

if TYPE_CHECKING:
    from .measure import Measured
    from .train import Trained
    from .transformer import Transformer

_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


def limit_threads(vcpu: float, environment: MutableMapping[str, str]) -> None:
    """Let the numeric libraries have as many threads as the task has CPUs, not as the machine has."""
    for name in _THREAD_LIMITS:
        environment[name] = str(max(1, int(vcpu)))


@dataclass(frozen=True)
class Attempt:
    """One attempt of a run.

    Parameters
    ----------
    settings:
        Which attempt, and where things are.
    runs, models:
        The tables.
    s3:
        A boto3 S3 client.
    interruption:
        The signals; its `Interrupted` passes through.
    """

    settings: Settings
    runs: Runs
    models: Models
    s3: Any
    interruption: Interruption

    def run(self) -> int:
        """Do it; returns the exit code."""
        if not self._begin():
            return self._superseded()
        try:
            record = self.runs.get(self.settings.run_id)
            assert record is not None  # it was moved just now
            checkpoints = Checkpoints(self.s3, self.settings.bucket, self._ancestry(record))
            outcome = self._do(record, checkpoints)
            ours = self._end(states.SUCCEEDED, checkpoint=None, **outcome)
            if ours:
                _say(outcome["reason"])
                checkpoints.clear()
        except Superseded:
            ours = False
        except UserError as error:
            _complain(f"error: {error}")
            return states.EXIT_WRONG_INPUT if self._fail(str(error)) else self._superseded()
        except Exception as error:
            traceback.print_exc()
            self._annotate(cause=causes.ERROR, reason=f"{type(error).__name__}: {error}")
            return states.EXIT_ERROR
        return states.EXIT_DONE if ours else self._superseded()

    # --- the run's record ---

    def _begin(self) -> bool:
        return self.runs.move(
            self.settings.run_id,
            states.STARTING,
            states.RUNNING,
            self.settings.attempt,
            cause=None,
            reason=None,
            running=now(),
            reported=now(),
            progress={"phase": progress.FETCHING, "seconds": 0},
        )

    def _fail(self, reason: str) -> bool:
        return self._end(states.FAILED, cause=causes.WRONG_INPUT, reason=reason)

    def _end(self, state: str, **fields: Any) -> bool:
        run_id, attempt = self.settings.run_id, self.settings.attempt
        return self.runs.move(run_id, states.RUNNING, state, attempt, ended=now(), **fields)

    def _annotate(self, **fields: Any) -> None:
        self.runs.annotate(self.settings.run_id, states.RUNNING, self.settings.attempt, **fields)

    def _superseded(self) -> int:
        _complain(f"run {self.settings.run_id} has moved on without attempt {self.settings.attempt}")
        return states.EXIT_SUPERSEDED

    def _registered(self, record: Run) -> Model | None:
        """The version that an earlier attempt registered before it was lost."""
        if record.get("model_version") is None:
            return None
        model = self.models.get(record["name"], record["model_version"])
        return model if model and model["run"] == record["run_id"] else None

    def _ancestry(self, record: Run) -> list[str]:
        """The run, the run it is a retry of, and so on."""
        run_ids = [record["run_id"]]
        older: Run | None = record
        while older and older.get("retry_of"):
            run_ids.append(older["retry_of"])
            older = self.runs.get(older["retry_of"])
        return run_ids

    # --- the work ---

    def _do(self, record: Run, checkpoints: Checkpoints) -> dict[str, Any]:
        """What the run is for; returns the fields that its record then gets, with ``reason``."""
        spec.validate(record["spec"], submitted=True)
        wanted = spec.with_defaults(record["spec"])
        about = purposes.subject(record)
        _say(f"run {self.settings.run_id}, attempt {self.settings.attempt}: {about}")
        limit_threads(wanted["resources"]["vcpu"], os.environ)
        shown = Progress(self.runs, self.settings.run_id, self.settings.attempt)
        kind = purposes.kind(record)
        if kind == purposes.TRAIN:
            return _made(self._registered(record) or self._make(record, wanted, checkpoints, shown))
        if kind == purposes.EVALUATE:
            return self._evaluate(record["purpose"], wanted, shown)
        if kind == purposes.REPRODUCE:
            return self._reproduce(record, wanted, checkpoints, shown)
        raise UserError(
            f"this trainer knows no runs that {kind}",
            "purpose",
            "Deploy again: deploy.yml makes its image anew",
        )

    def _make(self, record: Run, wanted: dict[str, Any], checkpoints: Checkpoints, shown: Progress) -> Model:
        """Fetch, check, train, measure and publish; returns the new version's manifest."""
        with tempfile.TemporaryDirectory(prefix="nerforge-") as name:
            folder = Path(name)
            parts, report = self._fetch(wanted, folder)
            files = {part: folder / f"{part}.spacy" for part in parts}
            warnings = [*record.get("warnings", []), *report.warnings]
            trained = self.train(wanted, parts, files, checkpoints, shown, warnings)
            shown.phase(progress.EVALUATING)
            measured = self._measure(trained.best, parts, files)
            shown.phase(progress.UPLOADING)
            version = Version(folder, parts, trained, measured)
            version.describe(record, self._reserve(record), self.settings.image, wanted, report, warnings)
            return self._publish(version)

    def _evaluate(self, purpose: Purpose, wanted: dict[str, Any], shown: Progress) -> dict[str, Any]:
        """Find out what a version finds in the held-out part, and keep it beside the version."""
        from . import rescoring

        version = self._version(purpose["model"])
        with tempfile.TemporaryDirectory(prefix="nerforge-") as name:
            folder = Path(name)
            parts = fetch_parts(self.s3, self.settings.bucket, wanted, folder)
            on = held_out(parts)
            shown.phase(progress.EVALUATING)
            found = rescoring.rescored(self.s3, self.settings.bucket, version, parts[on], on, folder)
            shown.phase(progress.UPLOADING)
            key = names.evaluation_key(version["name"], version["version"], found["examples"])
            written = folder / "evaluation.json"
            written.write_text(json.dumps(found), encoding="utf-8")
            publish.upload(self.s3, self.settings.bucket, key, written, "application/json")
        f = found["scores"]["f"]
        return {
            "reason": f"{purpose['model']} has F {f:.3f} on the {on} data of {purpose['of']}",
            "result": {"on": on, "f": f, "examples": found["examples"]},
        }

    def _reproduce(
        self, record: Run, wanted: dict[str, Any], checkpoints: Checkpoints, shown: Progress
    ) -> dict[str, Any]:
        """Train as a version was trained, and compare."""
        from . import registered, reproduction

        label = record["purpose"]["model"]
        version = self._version(label)
        with tempfile.TemporaryDirectory(prefix="nerforge-") as name:
            folder = Path(name)
            # Before hours of training: without these there is nothing to compare with.
            manifest = registered.manifest(self.s3, self.settings.bucket, version)
            pipeline = registered.pipeline(self.s3, self.settings.bucket, version, folder / "version")
            parts, report = self._fetch(wanted, folder)
            files = {part: folder / f"{part}.spacy" for part in parts}
            warnings = [*record.get("warnings", []), *report.warnings]
            trained = self.train(wanted, parts, files, checkpoints, shown, warnings)
            shown.phase(progress.COMPARING)
            held = files[held_out(parts)]
            result = reproduction.compared(manifest, pipeline, trained.best, held, self.settings.image)
        return {"reason": reproduction.verdict(label, result), "result": result}

    def _version(self, label: str) -> Model:
        found = self.models.get(*names.parse_model_label(label))
        if found is None:
            raise UserError("there is no such version any more", label, "models.yml lists those there are")
        return found

    def _fetch(self, wanted: dict[str, Any], folder: Path) -> tuple[dict[str, Part], corpus.Report]:
        parts = fetch_parts(self.s3, self.settings.bucket, wanted, folder)
        report = corpus.check({part: data.examples for part, data in parts.items()}, wanted.get("labels"))
        _say_report(report)
        return parts, report

    def train(
        self,
        wanted: dict[str, Any],
        parts: dict[str, Part],
        files: dict[str, Path],
        checkpoints: Checkpoints,
        shown: Progress,
        warnings: list[str],
    ) -> "Trained":
        """Train a pipeline: the one step that a trainer of another kind does in another way.

        Parameters
        ----------
        wanted:
            The spec, with its defaults.
        parts:
            The data, by part.
        files:
            Where the same is to be written as .spacy files: the pipeline is measured on them.
        checkpoints:
            Where to save the training, and what to go on from.
        shown:
            Is told how far it is.
        warnings:
            Grow by what the pipeline's tokens make of the data.
        """
        from . import config, docs
        from .train import require_device, train

        shown.phase(progress.TRAINING)
        gpu = require_device(wanted["device"])
        transformer = self._transformer(wanted, files["train"].parent)
        nlp = config.build(wanted, files["train"], files["dev"], transformer)
        for part, data in parts.items():
            warnings += docs.write(nlp, data.examples, files[part], data.where)
        warnings[:] = dict.fromkeys(warnings)  # an attempt before this one may have noted them
        self._warn(warnings)
        return train(
            nlp.config,
            files["train"].with_name("training"),
            gpu,
            checkpoints,
            Timetable(**wanted["checkpoints"]),
            self.interruption,
            Watch(shown, nlp.config["training"]["max_steps"]),
        )

    def _transformer(self, wanted: dict[str, Any], folder: Path) -> "Transformer | None":
        """The pretrained transformer that the spec names, if it does."""
        if "transformer" not in wanted:
            return None
        from . import transformer

        pytorch.require("transformer")
        archive, where = fetch_archive(self.s3, self.settings.bucket, wanted["transformer"], folder)
        try:
            return transformer.prepare(archive, where, folder / "transformer")
        finally:
            archive.unlink()

    def _measure(self, best: Path, parts: dict[str, Part], files: dict[str, Path]) -> "Measured":
        from .measure import measure

        measured = measure(best, parts, files)
        scores = measured.about["scores"]
        _say(f"best on dev, on {measured.on}: P {scores['p']:.3f}, R {scores['r']:.3f}, F {scores['f']:.3f}")
        _say(measured.calibration_in_words())
        return measured

    def _warn(self, warnings: list[str]) -> None:
        for warning in warnings:
            _say(f"warning: {warning}")
        if warnings:
            self._annotate(warnings=warnings)

    def _reserve(self, record: Run) -> int:
        """The number of the run's version, which all its attempts share."""
        number = record.get("model_version") or self.models.next_version(record["name"])
        version = self.runs.reserve_version(self.settings.run_id, self.settings.attempt, number)
        if version is None:
            raise Superseded
        return version

    def _publish(self, version: Version) -> Model:
        """Upload the version, and register it once it is whole in S3: before that it is none."""
        for key, (file, media_type) in version.files().items():
            publish.upload(self.s3, self.settings.bucket, key, file, media_type)
        if not self.models.register(version.manifest):
            raise Superseded
        return version.manifest


def _made(model: Model) -> dict[str, Any]:
    """What the record of a run that made this version says of it."""
    label, scores = names.model_label(model["name"], model["version"]), model["scores"]
    return {
        "reason": f"{label} has F {scores['f']:.3f} on {scores['on']}",
        "model": label,
        "scores": scores,
    }


def _say_report(report: corpus.Report) -> None:
    for part, sentences in report.sentences.items():
        counts = report.entities[part]
        labels = ", ".join(f"{label} {count}" for label, count in counts.items())
        _say(f"{part}: {sentences} sentences, {sum(counts.values())} entities ({labels})")


def _say(line: str) -> None:
    print(line, flush=True)


def _complain(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
