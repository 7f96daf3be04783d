"""What all tests share: the project's packages on the path, and no AWS account of the developer's."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))  # where support and chaos are

from support import aws_exercised, paths

paths.put()
ROOT = paths.ROOT

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


def pytest_configure(config: pytest.Config) -> None:
    """See the product's calls to AWS in every test."""
    aws_exercised.install(config)


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
