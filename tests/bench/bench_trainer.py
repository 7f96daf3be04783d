"""What the trainer costs beyond spaCy's own training: its whole process beside the whole of `spacy train`.

Both train on the same sentences with the same config and seed, and must end with the same weights. They run
at the same time, a core each, so that whatever else the machine does slows both.

The trainer's time is all of its work: the record, fetching, checking, training, evaluating on test, packing,
uploading, reading back and registering. AWS is moto in the trainer's process; its set-up is not counted, its
answers are.
"""

import hashlib
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
PARTS = ("train", "dev", "test")
ROUNDS = 1
STEPS = 2000  # what the trainer adds is seconds, whatever the steps: a length that people train for
BAR = 1.10
ENVIRONMENT = os.environ | {
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}

Seconds = dict[str, float]  # "wall" and "cpu"


def measure() -> list[dict[str, Any]]:
    """The trainer's wall and CPU seconds over those of `spacy train`: medians of the rounds."""
    corpora = wnut17()
    ours: list[Seconds] = []
    theirs: list[Seconds] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        import_from_here(folder)
        _prepare(corpora, folder)
        for number in range(1, ROUNDS + 1):
            _side_by_side(corpora, folder, ours, theirs)
            print(f"round {number} of {ROUNDS}: trainer {ours[-1]}, spacy train {theirs[-1]}", flush=True)
        if _weights(folder / "ours") != _weights(folder / "theirs" / "model-best"):
            raise SystemExit(
                "the trainer and `spacy train` made different weights: their times do not compare"
            )
    return [_compared(kind, ours, theirs) for kind in ("wall", "cpu")]


def wnut17() -> Path:
    """The folder of the corpus."""
    folder = Path(os.environ.get("NERFORGE_CORPORA", ROOT.parent / "shared" / "data")) / "wnut17"
    if not (folder / "train.conll").is_file():
        raise SystemExit(f"no {folder}/train.conll: set NERFORGE_CORPORA to a folder with wnut17/")
    return folder


def _compared(kind: str, ours: list[Seconds], theirs: list[Seconds]) -> dict[str, Any]:
    seconds, plain = (statistics.median(each[kind] for each in times) for times in (ours, theirs))
    return {
        "name": f"trainer / spacy train, {kind} time, WNUT17, {STEPS} steps",
        "ratio": round(seconds / plain, 3),
        "bar": BAR,
        "ok": seconds / plain <= BAR,
        "seconds": round(seconds, 2),
        "plain_seconds": round(plain, 2),
    }


def import_from_here(folder: Path) -> None:
    """Put the trainer on the path, and the contract under the name that its copy in the image has."""
    link = folder / "path" / "nerforge_contract"
    if not link.is_symlink():
        link.parent.mkdir()
        link.symlink_to(ROOT / "plugins" / "module_utils" / "contract")
    sys.path[:0] = [str(link.parent), *(str(ROOT / "containers" / name) for name in ("engine", "trainer"))]


def _prepare(corpora: Path, folder: Path) -> None:
    """The config and the .spacy files for `spacy train`, made by the trainer's own code."""
    from nerforge_contract import corpus
    from nerforge_trainer import config, docs

    nlp = config.build(_wanted({}), folder / "train.spacy", folder / "dev.spacy")
    nlp.config.to_disk(folder / "config.cfg")
    for part in ("train", "dev"):
        examples = corpus.read(corpora / f"{part}.conll", "conll", part)
        docs.write(nlp, examples, folder / f"{part}.spacy", part)


def _wanted(data: dict[str, Any], **fields: Any) -> dict[str, Any]:
    from nerforge_contract import spec

    wanted = {"name": "bench", "data": data, "hyperparameters": {"max_steps": STEPS}}
    return spec.with_defaults(wanted | fields)


def _weights(folder: Path) -> str:
    weights = [(folder / name / "model").read_bytes() for name in ("tok2vec", "ner")]
    return hashlib.sha256(b"".join(weights)).hexdigest()


# --- the two processes ---


def _side_by_side(corpora: Path, folder: Path, ours: list[Seconds], theirs: list[Seconds]) -> None:
    began = time.time()
    trainer = subprocess.Popen(
        [sys.executable, __file__, "--trainer", corpora, folder, repr(began)],
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
        text=True,
    )
    plain = subprocess.Popen(
        [sys.executable, "-m", "spacy", "train", folder / "config.cfg", "--output", folder / "theirs"],
        stdout=subprocess.DEVNULL,
        env=ENVIRONMENT,
    )
    try:
        __, status, usage = os.wait4(plain.pid, 0)
        plain.returncode = os.waitstatus_to_exitcode(status)
        theirs.append(_seconds(time.time() - began, usage.ru_utime + usage.ru_stime))
        printed = trainer.communicate()[0]
    finally:
        trainer.kill()
        plain.kill()
    if plain.returncode or trainer.returncode:
        raise SystemExit(f"spacy train ended with {plain.returncode}, the trainer with {trainer.returncode}")
    ours.append(json.loads(printed.splitlines()[-1]))


def _be_the_trainer(corpora: Path, folder: Path, spawned: float) -> Seconds:
    """The seconds of this process from its start to the run's end, less those that moto's set-up takes."""
    import_from_here(folder)
    from nerforge_trainer.__main__ import main

    wall, cpu = time.time() - spawned, _cpu()
    from moto import mock_aws
    from nerforge_contract import names

    with mock_aws():
        s3 = submit(corpora)
        began, used = time.time(), _cpu()
        code = main()
        wall, cpu = wall + time.time() - began, cpu + _cpu() - used
        if code:
            raise SystemExit(code)
        model = s3.get_object(Bucket="bench", Key=names.model_prefix("bench", 1) + names.ARTIFACT)
        with tarfile.open(fileobj=io.BytesIO(model["Body"].read())) as archive:
            archive.extractall(folder / "ours", filter="data")
    return _seconds(wall, cpu)


def submit(corpora: Path, **fields: Any) -> Any:
    """Make bucket, tables and a claimed run, and set the trainer's environment; returns the S3 client.

    ``fields`` are those of the spec that are to be other than the default.
    """
    import boto3
    from nerforge_contract import names, ulid
    from nerforge_contract.runs import Runs

    s3, tables = boto3.client("s3"), boto3.resource("dynamodb")
    s3.create_bucket(Bucket="bench")
    for table, keys in (("runs", ["run_id"]), ("models", ["name", "item"])):
        schema = zip(keys, ("HASH", "RANGE"), strict=False)
        tables.create_table(
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in schema],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        )
    data = {}
    for part in PARTS:
        content = (corpora / f"{part}.conll").read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        key = names.dataset_key(sha256, ".conll")
        s3.put_object(Bucket="bench", Key=key, Body=content)
        data[part] = {"from": f"{part}.conll", "key": key, "sha256": sha256, "format": "conll"}
    runs, run_id = Runs(tables.Table("runs")), ulid.new()
    runs.create(run_id, _wanted(data, **fields))
    runs.claim(run_id, 1)
    os.environ |= {
        names.ENV_RUN: run_id,
        names.ENV_ATTEMPT: "1",
        names.ENV_BUCKET: "bench",
        names.ENV_RUNS_TABLE: "runs",
        names.ENV_MODELS_TABLE: "models",
    }
    return s3


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _seconds(wall: float, cpu: float) -> Seconds:
    return {"wall": round(wall, 2), "cpu": round(cpu, 2)}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--trainer"]:
        print(json.dumps(_be_the_trainer(Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]))))
    else:
        for row in measure():
            print(json.dumps(row))
