"""The state of the random numbers that training draws on."""

import random
import sys
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
    """Where Python's and numpy's generators stand, and PyTorch's where it is in use."""
    version, numbers, gauss = random.getstate()
    numpys: Any = numpy.random.get_state()
    name, keys, *rest = numpys
    torch = sys.modules.get("torch")
    torchs = torch.get_rng_state().numpy().tobytes() if torch else b""
    # As bytes: captured several times in each step, and kept for many a batch.
    return version, array("I", numbers).tobytes(), gauss, torchs, name, keys.tobytes(), *rest


def restore(state: State) -> None:
    """Let the generators go on from there."""
    version, numbers, gauss, torchs, name, keys, *rest = state
    random.setstate((version, tuple(array("I", numbers)), gauss))
    numpy.random.set_state((name, numpy.frombuffer(keys, "uint32"), *rest))
    if torchs:
        import torch

        torch.set_rng_state(torch.frombuffer(bytearray(torchs), dtype=torch.uint8))


@contextmanager
def kept() -> Iterator[None]:
    """Within, others may draw from Python's generator, as boto3 does; afterwards it stands where it stood."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


def reseed_gpu(state: State) -> bool:
    """Seed the GPU's generators, whose state is not kept, from ``state``; False where none is in use."""
    if get_current_ops().device_type != "gpu":
        return False
    import cupy

    seed = zlib.crc32(srsly.msgpack_dumps(state))
    cupy.random.seed(seed)
    if torch := sys.modules.get("torch"):
        torch.cuda.manual_seed_all(seed)
    return True
