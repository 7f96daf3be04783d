"""The state of the random numbers that training draws on."""

import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy
import srsly
from thinc.api import get_current_ops

State = bytes


def capture() -> State:
    """Where Python's and numpy's generators stand."""
    return srsly.msgpack_dumps([random.getstate(), numpy.random.get_state()])


def restore(state: State) -> None:
    """Let both generators go on from there."""
    (version, numbers, gauss), of_numpy = srsly.msgpack_loads(state)
    random.setstate((version, tuple(numbers), gauss))
    numpy.random.set_state(of_numpy)


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

    cupy.random.seed(zlib.crc32(state))
    return True
