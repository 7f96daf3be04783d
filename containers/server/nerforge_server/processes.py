"""Forking: a child that runs one function, never outlives its parent, and never returns into its code."""

import contextlib
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Callable

from . import logs

_PR_SET_PDEATHSIG = 1
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)

log = logging.getLogger(__name__)


def fork(run: Callable[[], int]) -> int:
    """Fork a child that runs this function and exits with what it returns; the child's process id.

    The child starts with the default signal handlers and with `SIGNALS` blocked: none comes before it is
    ready for it, and says so by `unblock_signals`. To be called while the process has one thread: of
    others the child would inherit the locks they hold, and nobody to release them.
    """
    logs.flush()
    before = block_signals()
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid
    code = 1
    try:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        code = run()
    except BaseException as error:
        log.critical("A process failed: %s", type(error).__name__, exc_info=error)
    finally:
        with contextlib.suppress(Exception):
            logs.flush()
            sys.stdout.flush()
        os._exit(code)


def block_signals() -> set[int | signal.Signals]:
    """Have `SIGNALS` wait until there are handlers for them; what was blocked before."""
    return signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def unblock_signals() -> None:
    """Let the signals come that `block_signals` or `fork` has blocked."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the parent dies, be it by a signal that cannot be caught.

    SIGKILL, because a process that hangs would not follow another, and would hold the port for ever.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before that
        os._exit(1)
