"""Figures and lists in the text of README and guides are those of the code."""

import json
import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import decisions
import document
import pytest
import yaml
from ansible_collections.nerforge.aws.plugins.modules import training_run_log
from ansible_collections.nerforge.aws.plugins.plugin_utils import gate, rollout, stack_variables, upkeep
from nerforge_contract import prices, quality, spec
from nerforge_contract.prices import HOURS_A_MONTH
from nerforge_server import api, connection, receiving, server
from nerforge_trainer import checkpoint, mistakes
from support import playbooks

ROOT = document.ROOT
PRICES = prices.bundled()
TRAINING, SERVING = (
    stack_variables.of_stack(ROOT / "terraform" / stack, {}) for stack in ("training", "serving")
)
CPU, GPU = (TRAINING[f"{kind}_instance_types"][0] for kind in ("cpu", "gpu"))
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven")


def text(name: str) -> str:
    """A document's text on one line."""
    (path,) = (path for path in document.DOCUMENTS if path.name == name)
    return " ".join(path.read_text().split())


def in_stack(path: str, pattern: str) -> int:
    """A number in a stack's source."""
    return int(re.search(pattern, (ROOT / "terraform" / path).read_text(), re.MULTILINE)[1])


def chore(target: str, setting: str) -> str:
    """What a target of make has for a setting that nobody gives."""
    return re.search(rf"^{target}: {setting} := (\d+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]


def option(module: ModuleType, name: str) -> Any:
    """The default of a module's option."""
    return yaml.safe_load(module.DOCUMENTATION)["options"][name]["default"]


def field(*path: str) -> Any:
    """The default of a field of specs."""
    about = spec.schema()
    for name in path:
        about = about["properties"][name]
    return about["default"]


def monthly(when: str) -> float:
    """USD a month of a deployment with the defaults, while nothing trains."""
    return sum(line.usd for line in upkeep.bill(TRAINING, SERVING, PRICES) if line.when == when)


def python_versions() -> str:
    """The Pythons it runs on, as ``3.11 to 3.13``."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    first, end = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", wanted).groups()
    return f"Python 3.{first} to 3.{int(end) - 1}"


def peers() -> int:
    """How many servers the benchmark measures ours beside."""
    folders = (ROOT / "tests/bench/peers").iterdir()
    return sum((path / "app.py").is_file() or (path / "settings.json").is_file() for path in folders)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("README.md", f"Both need Linux, {python_versions()} with"),
        ("aws.md", f"Linux with {python_versions()}, make"),
        # the server
        ("README.md", f"{api.MAX_BODY >> 20} MiB (more: 413), {api.MAX_TEXTS:,} texts, and"),
        ("README.md", f"{api.MAX_CHARACTERS:,} characters a text (more: 422)"),
        (
            "README.md",
            f"a stream of lines, {api.MAX_STREAM_BODY >> 20} MiB and {api.MAX_STREAM_TEXTS:,} texts",
        ),
        ("README.md", f"A head may have {server.MAX_HEADERS >> 10} KiB (431)"),
        ("README.md", f"{connection.AHEAD_REQUESTS} requests ahead of their answers (429)"),
        ("README.md", f"{receiving.HELD_BYTES >> 20} MiB of unanswered bodies (503)"),
        ("README.md", f"asks {NUMBERS[1 + peers()]} servers with two workers each"),
        ("README.md", f"`nlp.pipe` and {NUMBERS[peers()]} other servers"),
        # runs
        ("README.md", f"its log (`-e lines={option(training_run_log, 'lines')}`"),
        (
            "README.md",
            f"`resources.on_demand_after_minutes` ({field('resources', 'on_demand_after_minutes')})",
        ),
        ("README.md", f"each minute or two, for {decisions.MAX_WAIT.days * 24} hours at most"),
        ("README.md", f"saved to S3 every {field('checkpoints', 'every_seconds')} seconds"),
        ("README.md", f"cost more than {100 * checkpoint.SHARE:g} % of the time"),
        ("README.md", f"The newest {NUMBERS[checkpoint.KEPT]} are kept until the model is registered"),
        ("README.md", f"else for {in_stack('training/data.tf', r'^ +days += ([0-9]+)')} days."),
        # models
        ("README.md", f"with fewer than {quality.FEW_ENTITIES} entities in train"),
        ("README.md", f"the {mistakes.MOST} sentences with the most mistakes"),
        ("README.md", f"a paired bootstrap ({gate.RESAMPLES:,} resamples)"),
        ("README.md", f"the lower end of the {100 * (gate.INTERVAL[1] - gate.INTERVAL[0]):g} % interval"),
        ("README.md", f"asked for {NUMBERS[int(rollout._VERIFY_HOLD)]} seconds which model answers"),
        ("README.md", f"`deployment_bake_minutes` ({SERVING['deployment_bake_minutes']})"),
        ("README.md", f"`canary` ({SERVING['deployment_canary_percent']} % of them, then all)"),
        ("README.md", f"`linear` (in steps of {SERVING['deployment_step_percent']} %)"),
        (
            "README.md",
            f"more than {in_stack('serving/deployment.tf', r'threshold += ([1-9].*)')} % of failed requests",
        ),
        ("upgrading.md", f"keeps the newest {in_stack('training/images.tf', r'MoreThan.*?([0-9]+)')},"),
        # chores
        ("README.md", f"`make rolls` rolls the server {chore('rolls', 'ROLLS')} times"),
        ("README.md", f"`make chaos` trains {chore('chaos', 'RUNS')} models"),
        # prices
        ("README.md", f"alarms, about {monthly(upkeep.ALWAYS):.0f} USD a month"),
        ("README.md", f"about {monthly(upkeep.SERVED):.0f} with the defaults"),
        ("README.md", f"no way to the internet, for {upkeep.network('endpoints', PRICES):.0f} USD a month"),
        ("README.md", f"behind NAT gateways, for {upkeep.network('nat', PRICES):.0f},"),
        ("aws.md", f"`{TRAINING['network']}`, the default, puts them into public subnets"),
        ("aws.md", f"two `{CPU}`, that is {2 * PRICES.instances[CPU].vcpu} vCPUs"),
        ("gpu.md", f"one `{GPU}` takes {PRICES.instances[GPU].vcpu}:"),
    ],
)
def test_the_text_gives_the_codes_figures(name: str, words: str):
    assert words in text(name)


def test_the_half_hour_costs_less_than_the_guide_says():
    assert "costs less than half a dollar" in text("aws.md")
    assert 2 * PRICES.instances[CPU].on_demand / 2 + monthly(upkeep.ALWAYS) / HOURS_A_MONTH < 0.5


def test_the_readme_gives_the_environments_defaults():
    rows = re.findall(r"^\| (`[A-Z].*?) \| .* \| (.*) \|$", document.README.read_text(), re.MULTILINE)
    defaults = dict(rows)
    assert defaults["`NERFORGE_HOME`"] == "`.nerforge`"
    assert "'/../.nerforge')" in (ROOT / "playbooks/group_vars/all.yml").read_text()
    local, aws = ((ROOT / f"playbooks/inventory/{name}.yml").read_text() for name in ("local", "aws"))
    assert f"'NERFORGE_PORT') or {defaults['`NERFORGE_PORT`']} }}}}" in local
    region = defaults["`AWS_PROFILE`, `AWS_REGION` and the like"].rpartition(" ")[2]
    assert f"or '{region}' }}}}" in aws and f"nerforge_region: {region}\n" in local


def test_the_readme_names_every_folder_of_tests():
    (row,) = re.findall(r"^\| `tests/` \| (.*) \|$", document.README.read_text(), re.MULTILINE)
    helpers = {"aws_in_memory", "support"}
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/*.*")} - helpers
    folders |= {path.parts[-3] for path in (ROOT / "tests").glob("*/*/*.py")} - helpers
    assert set(re.findall(r"`(\w+)`", row)) == {name for name in folders if not name.startswith("__")}


def test_make_and_the_readme_promise_the_same_time():
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test"):
        (promised,) = re.findall(
            rf"^make {target} .*: about (\d+) minutes$", document.README.read_text(), re.M
        )
        assert re.search(rf"^{target}:.*\(about {promised} minutes", makefile, re.MULTILINE), target


@pytest.mark.parametrize("path", document.DOCUMENTS, ids=lambda path: path.name)
def test_names_in_the_text_are_settings(path: Path):
    """Every name of several words: of variables, of fields of specs, or of what is not ours."""
    prose = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)[`:]", prose))
    known = playbooks.declared(ROOT) | {"blue_green", *re.findall(r'"(\w+)": ', json.dumps(spec.schema()))}
    known |= {"en_core_web_sm", "spacy_architectures", "spacy_callbacks", "spacy_readers"}
    known |= set().union(*(playbooks.stack_variables(ROOT, stack) for stack in ("training", "serving")))
    known |= set().union(*(playbooks.own(ROOT, play.name) for play in (ROOT / "playbooks").glob("*.yml")))
    assert named <= known


@pytest.mark.parametrize("role", document.ROLES)
def test_a_roles_documented_defaults_are_its_own(role: str):
    specs = yaml.safe_load((ROOT / "roles" / role / "meta/argument_specs.yml").read_text())
    own = yaml.safe_load((ROOT / "roles" / role / "defaults/main.yml").read_text())
    options = specs["argument_specs"]["main"]["options"]
    documented = {name: about["default"] for name, about in options.items() if "default" in about}
    assert documented == {name: value for name, value in own.items() if "{{" not in str(value)}
