"""What an optimizer has learnt of each parameter, so that another process's optimizer knows it too.

thinc keys it by the ids of nodes, and of the shims that hold PyTorch's models; both count up as a process
makes models. Written down, a parameter is named by its component, its node's place in the component's model,
in a node with shims the shim's place, and its own name.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import srsly
from spacy.language import Language
from srsly.msgpack import Unpacker
from thinc.api import Model, Ops, Optimizer, PyTorchShim
from thinc.util import is_xp_array

_OF_PARAMETER = ("mom1", "mom2", "averages", "nr_update", "last_seen")


def save(nlp: Language, optimizer: Optimizer, path: Path) -> None:
    """Write moments, averages and counts of updates, and the gradients; one by one, to spare memory.

    After a step the gradients are zero; but a parameter that has one is updated by its momentum even in a
    step that does not touch it, and a zero has a sign.
    """
    with path.open("wb") as file:
        for place, key, ops, node in _parameters(nlp):
            entry: dict[str, Any] = {"place": place}
            for kind in _OF_PARAMETER:
                entry[kind] = (getattr(optimizer, kind) or {}).get(key)
            if node is not None:
                entry["gradient"] = node.maybe_get_grad(key[1])
            for kind, value in entry.items():
                if is_xp_array(value):
                    entry[kind] = ops.to_numpy(value)
            file.write(srsly.msgpack_dumps(entry))


def restore(nlp: Language, optimizer: Optimizer, path: Path) -> None:
    """Let a fresh optimizer, and the pipeline's gradients, be as they were."""
    parameters = {place: (key, ops, node) for place, key, ops, node in _parameters(nlp)}
    with path.open("rb") as file:
        for entry in Unpacker(file, raw=False, max_buffer_size=path.stat().st_size):
            key, ops, node = parameters[tuple(entry.pop("place"))]
            gradient = entry.pop("gradient", None)
            if gradient is not None and node is not None:
                array: Any = ops.asarray(gradient)
                node.set_grad(key[1], array.copy())
            for kind, value in entry.items():
                if value is not None:
                    value = ops.asarray(value).copy() if is_xp_array(value) else value
                    getattr(optimizer, kind)[key] = value


def _parameters(
    nlp: Language,
) -> Iterator[tuple[tuple[Any, ...], tuple[int, str], Ops, Model[Any, Any] | None]]:
    """Each parameter's place, its key in the optimizer, its ops, and the node that keeps its gradient.

    None keeps those of PyTorch's: all of a transformer's are made anew in each step.
    """
    for component, pipe in nlp.pipeline:
        model = getattr(pipe, "model", None)
        if isinstance(model, Model):
            for i, node in enumerate(model.walk()):
                for name in node.param_names:
                    yield (component, i, name), (node.id, name), node.ops, node
                for j, shim in enumerate(node.shims):
                    if isinstance(shim, PyTorchShim):
                        for name, __ in shim._model.named_parameters():
                            yield (component, i, j, name), (shim.id, name), node.ops, None
