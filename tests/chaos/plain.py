"""The same training by spaCy's own loop, with nothing of ours in it but how a spec becomes spaCy's config."""

import hashlib
import io
from pathlib import Path
from typing import Any

from nerforge_contract import corpus


def weights(spec: dict[str, Any], files: dict[str, bytes], folder: Path) -> dict[str, str]:
    """The sha256 of each component's weights, by their path in the pipeline's folder.

    Parameters
    ----------
    spec:
        A spec as a run's record has it.
    files:
        Its data, by part.
    folder:
        Where spaCy's files go.
    """
    from nerforge_trainer import config, docs
    from spacy.training import loop
    from spacy.training.initialize import init_nlp

    parts = {part: folder / f"{part}.spacy" for part in files}
    nlp = config.build(spec, parts["train"], parts["dev"])
    for part, content in files.items():
        source = folder / f"{part}.jsonl"
        source.write_bytes(content)
        docs.write(nlp, corpus.read(source, "jsonl", part, spec["language"]), parts[part], part)
    made = folder / "pipelines"
    made.mkdir()
    loop.train(init_nlp(nlp.config), made, stdout=io.StringIO(), stderr=io.StringIO())
    best = made / loop.DIR_MODEL_BEST
    return {
        str(path.relative_to(best)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in best.glob("*/model")
    }
