"""The comments that make checkov skip a check must each be about a finding, and each finding needs one."""

import pytest
from audit.skips import Finding, complaints, skips

STACK = """resource "aws_s3_bucket" "main" {
  # checkov:skip=CKV_AWS_18:nobody reads access logs
  bucket = "a"
}

resource "aws_s3_bucket" "other" {
  bucket = "b"
}
"""
LOGS = Finding("stack.tf", (1, 4), "CKV_AWS_18", "aws_s3_bucket.main: logs")


@pytest.fixture
def comments(tmp_path):
    """Reads the comments of a text in a file."""

    def read(text, name="stack.tf"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return list(skips(tmp_path, [file]))

    return read


def test_a_finding_with_a_comment_in_its_block_is_skipped(comments):
    assert complaints(comments(STACK), [LOGS]) == []


@pytest.mark.parametrize(
    "other",
    [
        Finding("stack.tf", (6, 8), "CKV_AWS_18", "aws_s3_bucket.other: logs"),
        Finding("stack.tf", (1, 4), "CKV_AWS_21", "aws_s3_bucket.main: versions"),
        Finding("second.tf", (1, 4), "CKV_AWS_18", "aws_s3_bucket.main: logs"),
    ],
)
def test_a_finding_in_another_place_or_of_another_check_is_not(comments, other):
    assert complaints(comments(STACK), [LOGS, other]) == [
        f"{other.file}:{other.lines[0]}: {other.check}: {other.what}"
    ]


def test_a_comment_about_nothing_is_told(comments):
    assert complaints(comments(STACK), []) == ["stack.tf:2: CKV_AWS_18 is skipped, and nothing fails it"]


@pytest.mark.parametrize("ending", ["", ":", ": "])
def test_a_comment_must_say_why(comments, ending):
    text = STACK.replace(":nobody reads access logs", ending)
    assert complaints(comments(text), [LOGS]) == ["stack.tf:2: CKV_AWS_18 is skipped without a reason"]


def test_a_comment_in_a_dockerfile_is_about_all_of_it(comments):
    text = "# checkov:skip=CKV_DOCKER_7:its tag is an argument\nARG BASE=a:1\nFROM $BASE\n"
    untagged = Finding("server/Dockerfile", (3, 3), "CKV_DOCKER_7", "FROM: a tag")
    assert complaints(comments(text, "server/Dockerfile"), [untagged]) == []
