# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What terraform_stack decides: which command to run, in which environment, and what its JSON stream means.

``run`` alone starts a process; everything else is a function of its arguments. An event is one line of
``terraform ... -json``, as a dict.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import re
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..module_utils.contract.errors import UserError

Event = dict[str, Any]

# What the task says is all that counts: none of these may reach Terraform from the caller's shell.
FOREIGN = re.compile(r"TF_(CLI_ARGS|VAR_|WORKSPACE$|DATA_DIR$|CLI_CONFIG_FILE$)")

# Parameter of amazon.aws -> the environment variables that Terraform's provider and S3 backend read.
AWS_ENVIRONMENT = {
    "access_key": ("AWS_ACCESS_KEY_ID",),
    "secret_key": ("AWS_SECRET_ACCESS_KEY",),
    "session_token": ("AWS_SESSION_TOKEN",),
    "profile": ("AWS_PROFILE",),
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "endpoint_url": ("AWS_ENDPOINT_URL",),
    "aws_ca_bundle": ("AWS_CA_BUNDLE",),
}
CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")

# Action of an event -> how it is told while it lasts, once it is done, and beforehand.
VERBS = {
    "create": ("creating", "created", "create"),
    "update": ("changing", "changed", "change"),
    "delete": ("destroying", "destroyed", "destroy"),
    "replace": ("replacing", "replaced", "replace"),
    "move": ("moving", "moved", "move"),
    "import": ("importing", "imported", "import"),
    "remove": ("forgetting", "forgotten", "forget"),
}

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # others are named alike

LOCKED = "Error acquiring the state lock"

