"""The plugins as Ansible runs them: documented options, real playbooks against moto, plain failures."""

import dataclasses
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.nerforge.aws.plugins.module_utils.contract import names, prices
from ansible_collections.nerforge.aws.plugins.module_utils.contract import spec as specs
from ansible_collections.nerforge.aws.plugins.module_utils.contract.runs import now as stamp
from ansible_collections.nerforge.aws.plugins.plugin_utils.action import argument_spec
from support.collection import install, run

MODULES = (
    "api_key",
    "api_key_info",
    "data_check",
    "dead_letters_redrive",
    "deployment_cost",
    "deployment_doctor",
    "model_card",
    "model_info",
    "model_prune",
    "model_release",
    "model_reproduce",
    "model_rollback",
    "training_run",
    "training_run_cancel",
    "training_run_follow",
    "training_run_info",
    "training_run_log",
    "training_run_retry",
)
SPEC = {"name": "people", "data": {"train": "train.conll", "dev": "train.conll"}}
CONLL = "Ada B-PER\nof O\nLondon B-LOC\n\n"


def documented(root, module):
    """A module's documentation, examples and return values."""
    scope = {}
    exec((root / "plugins" / "modules" / f"{module}.py").read_text(), scope)
    return SimpleNamespace(
        text=scope["DOCUMENTATION"],
        options=yaml.safe_load(scope["DOCUMENTATION"])["options"],
        examples=yaml.safe_load(scope["EXAMPLES"]),
        returned=yaml.safe_load(scope["RETURN"]),
    )


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_are_valid_tasks_by_the_documented_options(root, module):
    documentation = documented(root, module)
    spec = argument_spec(documentation.text)
    of_a_deployment = {"prefix"} if "nerforge.aws.deployment" in documentation.text else set()
    assert {"region", "endpoint_url", "profile", *of_a_deployment, *documentation.options} <= spec.keys()
    assert ("prefix" in spec) == bool(of_a_deployment)
    for task in documentation.examples:
        result = ArgumentSpecValidator(spec).validate(task[f"nerforge.aws.{module}"] or {})
        assert result.error_messages == []


# --- playbooks ---


