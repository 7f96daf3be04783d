"""Runs that fine-tune a transformer, from the spec to what a server answers: all but the GPU.

Cases: a BERT, with safetensors, whose artifact a server answers with; the same with mixed precision; a
RoBERTa, as PyTorch pickles it; an attempt that goes on where another was stopped, and ends with the same
bytes; weights of another model; a full config with a transformer, and one that asks a hub.
"""

import contextlib
import io
import os
import signal
import sys
import tarfile

import pytest
import spacy
import trainer_account as account
from nerforge_contract import names, states
from nerforge_trainer import package
from nerforge_trainer.attempt import Attempt
from nerforge_trainer.interruption import Interrupted, Interruption
from nerforge_trainer.watch import Watch
from support import serving
from support import transformer_archives as archives

TEXT = "Ada travelled from Rome to New Oslo ."
HYPERPARAMETERS = {"max_steps": 60, "eval_frequency": 20, "learn_rate": 0.003, "batch_words": [60, 60]}


@pytest.fixture(scope="session")
def bert():
    """The files of a BERT that knows the corpus's words."""
    return archives.bert(["travelled", "from", "to", "New", *account.PEOPLE, *account.PLACES])


@pytest.fixture
def start(aws, conll):
    """Submit a spec with an archive of these files; returns what its first attempt is told."""

    def start(files, **fields):
        source = aws.put("people.conll", conll)
        archive = aws.put("tiny.tar", archives.tarred(files), format="tar")
        wanted = {
            "name": "people",
            "data": {"train": source, "dev": source},
            "transformer": archive,
            "hyperparameters": HYPERPARAMETERS,
            "seed": 7,
        } | fields
        if "config" in wanted:
            del wanted["hyperparameters"]
        return aws.start(wanted)

    return start


@pytest.fixture
def attempt(aws):
    """Do the attempt that settings name; returns the exit code."""

    def attempt(settings):
        interruption = Interruption()
        interruption.listen()
        return Attempt(settings, aws.runs, aws.models, aws.s3, interruption).run()

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield attempt
    for number, handler in before.items():
        signal.signal(number, handler)


def artifact(aws, version=1):
    return aws.read(names.model_prefix("people", version) + names.ARTIFACT)


def unpacked(content, folder):
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@contextlib.contextmanager
def serving_two_workers(content, folder):
    """A server of this artifact, ready."""
    s3 = serving.AWS(content)
    server = serving.Server(serving.environment_of(content) | {"NERFORGE_WORKERS": "2"}, s3.url, folder)
    try:
        server.wait_ready()
        yield server
    finally:
        server.kill()
        s3.close()


def reason(aws, settings):
    return aws.runs.get(settings.run_id).get("reason")


def test_a_bert_is_fine_tuned_and_served_without_its_archive(aws, start, attempt, bert, tmp_path):
    settings = start(bert)
    assert attempt(settings) == states.EXIT_DONE, reason(aws, settings)

    manifest = aws.manifest("people", 1)
    assert manifest["scores"]["f"] > 0.7
    assert {"torch", "spacy-curated-transformers"} <= manifest["libraries"].keys()
    made = artifact(aws)
    nlp = spacy.load(unpacked(made, tmp_path / "model"))
    assert nlp.pipe_names == ["transformer", "ner"]
    assert nlp.config["paths"]["transformer"] is None  # wherever it was trained, the same bytes
    assert nlp.config["components"]["transformer"]["model"]["mixed_precision"] is False
    expected = [(entity.text, entity.label_) for entity in nlp(TEXT).ents]
    assert ("Rome", "LOC") in expected

    with serving_two_workers(made, tmp_path / "server") as server:
        status, __, about = server.request("GET", "/model")
        assert (status, about["engine"]) == (200, "spacy")
        texts = [TEXT, " ", "", "\n\n", "word " * 500]
        for __ in range(4):  # both workers
            status, __, answer = server.request("POST", "/ner", {"texts": texts})
            assert status == 200
            found = [[(e["text"], e["tag"]) for e in result["entities"]] for result in answer["results"]]
            assert found[:4] == [expected, [], [], []]


def test_a_pipeline_of_mixed_precision_is_served_on_a_cpu(aws, start, attempt, bert, tmp_path):
    """One as a trainer on a GPU writes it; on a CPU none trains so."""
    settings = start(bert)
    assert attempt(settings) == states.EXIT_DONE, reason(aws, settings)
    model = unpacked(artifact(aws), tmp_path / "model")
    expected = [(entity.text, entity.label_) for entity in spacy.load(model)(TEXT).ents]
    config = spacy.util.load_config(model / "config.cfg")
    config["components"]["transformer"]["model"]["mixed_precision"] = True
    config.to_disk(model / "config.cfg")
    package.pack(model, tmp_path / "model.tar.gz")

    with serving_two_workers((tmp_path / "model.tar.gz").read_bytes(), tmp_path / "server") as server:
        status, __, answer = server.request("POST", "/ner", {"texts": [TEXT]})
    assert status == 200
    assert [(e["text"], e["tag"]) for e in answer["results"][0]["entities"]] == expected != []