# Key of a summary's count -> the action that it counts.
COUNTED = {"add": "create", "change": "update", "remove": "delete"}


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, all its events, and what it wrote that is none."""

    exit_code: int
    events: list[Event]
    noise: str


# --- what to run ---


def environment(
    inherited: Mapping[str, str], parameters: Mapping[str, Any], data_dir: str, cli_config: str | None
) -> dict[str, str]:
    """The environment of the Terraform process.

    Parameters
    ----------
    inherited:
        The caller's environment.
    parameters:
        The task's parameters; those of amazon.aws for credentials, region and endpoint are used, and
        ``plugin_cache_dir``.
    data_dir:
        Where Terraform keeps plugins and the backend's settings.
    cli_config:
        Terraform's CLI configuration file, or None for none but the user's own ``~/.terraformrc``.

    Raises
    ------
    UserError
        For ``validate_certs: false``, which Terraform has no environment variable for.
    """
    if parameters.get("validate_certs") is False:
        raise UserError(
            "Terraform cannot pass over the check of AWS's certificate",
            "validate_certs",
            "Give aws_ca_bundle instead",
        )
    result = {name: value for name, value in inherited.items() if not FOREIGN.match(name)}
    if parameters.get("access_key") or parameters.get("profile"):
        # One source of credentials, whole: a key given here never meets a token or a profile of the shell.
        for name in CREDENTIALS:
            result.pop(name, None)
    for parameter, names in AWS_ENVIRONMENT.items():
        if parameters.get(parameter):
            result.update(dict.fromkeys(names, str(parameters[parameter])))
    result.update(TF_DATA_DIR=data_dir, TF_IN_AUTOMATION="1", TF_INPUT="0", CHECKPOINT_DISABLE="1")
    if cli_config:
        result["TF_CLI_CONFIG_FILE"] = cli_config
    if parameters.get("plugin_cache_dir"):
        result["TF_PLUGIN_CACHE_DIR"] = parameters["plugin_cache_dir"]
    return result


def locked_providers(lock: str) -> dict[str, str]:
    """The providers of a dependency lock file: address -> version."""
    return dict(re.findall(r'^provider "([^"]+)" \{\s*version\s*=\s*"([^"]+)"', lock, re.MULTILINE))


def platform_name(system: str, machine: str) -> str:
    """`platform.system()` and `platform.machine()` as Terraform names them, such as ``linux_amd64``."""
    machine = machine.lower()
    return f"{system.lower()}_{ARCHITECTURES.get(machine, machine)}"


def find_mirror(places: Sequence[str], providers: Mapping[str, str], platform: str) -> str | None:
    """The first folder that holds every provider for this platform, packed or unpacked.

    Parameters
    ----------
    places:
        Folders, best first; ``~`` and a pattern in the last part, as in ``/opt/*``, are understood.
    providers:
        Address -> version.
    platform:
        As `platform_name` gives it.
    """
    paths = [Path(place).expanduser() for place in places]
    folders = [folder for path in paths for folder in sorted(path.parent.glob(path.name))]
    return next(
        (str(folder) for folder in folders if providers and _holds(folder, providers, platform)), None
    )


def _holds(folder: Path, providers: Mapping[str, str], platform: str) -> bool:
    def is_here(address: str, version: str) -> bool:
        kind = address.rpartition("/")[2]
        unpacked = folder / address / version / platform
        packed = folder / address / f"terraform-provider-{kind}_{version}_{platform}.zip"
        return unpacked.is_dir() or packed.is_file()

    return all(is_here(address, version) for address, version in providers.items())


def mirror_config(mirror: str, providers: Iterable[str]) -> str:
    """The CLI configuration that takes these providers from a mirror and all others from their registries."""
    addresses = json.dumps(sorted(providers))
    return (
        "provider_installation {\n"
        f"  filesystem_mirror {{\n    path    = {json.dumps(mirror)}\n    include = {addresses}\n  }}\n"
        f"  direct {{\n    exclude = {addresses}\n  }}\n"
        "}\n"
    )


def init_arguments(backend_file: str | None, has_lock_file: bool) -> list[str]:
    """The arguments of ``terraform init``; a lock file that is there stays as it is."""
    arguments = ["init", "-json", "-reconfigure"]
    if has_lock_file:
        arguments.append("-lockfile=readonly")
    if backend_file:
        arguments.append(f"-backend-config={backend_file}")
    return arguments


def run_arguments(state: str, check: bool, variables_file: str, targets: Sequence[str]) -> list[str]:
    """The arguments of the one command that plans, or plans and does, everything.

    Parameters
    ----------
    state:
        ``present`` or ``absent``.
    check:
        Only say what would be done. The state is not locked then, for a lock is a write.
    variables_file:
        File of the variables' values.
    targets:
        Resource addresses to keep to; empty for the whole stack.
    """
    arguments = ["plan", "-lock=false"] if check else ["apply", "-auto-approve"]
    arguments.append("-json")
    if state == "absent":
        arguments.append("-destroy")
    return [*arguments, f"-var-file={variables_file}", *(f"-target={target}" for target in targets)]


def fingerprint(sources: Mapping[str, str], lock: str, backend: Mapping[str, Any], surroundings: str) -> str:
    """A hash that changes when ``terraform init`` has to run again.

    Parameters
    ----------
    sources:
        The stack's ``.tf`` files, name -> text. Only those with a ``terraform`` or ``module`` block count.
    lock:
        Text of the dependency lock file.
    backend:
        The backend's settings.
    surroundings:
        Whatever else the providers' place depends on: the binary, the CLI configuration.
    """
    blocks = {
        name: text
        for name, text in sources.items()
        if re.search(r'^\s*(terraform|module\s+"[^"]*")\s*\{', text, re.MULTILINE)
    }
    told = json.dumps([blocks, lock, backend, surroundings], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


# --- what the stream says ---


def duration(seconds: float) -> str:
    """``75`` as ``1 min 15 s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def line(event: Event) -> str | None:
    """What to print for an event, or None when it is not worth a line."""
    hook = event.get("hook", {})
    verbs = VERBS.get(hook.get("action") or event.get("change", {}).get("action"))
    match event.get("type"):
        case "log" if event["@message"].startswith("Installing "):
            return f"  {event['@message'][0].lower()}{event['@message'][1:]}"
        case "log" if "Interrupt received" in event["@message"]:
            return "  interrupted: Terraform finishes what is under way and saves its state"
        case "apply_progress" if verbs:
            return f"  still {verbs[0]} {hook['resource']['addr']} ({duration(hook['elapsed_seconds'])})"
        case "apply_complete" if verbs:
            return f"  {verbs[1]} {hook['resource']['addr']} in {duration(hook['elapsed_seconds'])}"
        case "apply_errored" if verbs:
            return f"  failed {verbs[0]} {hook['resource']['addr']} after {duration(hook['elapsed_seconds'])}"
        case "change_summary" if event["changes"]["operation"] == "plan":
            return f"  {summary(event['changes'])}"
    return None


def planned_line(event: Event) -> str | None:
    """What to print in check mode: each change that would be made."""
    if event.get("type") == "planned_change":
        verb = VERBS.get(event["change"]["action"])
        return f"  would {verb[2]} {event['change']['resource']['addr']}" if verb else None
    return line(event)


def summary(changes: Mapping[str, Any]) -> str:
    """A plan's counts in words."""
    counts = [f"{changes[key]} to {VERBS[action][2]}" for key, action in COUNTED.items() if changes.get(key)]
    return ", ".join(counts) or "nothing to create, change or destroy"


def result(events: Sequence[Event], check: bool) -> dict[str, Any]:
    """What the task returns.

    The counts come from the summary; where the command failed before it wrote one, from what was done.

    Parameters
    ----------
    events:
        All events of the command.
    check:
        Whether it only planned; ``changed`` then tells what it would have been.
    """
    done = [hook for hook in _parts(events, "apply_complete", "hook") if hook.get("action") in VERBS]
    planned = [change for change in _parts(events, "planned_change", "change") if change["action"] in VERBS]
    summaries = {changes["operation"]: changes for changes in _parts(events, "change_summary", "changes")}
    ended = summaries.get("plan" if check else "apply")
    counts = ended or {key: _count(done, verb) for key, verb in COUNTED.items()}
    outputs = _parts(events, "outputs", "outputs")  # the plan's, with actions; then the values
    moved = ended and any(output.get("action", "noop") != "noop" for output in (outputs or [{}])[0].values())
    values = outputs[-1] if outputs and ended and not check else {}
    return {
        "changed": any(counts.get(key) for key in (*COUNTED, "import")) or bool(moved),
        "added": counts["add"],
        "altered": counts["change"],
        "destroyed": counts["remove"],
        "resources": [_resource(item) for item in (planned if check else done)],
        "outputs": {n: o["value"] for n, o in values.items() if "value" in o and not o.get("sensitive")},
        "sensitive_outputs": sorted(n for n, o in values.items() if o.get("sensitive")),
    }


def _parts(events: Sequence[Event], kind: str, key: str) -> list[dict[str, Any]]:
    return [event[key] for event in events if event.get("type") == kind]


def _count(hooks: Sequence[Event], action: str) -> int:
    return sum(hook["action"] == action for hook in hooks)


def _resource(item: Event) -> dict[str, Any]:
    told = {"address": item["resource"]["addr"], "action": item["action"]}
    return told | {"seconds": item["elapsed_seconds"]} if "elapsed_seconds" in item else told


def diagnostics(events: Sequence[Event], severity: str) -> list[dict[str, Any]]:
    """The diagnostics of one severity (``error`` or ``warning``), each once."""
    found = _parts(events, "diagnostic", "diagnostic")
    unique = {problem(diagnostic): diagnostic for diagnostic in found if diagnostic["severity"] == severity}
    return list(unique.values())


def problem(diagnostic: Mapping[str, Any]) -> str:
    """One diagnostic as text: where, what, and Terraform's own explanation."""
    span = diagnostic.get("range")
    place = f"{span['filename']}:{span['start']['line']}" if span else ""
    where = ", ".join(part for part in (place, diagnostic.get("address", "")) if part)
    head = f"{where}: {diagnostic['summary']}" if where else diagnostic["summary"]
    detail = diagnostic.get("detail", "").strip()
    return f"{head}\n{detail}" if detail else head


def failure(ended: Ended, doing: str, unlock: str = "") -> str:
    """Why the command failed, and what to do where that is known.

    Parameters
    ----------
    ended:
        The command. Without a diagnostic, what it wrote besides is told: a crash of a provider is there.
    doing:
        What was asked for, e.g. ``apply terraform/training``.
    unlock:
        The command that takes away a lock, without the lock's id.
    """
    errors = [
        lock_fix(error["detail"], unlock) if error["summary"] == LOCKED else problem(error)
        for error in diagnostics(ended.events, "error")
    ]
    told = "\n\n".join(errors) or ended.noise.strip()[-2000:] or "It gave no reason."
    return f"Terraform could not {doing}.\n\n{told}"


def unlock_command(env: Mapping[str, str], binary: str, stack: str) -> str:
    """The command that takes away a lock, without the lock's id and without credentials."""
    settings = [f"{n}={env[n]}" for n in ("AWS_ENDPOINT_URL", "AWS_REGION", "TF_DATA_DIR") if n in env]
    return f"{' '.join(settings)} {binary} -chdir={stack} force-unlock"


def lock_fix(detail: str, unlock: str) -> str:
    """What to do about a state that another run has locked, or one that was killed."""
    facts = dict(re.findall(r"^\s*(ID|Who|Created):\s*(\S.*?)\s*$", detail, re.MULTILINE))
    if "ID" not in facts:
        return f"{LOCKED}\n{detail}"
    return (
        f"The state is locked by {facts.get('Who', 'someone')} since {facts.get('Created', 'some time')}. "
        f"Wait for that run to end; if it no longer lives, take its lock away, "
        f"with your AWS credentials in the environment:\n{unlock} {facts['ID']}"
    )


# --- running it ---


def run(
    command: Sequence[str],
    cwd: str,
    env: Mapping[str, str],
    on_event: Callable[[Event], None],
) -> Ended:
    """Run a ``-json`` command to its end.

    An interrupt (SIGINT or SIGTERM to this process) is passed on once, as the SIGINT that lets Terraform
    finish what is under way and save the state, and is waited for. Works in a process's main thread only.

    Parameters
    ----------
    command:
        Binary and arguments.
    cwd:
        The stack's folder.
    env:
        The whole environment.
    on_event:
        Called with each event as it comes.
    Raises
    ------
    UserError
        When the binary cannot be started.
    """
    events: list[Event] = []
    noise: list[str] = []
    try:
        # A session of its own: a signal to our process group must not reach Terraform as well, which stops at
        # once on the second and may lose state.
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise UserError(
            f"cannot be run ({error.strerror})",
            command[0],
            "Install Terraform 1.10 or later, or say where it is with the parameter binary.",
        ) from error

    with process, _signals_passed_to(process):
        for text in process.stdout or ():
            event = parse(text)
            if event:
                events.append(event)
                on_event(event)
            else:
                noise.append(text)
    return Ended(process.returncode, events, "".join(noise))


def parse(text: str) -> Event | None:
    """One line of output as an event; None for a line that is not one."""
    with contextlib.suppress(ValueError):
        event = json.loads(text)
        if isinstance(event, dict) and "type" in event:
            return event
    return None


@contextlib.contextmanager
def _signals_passed_to(process: subprocess.Popen[Any]) -> Iterator[None]:
    passed = False

    def pass_on(_number: int, _frame: Any) -> None:
        nonlocal passed
        if not passed:
            passed = True
            process.send_signal(signal.SIGINT)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
