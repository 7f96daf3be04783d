"""What the server counts, for Prometheus.

The processes that serve share one piece of memory: a row of numbers for each worker, which only that worker
writes. Any of them can therefore add up all rows and answer for the whole server, nothing is locked, and a
count costs no more than a list's. A worker that takes another's place goes on with its row, so that counters
never run backwards.
"""

import mmap
import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from itertools import accumulate, product
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from . import api

OTHER = "other"  # what a route, a method, a status or a label is counted as if it is none of the known ones

_ROUTES = (*dict.fromkeys(operation.path for operation in api.OPERATIONS), api.ASSETS, OTHER)
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", OTHER)
_STATUSES: tuple[int | str, ...] = (*map(int, HTTPStatus), OTHER)

_REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
_BATCH_TEXTS = (1, 2, 4, 8, 16, 32, 64)
_BATCH_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

_ROUTE, _METHOD, _STATUS = (
    {name: place for place, name in enumerate(names)} for names in (_ROUTES, _METHODS, _STATUSES)
)

_BYTES = 8  # of a number
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class _Histogram:
    """A histogram's place in a row: a count for each bucket, one for what is above, and the sum."""

    def __init__(self, start: int, bounds: Sequence[float]) -> None:
        self.start, self.bounds = start, bounds
        self.sum = start + len(bounds) + 1
        self.end = self.sum + 1

    def observe(self, row: "memoryview[float]", value: float) -> None:
        row[self.start + bisect_left(self.bounds, value)] += 1
        row[self.sum] += value

    def read(self, row: Sequence[float]) -> tuple[list[tuple[str, float]], float]:
        """The buckets as Prometheus has them, each with what is below it, and the sum."""
        bounds = [*map(str, map(float, self.bounds)), "+Inf"]
        return list(zip(bounds, accumulate(row[self.start : self.sum]), strict=True)), row[self.sum]


