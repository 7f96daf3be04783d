"""Runs checkov over the Dockerfiles and the stacks: ``misconfigurations.py FOLDER``.

What it finds must be skipped by a comment beside it that says why, and each such comment must skip something.
To checkov a comment skips a check whether or not anything fails it: so it reads a copy here in which none
does, and what it finds is held against the comments.

It reads the stacks twice: their source, where it sees what belongs together, and what Terraform makes of it
against a mocked provider, where it sees what a count, a condition or a default comes to. FOLDER holds the
latter in JSON, in a folder for each stack.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import checkov.terraform.checks.resource.aws  # noqa: F401 # pylint: disable=unused-import # it fills the registry
from checkov.terraform.checks.resource.registry import resource_registry
from locks import ROOT
from skips import Finding, complaints, skips

INTERNET = ROOT / "tests" / "audit" / "internet.tfvars"
SOURCES = (
    ("containers", "dockerfile", ()),
    ("terraform", "terraform", ()),
    ("terraform/serving", "terraform", ("--var-file", INTERNET)),
)
# A state does not say what belongs together, so of it only checks of one resource each.
OF_ONE_RESOURCE = {check.id for checks in resource_registry.checks.values() for check in checks}
MOCKED = {("CKV_AWS_300", "aws_s3_bucket_lifecycle_configuration.main")}  # gets prefixes that it has not

Result = dict[str, Any]  # of one check on one block


def checked(*arguments: str | Path) -> tuple[list[Result], list[Result]]:
    """The checks that fail and those that pass. Raises RuntimeError if checkov cannot read all there is."""
    # Nothing is asked of Prisma Cloud, whose client checkov also is.
    command = [Path(sys.executable).with_name("checkov"), "--skip-download", "--output", "json", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        results = json.loads(ended.stdout)["results"]
    except (ValueError, KeyError, TypeError):
        raise RuntimeError(ended.stdout + ended.stderr) from None
    if results["parsing_errors"]:
        raise RuntimeError(f"checkov cannot read {results['parsing_errors']}")
    return results["failed_checks"], results["passed_checks"]


def in_sources() -> Iterator[tuple[list[Finding], int]]:
    """What is found in the source, and how much passes."""
    with tempfile.TemporaryDirectory() as scratch:
        for file in sources():
            copy = Path(scratch, file.relative_to(ROOT))
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(file.read_text().replace("checkov:skip", "checkov-skip"))
        for folder, framework, options in SOURCES:
            where = ("--directory", Path(scratch, folder), "--framework", framework)
            failed, passed = checked(*where, *options)
            found = [
                _finding(one, f"{folder}{one['file_path']}", tuple(one["file_line_range"])) for one in failed
            ]
            yield found, len(passed)


def in_states(folder: Path) -> Iterator[tuple[list[Finding], int]]:
    """What is found in what Terraform makes, and how much passes."""
    for state in sorted(folder.glob("*/*.json")):
        blocks = _blocks(ROOT / "terraform" / state.parent.name)
        with tempfile.NamedTemporaryFile("w", suffix=".json") as plan:
            json.dump(_as_plan(json.loads(state.read_text())), plan)
            plan.flush()
            results = checked("--file", plan.name, "--framework", "terraform_plan")
        failed, passed = (
            [one for one in of_kind if one["check_id"] in OF_ONE_RESOURCE] for of_kind in results
        )
        found = [
            _finding(one, *blocks[address])
            for one in failed
            if (one["check_id"], address := one["resource"].partition("[")[0]) not in MOCKED
        ]
        yield found, len(passed)


def sources() -> list[Path]:
    """The files that checkov reads."""
    return [
        *sorted(ROOT.glob("containers/*/Dockerfile")),
        *sorted(ROOT.glob("terraform/*/*.tf")),
    ]


def _finding(result: Result, file: str, lines: tuple[int, int]) -> Finding:
    return Finding(file, lines, result["check_id"], f"{result['resource']}: {result['check_name']}")


def _as_plan(state: dict[str, Any]) -> dict[str, Any]:
    """As much of a plan as checkov reads: it takes what is null for what is there."""
    resources = [
        resource
        | {"values": {name: value for name, value in resource["values"].items() if value is not None}}
        for resource in state["root_module"]["resources"]
    ]
    return {"terraform_version": "1", "planned_values": {"root_module": {"resources": resources}}}


def _blocks(stack: Path) -> dict[str, tuple[str, tuple[int, int]]]:
    """The file of each resource's block, its first line and its last, by the resource's address."""
    found = {}
    for file in stack.glob("*.tf"):
        text = file.read_text()
        for block in re.finditer(r'^resource "(\w+)" "(\w+)" \{\n.*?^\}', text, re.DOTALL | re.MULTILINE):
            first = text.count("\n", 0, block.start()) + 1
            lines = (first, first + block[0].count("\n"))
            found[f"{block[1]}.{block[2]}"] = (file.relative_to(ROOT).as_posix(), lines)
    return found


def main(folder: Path) -> int:
    """Look; returns the exit status."""
    if not any(folder.glob("*/*.json")):
        print(
            f"no stacks in {folder}: tests/terraform/test_permissions.py leaves them there", file=sys.stderr
        )
        return 1
    looks = [*in_sources(), *in_states(folder)]
    findings = list(dict.fromkeys(finding for found, __ in looks for finding in found))
    comments = list(skips(ROOT, sources()))
    wrong = complaints(comments, findings)
    for line in wrong:
        print(line, file=sys.stderr)
    passed = sum(number for __, number in looks)
    print(f"checkov: {passed} passed, {len(findings)} found, {len(comments)} comments, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
