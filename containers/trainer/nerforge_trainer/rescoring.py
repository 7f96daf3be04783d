"""A registered version scored on the held-out part of data that need not be its own."""

from pathlib import Path
from typing import Any

import spacy
from nerforge_contract import names, pytorch
from nerforge_contract.models import Model

from . import docs, registered
from .evaluate import evaluate, evaluation, predicted
from .fetch import Part


def rescored(s3: Any, bucket: str, record: Model, part: Part, on: str, folder: Path) -> dict[str, Any]:
    """What a version finds, for its evaluation file: as `evaluate.evaluation` has it.

    Parameters
    ----------
    s3:
        A boto3 S3 client.
    bucket:
        The bucket that the version lies in.
    record:
        Its record in the models table.
    part, on:
        The held-out part, and which it is: ``test`` or ``dev``.
    folder:
        Where files go.

    Raises UserError if the version is gone, this image cannot load it, or none of the part's entities fits
    the tokens.
    """
    label = names.model_label(record["name"], record["version"])
    pipeline = registered.pipeline(s3, bucket, record, folder / "version")
    pytorch.require_for(pipeline, label)
    nlp = spacy.load(pipeline)
    file = folder / f"{on}.spacy"
    for warning in docs.write(nlp, part.examples, file, part.where):
        print(f"warning: {warning}", flush=True)
    examples = predicted(nlp, file)
    return evaluation(evaluate(nlp, examples, on), examples, part.examples) | {"model": label}
