"""A package to gather, with compiled files that nobody wants."""

from pathlib import Path

import pytest


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    (folder / "inner" / "__pycache__").mkdir(parents=True)
    (folder / "main.py").write_text("import inner\n")
    (folder / "inner" / "__init__.py").write_text("")
    (folder / "inner" / "__pycache__" / "main.cpython-311.pyc").write_bytes(b"compiled")
    (folder / "left.pyc").write_bytes(b"compiled")
    return folder
