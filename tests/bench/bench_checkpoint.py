"""What checkpoints cost: the share of a training's time that goes into them at the default interval.

The trainer's process trains the default model on WNUT17, with every second of saving counted: writing the
state, packing it, uploading and verifying it, the run's record, removing old ones. Beside it, on another
core, the same training makes no checkpoint; both must end with the same bytes.

AWS is moto in each process, so the share is without a network. What slow ones add is bounded by the
timetable, which stretches the interval to fifty times what a save took (a unit test shows it).
"""

import functools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench_trainer import ENVIRONMENT, STEPS, import_from_here, submit, wnut17

BAR = 0.02
NEVER = 10**9  # seconds


def measure() -> list[dict[str, Any]]:
    """Seconds of saving over seconds of training."""
    corpus = wnut17()
    started = [
        subprocess.Popen(
            [sys.executable, __file__, "--train", corpus, *every],
            stdout=subprocess.PIPE,
            env=ENVIRONMENT,
            text=True,
        )
        for every in ((), (str(NEVER),))
    ]
    try:
        saved, plain = (json.loads(each.communicate()[0].splitlines()[-1]) for each in started)
    finally:
        for each in started:
            each.kill()
    print(f"with checkpoints {saved}, without {plain}", flush=True)
    if saved["sha256"] != plain["sha256"]:
        raise SystemExit("checkpoints changed the model")
    if len(saved["saves"]) < 2 or plain["saves"]:
        raise SystemExit("too few checkpoints, or too many, to tell what they cost")
    ratio = sum(saved["saves"]) / saved["training"]
    return [
        {
            "name": f"saving / training time, default interval, WNUT17, {STEPS} steps",
            "ratio": round(ratio, 4),
            "bar": BAR,
            "ok": ratio <= BAR,
            "seconds_a_save": saved["saves"],
            "bytes": saved["bytes"],
            "training_seconds": saved["training"],
            "training_seconds_without": plain["training"],
        }
    ]


def _train(corpus: Path, every: dict[str, int]) -> dict[str, Any]:
    """Be the trainer; returns the seconds of each save and of the training, and the model's sha256."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        import_from_here(Path(folder))
        import boto3
        from moto import mock_aws
        from nerforge_contract.models import Models
        from nerforge_trainer import train
        from nerforge_trainer.__main__ import main
        from nerforge_trainer.loop import Training

        saves: list[float] = []
        training: list[float] = []
        sizes: list[int] = []

        def timed(call: Any, seconds: list[float]) -> Any:
            @functools.wraps(call)
            def wrapper(*args: Any) -> Any:
                began = time.monotonic()
                answer = call(*args)
                seconds.append(round(time.monotonic() - began, 3))
                return answer

            return wrapper

        steps = Training.steps

        def timed_steps(self: Training, stop: Any) -> Any:
            began = time.monotonic()
            yield from steps(self, stop)
            training.append(round(time.monotonic() - began, 1))

        watched = train.Watch.saved
        train.Watch.saved = lambda self, about: (sizes.append(about["bytes"]), watched(self, about))
        train._save = timed(train._save, saves)
        Training.steps = timed_steps
        with mock_aws():
            submit(corpus, checkpoints=every)
            if code := main():
                raise SystemExit(code)
            versions, __ = Models(boto3.resource("dynamodb").Table("models")).all()
        return {
            "saves": saves,
            "training": training[0],
            "bytes": max(sizes, default=0),
            "sha256": versions[0]["sha256"],
        }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--train"]:
        every = {"every_seconds": int(sys.argv[3])} if sys.argv[3:] else {}
        print(json.dumps(_train(Path(sys.argv[2]), every)))
    else:
        for row in measure():
            print(json.dumps(row))
