"""Puts the project's packages on the path under the names they have where they run.

The contract is copied into the zip and the images as ``nerforge_contract``; here a link of that name stands
in for the copy, so that the tests run the code where it lies.
"""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINKS = ROOT / ".nerforge" / "test-path"

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
    str(ROOT / "tests"),  # what several parts of the tests share: support, chaos
]

os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(ROOT / ".nerforge" / "hypothesis"))

# boto3 must never find an account of the developer's in a test.
os.environ.update(
    AWS_ACCESS_KEY_ID="test",
    AWS_SECRET_ACCESS_KEY="test",
    AWS_DEFAULT_REGION="us-east-1",
    AWS_CONFIG_FILE=os.devnull,
    AWS_SHARED_CREDENTIALS_FILE=os.devnull,
    AWS_EC2_METADATA_DISABLED="true",
)
for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_REGION"):
    os.environ.pop(name, None)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root."""
    return ROOT


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder that holds the public corpora wnut17/ and wikigold/, named by NERFORGE_CORPORA."""
    folder = Path(os.environ.get("NERFORGE_CORPORA", ROOT.parent / "shared" / "data"))
    if not (folder / "wnut17" / "train.conll").is_file():
        pytest.skip(f"no corpora in {folder}: set NERFORGE_CORPORA to a folder with wnut17/ and wikigold/")
    return folder
