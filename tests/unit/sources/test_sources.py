"""What the modules that gather source files find, under which names, and how they say what is wrong."""

from pathlib import Path

import pytest
from ansible_collections.nerforge.aws.plugins.module_utils import sources


def source(src: Path, dest: str) -> dict[str, str]:
    return {"src": str(src), "dest": dest}


class Module:
    """As much of an AnsibleModule as fails."""

    def fail_json(self, msg: str) -> None:
        raise SystemExit(msg)


@pytest.mark.parametrize(
    ("dest", "names"),
    [
        (".", ["inner/__init__.py", "main.py"]),
        ("a/b", ["a/b/inner/__init__.py", "a/b/main.py"]),
        ("..a", ["..a/inner/__init__.py", "..a/main.py"]),
    ],
)
def test_a_folder_lies_where_dest_says_without_compiled_files(package: Path, dest: str, names: list[str]):
    assert list(sources.gather([source(package, dest)])) == names


def test_a_file_has_the_name_that_dest_says(package: Path):
    assert sources.gather([source(package / "main.py", "start.py")]) == {"start.py": package / "main.py"}


def test_a_folder_whose_own_path_holds_a_cache_is_not_left_out(tmp_path: Path):
    folder = tmp_path / "__pycache__" / "sources"
    folder.mkdir(parents=True)
    (folder / "main.py").touch()
    assert list(sources.gather([source(folder, ".")])) == ["main.py"]


@pytest.mark.parametrize("dest", ["../main.py", "/main.py", "a/../../main.py", ".."])
def test_nothing_lies_outside_the_root(package: Path, dest: str):
    with pytest.raises(ValueError, match="leads out of the root"):
        sources.gather([source(package / "main.py", dest)])


def test_a_file_needs_a_name(package: Path):
    with pytest.raises(ValueError, match=r"needs a name as dest; give main\.py"):
        sources.gather([source(package / "main.py", ".")])


def test_two_files_of_one_name_are_refused(package: Path):
    with pytest.raises(ValueError, match=r"would both be main\.py"):
        sources.gather([source(package, "."), source(package / "inner" / "__init__.py", "./main.py")])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", r"missing is neither a file nor a folder; name one that exists"),
        ("empty", "there is no file in them"),
    ],
)
def test_there_must_be_something(tmp_path: Path, name: str, message: str):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=message):
        sources.gather([source(tmp_path / name, ".")])


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("there is no file in them"), "sources: there is no file in them."),
        (
            PermissionError(13, "Permission denied", "/etc/shadow"),
            "/etc/shadow: Permission denied. Make it readable, and /home/ada writable.",
        ),
        (OSError(28, "No space left on device"), "/home/ada/zip: No space left on device. "),
    ],
)
def test_a_failure_is_one_message(error: Exception, told: str):
    with pytest.raises(SystemExit) as ended, sources.failures_told_by(Module(), Path("/home/ada/zip")):
        raise error
    assert str(ended.value).startswith(told)