class Gateway(http.server.BaseHTTPRequestHandler):
    """Hands a request to moto, which takes those of `requests` to AWS; so another process can reach it."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        service = self.headers["Authorization"].split("/")[3]
        self.server.asked.add((service, self.headers.get("X-Amz-Target", "").rpartition(".")[2]))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: value for name, value in self.headers.items() if name != "Host"}
        url = f"https://{service}.us-east-1.amazonaws.com{self.path}"
        answer = requests.request(self.command, url, headers=headers, data=body, stream=True)
        content = b"" if self.command == "HEAD" else answer.content
        length = answer.headers.get("Content-Length") if self.command == "HEAD" else len(content)
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = answer

    def log_message(self, *__):
        pass


@pytest.fixture
def asked():
    """What AWS was asked: services, each with an operation."""
    return set()


@pytest.fixture
def endpoint(stack, asked):
    """Where moto can be reached."""
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    web.asked = asked
    threading.Thread(target=web.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{web.server_port}"
    web.shutdown()
    web.server_close()


@pytest.fixture
def site(stack, endpoint, root, tmp_path):
    """A training stack behind HTTP, a folder with a good spec, and a way to run tasks against them."""
    params = {
        "region": "us-east-1",
        "endpoint_url": endpoint,
        "access_key": "a",
        "secret_key": "s3cr3t-key",
    }
    (tmp_path / "train.conll").write_text(CONLL)
    (tmp_path / "spec.yml").write_text(yaml.safe_dump(SPEC))

    def play(*tasks, verbose=False):
        for number, task in enumerate(tasks):
            task |= {"register": f"result_{number}", "ignore_errors": True}
        keep = {
            "ansible.builtin.copy": {
                "dest": str(tmp_path / "results.json"),
                "content": "{{ [" + ", ".join(f"result_{n}" for n in range(len(tasks))) + "] | to_json }}",
            },
        }
        defaults = {"group/nerforge.aws.all": params}
        playbook = {"hosts": "localhost", "gather_facts": False, "module_defaults": defaults}
        (tmp_path / "play.yml").write_text(json.dumps([playbook | {"tasks": [*tasks, keep]}]))
        return ansible(root, tmp_path, *["-vvv"] * verbose)

    return SimpleNamespace(stack=stack, play=play, folder=tmp_path)


def ansible(root, folder, *options):
    """Run the playbook; returns what it printed, and what its tasks returned."""
    environment = os.environ | {
        "ANSIBLE_COLLECTIONS_PATH": str(root / ".ansible" / "collections"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "HOME": str(folder),
    }
    command = [Path(sys.executable).with_name("ansible-playbook"), *options, "play.yml"]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, json.loads((folder / "results.json").read_text())


def queued(stack):
    answer = stack.aws.client("sqs").receive_message(QueueUrl=stack.queue_url, MaxNumberOfMessages=10)
    return [json.loads(message["Body"])["run"] for message in answer.get("Messages", [])]


def test_check_submit_follow_and_list(site, asked, permissions):
    """A run goes by as a dispatcher and a trainer would move it, while it is followed; check mode first."""
    runs = site.stack.runs

    def train():
        while not (waiting := list(runs.in_state("QUEUED"))):
            time.sleep(0.05)
        run_id = waiting[0]["run_id"]
        runs.claim(run_id, 1)
        time.sleep(0.3)
        runs.move(run_id, "STARTING", "RUNNING", 1)
        scores = {"f": 0.75, "on": "dev", "labels": {"PER": {"f": 0.5}}}
        time.sleep(0.3)
        runs.move(run_id, "RUNNING", "SUCCEEDED", 1, model="people:1", scores=scores)

    trainer = threading.Thread(target=train, daemon=True)
    trainer.start()
    trained, of_training = site.play(
        {"nerforge.aws.training_run": {"spec": "spec.yml"}, "check_mode": True},
        {"nerforge.aws.training_run": {"spec": "spec.yml"}},
        {"nerforge.aws.training_run_follow": {"interval": 0.2}},
    )
    needed = {f"{service}:{operation}" for service, operation in asked if service not in ("s3", "ssm", "sts")}
    assert needed <= permissions["train.yml"]
    shown, of_showing = site.play(
        {"nerforge.aws.training_run_info": {"display": True}},
        {"nerforge.aws.model_info": {"display": True}},
        {"nerforge.aws.model_release": {"state": "absent"}},
    )
    printed, results = trained + shown, of_training + of_showing
    assert not any(result.get("failed") for result in results), results
    trainer.join(5)
    checked, submitted, followed, listed, models, withdrawn = results
    assert checked["changed"] and checked["run_id"] is None and checked["data"] == submitted["data"]
    assert submitted["changed"] and submitted["data"]["train"] == {
        "sentences": 1,
        "entities": {"LOC": 1, "PER": 1},
    }
    assert followed["run"]["run_id"] == submitted["run_id"] and followed["run"]["state"] == "SUCCEEDED"
    assert not followed["changed"] and not listed["changed"] and not models["changed"]
    assert [run["run_id"] for run in listed["runs"]] == [submitted["run_id"]]
    assert models["models"] == [] and models["serving"] is None
    assert not withdrawn["changed"] and withdrawn["deregistered"] == []
    assert queued(site.stack) == [submitted["run_id"]]
    assert printed.count("uploaded: train.conll") == 1
    for line in ("SUCCEEDED people:1  F 0.750 on dev  PER 0.500", "no models", "RUN "):
        assert line in printed


def test_data_is_checked_without_a_deployment(site, asked):
    """What is doubtful is printed and returned; spaCy looks as well where it is asked to."""
    (site.folder / "empty.conll").write_text("Rain O\n")
    wrong = {"name": "people", "data": {"train": "train.conll", "dev": "empty.conll"}}
    (site.folder / "wrong.yml").write_text(yaml.safe_dump(wrong))
    (site.folder / "gpu.yml").write_text(yaml.safe_dump(SPEC | {"device": "gpu"}))
    printed, results = site.play(
        {"nerforge.aws.data_check": {"spec": "spec.yml", "debug_data": True}, "check_mode": True},
        {"nerforge.aws.data_check": {"spec": "gpu.yml"}},
        {"nerforge.aws.data_check": {"spec": "wrong.yml"}},
    )
    checked, gpu, failed = results
    assert not checked["changed"] and checked["labels"] == ["LOC", "PER"]
    assert [finding["what"].split(":")[0] for finding in checked["findings"]] == ["dev", "train", "train"]
    assert checked["findings"][0]["places"] == ["train.conll:1 is train.conll:1, 'Ada of London'"]
    assert "warning: dev: 1 of its 1 text found in train too: its scores flatter the model" in printed
    assert "    Pipeline can be initialized with data" in printed
    assert "    Low number of examples to train a new pipeline (1)" in printed
    assert "the spec and its data can be trained on; 3 warnings" in printed
    assert not gpu.get("failed") and gpu["findings"] == checked["findings"]
    assert failed["failed"] and "data.dev: no entities in 1 sentences" in failed["msg"]
    assert asked == set()


def test_what_an_operator_does(site, asked, permissions):
    """Cancel, retry, look at logs, redrive: in check mode first, then in earnest, then once more."""
    stack, run_id = site.stack, "01JAAAAAAA0000000000000001"
    source = {"from": "a", "key": f"datasets/{'a' * 64}.conll", "sha256": "a" * 64, "format": "conll"}
    spec = specs.with_defaults({"name": "people", "data": {"train": source, "dev": source}})
    purpose = {"kind": "reproduce", "model": "people:7"}
    stack.runs.create(run_id, spec, purpose=purpose)
    stack.runs.claim(run_id, 1)
    stack.runs.annotate(run_id, "STARTING", checkpoint={"step": 200, "saved": stamp(), "bytes": 9})
    sqs = stack.aws.client("sqs")
    for body in ("{", json.dumps({"run": run_id})):
        sqs.send_message(QueueUrl=stack.deployment["dead_letter_queue_url"], MessageBody=body)
    cancel = {
        "nerforge.aws.training_run_cancel": {"run": run_id[:12], "reason": "wrong labels", "timeout": 1}
    }
    more = {"resources": {"memory_mib": 4096}}
    retry = {"nerforge.aws.training_run_retry": {"run": run_id, "changes": more}}
    redrive = {"nerforge.aws.dead_letters_redrive": {"purge": True}}
    log = {"nerforge.aws.training_run_log": {"run": run_id}}
    dry = {"check_mode": True}
    printed, results = site.play(
        *(cancel | dry, log, redrive | dry, cancel),
        {"nerforge.aws.training_run_cancel": {"run": run_id, "follow": False}},
        *(retry | dry, retry, {"nerforge.aws.training_run_retry": {"run": run_id}}, dict(retry)),
        *(redrive, dict(redrive)),
        {"nerforge.aws.training_run_info": {"run": run_id, "display": True}},
    )
    would, logged, listed, cancelled, again, checked, retried, same, other, driven, empty, shown = results
    assert would["changed"] and would["run"]["state"] == "STARTING"
    assert not logged["changed"] and logged["lines"] == [] and logged["log_stream"] is None
    assert f"run {run_id} of people: no task, and so no log: STARTING, asking ECS for a task" in printed
    assert listed["changed"] and {m["verdict"] for m in listed["messages"]} == {"purged", "dropped"}
    # Nobody frees the slot here: the run is cancelled, and its task is still waited for in vain.
    assert cancelled["failed"] and cancelled["changed"] and "has not ended in 1 s" in cancelled["msg"]
    assert cancelled["run"]["reason"].startswith("cancelled by arn:aws:")
    assert cancelled["run"]["reason"].endswith(": wrong labels")
    assert not again["changed"] and not again.get("failed")
    assert "is CANCELLED already: cancelled by arn:aws:" in printed
    assert checked["changed"] and checked["run_id"] is None
    assert retried["changed"] and retried["spec"]["resources"]["memory_mib"] == 4096
    assert (
        'begins anew with {"resources": {"memory_mib": 4096}}, from its last checkpoint, at step 200'
        in printed
    )
    assert same["run_id"] == retried["run_id"] and not same["changed"]
    assert other["failed"] and f"run {retried['run_id']} retries it already" in other["msg"]
    assert queued(stack) == [retried["run_id"]]
    new = stack.runs.get(retried["run_id"])
    assert (new["state"], new["retry_of"], new["spec"]) == ("QUEUED", run_id, retried["spec"])
    assert new["purpose"] == purpose
    assert f"run {run_id} (reproduce people:7): CANCELLED" in printed
    assert driven["changed"] and len(driven["messages"]) == 2
    assert not empty["changed"] and empty["messages"] == []
    assert "the dead letter queue is empty" in printed
    assert shown["runs"][0]["state"] == "CANCELLED" and f"  next        retry.yml -e run={run_id}" in printed
    needed = {f"{service}:{operation}" for service, operation in asked if service not in ("ssm", "sts")}
    assert "dynamodb:TransactWriteItems" in needed
    needed = needed - {"dynamodb:TransactWriteItems"} | {"dynamodb:PutItem", "dynamodb:UpdateItem"}
    commands = ("status.yml", "logs.yml", "cancel.yml", "retry.yml", "redrive.yml")
    assert needed <= set().union(*(permissions[command] for command in commands))


def test_the_playbooks_run_from_where_the_collection_is_installed(stack, endpoint, tmp_path):
    """`nerforge.aws.train`, with nothing of the checkout in reach; AWS by the ordinary chain of boto3."""
    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    collection = install(installed)
    elsewhere.mkdir()
    printed = run(
        *("ansible-playbook", "nerforge.aws.train", "-i", collection / "playbooks/inventory/aws.yml"),
        *("-e", f"spec={collection / 'playbooks/specs/sample.yml'}", "-e", "follow=false"),
        cwd=elsewhere,
        ANSIBLE_COLLECTIONS_PATH=str(installed),
        AWS_ENDPOINT_URL=endpoint,
        HOME=str(elsewhere),
    )
    (run_id,) = queued(stack)
    assert f"submitted as run {run_id}" in printed


def test_a_version_is_trained_once_more_and_compared(site, asked, permissions):
    """As the trainer finds it: the same, and then not."""
    stack = site.stack
    key = f"datasets/{'a' * 64}.conll"
    source = {"from": "a", "key": key, "sha256": "a" * 64, "format": "conll"}
    spec = specs.with_defaults({"name": "people", "data": {"train": source, "dev": source}})
    manifest = {
        "name": "people",
        "version": 1,
        "run": "01JAAAAAAA0000000000000001",
        "created": stamp(),
        "artifact": {"sha256": "b" * 64, "bytes": 9},
        "language": "en",
        "labels": ["PER"],
        "scores": {"f": 0.75, "on": "dev"},
        "spec": spec,
    }
    assert stack.models.register(manifest)
    s3 = stack.aws.client("s3")
    s3.put_object(Bucket="nerforge-bucket", Key=key, Body=b"data")
    for file, content in ((names.MANIFEST, json.dumps(manifest).encode()), (names.ARTIFACT, b"model")):
        s3.put_object(Bucket="nerforge-bucket", Key=f"models/people/1/{file}", Body=content)
    same = {"identical": True, "weights": True, "files": [], "environment": {}, "f": 0.75, "f_then": 0.75}
    other = same | {"identical": False, "weights": False, "f": 0.5, "files": ["ner/model"]}
    other["environment"] = {"cpu": ["A", "B"]}
    outcomes = [
        {"reason": "people:1 is reproduced, bit by bit", "result": same},
        {
            "reason": "people:1 is not reproduced: the weights differ; different from then: cpu",
            "result": other,
        },
    ]

    def train():
        for outcome in outcomes:
            while not (waiting := list(stack.runs.in_state("QUEUED"))):
                time.sleep(0.05)
            run_id = waiting[0]["run_id"]
            stack.runs.claim(run_id, 9)
            stack.runs.move(run_id, "STARTING", "RUNNING", 1)
            stack.runs.move(run_id, "RUNNING", "SUCCEEDED", 1, **outcome)

    threading.Thread(target=train, daemon=True).start()
    reproduce = {"nerforge.aws.model_reproduce": {"model": "people:1"}}
    printed, results = site.play(
        reproduce | {"check_mode": True},
        dict(reproduce),
        dict(reproduce),
        {"nerforge.aws.training_run_follow": {}},  # as retry.yml does with a run that did not end
        {"nerforge.aws.training_run_info": {"display": True}},
    )
    checked, reproduced, differs, followed, listed = results
    assert checked["changed"] and "run_id" not in checked
    assert reproduced["weights"] and not reproduced.get("failed")
    assert "SUCCEEDED people:1 is reproduced, bit by bit" in printed
    assert differs["failed"] and differs["msg"] == (
        "people:1 is not reproduced: the weights differ; different from then: cpu; "
        "files that differ: ner/model; F 0.750 then, 0.500 now; cpu: A then, B now."
    )
    assert (followed["failed"], followed["msg"]) == (True, differs["msg"])
    ids = [run["run_id"] for run in listed["runs"]]
    assert ids == [differs["run_id"], reproduced["run_id"]]
    assert all(run["purpose"] == {"kind": "reproduce", "model": "people:1"} for run in listed["runs"])
    assert "reproduce people:1" in printed
    needed = {f"{service}:{operation}" for service, operation in asked if operation and service != "ssm"}
    assert {"dynamodb:PutItem", "sqs:SendMessage"} <= needed <= permissions["reproduce.yml"]


def test_a_key_is_made_and_revoked_and_never_shown(site, asked, permissions):
    """Check mode first; the last key of a server that asks for one stays."""
    parameter = names.api_keys_parameter("nerforge")
    serve(site.stack.aws, parameter)

    def make(name, path="shop.key"):
        return {"nerforge.aws.api_key": {"name": name, "path": path}}

    def revoke(name):
        return {"nerforge.aws.api_key": {"name": name, "state": "absent"}}

    dry = {"check_mode": True}
    printed, results = site.play(
        *(make("shop") | dry, make("shop"), make("shop"), make("shop") | dry, make("shop", "other.key")),
        *(revoke("shop") | dry, revoke("shop")),
        *(make("batch", "batch.key"), revoke("shop") | dry, revoke("shop"), revoke("shop")),
        {"nerforge.aws.api_key_info": {"display": True}},
        verbose=True,
    )
    would, made, repeated, repeated_dry, again, last_dry, last, second, may, revoked, gone, listed = results
    assert would["changed"] and would["names"] == []
    assert made["changed"] and made["names"] == ["shop"] and made["asked"]
    assert not repeated["changed"] and not repeated_dry["changed"] and repeated["names"] == ["shop"]
    assert again["failed"] and "there is a key shop already" in again["msg"]
    assert all(result["failed"] and "shop is the last key" in result["msg"] for result in (last_dry, last))
    assert second["names"] == ["batch", "shop"]
    assert may["changed"] and may["names"] == ["batch", "shop"]
    assert revoked["changed"] and revoked["names"] == ["batch"] and not gone["changed"]
    assert (listed["names"], listed["source"]) == (["batch"], parameter)
    assert "keys: batch" in printed
    assert not (site.folder / "other.key").exists()
    keys = {name: (site.folder / f"{name}.key").read_text().strip() for name in ("shop", "batch")}
    published = site.stack.aws.client("ssm").get_parameter(Name=parameter)["Parameter"]["Value"]
    assert json.loads(published) == {"batch": hashlib.sha256(keys["batch"].encode()).hexdigest()}
    shown = printed + json.dumps(results)
    assert "nfk_" not in shown
    assert not any(hashlib.sha256(key.encode()).hexdigest() in shown for key in keys.values())
    needed = {f"{service}:{operation}" for service, operation in asked} - {"ssm:GetParameters"}
    assert {"dynamodb:UpdateItem", "ssm:PutParameter"} <= needed <= permissions["keys.yml"]


def test_models_are_shown_compared_and_pruned(site, asked, permissions):
    """Two versions, the older one with no card; the newer one is in production."""
    stack, s3 = site.stack, site.stack.aws.client("s3")
    stack.aws.client("ecs").create_cluster(clusterName="nerforge")
    serve(stack.aws, "")

    def put(version, file, content):
        s3.put_object(Bucket="nerforge-bucket", Key=f"models/people/{version}/{file}", Body=content)

    for version, counts in ((1, [[1, 1, 1]] * 9), (2, [[2, 0, 0]] * 9)):
        manifest = {
            **{"name": "people", "version": version, "run": "01JAAAAAAA0000000000000001"},
            **{"created": stamp(), "language": "en", "labels": ["PER"], "config": "", "data": {}},
            "artifact": {"sha256": "a" * 64, "bytes": 5},
            "scores": {"f": version / 2, "p": 0.5, "r": 0.5, "on": "test"},
            "spec": {"name": "people", "seed": version, "data": {"train": "people.conll"}},
            "examples": {"test": "e" * 64},
        }
        stack.models.register(manifest)
        put(version, "manifest.json", json.dumps(manifest))
        put(version, f"evaluations/{'e' * 64}.json", json.dumps({"scores": {}, "counts": counts}))
    put(2, "card.html", "<html>")
    stack.models.move_alias("people", "production", 2, None, by="anna")

    def info(**options):
        return {"nerforge.aws.model_info": options | {"display": True}}

    def card(model):
        return {"nerforge.aws.model_card": {"model": model, "folder": "cards", "open": False}}

    def prune(**options):
        return {"nerforge.aws.model_prune": {"keep": 1} | options}

    dry = {"check_mode": True}
    printed, results = site.play(
        *(info(), info(model="people@production"), info(model="people", **{"with": "people:1"})),
        *(card("people") | dry, card("people"), card("people")),
        *(prune() | dry, prune(older_than=1), prune(model="people"), prune()),
        *(card("people:1"), prune(keep=0), prune(model="people:1"), info(**{"with": "people:2"})),
        *(prune(model=""), info(model="peopel")),
    )
    listed, shown, compared, would_fetch, fetched, again, would, young, pruned, none, *failed = results
    assert [model["model"] for model in listed["models"]] == ["people:2", "people:1"]
    assert shown["manifest"]["spec"]["seed"] == 2
    assert [(move["alias"], move["version"], move["by"]) for move in shown["history"]] == [
        ("production", 2, "anna")
    ]
    assert "  spec        seed 2" in printed and "production promoted to 2, by anna" in printed
    assert compared["differences"]["spec"] == {"seed": [2, 1]}
    assert compared["apart"] == {"ours": 1, "theirs": 0.5, "low": 0.5, "high": 0.5, "sentences": 9}
    assert "people:2 is better by more than chance:\n  F 1.000 against 0.500" in printed
    page = site.folder / "cards" / "people-2.html"
    assert would_fetch["changed"] and fetched["changed"] and not again["changed"]
    assert fetched["path"] == str(page) and page.read_text() == "<html>" and not fetched["opened"]
    assert printed.count(f"card: {page}") == 2
    assert would["pruned"] == pruned["pruned"] == ["people:1"] and pruned["changed"]
    assert young["pruned"] == none["pruned"] == [] and not none["changed"]
    left = s3.list_objects_v2(Bucket="nerforge-bucket")["Contents"]
    assert {item["Key"].split("/")[2] for item in left} == {"2"}
    told = [result["msg"] for result in failed if result["failed"]]
    for message, expected in zip(
        told,
        (
            "people has no version 1",
            "keep: 0 versions",
            "model: 'people:1' is no",
            "with: one model alone",
            "model: '' is",
        ),
        strict=True,
    ):
        assert expected in message
    assert "there is no model peopel. Train it first" in printed
    needed = {f"{service}:{operation}" for service, operation in asked if operation} - {"ssm:GetParameters"}
    assert {"dynamodb:DeleteItem", "ecs:ListTaskDefinitions"} <= needed
    assert needed - {"ecs:CreateCluster"} <= permissions["models.yml"] | permissions["prune.yml"]


def test_what_a_deployment_and_a_spec_will_cost(site, root, asked, permissions):
    """A run that has succeeded says how long the next will take; prices that were fetched come first."""
    runs, run_id = site.stack.runs, "01JAAAAAAA0000000000000001"
    spec = specs.with_defaults(SPEC)
    runs.create(run_id, spec)
    runs.claim(run_id, 1)
    running = {"running": "2026-03-01T09:00:00.000+00:00", "progress": {"step": 600, "max_steps": 20000}}
    runs.move(run_id, "STARTING", "RUNNING", 1, **running)
    runs.move(run_id, "RUNNING", "SUCCEEDED", 1, ended="2026-03-01T10:00:00.000+00:00")
    table = dataclasses.asdict(prices.bundled()) | {"dated": "2031-01-01"}
    table["instances"]["m6i.xlarge"]["on_demand"] = 2.0
    runs.record_prices(table)

    def cost(**options):
        return {"nerforge.aws.deployment_cost": {"stacks": str(root / "terraform")} | options}

    printed, results = site.play(
        *(cost(), cost(spec="spec.yml"), cost(prefix="other")),
        *(cost(refresh=True), cost(stacks="nowhere"), cost(region="eu-west-1")),
    )
    idle, estimated, elsewhere, refreshed, nowhere, abroad = results
    assert "Those of eu-west-1 differ" in printed and abroad["idle"] == idle["idle"]
    assert not any(result["changed"] for result in (idle, estimated, elsewhere))
    assert idle["prices"]["dated"] == "2031-01-01" and elsewhere["prices"]["dated"] != "2031-01-01"
    assert {
        "when": "while a model is served",
        "what": "1 m6i.xlarge, for 2 server tasks",
        "usd": 1460.0,
    } in idle["idle"]
    assert (estimated["estimate"]["seconds"], estimated["estimate"]["usd"]) == (3600, 2)
    assert "training    2.00 USD" in printed and "by the last run like it: 6 s a step, 600 steps" in printed
    assert "Nothing is deployed under the prefix other" in printed
    assert "there are no prices at http://127.0.0.1" in refreshed["msg"]
    assert "variables.tf: cannot be read" in nowhere["msg"]
    needed = {f"{service}:{operation}" for service, operation in asked if operation} - {"ssm:GetParameters"}
    assert needed <= permissions["cost.yml"]


def serve(aws, api_keys):
    """What the serving stack leaves behind: a task definition that says where the API keys are."""
    environment = [{"name": names.ENV_API_KEYS, "value": api_keys}]
    server = {"name": "server", "image": "server:1", "memory": 512, "environment": environment}
    registered = aws.client("ecs").register_task_definition(family="server", containerDefinitions=[server])
    template = registered["taskDefinition"]["taskDefinitionArn"]
    published = dict.fromkeys(names.SERVING_PARAMETERS, "1")
    published |= {"deployment": "{}", "template_task_definition_arn": template}
    for name, value in published.items():
        path = names.parameter("nerforge", "serving", name)
        aws.client("ssm").put_parameter(Name=path, Value=value, Type="String")


def test_failures_come_as_one_message_each(site):
    """Wrong specs, a run that fails, a wrong place: all in one playbook, for Ansible is slow to start."""
    stack, run_id = site.stack, "01JAAAAAAA0000000000000001"
    stack.runs.create(run_id, {"name": "people"}, task_arn="arn:x/task1")
    stack.runs.move(run_id, "QUEUED", "FAILED", reason="the task was killed: out of memory")
    logs = stack.aws.client("logs")
    stream = {"logGroupName": "/nerforge/trainer", "logStreamName": "trainer/trainer/task1"}
    logs.create_log_group(logGroupName="/nerforge/trainer")
    logs.create_log_stream(**stream)
    event = {"timestamp": int(time.time() * 1000), "message": "allocating far too much"}
    logs.put_log_events(**stream, logEvents=[event])
    (site.folder / "typo.yml").write_text(yaml.safe_dump(SPEC | {"lables": ["PER"]}))
    (site.folder / "gpu.yml").write_text(yaml.safe_dump(SPEC | {"device": "gpu"}))
    cases = [
        ("training_run", {"spec": "typo.yml"}, "lables: unknown field. Did you mean labels?"),
        ("training_run", {"spec": "gpu.yml"}, "resources.gpus: 1 asked for, and this deployment has no GPU"),
        ("training_run", {"spec": "nowhere.yml"}, "cannot read the spec (No such file or directory)"),
        (
            "training_run_follow",
            {"run": run_id[:10]},
            "FAILED: the task was killed: out of memory. Its log is in the log group /nerforge/trainer.",
        ),
        ("training_run_info", {"prefix": "other"}, "not deployed under the prefix other"),
        (
            "training_run_info",
            {"endpoint_url": "http://127.0.0.1:9"},
            "nothing answers at http://127.0.0.1:9. Is the local AWS running?",
        ),
        ("training_run_info", {"profile": "nobody", "access_key": "", "secret_key": ""}, "nobody"),
        ("training_run_info", {"run": "01JZ"}, "there is no run 01JZ"),
        ("model_release", {"model": "people:1"}, "the serving stack is not deployed under the prefix ner"),
        ("model_release", {}, "model: no model is named. Give name:number"),
        ("model_release", {"model": "people:1", "force": "true"}, "force: 'true' is no reason"),
        ("model_rollback", {}, "the serving stack is not deployed under the prefix ner"),
        ("training_run_cancel", {"run": run_id}, "it has ended already: FAILED, the task was killed"),
        ("training_run_log", {"lines": 0}, "lines: 0 asked for. Give a number from 1 to 10,000."),
        ("training_run_log", {"attempt": 7}, "attempt 7 has no log"),
        ("api_key", {"name": "shop"}, "path: no file is named for the key"),
        ("api_key", {"name": "Shop", "path": "shop.key"}, "name: 'Shop' is no name for a key"),
        ("api_key_info", {"prefix": "other"}, "not deployed under the prefix other"),
        ("deployment_doctor", {}, "something is wrong with: training stack."),
        ("deployment_doctor", {"prefix": "other"}, "something is wrong with: training stack."),
    ]
    printed, results = site.play(
        *({f"nerforge.aws.{module}": options} for module, options, __ in cases), verbose=True
    )
    for result, (module, options, expected) in zip(results, cases, strict=True):
        assert result["failed"] and expected in result["msg"], (module, options)
    assert queued(stack) == []
    assert list(stack.runs.in_state("QUEUED")) == []
    assert "allocating far too much" in printed
    assert "s3cr3t-key" not in printed
