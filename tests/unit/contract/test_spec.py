"""Specs: what is accepted, what a wrong one is told, and the defaults."""

import copy
import json

import jsonschema
import pytest
from nerforge_contract import spec as specs
from nerforge_contract.errors import UserError

GOOD = {"name": "people", "data": {"train": "train.conll", "dev": "dev.conll"}}
SHA = "0" * 64


def changed(**fields):
    return copy.deepcopy(GOOD) | fields


def test_the_schema_itself_is_valid_and_describes_every_field():
    schema = specs.schema()
    jsonschema.Draft202012Validator.check_schema(schema)

    def undescribed(part, path=""):
        for field, inner in part.get("properties", {}).items():
            if "$ref" not in inner and not inner.get("description"):
                yield f"{path}{field}"
            for rest in (inner.get("items"), inner.get("additionalProperties")):
                if rest and not rest.get("description"):
                    yield f"{path}{field}[]"
            yield from undescribed(inner, f"{path}{field}.")
            for form in inner.get("oneOf", ()):
                yield from undescribed(form, f"{path}{field}.")

    assert list(undescribed(schema)) == []


@pytest.mark.parametrize(
    "good",
    [
        GOOD,
        changed(data={"all": {"from": "s3://bucket/all.jsonl"}, "split": [80, 10, 10]}),
        changed(data={"train": {"from": "https://example.com/a.conll", "sha256": SHA}, "dev": "b.spacy"}),
        changed(device="gpu", resources={"gpus": 2, "spot": True}),
        changed(config="full.cfg", seed=4),
        changed(transformer="s3://bucket/roberta.tar", device="gpu"),
        changed(transformer={"from": "https://example.com/a.tar", "sha256": SHA}, config="full.cfg"),
        changed(labels=["PER", "ORG"], gate={"min_f": 0.5, "labels": {"PER": 0.7}}),
        changed(data={"train": "a folder/with spaces.conll", "dev": "C:/data/dev.conll"}),
        changed(checkpoints={"every_seconds": 1, "every_steps": 1}),
    ],
)
def test_good_specs_pass_with_and_without_defaults(good):
    specs.validate(good)
    specs.validate(specs.with_defaults(good))


