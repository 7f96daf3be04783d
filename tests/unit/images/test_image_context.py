"""A context's tag follows its content and nothing else."""

import os
from pathlib import Path

import pytest
from ansible_collections.nerforge.aws.plugins.modules import image_context


@pytest.fixture
def sources(tmp_path: Path) -> list[dict[str, str]]:
    package = tmp_path / "package"
    (package / "inner" / "__pycache__").mkdir(parents=True)
    (package / "main.py").write_text("print(1)\n")
    (package / "inner" / "more.py").write_text("print(2)\n")
    (package / "inner" / "__pycache__" / "more.pyc").write_bytes(b"\0")
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    return [
        {"src": str(tmp_path / "Dockerfile"), "dest": "Dockerfile"},
        {"src": str(package), "dest": "app/package"},
    ]


def tag(sources: list[dict[str, str]], salt: str = "") -> str:
    return image_context.content_tag(image_context.gather(sources), salt)


def test_the_tag_ignores_times_modes_and_compiled_files(sources, tmp_path):
    before = tag(sources)
    main = tmp_path / "package" / "main.py"
    os.utime(main, (0, 0))
    main.chmod(0o600)
    (tmp_path / "package" / "__pycache__").mkdir()
    (tmp_path / "package" / "__pycache__" / "main.pyc").write_bytes(b"\1")
    assert tag(sources) == before


@pytest.mark.parametrize("change", ["content", "name", "salt"])
def test_the_tag_follows_every_change(sources, tmp_path, change):
    before = tag(sources)
    main = tmp_path / "package" / "main.py"
    if change == "content":
        main.write_text("print(3)\n")
    if change == "name":
        main.rename(main.with_name("other.py"))
    assert tag(sources, salt="other base" if change == "salt" else "") != before


def test_a_move_of_bytes_between_files_changes_the_tag(tmp_path):
    def of(first: str, second: str) -> str:
        (tmp_path / "a").write_text(first)
        (tmp_path / "b").write_text(second)
        return tag([{"src": str(tmp_path / name), "dest": name} for name in ("a", "b")])

    assert of("xy", "z") != of("x", "yz")


def test_a_staged_context_is_whole_and_has_plain_modes(sources, tmp_path):
    (tmp_path / "package" / "main.py").chmod(0o700)
    context = tmp_path / "images" / "tag" / "context"
    image_context.stage(image_context.gather(sources), context)
    assert (context / "app" / "package" / "main.py").read_text() == "print(1)\n"
    assert (context / "app" / "package" / "main.py").stat().st_mode & 0o777 == 0o644
    assert (context / "app").stat().st_mode & 0o777 == 0o755
    assert [path.name for path in context.parent.iterdir()] == ["context"]


def test_a_context_that_another_deploy_has_staged_meanwhile_is_kept(sources, tmp_path):
    files, context = image_context.gather(sources), tmp_path / "images" / "tag" / "context"
    image_context.stage(files, context)
    staged = (context / "Dockerfile").stat().st_ino
    image_context.stage(files, context)
    assert (context / "Dockerfile").stat().st_ino == staged
    assert [path.name for path in context.parent.iterdir()] == ["context"]
