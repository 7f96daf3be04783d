"""The state of the random numbers that training draws on."""

import random
import zlib
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy
import srsly
from thinc.api import get_current_ops

State = Sequence[Any]  # for msgpack; equal where the generators stand at the same place


def capture() -> State:
    """Where Python's and numpy's generators stand."""
    version, numbers, gauss = random.getstate()
    name, keys, *rest = numpy.random.get_state()
    # As bytes: captured several times in each step, and kept for many a batch.
    return version, array("I", numbers).tobytes(), gauss, name, keys.tobytes(), *rest


def restore(state: State) -> None:
    """Let both generators go on from there."""
    version, numbers, gauss, name, keys, *rest = state
    random.setstate((version, tuple(array("I", numbers)), gauss))
    numpy.random.set_state((name, numpy.frombuffer(keys, "uint32"), *rest))


@contextmanager
def kept() -> Iterator[None]:
    """Within, others may draw from Python's generator, as boto3 does; afterwards it stands where it stood."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


def reseed_gpu(state: State) -> bool:
    """Seed the GPU's generator, whose state cannot be read, from ``state``; False where none is in use."""
    if get_current_ops().device_type != "gpu":
        return False
    import cupy

    cupy.random.seed(zlib.crc32(srsly.msgpack_dumps(state)))
    return True