WRONG = [
    # unknown fields
    (changed(lables=["PER"]), "lables", "unknown field", "Did you mean labels?"),
    (changed(max_steps=10), "max_steps", "unknown field", "Did you mean hyperparameters.max_steps?"),
    (changed(resources={"gpu": 1}), "resources.gpu", "unknown field", "Did you mean gpus?"),
    (
        changed(checkpoints={"every_step": 9}),
        "checkpoints.every_step",
        "unknown field",
        "Did you mean every_steps?",
    ),
    (changed(zzz=1), "zzz", "unknown field", "The fields here are name, language, data"),
    (
        changed(data={"trian": "a.conll", "dev": "b.conll"}),
        "data.trian",
        "unknown field",
        "Did you mean train?",
    ),
    (
        changed(data={"train": {"from": "a.conll", "sha": SHA}, "dev": "b"}),
        "data.train.sha",
        "unknown field",
        "Did you mean sha256?",
    ),
    (
        changed(data={"train": "a.conll", "dev": "b.conll", "split": [80, 10, 10]}),
        "data.split",
        "does not go with train and dev",
        "Give either train, dev and perhaps test, or all and split.",
    ),
    # missing fields
    ({"data": GOOD["data"]}, "name", "missing", "The model's name"),
    ({"name": "people"}, "data", "missing", "train and dev"),
    (changed(data={"train": "a.conll"}), "data.dev", "missing", "A file of examples"),
    (changed(data={"all": "a.conll"}), "data.split", "missing", "Percent of the sentences"),
    (changed(data={"train": {"sha256": SHA}, "dev": "b"}), "data.train.from", "missing", "Path, s3://"),
    # wrong types and values
    (changed(data=None), "data", "must be a mapping of fields, not empty", "train and dev"),
    (changed(data="a.conll"), "data", 'must be a mapping of fields, not "a.conll"', "train and dev"),
    (
        changed(data={"train": None, "dev": "b"}),
        "data.train",
        "must be text or a mapping of fields, not empty",
        "",
    ),
    (
        changed(data={"train": ["a"], "dev": "b"}),
        "data.train",
        "must be text or a mapping of fields, not a list",
        "",
    ),
    (changed(data={"train": 7, "dev": "b"}), "data.train", "not 7", "Put it in quotes"),
    (changed(language=False), "language", "must be text, not false", "Put it in quotes"),
    (changed(name="Big Name"), "name", '"Big Name" is not allowed', "lower-case letters"),
    (changed(device="tpu"), "device", 'must be cpu or gpu, not "tpu"', "Did you mean gpu?"),
    (changed(seed=1.5), "seed", "must be a whole number, not 1.5", "Seed"),
    (changed(retries=True), "retries", "must be a whole number, not true", ""),
    (changed(retries=11), "retries", "must be at most 10, not 11", ""),
    (
        changed(resources={"on_demand_after_minutes": 1441}),
        "resources.on_demand_after_minutes",
        "must be at most 1440, not 1441",
        "",
    ),
    (changed(hyperparameters={"max_steps": 0}), "hyperparameters.max_steps", "must be at least 1, not 0", ""),
    (
        changed(hyperparameters={"max_steps": 10.0}),
        "hyperparameters.max_steps",
        "a whole number, not 10.0",
        "",
    ),
    (changed(hyperparameters={"dropout": float("nan")}), "hyperparameters.dropout", "must be a number", ""),
    (
        changed(hyperparameters={"learn_rate": 0}),
        "hyperparameters.learn_rate",
        "must be more than 0, not 0",
        "",
    ),
    (
        changed(hyperparameters={"batch_words": [1]}),
        "hyperparameters.batch_words",
        "at least 2 of them, not 1",
        "",
    ),
    (changed(labels=["PER", "PER"]), "labels", "has something twice", ""),
    (changed(labels=[]), "labels", "at least 1 of them, not 0", ""),
    (changed(labels=["PER", ""]), "labels[1]", "must not be empty", ""),
    (changed(gate={"labels": {"PER": 2}}), "gate.labels.PER", "must be at most 1, not 2", ""),
    (
        changed(data={"train": {"from": "https://x/a", "sha256": "ABC"}, "dev": "b"}),
        "data.train.sha256",
        '"ABC" is not allowed',
        "64 lower-case hexadecimal digits",
    ),
    # one field against another
    (changed(data={"train": "https://x/a", "dev": "b"}), "data.train", "has no sha256", "sha256:"),
    (changed(data={"train": "a", "dev": "http://x/b"}), "data.dev", "not fetched by http://", "Use https://"),
    (changed(data={"train": "ftp://x/a", "dev": "b"}), "data.train", "not fetched by ftp://", "Use https://"),
    (changed(data={"train": "a", "dev": "s3://b"}), "data.dev", "names no object", "s3://BUCKET/KEY"),
    (changed(data={"all": "a", "split": [80, 10, 11]}), "data.split", "add up to 101", "add up to 100"),
    (
        changed(device="gpu", resources={"gpus": 0}),
        "resources.gpus",
        "device gpu needs at least one",
        "1 or more",
    ),
    (changed(resources={"gpus": 1}), "resources.gpus", "device cpu has no use for 1", "device: gpu"),
    (changed(transformer="https://x/a.tar"), "transformer", "has no sha256", "sha256:"),
    (changed(transformer={"form": "a.tar"}), "transformer.form", "unknown field", "Did you mean from?"),
    (changed(transformer="a.tar", optimize="accuracy"), "optimize", "the transformer stands", "Leave out"),
    (
        changed(transformer="a.tar", hyperparameters={"width": 96}),
        "hyperparameters.width",
        "a transformer has none",
        "config.json says its size",
    ),
    (
        changed(config="c.cfg", optimize="accuracy"),
        "optimize",
        "the full config stands",
        "Leave out optimize",
    ),
    (
        changed(config="c.cfg", hyperparameters={}),
        "hyperparameters",
        "the full config",
        "Leave out hyperparameters",
    ),
    (
        changed(labels=["PER"], gate={"labels": {"per": 0.5}}),
        "gate.labels.per",
        "not one of labels",
        "mean PER?",
    ),
]


