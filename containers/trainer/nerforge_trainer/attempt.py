"""One attempt, from the run's record to the registered model.

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
from typing import Any

from nerforge_contract import causes, corpus, names, spec, states
from nerforge_contract.errors import UserError
from nerforge_contract.models import Model, Models
from nerforge_contract.runs import Run, Runs, now

from . import progress, publish, reliability
from .checkpoint import Checkpoints, Timetable
from .fetch import Part, fetch_parts
from .interruption import Interruption
from .progress import Progress, Superseded
from .settings import Settings
from .watch import Watch

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
            checkpoints = Checkpoints(self.s3, self.settings.bucket, self._ancestry(record))
            model = self._registered(record) or self._make(record, checkpoints)
            ours = self._succeed(model)
            if ours:
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

    def _succeed(self, model: Model) -> bool:
        label = names.model_label(model["name"], model["version"])
        scores = model["scores"]
        reason = f"{label} has F {scores['f']:.3f} on {scores['on']}"
        ours = self._end(states.SUCCEEDED, reason=reason, model=label, scores=scores, checkpoint=None)
        if ours:
            _say(reason)
        return ours

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
        while record and record.get("retry_of"):
            run_ids.append(record["retry_of"])
            record = self.runs.get(record["retry_of"])
        return run_ids

    # --- the work ---

    def _make(self, record: Run, checkpoints: Checkpoints) -> Model:
        """Fetch, check, train, evaluate and publish; returns the new version's manifest."""
        spec.validate(record["spec"], submitted=True)
        wanted = spec.with_defaults(record["spec"])
        _say(f"run {self.settings.run_id}, attempt {self.settings.attempt}: model {wanted['name']}")
        limit_threads(wanted["resources"]["vcpu"], os.environ)
        shown = Progress(self.runs, self.settings.run_id, self.settings.attempt)
        with tempfile.TemporaryDirectory(prefix="nerforge-") as name:
            folder = Path(name)
            parts = fetch_parts(self.s3, self.settings.bucket, wanted, folder)
            report = corpus.check({part: data.examples for part, data in parts.items()}, wanted.get("labels"))
            _say_report(report)
            trained = self._train(wanted, parts, folder, checkpoints, shown, list(report.warnings))
            shown.phase(progress.UPLOADING)
            manifest = {
                **trained,
                "labels": list(report.labels),
                "data": {
                    part: data.source
                    | {"sentences": report.sentences[part], "entities": report.entities[part]}
                    for part, data in parts.items()
                },
            }
            return self._publish(wanted, manifest, self._reserve(record), folder)

    def _train(
        self,
        wanted: dict[str, Any],
        parts: dict[str, Part],
        folder: Path,
        checkpoints: Checkpoints,
        shown: Progress,
        warnings: list[str],
    ) -> dict[str, Any]:
        """Train the pipeline, evaluate, calibrate and pack it; returns what the manifest is to say of it."""
        import spacy

        from . import config, docs, package
        from .calibration import calibrate
        from .evaluate import evaluate, predicted
        from .train import require_device, train

        shown.phase(progress.TRAINING)
        gpu = require_device(wanted["device"])
        files = {part: folder / f"{part}.spacy" for part in parts}
        nlp = config.build(wanted, files["train"], files["dev"])
        for part, data in parts.items():
            warnings += docs.write(nlp, data.examples, files[part], data.where)
        self._warn(warnings)
        best = train(
            nlp.config,
            folder / "training",
            gpu,
            checkpoints,
            Timetable(**wanted["checkpoints"]),
            self.interruption,
            Watch(shown, nlp.config["training"]["max_steps"]),
        )
        shown.phase(progress.EVALUATING)
        on = "test" if "test" in parts else "dev"
        trained = spacy.load(best)
        dev = predicted(trained, files["dev"])
        held_out = dev if on == "dev" else predicted(trained, files[on])
        scores = evaluate(trained, held_out, on)
        _say(f"best on dev, on {on}: P {scores['p']:.3f}, R {scores['r']:.3f}, F {scores['f']:.3f}")
        calibration = calibrate(trained, dev, held_out, on)
        _say(" ".join(reliability.caption(calibration)).rstrip())
        package.pack(best, folder / names.ARTIFACT)
        return {
            "language": trained.lang,
            "scores": scores,
            "calibration": calibration,
            **package.environment(),
            "config": trained.config.to_str(),
        }

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

    def _publish(self, wanted: dict[str, Any], about: dict[str, Any], version: int, folder: Path) -> Model:
        """Upload the version, and register it once it is whole in S3: before that it is none."""
        name = wanted["name"]
        artifact, written = folder / names.ARTIFACT, folder / names.MANIFEST
        diagram = folder / names.RELIABILITY
        manifest = {
            "format": 1,
            "name": name,
            "version": version,
            "run": self.settings.run_id,
            "created": now(),
            "image": self.settings.image,
            "artifact": {
                "file": names.ARTIFACT,
                "sha256": publish.sha256_of(artifact),
                "bytes": artifact.stat().st_size,
            },
            "seed": wanted["seed"],
            "spec": wanted,
            **about,
        }
        written.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        label = names.model_label(name, version)
        diagram.write_text(reliability.diagram(label, about["calibration"]), encoding="utf-8")
        prefix = names.model_prefix(name, version)
        media_types = {artifact: "application/gzip", diagram: "image/svg+xml", written: "application/json"}
        for file, media_type in media_types.items():
            publish.upload(self.s3, self.settings.bucket, prefix + file.name, file, media_type)
        if not self.models.register(manifest):
            raise Superseded
        return manifest


def _say_report(report: corpus.Report) -> None:
    for part, sentences in report.sentences.items():
        counts = report.entities[part]
        labels = ", ".join(f"{label} {count}" for label, count in counts.items())
        _say(f"{part}: {sentences} sentences, {sum(counts.values())} entities ({labels})")


def _say(line: str) -> None:
    print(line, flush=True)


def _complain(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
