"""What an optimizer has learnt of each parameter, so that another process's optimizer knows it too.

thinc keys it by node ids, which count up as a process makes models. Written down, a parameter is named by its
component, its node's place in the component's model, and its own name.
"""

from collections.abc import Iterator

import srsly
from spacy.language import Language
from thinc.api import Model, Optimizer
from thinc.util import is_xp_array

_OF_PARAMETER = ("mom1", "mom2", "averages", "nr_update", "last_seen")


def to_bytes(nlp: Language, optimizer: Optimizer) -> bytes:
    """Moments, averages and counts of updates, and the gradients.

    After a step the gradients are zero; but a parameter that has one is updated by its momentum even in a
    step that does not touch it, and a zero has a sign.
    """
    entries = []
    for place, node, name in _parameters(nlp):
        entry = {"place": place}
        for kind in _OF_PARAMETER:
            entry[kind] = (getattr(optimizer, kind) or {}).get((node.id, name))
        entry["gradient"] = node.maybe_get_grad(name)
        for kind, value in entry.items():
            if is_xp_array(value):
                entry[kind] = node.ops.to_numpy(value)
        entries.append(entry)
    return srsly.msgpack_dumps(entries)


def from_bytes(nlp: Language, optimizer: Optimizer, data: bytes) -> None:
    """Let a fresh optimizer, and the pipeline's gradients, be as they were."""
    entries = {tuple(entry.pop("place")): entry for entry in srsly.msgpack_loads(data)}
    for place, node, name in _parameters(nlp):
        entry = entries.get(place, {})
        gradient = entry.pop("gradient", None)
        if gradient is not None:
            node.set_grad(name, node.ops.asarray(gradient).copy())
        for kind, value in entry.items():
            if value is not None:
                value = node.ops.asarray(value).copy() if is_xp_array(value) else value
                getattr(optimizer, kind)[(node.id, name)] = value


def _parameters(nlp: Language) -> Iterator[tuple[tuple[str, int, str], Model, str]]:
    for component, pipe in nlp.pipeline:
        model = getattr(pipe, "model", None)
        if isinstance(model, Model):
            for i, node in enumerate(model.walk()):
                for name in node.param_names:
                    yield (component, i, name), node, name