def test_a_roberta_is_fine_tuned(aws, start, attempt, tmp_path):
    settings = start(
        archives.roberta(), hyperparameters=HYPERPARAMETERS | {"max_steps": 2, "eval_frequency": 1}
    )
    assert attempt(settings) == states.EXIT_DONE, reason(aws, settings)
    nlp = spacy.load(unpacked(artifact(aws), tmp_path / "model"))
    pieces = nlp.get_pipe("transformer").model.get_ref("piece_encoder").predict([nlp.make_doc("é New")])[0]
    assert pieces.lengths.tolist() == [1, 2, 4, 1]  # é is two bytes; a word in a sentence has its space


def test_an_interrupted_run_ends_with_the_bytes_of_one_that_was_not(aws, start, attempt, bert, monkeypatch):
    whole = start(bert)
    assert attempt(whole) == states.EXIT_DONE, reason(aws, whole)

    broken = start(bert)
    did = Watch.did

    def did_and_stopped(self, step):
        did(self, step)
        if step.number == 33:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Watch, "did", did_and_stopped)
        attempt(broken)
    aws.runs.next_attempt(broken.run_id, 1)
    again = type(broken)(**{**vars(broken), "attempt": 2})
    assert attempt(again) == states.EXIT_DONE, reason(aws, again)
    assert artifact(aws, 2) == artifact(aws, 1)


def test_weights_of_another_model_fail_the_run(aws, start, attempt, bert):
    settings = start(
        {
            **bert,
            "config.json": bert["config.json"].replace(b'"num_hidden_layers": 2', b'"num_hidden_layers": 3'),
        }
    )
    assert attempt(settings) == states.EXIT_WRONG_INPUT
    assert "2 layers, and config.json says [" in reason(aws, settings)
    assert reason(aws, settings).startswith("transformer: tiny.tar: ")


CONFIG = """
[paths]
train = null
dev = null

[system]
seed = 0
gpu_allocator = null

[nlp]
lang = "xx"
pipeline = ["encoder", "ner"]

[components]

[components.encoder]
factory = "curated_transformer"

[components.encoder.model]
@architectures = "spacy-curated-transformers.BertTransformer.v1"
vocab_size = {vocab_size}
hidden_width = 32
intermediate_width = 64
max_position_embeddings = 64
model_max_length = 64
num_attention_heads = 2
num_hidden_layers = 2
padding_idx = 0

[components.encoder.model.piece_encoder]
@architectures = "spacy-curated-transformers.BertWordpieceEncoder.v1"

[components.encoder.model.with_spans]
@architectures = "spacy-curated-transformers.WithStridedSpans.v1"
window = 64
stride = 48

[components.ner]
factory = "ner"

[components.ner.model]
@architectures = "spacy.TransitionBasedParser.v2"
state_type = "ner"
extra_state_tokens = false
hidden_width = 32
maxout_pieces = 2
use_upper = false

[components.ner.model.tok2vec]
@architectures = "spacy-curated-transformers.LastTransformerLayerListener.v1"
width = 32
pooling = {{"@layers":"reduce_mean.v1"}}

[corpora]

[corpora.train]
@readers = "spacy.Corpus.v1"
path = ${{paths.train}}

[corpora.dev]
@readers = "spacy.Corpus.v1"
path = ${{paths.dev}}

[training]
max_steps = 2
eval_frequency = 1
"""
HUB = """
[initialize]

[initialize.components]

[initialize.components.encoder]

[initialize.components.encoder.encoder_loader]
@model_loaders = "spacy-curated-transformers.HFTransformerEncoderLoader.v1"
name = "bert-base-cased"
"""


def config(bert):
    return CONFIG.format(vocab_size=bert["vocab.txt"].count(b"\n") + 1)


def test_a_full_config_s_transformer_comes_from_the_archive_too(aws, start, attempt, bert):
    settings = start(bert, config=config(bert) + HUB)
    assert attempt(settings) == states.EXIT_DONE, reason(aws, settings)


@pytest.mark.parametrize(
    "hub",
    [
        HUB,
        HUB.replace("components.encoder]", "components.encoder]\npiecer_loader = null"),
        HUB.replace("components.encoder", "components.another"),
    ],
)
def test_a_hub_is_never_asked(aws, conll, attempt, bert, hub):
    source = aws.put("people.conll", conll)
    data = {"train": source, "dev": source}
    settings = aws.start({"name": "people", "data": data, "config": config(bert) + hub})
    assert attempt(settings) == states.EXIT_WRONG_INPUT
    assert "come from a hub" in reason(aws, settings)
    assert "transformers" not in sys.modules
