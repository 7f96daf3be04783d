"""What the trainer costs beyond spaCy's own training: its whole process beside the whole of `spacy train`.

Both train on the same sentences with the same config and seed, in turn, and must end with the same weights.
The trainer's time is all of its work: the record, fetching, checking, training, evaluating on test, packing,
uploading, reading back and registering. AWS is moto in the trainer's process; its set-up is not counted, its
answers are.
"""

import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
ROUNDS = 2
STEPS = 400
BAR = 1.10

ENVIRONMENT = os.environ | {
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "OMP_NUM_THREADS": "2",
    "OPENBLAS_NUM_THREADS": "2",
}


def measure() -> list[dict[str, Any]]:
    """The trainer's seconds over `spacy train`'s: the medians of rounds that alternate between the two."""
    corpora = Path(os.environ.get("NERFORGE_CORPORA", ROOT.parent / "shared" / "data")) / "wnut17"
    if not (corpora / "train.conll").is_file():
        raise SystemExit(f"no {corpora}/train.conll: set NERFORGE_CORPORA to a folder with wnut17/")
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _prepare(corpora, folder)
        for number in range(1, ROUNDS + 1):
            ours.append(_trainer(corpora, folder))
            theirs.append(_spacy_train(folder))
            print(
                f"round {number} of {ROUNDS}: trainer {ours[-1]:.1f} s, spacy train {theirs[-1]:.1f} s",
                flush=True,
            )
        if _digest(folder / "ours") != _digest(folder / "theirs"):
            raise SystemExit(
                "the trainer and `spacy train` made different weights: their times do not compare"
            )
    seconds, plain = statistics.median(ours), statistics.median(theirs)
    return [
        {
            "name": f"trainer / spacy train, WNUT17, {STEPS} steps",
            "ratio": round(seconds / plain, 3),
            "bar": BAR,
            "ok": seconds / plain <= BAR,
            "seconds": round(seconds, 2),
            "plain_seconds": round(plain, 2),
        }
    ]


def _prepare(corpora: Path, folder: Path) -> None:
    """The config and the .spacy files that `spacy train` is given, made by the trainer's own code."""
    sys.path[:0] = [str(HERE), str(ROOT / "containers" / "trainer"), str(_contract(folder))]
    from nerforge_contract import corpus
    from nerforge_trainer import config, docs

    nlp = config.build(_wanted({}), folder / "train.spacy", folder / "dev.spacy")
    nlp.config.to_disk(folder / "config.cfg")
    for part in ("train", "dev"):
        examples = corpus.read(corpora / f"{part}.conll", "conll", part)
        docs.write(nlp, examples, folder / f"{part}.spacy", part)


def _contract(folder: Path) -> Path:
    """A folder to import nerforge_contract from."""
    link = folder / "path" / "nerforge_contract"
    link.parent.mkdir(exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(ROOT / "plugins" / "module_utils" / "contract")
    return link.parent


def _wanted(data: dict[str, Any]) -> dict[str, Any]:
    from nerforge_contract import spec

    return spec.with_defaults({"name": "bench", "data": data, "hyperparameters": {"max_steps": STEPS}})


def _trainer(corpora: Path, folder: Path) -> float:
    command = [sys.executable, __file__, "--trainer", str(corpora), str(folder), repr(time.time())]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=ENVIRONMENT, text=True)
    return json.loads(result.stdout.splitlines()[-1])


def _spacy_train(folder: Path) -> float:
    config, output = folder / "config.cfg", folder / "theirs"
    began = time.time()
    subprocess.run(
        [sys.executable, "-m", "spacy", "train", config, "--output", output],
        check=True,
        stdout=subprocess.DEVNULL,
        env=ENVIRONMENT,
    )
    seconds = time.time() - began
    (output / "model-best").rename(folder / "done")
    subprocess.run(["rm", "-r", output], check=True)
    (folder / "done").rename(output)
    return seconds


def _digest(folder: Path) -> str:
    weights = [(folder / name / "model").read_bytes() for name in ("tok2vec", "ner")]
    return hashlib.sha256(b"".join(weights)).hexdigest()


def _train_in_this_process(corpora: Path, folder: Path, spawned: float) -> float:
    """Be the trainer; returns its seconds since it was spawned, less those that moto's set-up took."""
    sys.path[:0] = [str(ROOT / "containers" / "trainer"), str(_contract(folder))]
    from nerforge_trainer.__main__ import main

    ready = time.time()
    import boto3
    from moto import mock_aws
    from nerforge_contract import names, ulid
    from nerforge_contract.runs import Runs

    with mock_aws():
        s3, tables = boto3.client("s3"), boto3.resource("dynamodb")
        s3.create_bucket(Bucket="bench")
        for table, keys in (("runs", ["run_id"]), ("models", ["name", "item"])):
            tables.create_table(
                TableName=table,
                BillingMode="PAY_PER_REQUEST",
                KeySchema=[
                    {"AttributeName": key, "KeyType": kind}
                    for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)
                ],
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            )
        data = {}
        for part in ("train", "dev", "test"):
            content = (corpora / f"{part}.conll").read_bytes()
            sha256 = hashlib.sha256(content).hexdigest()
            key = names.dataset_key(sha256, ".conll")
            s3.put_object(Bucket="bench", Key=key, Body=content)
            data[part] = {"from": f"{part}.conll", "key": key, "sha256": sha256, "format": "conll"}
        runs, run_id = Runs(tables.Table("runs")), ulid.new()
        runs.create(run_id, _wanted(data))
        runs.claim(run_id, 1)
        os.environ.update(
            {
                names.ENV_RUN: run_id,
                names.ENV_ATTEMPT: "1",
                names.ENV_BUCKET: "bench",
                names.ENV_RUNS_TABLE: "runs",
                names.ENV_MODELS_TABLE: "models",
            }
        )
        began = time.time()
        code = main()
        ended = time.time()
        if code:
            raise SystemExit(code)
        _unpack(
            s3.get_object(Bucket="bench", Key=names.model_prefix("bench", 1) + names.ARTIFACT),
            folder / "ours",
        )
    return (ready - spawned) + (ended - began)


def _unpack(artifact: dict[str, Any], folder: Path) -> None:
    import io
    import tarfile

    with tarfile.open(fileobj=io.BytesIO(artifact["Body"].read())) as archive:
        archive.extractall(folder, filter="data")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--trainer"]:
        print(json.dumps(_train_in_this_process(Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]))))
    else:
        for row in measure():
            print(json.dumps(row))
