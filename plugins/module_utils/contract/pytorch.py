"""What pipelines with a transformer need, and images have only if they were made so."""

import importlib.util
from pathlib import Path

from .errors import UserError

FACTORY = "curated_transformer"  # of such a component, in a pipeline's config
_PACKAGES = ("torch", "spacy_curated_transformers")


def require(where: str) -> None:
    """Raise UserError, which begins with ``where``, if it is not here."""
    if any(importlib.util.find_spec(name) is None for name in _PACKAGES):
        raise UserError(
            "a transformer needs PyTorch, and this image was made without it",
            where,
            "Deploy with images_transformers: true in the inventory; a trainer's image for GPUs has it",
        )


def require_for(pipeline: Path, where: str) -> None:
    """The same where a pipeline, in its folder, has a transformer."""
    config = pipeline / "config.cfg"
    if config.is_file() and f'"{FACTORY}"' in config.read_text(encoding="utf-8"):
        require(where)
