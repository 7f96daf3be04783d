"""The server's process: listen, bring the model up meanwhile, and stop cleanly when told to."""

import logging
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

from nerforge_contract.errors import UserError

from . import logs
from .app import create_app
from .server import Server, listen
from .serving import Serving, bring_up
from .settings import Settings

log = logging.getLogger("nerforge_server")


def main() -> int:
    """Serve until SIGTERM or SIGINT; the exit code is 1 for wrong settings or answers left owing."""
    logs.configure()
    try:
        settings = Settings.read(os.environ)
        listener = listen(settings.host, settings.port)
    except UserError as error:
        log.error("%s", error)
        return 1
    serving = Serving()
    server = Server(create_app(serving), listener)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    log.info("Listening at %s:%s", settings.host, settings.port)
    with tempfile.TemporaryDirectory(prefix="nerforge-server-", ignore_cleanup_errors=True) as scratch:
        threading.Thread(target=bring_up, args=(serving, settings, Path(scratch)), daemon=True).start()
        server.run()
        log.info("Stopping: no new connections, answering what is open")
        serving.stop()
        owing = server.drain()
    if owing:
        log.error("Stopped with answers owing on %d connections", owing)
        return 1
    log.info("Stopped: all requests answered")
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # a thread inside spaCy's compiled code cannot be unwound by the interpreter's own exit
