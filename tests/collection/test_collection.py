"""The collection as it is built and installed, before the judges of Ansible's own community."""

import contextlib
import shutil
import sys
from pathlib import Path

import changelog
import pytest
from support.collection import bundled, install, run

# Where ansible-test keeps the environments that it makes for its tests: it goes by HOME alone.
JUDGE_HOME = Path(__file__).resolve().parents[2] / ".nerforge" / "ansible-test"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection, installed into an empty folder."""
    return install(tmp_path_factory.mktemp("installed"))


@pytest.fixture(scope="module")
def judge_home() -> Path:
    """A home for ansible-test, in which pip comes from Python itself rather than from a host of Ansible's."""
    cache = JUDGE_HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    (cache / f"get_pip_{_pip_of_ansible_test().replace('.', '_')}.py").write_text(
        "import ensurepip\n\nensurepip.bootstrap()\n"
    )
    ours = Path.home() / ".config" / "pip"
    theirs = JUDGE_HOME / ".config" / "pip"
    if ours.is_dir():
        theirs.parent.mkdir(exist_ok=True)
        with contextlib.suppress(FileExistsError):
            theirs.symlink_to(ours)  # which index packages come from
    return JUDGE_HOME


# In two parts, for two processes: pylint takes as long as all others together.
@pytest.mark.parametrize("chosen", [("--test", "pylint"), ("--skip-test", "pylint")], ids=" ".join)
def test_every_sanity_test_of_ansible_passes(collection: Path, judge_home: Path, chosen: tuple[str, str]):
    assert not list(collection.glob("tests/sanity/ignore*")), "what is wrong is mended, not ignored"
    options = ("--python", PYTHON, "--color", "no", *chosen)
    run("ansible-test", "sanity", *options, cwd=collection, HOME=str(judge_home))


def test_the_documentation_of_every_plugin_can_be_built(collection: Path, tmp_path: Path):
    """Strictly: what antsibull-docs finds wrong in a module's or a role's documentation fails it."""
    options = ("--use-current", "--fail-on-error", "--dest-dir", tmp_path)
    where = {"ANSIBLE_COLLECTIONS_PATH": str(collection.parents[2])}
    run("antsibull-docs", "collection", *options, "nerforge.aws", cwd=collection, **where)
    pages = {path.name for path in tmp_path.rglob("*_module.rst")}
    modules = {f"{path.stem}_module.rst" for path in (collection / "plugins/modules").glob("*.py")}
    assert pages == modules | {"index_module.rst"}


def test_the_documentation_of_every_plugin_is_without_fault(collection: Path):
    """Its markup and its references, and the pages that are made of it."""
    # Where git is in charge only what it tracks is looked at, and it does not track the tests' environment.
    alone = {"GIT_CEILING_DIRECTORIES": str(bundled().parent)}
    where = {"ANSIBLE_COLLECTIONS_PATH": str(collection.parents[2])}
    run("antsibull-docs", "lint-collection-docs", "--plugin-docs", ".", cwd=collection, **alone, **where)


def test_the_changelog_is_that_of_its_fragments(collection: Path, tmp_path: Path):
    copy = tmp_path / "ansible_collections" / "nerforge" / "aws"
    shutil.copytree(collection, copy)
    run("antsibull-changelog", "lint", cwd=copy)
    changelog.write(copy)
    for name in changelog.WRITTEN:
        assert (copy / name).read_text() == (collection / name).read_text(), "run make changelog"


def _pip_of_ansible_test() -> str:
    """The version of pip that ansible-test wants in its environments, by which its cache is named."""
    from ansible_test._internal.python_requirements import get_venv_packages

    return get_venv_packages(type("Python", (), {"version": PYTHON})())["pip"]
