"""Asks PyPI's advisory service, by pip-audit, what is known to be wrong with the pinned packages.

pip-audit ends well where the service knows none of the packages, as a mirror of PyPI does: here whatever was
not looked at is an error.
"""

import json
import subprocess
import sys
import tempfile
from typing import Any

from locks import ROOT, Package, images, packages


def pinned() -> list[list[Package]]:
    """The packages of each image, of the playbooks' environment and of the local AWS."""
    others = (ROOT / "requirements.txt", ROOT / "roles" / "local_aws" / "files" / "requirements.txt")
    return [image.packages() for image in images()] + [packages(lock) for lock in others]


def asked(pinned: list[Package]) -> dict[tuple[str, str], list[dict[str, Any]] | None]:
    """The advisories for each package, by name and version; None where the service does not say.

    Raises RuntimeError with pip-audit's words if the service cannot be asked.
    """
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--disable-pip",
        "--no-deps",
        "--progress-spinner=off",
        "-f",
        "json",
    ]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(f"{package.name}=={package.public_version}\n" for package in pinned)
        file.flush()
        ended = subprocess.run([*command, "-r", file.name], capture_output=True, text=True, check=False)
    try:
        answers = {answer["name"]: answer.get("vulns") for answer in json.loads(ended.stdout)["dependencies"]}
    except ValueError:
        raise RuntimeError(ended.stderr.strip().splitlines()[-1]) from None
    return {(package.name, package.version): answers.get(package.name) for package in pinned}


def main() -> int:
    """Ask; returns the exit status."""
    answers: dict[tuple[str, str], list[dict[str, Any]] | None] = {}
    try:
        for packages in pinned():
            answers |= asked(packages)
    except RuntimeError as error:
        print(f"pip-audit: PyPI's advisory service cannot be asked: {error}", file=sys.stderr)
        return 1
    bad = [(*package, known) for package, advisories in answers.items() for known in advisories or ()]
    for name, version, known in bad:
        fixed = ", ".join(known["fix_versions"]) or "no version yet"
        print(f"{name} {version}: {known['id']}, fixed in {fixed}", file=sys.stderr)
    silent = sum(advisories is None for advisories in answers.values())
    if silent:
        print(
            f"pip-audit: PyPI's advisory service has no answer for {silent} of {len(answers)} packages. A "
            "mirror has no advisories: ask where PyPI's JSON API answers, or leave them out: "
            "make audit ADVISORIES=no",
            file=sys.stderr,
        )
    print(f"pip-audit: {len(answers) - silent} of {len(answers)} packages looked at, {len(bad)} advisories")
    return 1 if bad or silent else 0


if __name__ == "__main__":
    sys.exit(main())
