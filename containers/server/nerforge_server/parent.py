"""The process that brings the model up, forks the workers, and watches over them; and what a worker does.

While it brings the model up the parent itself answers: alive, not ready. Then it forks the workers, which
share the loaded model's memory with it, and leaves the listening socket to them. It never infers, so that
whatever it forks later starts as the first ones did.
"""

import gc
import logging
import signal
import socket
import time

from nerforge_contract.errors import UserError

from . import logs
from .app import create_app
from .door import Door
from .fetching import Fetching
from .listening import drop_new_connections
from .loading import Loaded, Loading
from .metrics import Metrics
from .processes import unblock_signals
from .server import DRAIN_SECONDS, Server
from .serving import Serving
from .settings import Settings
from .workers import Seat, Workers

log = logging.getLogger("nerforge_server")


class Parent:
    """The server's first process.

    Parameters
    ----------
    settings:
        How many workers to run.
    listener:
        The listening socket.
    fetching:
        Brings the model.
    """

    def __init__(self, settings: Settings, listener: socket.socket, fetching: Fetching) -> None:
        self._settings = settings
        self._listener = listener
        self._told_to_stop = False
        self._workers: Workers | None = None
        self._serving = Serving()
        app = create_app(self._serving, None, Metrics(1, (), ""))  # no keys needed: there is nothing to guard
        self._server = Server(app, listener, self._serving, room=lambda *__: 0)  # and no text to answer
        self._fetching = fetching
        self._loading = Loading(fetching, self._serving.refuse, self._server.wake)

    def run(self) -> int:
        """Serve until told to stop by SIGTERM or SIGINT; the process's exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        unblock_signals()
        self._loading.start()
        while self._loading.is_alive() and not self._told_to_stop:
            self._server.turn(timeout=1.0)
        if not self._told_to_stop:
            self._fetching.stop()  # it has ended
        if error := self._loading.error:
            # Not a server that is alive and never ready: whoever started it would wait for it in vain.
            trace = None if isinstance(error, UserError) else error
            log.error("The server does not start: %s", error, exc_info=trace)
            return 1
        if self._loading.loaded and not self._told_to_stop:
            self._start_workers(self._loading.loaded)
        while not self._told_to_stop:
            self._server.turn(timeout=1.0)
            if self._workers:
                self._workers.tend()
        return self._end()

    def _stop(self, *__: object) -> None:
        self._told_to_stop = True
        self._server.wake()

    def _start_workers(self, loaded: Loaded) -> None:
        count = self._settings.workers
        labels = loaded.manifest["labels"]
        metrics = Metrics(count, labels, loaded.recognizer.engine)

        def work(seat: Seat) -> int:
            self._server.forget()
            return run_worker(seat, self._listener, loaded, metrics)

        # What is there stays: a worker's collector need not look at it, and so leaves its pages shared.
        gc.freeze()
        signal.signal(signal.SIGCHLD, lambda *__: self._server.wake())
        self._serving.refuse("the model is there, and answers on new connections")
        self._server.leave()
        self._workers = Workers(count, work, metrics.replaced)
        self._workers.tend()
        log.info(
            "Ready: %s:%s answers, labels %s, engine %s (%s), %d workers",
            loaded.manifest["name"],
            loaded.manifest["version"],
            ", ".join(labels),
            loaded.recognizer.engine,
            loaded.recognizer.reason,
            count,
        )

    def _end(self) -> int:
        """Let what has been asked be answered; the exit code."""
        drop_new_connections(self._listener)
        self._serving.stop()
        if self._workers:
            self._workers.stop()
        log.info("Stopping: no new connections, answering what is open")
        owing = self._end_workers(self._workers) if self._workers else self._server.drain()
        if owing:
            log.error("Stopped with answers owing")
            return 1
        log.info("Stopped: all requests answered")
        return 0

    def _end_workers(self, workers: Workers) -> bool:
        """Wait for the workers' ends; whether an answer was left owing."""
        self._listener.close()
        give_up = time.monotonic() + DRAIN_SECONDS + 2
        while (workers.running or self._server.connections) and time.monotonic() < give_up:
            self._server.turn(timeout=0.1)
            workers.tend()
        workers.kill()
        return workers.failed or self._server.connections > 0


def run_worker(seat: Seat, listener: socket.socket, loaded: Loaded, metrics: Metrics) -> int:
    """Answer until SIGTERM, then answer what is open; the exit code, 1 if answers are left owing."""
    stopping = False

    def stop(*__: object) -> None:
        nonlocal stopping
        stopping = True
        server.say_farewell()  # before: whoever is told that the server stops is told that it closes
        serving.stop()
        server.wake()

    metrics.sit(seat.slot)
    serving = Serving()
    serving.serve(loaded.manifest, loaded.recognizer, metrics)
    app = create_app(serving, loaded.keys, metrics)
    server = Server(app, listener, serving, seat, Door(loaded.keys).room)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the parent passes it on in its order
    unblock_signals()
    logs.hold()
    while not stopping:
        server.turn(timeout=1.0)
    if owing := server.drain():
        log.error("Worker %d stopped with answers owing on %d connections", seat.slot, owing)
    logs.flush()
    return 1 if owing else 0
