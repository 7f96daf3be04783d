# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Applies a Terraform stack and prints a line for each resource as it is made."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.amazon.aws.plugins.module_utils.modules import aws_argument_spec

from ..module_utils.contract.errors import UserError
from ..plugin_utils import terraform

OPTIONS: dict[str, dict[str, Any]] = {
    "path": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "variables": {"type": "dict", "default": {}},
    "backend": {"type": "dict", "default": {}},
    "data_dir": {"type": "path"},
    "targets": {"type": "list", "elements": "str", "default": []},
    "binary": {"type": "path", "default": "terraform"},
    "cli_config": {"type": "path"},
    "plugin_cache_dir": {"type": "path"},
    "provider_mirrors": {"type": "list", "elements": "str", "default": []},
}


class ActionModule(ActionBase):
    """See the module of the same name for the documentation."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the task; what a user can put right comes back as a failed result with one message."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        __, parameters = self.validate_argument_spec(aws_argument_spec() | OPTIONS)
        try:
            return result | self._apply(parameters, check=self._task.check_mode)
        except UserError as error:
            return result | {"failed": True, "msg": str(error)}

    def _apply(self, parameters: dict[str, Any], check: bool) -> dict[str, Any]:
        stack = Path(parameters["path"]).resolve()
        if not any(stack.glob("*.tf")):
            raise UserError(
                "there is no Terraform configuration here", str(stack), "Give path the stack's folder."
            )
        data_dir = Path(parameters["data_dir"] or stack / ".terraform").resolve()
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        cli_config = (
            parameters["cli_config"]
            or existing(os.environ.get("TF_CLI_CONFIG_FILE"))
            or self._mirror_config(stack, data_dir, parameters["provider_mirrors"])
        )
        if parameters["plugin_cache_dir"]:
            Path(parameters["plugin_cache_dir"]).mkdir(parents=True, exist_ok=True)
        env = terraform.environment(os.environ, parameters, str(data_dir), cli_config)
        absent = parameters["state"] == "absent"
        doing = f"{'plan' if check else 'destroy' if absent else 'apply'} {stack}"

        if problem := self._initialise(parameters, stack, data_dir, env, cli_config):
            return {"failed": True, "msg": problem}
        self._display.display(f"  looking at what is there for {stack.name}")
        with private_file(data_dir / "variables.tfvars.json", parameters["variables"]) as variables:
            arguments = terraform.run_arguments(parameters["state"], check, variables, parameters["targets"])
            ended = self._run(
                [parameters["binary"], *arguments],
                stack,
                env,
                terraform.planned_line if check else terraform.line,
            )

        told = terraform.result(ended.events, check)
        if ended.exit_code:
            unlock = terraform.unlock_command(env, parameters["binary"], str(stack))
            return told | {"failed": True, "msg": terraform.failure(ended, doing, unlock)}
        return told

    def _mirror_config(self, stack: Path, data_dir: Path, places: list[str]) -> str | None:
        """Write the CLI configuration for a mirror that holds the stack's providers; its path, or None."""
        providers = terraform.locked_providers(text_of(stack / ".terraform.lock.hcl"))
        here = terraform.platform_name(platform.system(), platform.machine())
        mirror = terraform.find_mirror(places, providers, here)
        if not mirror:
            return None
        self._display.vv(f"providers come from {mirror}")
        config = data_dir / "mirror.tfrc"
        config.write_text(terraform.mirror_config(mirror, providers), encoding="utf-8")
        return str(config)

    def _initialise(
        self,
        parameters: dict[str, Any],
        stack: Path,
        data_dir: Path,
        env: dict[str, str],
        cli_config: str | None,
    ) -> str | None:
        """Run ``terraform init`` if anything it depends on has changed; returns why it failed, if it did."""
        lock_file, mark = stack / ".terraform.lock.hcl", data_dir / "initialised.sha256"
        wanted = terraform.fingerprint(
            {path.name: path.read_text(encoding="utf-8") for path in stack.glob("*.tf")},
            text_of(lock_file),
            parameters["backend"],
            f"{stack} {parameters['binary']} {text_of(Path(cli_config)) if cli_config else ''}",
        )
        if text_of(mark) == wanted:
            return None
        self._display.display(f"  preparing Terraform for {stack.name}")
        with contextlib.ExitStack() as files:
            backend = parameters["backend"] and files.enter_context(
                private_file(data_dir / "backend.json", parameters["backend"])
            )
            arguments = terraform.init_arguments(backend or None, lock_file.exists())
            ended = self._run([parameters["binary"], *arguments], stack, env, terraform.line)
        if ended.exit_code:
            return terraform.failure(ended, f"prepare {stack}")
        mark.write_text(wanted, encoding="utf-8")
        return None

    def _run(
        self,
        command: list[str],
        stack: Path,
        env: dict[str, str],
        line: Callable[[terraform.Event], str | None],
    ) -> terraform.Ended:
        def show(event: terraform.Event) -> None:
            if text := line(event):
                self._display.display(text)

        ended = terraform.run(command, str(stack), env, show)
        for warning in terraform.diagnostics(ended.events, "warning"):
            self._display.warning(terraform.problem(warning))
        return ended


def existing(path: str | None) -> str | None:
    """The path if a file is there, else None."""
    return path if path and Path(path).is_file() else None


def text_of(path: Path) -> str:
    """The file's text; empty where there is none."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""


@contextlib.contextmanager
def private_file(path: Path, content: Mapping[str, Any]) -> Iterator[str]:
    """A JSON file that only its owner may read, and that is gone afterwards; gives its path."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file)
    try:
        yield str(path)
    finally:
        path.unlink(missing_ok=True)
