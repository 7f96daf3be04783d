"""Training itself: spaCy's own, as `spacy train` does it."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import spacy
from nerforge_contract.errors import UserError
from spacy.language import Language
from spacy.training import loop
from spacy.training.initialize import init_nlp
from thinc.api import Config

LOGGER = "nerforge.ProgressLogger.v1"

Info = dict[str, Any]
OnStep = Callable[[int, Info | None], None]


def require_device(device: str) -> int:
    """Make spaCy use the spec's ``device``; returns the GPU's number, or -1 for the CPU.

    Raises UserError where a GPU is asked for and none can be used.
    """
    if device == "cpu":
        return -1
    try:
        spacy.require_gpu(0)
    except Exception as error:  # cupy missing, no driver, no device: all of them mean no GPU
        raise UserError(
            f"gpu is asked for, and no GPU can be used: {' '.join(str(error).split())}",
            "device",
            "Set device: cpu; or deploy with gpu_max_instances above 0: "
            "the training stack then has GPU instances, and the trainer's image CUDA",
        ) from None
    return 0


def train(config: Config, folder: Path, gpu: int, on_step: OnStep) -> Path:
    """Train a pipeline; returns the folder of the one that scored best on dev.

    Parameters
    ----------
    config:
        A whole training config.
    folder:
        Where spaCy saves its pipelines; made here.
    gpu:
        The GPU's number, or -1 for the CPU.
    on_step:
        Called after each step with its number and, where dev was evaluated, spaCy's info, else None.
    """
    nlp = init_nlp(config, use_gpu=gpu)
    _report_to(nlp, on_step)
    folder.mkdir()
    loop.train(nlp, folder, use_gpu=gpu, stdout=io.StringIO(), stderr=io.StringIO())
    best = folder / loop.DIR_MODEL_BEST
    _sort_meta(best / "meta.json")
    return best


def _sort_meta(path: Path) -> None:
    """spaCy writes the scores by label in the order of a set, which another process does not share."""
    meta = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(meta, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def _report_to(nlp: Language, on_step: OnStep) -> None:
    """Put our logger into the config until training begins.

    Then the config is as it was, and without the paths of this run: the model that is saved must train again
    anywhere, and have the same bytes wherever it was trained.
    """
    training, paths = nlp.config["training"], nlp.config["paths"]
    logger = training["logger"]

    def begin(*_: Any) -> tuple[Callable[[Info | None], None], Callable[[], None]]:
        training["logger"] = logger
        paths.update(train=None, dev=None)
        step = -1

        def log_step(info: Info | None) -> None:
            nonlocal step
            step += 1
            on_step(step, info)

        return log_step, lambda: None

    spacy.registry.loggers.register(LOGGER, func=lambda: begin)
    training["logger"] = {"@loggers": LOGGER}
