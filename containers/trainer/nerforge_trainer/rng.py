"""The state of the random numbers that training draws on."""

import random
import zlib

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


def reseed_gpu(state: State) -> bool:
    """Seed the GPU's generator, whose state cannot be read, from ``state``; False where none is in use."""
    if get_current_ops().device_type != "gpu":
        return False
    import cupy

    cupy.random.seed(zlib.crc32(state))
    return True