class Metrics:
    """Counters, gauges and histograms that forked processes share.

    Made before the fork. Each process says by `sit` which row is its own before it counts anything.

    Parameters
    ----------
    workers:
        How many processes serve.
    labels:
        The labels of the model's entities.
    engine:
        What finds the entities: ``exact`` or ``spacy``; empty while there is no model.
    """

    def __init__(self, workers: int, labels: Sequence[str], engine: str) -> None:
        self._workers = workers
        self._engine = engine
        self._labels = (*dict.fromkeys([*labels, OTHER]),)
        end = len(_ROUTES) * len(_METHODS) * len(_STATUSES)  # requests, as `_place_of` says
        self._request_seconds: dict[str, _Histogram] = {}
        for route in _ROUTES:
            self._request_seconds[route] = _Histogram(end, _REQUEST_SECONDS)
            end = self._request_seconds[route].end
        self._batch_texts = _Histogram(end, _BATCH_TEXTS)
        self._batch_seconds = _Histogram(self._batch_texts.end, _BATCH_SECONDS)
        end = self._batch_seconds.end
        self._entities = {label: end + place for place, label in enumerate(self._labels)}
        self._waiting, self._replaced, self._pid = range(end + len(self._labels), end + len(self._labels) + 3)
        self._width = self._pid + 1
        # One row more, for the process that starts the workers.
        self._memory = memoryview(mmap.mmap(-1, (workers + 1) * self._width * _BYTES)).cast("d")
        self._row = self._row_of(workers)

    # --- counting ---

    def sit(self, slot: int) -> None:
        """Count in this row from now on, 0 for the first worker: the process has just been forked."""
        self._row = self._row_of(slot)
        self._row[self._waiting] = 0
        self._row[self._pid] = os.getpid()

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered, ``seconds`` after it had come in."""
        route = route if route in self._request_seconds else OTHER
        self._row[_place_of(route, method, status)] += 1
        self._request_seconds[route].observe(self._row, seconds)

    def entities(self, labels: Iterable[str]) -> None:
        """Entities with these labels were found."""
        places, row = self._entities, self._row
        for label in labels:
            row[places[label] if label in places else places[OTHER]] += 1

    def batch(self, texts: int, seconds: float) -> None:
        """So many texts went through the recognizer at once, in so many seconds."""
        self._batch_texts.observe(self._row, texts)
        self._batch_seconds.observe(self._row, seconds)

    def waiting(self, requests: int) -> None:
        """So many requests wait in this process."""
        self._row[self._waiting] = requests

    def replaced(self) -> None:
        """A worker was replaced. For the process that starts them."""
        self._row[self._replaced] += 1

    # --- telling ---

    def exposition(self, model: str) -> bytes:
        """What all processes have counted, in Prometheus's text format; ``model`` is the one that answers."""
        return generate_latest(_Registry([*self._families(model)]))

    def _families(self, model: str) -> Iterator[Metric]:
        rows = [self._row_of(slot).tolist() for slot in range(self._workers + 1)]
        sums = [sum(column) for column in zip(*rows, strict=True)]

        if self._engine:
            engine = InfoMetricFamily("nerforge_engine", "What finds the entities, and with which model.")
            engine.add_metric((), {"engine": self._engine, "model": model})
            yield engine

        requests = CounterMetricFamily(
            "nerforge_requests", "Requests answered.", labels=("route", "method", "status")
        )
        for route, method, status in product(_ROUTES, _METHODS, _STATUSES):
            if count := sums[_place_of(route, method, status)]:
                requests.add_metric([route, method, str(status)], count)
        yield requests

        seconds = HistogramMetricFamily(
            "nerforge_request_duration_seconds",
            "From a request's arrival at the application to its answer's end.",
            labels=("route",),
        )
        for route, histogram in self._request_seconds.items():
            buckets, total = histogram.read(sums)
            if buckets[-1][1]:
                seconds.add_metric((route,), buckets, total)
        yield seconds

        for name, text, histogram in (
            ("nerforge_batch_texts", "Texts that were inferred at once.", self._batch_texts),
            ("nerforge_batch_seconds", "Time that a batch's inference took.", self._batch_seconds),
        ):
            buckets, total = histogram.read(sums)
            yield HistogramMetricFamily(name, text, buckets=buckets, sum_value=total)

        yield GaugeMetricFamily(
            "nerforge_requests_waiting", "Requests whose texts wait or are at work.", sums[self._waiting]
        )
        entities = CounterMetricFamily("nerforge_entities", "Entities found.", labels=("label",))
        for label, place in self._entities.items():
            if label != OTHER or sums[place]:
                entities.add_metric((label,), sums[place])
        yield entities

        yield CounterMetricFamily(
            "nerforge_workers_replaced", "Workers that died or hung and were replaced.", sums[self._replaced]
        )
        yield from self._processes([int(row[self._pid]) for row in rows[: self._workers]])

    def _processes(self, pids: Sequence[int]) -> Iterator[Metric]:
        memory = GaugeMetricFamily(
            "nerforge_worker_resident_memory_bytes",
            "Memory in use; what workers share is counted in each.",
            labels=("worker",),
        )
        cpu = CounterMetricFamily("nerforge_worker_cpu_seconds", "CPU time.", labels=("worker",))
        for slot, pid in enumerate(pids):
            if pid and (used := _usage(pid)):
                memory.add_metric((str(slot),), used[0])
                cpu.add_metric((str(slot),), used[1])
        yield memory
        yield cpu

    def _row_of(self, slot: int) -> "memoryview[float]":
        return self._memory[slot * self._width : (slot + 1) * self._width]


def _place_of(route: str, method: str, status: int | str) -> int:
    """Where in a row such requests are counted."""
    method_place = _METHOD.get(method, _METHOD[OTHER])
    status_place = _STATUS.get(status, _STATUS[OTHER])
    return (_ROUTE[route] * len(_METHODS) + method_place) * len(_STATUSES) + status_place


class _Registry(CollectorRegistry):
    """Families that are there already, as `generate_latest` wants them."""

    def __init__(self, families: Sequence[Metric]) -> None:
        super().__init__()
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _usage(pid: int) -> tuple[int, float] | None:
    """Resident bytes and seconds of CPU of a process, by proc(5); None if there is none."""
    try:
        # What stands before the last bracket is the program's name, which may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    user, system, pages = (int(fields[number - 3]) for number in (14, 15, 24))
    return pages * _PAGE, (user + system) / _TICKS
