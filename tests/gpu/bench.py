"""Train WikiGold on a GPU and on the CPU by the trainer's own code; prints speed and F of both.

``make bench-gpu`` runs it, on a machine with an NVIDIA driver, in an environment made of the GPU image's lock
file. ``--transformer ARCHIVE.tar`` fine-tunes that in place of the CNN, ``--devices cpu`` leaves the GPU out.
Exits 1 if a GPU is asked for and none can be used, or if its F is more than 0.03 below the CPU's.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where support is

from support import paths

paths.put()
CORPUS = "wikigold/wikigold.conll"
TOLERANCE = 0.03  # of F: what another order of additions may change in a training of this length
COLUMNS = ("device", "words/s trained", "seconds", "words/s read", "F on test")


def main() -> int:
    wanted = _arguments()
    if wanted.device:
        print(json.dumps(measure(wanted.corpus, wanted.device, wanted.steps, wanted.transformer)))
        return 0
    found = {}
    for device in wanted.devices:
        # A process of its own for each: spaCy keeps to the device that it was given first.
        command = [sys.executable, __file__, *sys.argv[1:], "--device", device]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            return 1
        found[device] = json.loads(done.stdout.splitlines()[-1])
    print("  ".join(COLUMNS))
    for device, row in found.items():
        cells = (device, *(f"{row[column]:,}" for column in COLUMNS[1:]))
        print("  ".join(cell.rjust(len(column)) for cell, column in zip(cells, COLUMNS, strict=True)))
    f = {device: row["F on test"] for device, row in found.items()}
    return 1 if len(f) == 2 and f["gpu"] < f["cpu"] - TOLERANCE else 0


def measure(corpus: Path, device: str, steps: int, archive: Path | None) -> dict[str, Any]:
    """Train on one device; returns the row of the table.

    Parameters
    ----------
    corpus:
        CoNLL, of which the first 80 % of the sentences are for train, 10 % for dev and 10 % for test.
    device:
        ``cpu`` or ``gpu``; UserError where there is no GPU.
    steps:
        How many.
    archive:
        The transformer's tar; None: a CNN.
    """
    from nerforge_contract import corpus as corpora
    from nerforge_contract import spec
    from nerforge_trainer import config, docs, evaluate, transformer
    from nerforge_trainer.loop import Training
    from nerforge_trainer.train import require_device
    from spacy import load
    from spacy.training.initialize import init_nlp

    given = {"name": "wikigold", "data": {}, "device": device, "hyperparameters": {"max_steps": steps}}
    wanted = spec.with_defaults(given | ({"transformer": {"from": archive.name}} if archive else {}))
    gpu = require_device(device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        examples = corpora.read(corpus, "conll", corpus.name, "en")
        parts = dict(zip(("train", "dev", "test"), corpora.split(examples, [80, 10, 10]), strict=True))
        files = {part: folder / f"{part}.spacy" for part in parts}
        made = transformer.prepare(archive, archive.name, folder / "transformer") if archive else None
        nlp = config.build(wanted, files["train"], files["dev"], made)
        for part, held in parts.items():
            docs.write(nlp, held, files[part], part)
        (folder / "training").mkdir()
        training = Training(init_nlp(nlp.config, use_gpu=gpu), folder / "training")
        began, words = time.monotonic(), 0
        for step in training.steps(lambda: False):
            words = step.words
            if step.evaluation:
                print(
                    f"{device}: step {step.number} of {steps}, F {step.evaluation.score:.3f}", file=sys.stderr
                )
        seconds = time.monotonic() - began
        best = load(training.best)
        tested = evaluate.predicted(best, files["test"])
        return {
            "words/s trained": round(words / seconds),
            "seconds": round(seconds, 1),
            "words/s read": round(evaluate.speed(best, tested)["words_per_second"]),
            "F on test": evaluate.evaluate(best, tested, "test")["f"],
        }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    corpora = Path(os.environ.get("NERFORGE_CORPORA", "."))
    parser.add_argument("--corpus", type=Path, default=corpora / CORPUS, help="a CoNLL file")
    parser.add_argument("--transformer", type=Path, help="the archive of the transformer to fine-tune")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--devices", nargs="+", choices=("gpu", "cpu"), default=["gpu", "cpu"])
    parser.add_argument("--device", choices=("gpu", "cpu"), help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if not wanted.corpus.is_file():
        parser.error(f"there is no {wanted.corpus}: name a CoNLL file, or its folder in NERFORGE_CORPORA")
    return wanted


if __name__ == "__main__":
    sys.exit(main())
