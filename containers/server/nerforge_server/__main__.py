"""The server's process: listen, have the model fetched, and leave the rest to `nerforge_server.parent`."""

import os

# Read once, when numpy is imported. A worker computes in its one thread; and what starts threads of its own
# must not be forked.
for _library in ("BLIS", "MKL", "NUMEXPR", "OMP", "OPENBLAS"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"

import logging  # noqa: E402
import shutil  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402

from nerforge_contract.errors import UserError  # noqa: E402

from . import logs  # noqa: E402
from .fetching import Fetching  # noqa: E402
from .listening import listen  # noqa: E402
from .processes import block_signals  # noqa: E402
from .settings import Settings  # noqa: E402

log = logging.getLogger("nerforge_server")


def main() -> int:
    """Serve until SIGTERM or SIGINT; the exit code is 1 for wrong settings or answers left owing."""
    # Until the parent has handlers: before, the kernel gives none to a container's first process.
    block_signals()
    logs.configure()
    try:
        settings = Settings.read(os.environ)
        listener = listen(settings.host, settings.port)
    except UserError as error:
        log.error("%s", error)
        return 1
    log.info("Listening at %s:%s", settings.host, settings.port)
    scratch = Path(tempfile.mkdtemp(prefix="nerforge-server-"))
    fetching = Fetching(settings, scratch, listener.close)
    try:
        from .parent import Parent  # while the child fetches: these imports take a while

        return Parent(settings, listener, fetching).run()
    finally:
        fetching.stop()
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # a thread inside spaCy's compiled code cannot be unwound by the interpreter's own exit
