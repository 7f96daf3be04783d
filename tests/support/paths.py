"""Puts the project's packages on the path under the names they have where they run.

The contract is copied into the zip and the images as ``nerforge_contract``; here a link of that name stands
in for the copy, so that what is run is the code where it lies.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINKS = ROOT / ".nerforge" / "test-path"


def put() -> None:
    """Make the link, and put all packages on the path."""
    LINKS.mkdir(parents=True, exist_ok=True)
    link = LINKS / "nerforge_contract"
    if not link.is_symlink():
        link.symlink_to(ROOT / "plugins" / "module_utils" / "contract")
    sys.path[:0] = [
        str(LINKS),
        str(ROOT / "containers" / "engine"),
        str(ROOT / "containers" / "trainer"),
        str(ROOT / "containers" / "server"),
        str(ROOT / "terraform" / "training" / "dispatcher"),
        str(ROOT / ".ansible" / "collections"),
    ]


if __name__ == "__main__":  # for what is told the path by a setting, such as mypy
    put()