@pytest.mark.parametrize(
    ("wrong", "where", "what", "fix"), WRONG, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_wrong_spec_names_the_field_what_is_wrong_and_the_fix(wrong, where, what, fix):
    with pytest.raises(UserError) as caught:
        specs.validate(wrong)
    error = caught.value
    assert error.where == where
    assert what in error.what
    assert fix in error.fix
    assert error.fix, "every error says what to do"
    assert "\n" not in str(error)


def test_an_unknown_field_is_told_before_the_missing_one_it_caused():
    with pytest.raises(UserError, match=r"^dat: unknown field\. Did you mean data"):
        specs.validate({"name": "people", "dat": GOOD["data"]})


# --- files ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the file is empty"),
        ("- name", "a spec is a mapping of fields, not a list"),
        ("name: people\ndata: [", "spec.yml:2: not valid YAML"),
        ("name: people\n\tdata: x", "spec.yml:2: not valid YAML"),
        ("name: a\nseed: 1\nname: b", "spec.yml:3: not valid YAML: the field name stands here a second time"),
        ("name: a\ndata: {train: a, dev: b, dev: c}", "spec.yml:2: not valid YAML: the field dev"),
        ("name: !!python/object:os.system x", "spec.yml:1: not valid YAML"),
        ("name: a\0b", "not valid YAML"),
        ("name: people\ndata: &again {train: *again, dev: b}", "data.train"),
    ],
)
def test_a_file_that_holds_no_spec_is_told_so_with_the_line(tmp_path, text, expected):
    path = tmp_path / "spec.yml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        specs.load(path)
    assert expected in str(caught.value)
    assert caught.value.fix


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.yml: cannot read the spec \(No such file"):
        specs.load(tmp_path / "nowhere.yml")
    with pytest.raises(UserError, match="Is a directory"):
        specs.load(tmp_path)
    path = tmp_path / "latin.yml"
    path.write_bytes("name: caf\xe9".encode("latin-1"))
    with pytest.raises(UserError, match="not UTF-8 text"):
        specs.load(path)


def test_load_returns_what_the_file_says_and_no_more(tmp_path):
    path = tmp_path / "spec.yml"
    path.write_text("name: people\ndata:\n  train: train.conll\n  dev: dev.conll\n")
    assert specs.load(path) == GOOD


# --- defaults ---


def test_defaults_come_from_the_schema_and_leave_the_spec_alone():
    before = copy.deepcopy(GOOD)
    filled = specs.with_defaults(GOOD)
    assert before == GOOD
    assert filled["hyperparameters"]["max_steps"] == 20000
    assert filled["resources"] == {
        "vcpu": 2,
        "memory_mib": 3072,
        "spot": False,
        "on_demand_after_minutes": 15,
        "gpus": 0,
    }
    assert filled["checkpoints"] == {"every_seconds": 60}
    assert filled["data"] == GOOD["data"]
    assert filled["gate"] == {"margin": 0}
    assert specs.with_defaults(filled) == filled
    filled["hyperparameters"]["batch_words"].append(1)
    assert specs.with_defaults(GOOD)["hyperparameters"]["batch_words"] == [100, 1000]


def test_what_the_spec_says_wins_over_defaults():
    filled = specs.with_defaults(changed(seed=7, device="gpu", hyperparameters={"max_steps": 5}))
    assert filled["seed"] == 7
    assert filled["hyperparameters"]["max_steps"] == 5
    assert filled["hyperparameters"]["patience"] == 1600
    assert filled["resources"]["gpus"] == 1


def test_a_transformer_has_defaults_of_its_own():
    filled = specs.with_defaults(changed(transformer="a.tar", hyperparameters={"batch_words": [5, 6]}))
    assert filled["hyperparameters"]["learn_rate"] == 0.00005
    assert filled["hyperparameters"]["batch_words"] == [5, 6]
    assert filled["hyperparameters"]["max_steps"] == 20000
    assert filled["resources"]["memory_mib"] == 8192
    assert "optimize" not in filled
    assert specs.with_defaults(filled) == filled
    assert "hyperparameters" not in specs.with_defaults(changed(transformer="a.tar", config="c.cfg"))


def test_a_full_config_gets_no_defaults_for_what_it_replaces():
    filled = specs.with_defaults(changed(config="c.cfg"))
    assert not {"optimize", "hyperparameters"} & filled.keys()


# --- sources and submitted specs ---


def test_sources_are_mappings_in_the_order_of_the_parts():
    spec = changed(data={"test": "t", "dev": {"from": "d", "format": "conll"}, "train": "r"})
    assert list(specs.sources(spec).items()) == [
        ("train", {"from": "r"}),
        ("dev", {"from": "d", "format": "conll"}),
        ("test", {"from": "t"}),
    ]


def submitted(part="x"):
    return {"from": part, "key": f"datasets/{SHA}.conll", "sha256": SHA, "format": "conll"}


def test_a_submitted_spec_names_keys_and_must():
    spec = specs.with_defaults(changed(data={"train": submitted(), "dev": submitted()}))
    specs.validate(json.loads(json.dumps(spec)), submitted=True)
    with pytest.raises(UserError, match=r"data.train.key: unknown field"):
        specs.validate(spec)
    del spec["data"]["dev"]["key"]
    with pytest.raises(UserError, match=r"data.dev.key: missing"):
        specs.validate(spec, submitted=True)
    with pytest.raises(UserError, match=r"data.train: must be a mapping of fields"):
        specs.validate(GOOD, submitted=True)
