"""Training itself, from the config to the folder of the best pipeline; it may be interrupted and go on."""

import hashlib
import json
import platform
import time
from dataclasses import dataclass
from pathlib import Path

from nerforge_contract.errors import UserError
from spacy.training.initialize import init_nlp
from thinc.api import Config, require_gpu

from . import package
from .checkpoint import ERRORS, Checkpoints, Timetable
from .curve import Point
from .interruption import Interruption
from .loop import Training
from .publish import sha256_of
from .transformer import ENCODER
from .watch import Watch

_OWN_PATHS = {"train", "dev", "transformer"}  # of [paths]: they differ from attempt to attempt


@dataclass(frozen=True)
class Trained:
    """A training that has come to its end.

    Parameters
    ----------
    best:
        The folder of the pipeline that scored best on dev.
    curve:
        The learning curve, of all attempts.
    seconds:
        What all attempts spent on it, but for what was lost between a save and going on from it.
    """

    best: Path
    curve: list[Point]
    seconds: float


def require_device(device: str) -> int:
    """Make spaCy use the spec's ``device``; returns the GPU's number, or -1 for the CPU.

    Raises UserError where a GPU is asked for and none can be used.
    """
    if device == "cpu":
        return -1
    try:
        require_gpu(0)
    except Exception as error:  # cupy missing, no driver, no device: all of them mean no GPU
        raise UserError(
            f"gpu is asked for, and no GPU can be used: {' '.join(str(error).split())}",
            "device",
            "Set device: cpu; or deploy with gpu_max_instances above 0: "
            "the training stack then has GPU instances, and the trainer's image CUDA",
        ) from None
    return 0


def train(
    config: Config,
    folder: Path,
    gpu: int,
    checkpoints: Checkpoints,
    timetable: Timetable,
    interruption: Interruption,
    watch: Watch,
) -> Trained:
    """Train a pipeline, or go on with that.

    Parameters
    ----------
    config:
        A whole training config.
    folder:
        The training's own; made here.
    gpu:
        The GPU's number, or -1 for the CPU.
    checkpoints, timetable:
        Where to save, and when.
    interruption:
        Once it has seen a signal, the training is saved, and `Interrupted` raised.
    watch:
        Is told of all; what it raises passes through.
    """
    folder.mkdir()
    mark = _fingerprint(config, gpu)
    checkpoint = checkpoints.restore(folder, mark)
    nlp = init_nlp(config, use_gpu=gpu)
    training = Training(nlp, folder)
    # The model that is saved must train again anywhere, and have the same bytes wherever it was trained.
    nlp.config["paths"].update(dict.fromkeys(_OWN_PATHS & nlp.config["paths"].keys()))
    if checkpoint:
        training.restore()
        watch.resumed(checkpoint)

    def stop() -> bool:
        watch.alive()
        return interruption.seen is not None

    with interruption.held():
        for step in training.steps(stop):
            watch.did(step)
            stopped = interruption.seen is not None
            if stopped or timetable.is_due(step.number):
                began = time.monotonic()
                _save(training, folder, mark, checkpoints, watch)
                timetable.saved(time.monotonic() - began)
            if stopped:
                break
    interruption.check()
    _sort_meta(training.best / "meta.json")
    return Trained(training.best, training.curve, round(training.seconds, 1))


def _save(
    training: Training, folder: Path, mark: dict[str, str], checkpoints: Checkpoints, watch: Watch
) -> None:
    try:
        training.save()
        checkpoint = checkpoints.save(folder, mark, training.step)
    except ERRORS as error:
        print(f"step {training.step} was not saved: {error}", flush=True)
        return
    watch.saved(checkpoint)
    checkpoints.prune()


def _fingerprint(config: Config, gpu: int) -> dict[str, str]:
    """What two trainings must share for one to go on from the other, by the words that users have for it.

    The paths of the data do not count, but what lies there.
    """
    portable, paths = config.copy(), config["paths"]
    portable["paths"].update(dict.fromkeys(_OWN_PATHS & portable["paths"].keys()))
    transformer = paths.get("transformer")
    versions = package.environment()["libraries"]
    del versions["boto3"]
    return {
        "config": hashlib.sha256(portable.to_str(interpolate=False).encode()).hexdigest(),
        "train data": sha256_of(Path(paths["train"])),
        "dev data": sha256_of(Path(paths["dev"])),
        **({"transformer": sha256_of(Path(transformer, ENCODER))} if transformer else {}),
        "device": "cpu" if gpu < 0 else "gpu",
        "Python": ".".join(platform.python_version_tuple()[:2]),
        **versions,
    }


def _sort_meta(path: Path) -> None:
    """spaCy writes the scores by label in the order of a set, which another process does not share."""
    meta = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(meta, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
