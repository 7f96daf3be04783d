"""The module that packs the dispatcher: same sources, same bytes; anything else is a change or an error."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from ansible_collections.nerforge.aws.plugins.modules import python_zip


def whole(folder: Path) -> dict[str, str]:
    """A folder as a source of files that lie at the archive's root."""
    return {"src": str(folder), "dest": "."}


def run(path: Path, sources: list[dict[str, str]], check_mode: bool = False) -> tuple[int, dict]:
    """The module as Ansible runs it: its exit code and its answer."""
    arguments = {"path": str(path), "sources": sources, "_ansible_check_mode": check_mode}
    ended = subprocess.run(
        [sys.executable, python_zip.__file__],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    return ended.returncode, json.loads(ended.stdout)


def test_bytes_depend_on_names_and_contents_alone(package: Path, tmp_path: Path):
    files = python_zip.gather([whole(package)])
    before = python_zip.pack(files)
    os.utime(package / "main.py", (0, 0))
    (package / "main.py").chmod(0o600)
    (tmp_path / "moved").symlink_to(package)
    assert python_zip.pack(python_zip.gather([whole(tmp_path / "moved")])) == before
    (package / "main.py").write_text("import inner as other\n")
    assert python_zip.pack(files) != before


def test_entries_are_readable_by_all_and_timeless(package: Path, tmp_path: Path):
    path = tmp_path / "package.zip"
    path.write_bytes(python_zip.pack(python_zip.gather([whole(package)])))
    with zipfile.ZipFile(path) as archive:
        assert archive.read("main.py") == b"import inner\n"
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o100644}
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {entry.create_system for entry in archive.infolist()} == {3}


def test_python_can_import_from_it(package: Path, tmp_path: Path):
    path = tmp_path / "package.zip"
    path.write_bytes(python_zip.pack(python_zip.gather([whole(package)])))
    subprocess.run(
        [sys.executable, "-c", "import main"], check=True, env={"PYTHONPATH": str(path)}, cwd=tmp_path
    )


def test_it_changes_only_what_differs(package: Path, tmp_path: Path):
    path = tmp_path / "new" / "package.zip"
    sources = [whole(package)]

    code, answer = run(path, sources, check_mode=True)
    assert (code, answer["changed"], path.exists()) == (0, True, False)

    code, made = run(path, sources)
    digest = hashlib.sha256(path.read_bytes())
    assert (code, made["changed"]) == (0, True)
    assert made["files"] == ["inner/__init__.py", "main.py"]
    assert made["sha256"] == answer["sha256"] == digest.hexdigest()
    assert made["base64_sha256"] == base64.b64encode(digest.digest()).decode()

    stamp = path.stat().st_mtime_ns
    code, again = run(path, sources)
    assert (code, again["changed"], path.stat().st_mtime_ns) == (0, False, stamp)

    (package / "main.py").write_text("")
    code, changed = run(path, sources)
    assert (code, changed["changed"]) == (0, True)
    assert changed["sha256"] != made["sha256"]


@pytest.mark.parametrize(
    ("dest", "message"),
    [
        ("missing", "missing is neither a file nor a folder; name one that exists."),
        ("empty", "there is no file in them"),
    ],
)
def test_what_cannot_be_packed_is_said_and_nothing_written(tmp_path: Path, dest: str, message: str):
    (tmp_path / "empty").mkdir()
    code, answer = run(tmp_path / "package.zip", [whole(tmp_path / dest)])
    assert code == 1
    assert answer["failed"]
    assert answer["msg"].startswith("sources: ")
    assert message in answer["msg"]
    assert not (tmp_path / "package.zip").exists()


def test_a_path_that_cannot_be_written_is_said(package: Path, tmp_path: Path):
    (tmp_path / "file").touch()
    code, answer = run(tmp_path / "file" / "package.zip", [whole(package)])
    assert code == 1
    assert "file: " in answer["msg"]
