"""The server beside spaCy in process and beside its peers: same model, same texts, same two cores.

All servers are up at once, with two workers each, and so is spaCy in two processes of its own; one after the
other they get the same load, in an order that rotates, round after round. Ratios are taken within a round,
where all see the same machine, and the median of the rounds counts. Load generator and servers share the two
cores.

After the load each server answers 1,000 texts more over eight connections: what nlp.pipe finds, or no figure
of that server counts.
"""

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import environments
import load
import models
from in_process_client import InProcess, written
from rows import AT_LEAST, AT_MOST, row
from servers import KINDS, ONE_THREAD, OURS, PEERS, Entity, Server
from texts import Texts, corpora, wikigold

ROUNDS = int(os.environ.get("NERFORGE_BENCH_ROUNDS", 5))
SECONDS = float(os.environ.get("NERFORGE_BENCH_SECONDS", 2))  # of each load; wrk takes whole ones
STARTS = 7
CORES = 2
BATCH = 64
BATCH_CONNECTIONS = (2, 8, 64)  # the best of these for each server
CHECKED = 1000
RESTLESS = 0.02  # CPU seconds a second
IN_PROCESS = "nlp.pipe"


@dataclass(frozen=True)
class Workload:
    """What is asked in one load.

    Parameters
    ----------
    words:
        Of a text.
    texts:
        In a request.
    connections:
        None: what suits the server best.
    fastest:
        Texts a second that nothing is expected to exceed: so many are prepared.
    """

    name: str
    words: int
    texts: int
    connections: int | None
    fastest: int


SHORT = Workload("20 words", 20, 1, 64, 8_000)
LONG = Workload("200 words", 200, 1, 64, 1_500)
BATCHES = Workload(f"batches of {BATCH}", 20, BATCH, None, 12_000)
ALONE = Workload("20 words, 1 connection", 20, 1, 1, 2_000)
WORKLOADS = (SHORT, LONG, BATCHES, ALONE)


@dataclass
class Seen:
    """What one server did, or spaCy in process, a value a round in each list.

    Parameters
    ----------
    rates:
        Texts a second, by the workload's name.
    p50, p99:
        Seconds, likewise.
    cpu:
        CPU seconds for 1,000 requests of 20 words at 64 connections.
    faults:
        Why its figures are worth nothing.
    connections:
        That its batches came over.
    """

    rates: dict[str, list[float]] = field(default_factory=dict)
    p50: dict[str, list[float]] = field(default_factory=dict)
    p99: dict[str, list[float]] = field(default_factory=dict)
    cpu: list[float] = field(default_factory=list)
    pss: float = 0.0
    idle: float = 0.0  # CPU seconds a second, with nothing asked of it
    connections: int = 0
    wrong: int = 0  # of `CHECKED` answers
    faults: list[str] = field(default_factory=list)

    @property
    def restless(self) -> bool:
        """Whether it works when nothing is asked of it, and so is frozen while others are measured."""
        return self.idle > RESTLESS

    def rate(self, workload: Workload) -> float:
        """The median of the rounds."""
        return statistics.median(self.rates[workload.name])


def measure() -> list[dict[str, Any]]:
    """All rows, for both models."""
    load.require_wrk()
    folders = {"en_core_web_sm": models.small_english(), "trained here": models.trained_here(corpora())}
    for kind in KINDS:
        kind.python()  # what is missing is installed now, and not in the middle of a round
    rows = []
    with _two_cores():
        for name, folder in folders.items():
            print(f"\n{name}: {ROUNDS} rounds of {SECONDS:g} s a load", flush=True)
            with models.published(folder) as published:
                seen = _side_by_side(folder, published)
                print(_table(seen), flush=True)
                rows += _rows(name, seen)
                rows.append(_start(name, folder, published))
    return rows


# --- the rounds ---


def _side_by_side(folder: Path, published: dict[str, str]) -> dict[str, Seen]:
    texts = Texts(wikigold())
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = {}
        for kind in KINDS:
            servers[kind.name] = server = Server(kind, folder, published)
            stack.callback(server.stop)
            server.wait_ready()
        spacy = [stack.enter_context(InProcess(folder, environments.server())) for __ in range(CORES)]
        seen = {name: Seen() for name in (*servers, IN_PROCESS)}
        _warm_up(servers, spacy, seen, texts, scratch)
        for number in range(ROUNDS):
            _round(number, servers, spacy, seen, texts, scratch)
        _check(servers, spacy[0], seen, texts, scratch)
        for name, server in servers.items():
            seen[name].pss = server.pss()
    return seen


def _warm_up(
    servers: dict[str, Server],
    spacy: list[InProcess],
    seen: dict[str, Seen],
    texts: Texts,
    scratch: Path,
) -> None:
    """Let all see the corpus, find how many connections suit each server's batches, and who is busy idle."""
    for workload in (SHORT, LONG, BATCHES):
        asked = texts.known(workload.words, round(workload.fastest * SECONDS))
        file = written(scratch, asked)
        _pipe(spacy, file)
        for name, server in servers.items():
            if workload is not BATCHES:
                _load(server, workload, workload.connections, asked, scratch)
                continue
            tried = {c: _load(server, workload, c, asked, scratch) for c in BATCH_CONNECTIONS}
            good = {c: each.rate for c, each in tried.items() if not each.failed}
            seen[name].connections = max(good, key=good.get) if good else BATCH_CONNECTIONS[0]
    before = {name: server.cpu_seconds() for name, server in servers.items()}
    began = time.monotonic()
    busy = _busy_seconds()
    time.sleep(3)
    spent = time.monotonic() - began
    for name, server in servers.items():
        seen[name].idle = (server.cpu_seconds() - before[name]) / spent
    others = (_busy_seconds() - busy) / spent - sum(each.idle for each in seen.values())
    for name, server in servers.items():
        if seen[name].restless:
            server.freeze()
    if others > 0.05 * CORES:
        print(
            f"This machine has {others:.1f} cores at work on something else: the figures say little",
            flush=True,
        )


def _round(
    number: int,
    servers: dict[str, Server],
    spacy: list[InProcess],
    seen: dict[str, Seen],
    texts: Texts,
    scratch: Path,
) -> None:
    began = time.monotonic()
    for at, workload in enumerate(WORKLOADS):
        asked = texts.half_new(workload.words, round(workload.fastest * SECONDS))
        file = written(scratch, asked)
        names = list(seen)
        turn = (number * len(WORKLOADS) + at) % len(names)
        for name in names[turn:] + names[:turn]:
            if name == IN_PROCESS:
                _measure_in_process(workload, spacy, seen[name], file)
            else:
                _measure_server(workload, servers[name], seen[name], asked, scratch)
    ours, pipe = seen[OURS].rates, seen[IN_PROCESS].rates
    so_far = ", ".join(f"{w.name} {ours[w.name][-1] / pipe[w.name][-1]:.2f}" for w in WORKLOADS[:3])
    print(
        f"round {number + 1} of {ROUNDS}, {time.monotonic() - began:.0f} s: ours / nlp.pipe {so_far}",
        flush=True,
    )


def _measure_server(workload: Workload, server: Server, seen: Seen, asked: list[str], scratch: Path) -> None:
    if seen.restless:
        server.thaw()
        server.settle()
    cpu = server.cpu_seconds()
    saw = _load(server, workload, workload.connections or seen.connections, asked, scratch, settle=False)
    if workload is SHORT and saw.requests:
        seen.cpu.append((server.cpu_seconds() - cpu) / saw.requests * 1000)
    server.settle()
    if seen.restless:
        server.freeze()
    seen.rates.setdefault(workload.name, []).append(saw.rate * workload.texts)
    seen.p50.setdefault(workload.name, []).append(saw.p50)
    seen.p99.setdefault(workload.name, []).append(saw.p99)
    if saw.failed or not saw.requests:
        seen.faults.append(f"{workload.name}: {saw.failed} requests of {saw.requests + saw.failed} failed")
    if saw.exhausted:
        seen.faults.append(
            f"{workload.name}: faster than the texts prepared, some came twice; raise `fastest`"
        )


def _load(
    server: Server, workload: Workload, connections: int, asked: list[str], scratch: Path, settle: bool = True
) -> load.Load:
    size = workload.texts
    bodies = (server.body(asked[at : at + size]) for at in range(0, len(asked) - size + 1, size))
    file = scratch / "bodies"
    file.write_text("\n".join(bodies) + "\n", encoding="utf-8")
    saw = load.load(server.url, file, connections, SECONDS)
    if settle:
        server.settle()
    return saw


def _measure_in_process(workload: Workload, spacy: list[InProcess], seen: Seen, file: Path) -> None:
    if workload is ALONE:
        answer = spacy[0].do(do="each", file=str(file), seconds=SECONDS)
        seen.p50.setdefault(workload.name, []).append(answer["p50"])
        rate = 1 / answer["p50"]
    else:
        rate = _pipe(spacy, file)
    seen.rates.setdefault(workload.name, []).append(rate)


def _pipe(spacy: list[InProcess], file: Path) -> float:
    """Texts a second of nlp.pipe in all processes at once, which share the texts."""
    for number, process in enumerate(spacy):
        process.tell(do="pipe", file=str(file), seconds=SECONDS, first=number, step=len(spacy))
    return sum(answer["texts"] / answer["seconds"] for answer in [process.answer() for process in spacy])


def _check(
    servers: dict[str, Server], spacy: InProcess, seen: dict[str, Seen], texts: Texts, scratch: Path
) -> None:
    """Compare what each server answers with nlp.pipe: texts alone, and in batches, over eight connections."""
    alone = texts.half_new(SHORT.words, CHECKED // 2) + texts.half_new(LONG.words, CHECKED // 10)
    many = texts.half_new(SHORT.words, CHECKED - len(alone))
    requests = [[text] for text in alone] + [many[at : at + 50] for at in range(0, len(many), 50)]
    right = spacy.do(do="find", file=str(written(scratch, alone + many)))
    for name, server in servers.items():
        server.thaw()
        found = _found(server, requests)
        seen[name].wrong = sum(one != other for one, other in zip(found, right, strict=True))
        if seen[name].wrong:
            seen[name].faults.append(f"{seen[name].wrong} of {CHECKED} answers are not those of nlp.pipe")


def _found(server: Server, requests: Sequence[Sequence[str]]) -> list[list[Entity]]:
    lanes = 8
    with ThreadPoolExecutor(lanes) as pool:
        parts = list(pool.map(server.find_each, [requests[lane::lanes] for lane in range(lanes)]))
    answers = [parts[number % lanes][number // lanes] for number in range(len(requests))]
    return [entities for answer in answers for entities in answer]


# --- from the start to ready ---


def _start(name: str, folder: Path, published: dict[str, str]) -> dict[str, Any]:
    """Seconds from the process's start to ready, over those of a Python that only loads the pipeline."""
    ours, theirs = [], []
    for number in range(STARTS + 1):
        pair = _seconds_to_ready(folder, published), _seconds_to_load(folder)
        if number:  # the first pair fills the caches
            ours.append(pair[0])
            theirs.append(pair[1])
    ratio = statistics.median(one / other for one, other in zip(ours, theirs, strict=True))
    return row(
        f"{name}: start to ready ÷ import spacy + spacy.load",
        ratio,
        AT_MOST,
        1.3,
        seconds=[round(each, 3) for each in ours],
        spacy_seconds=[round(each, 3) for each in theirs],
    )


def _seconds_to_ready(folder: Path, published: dict[str, str]) -> float:
    server = Server(KINDS[0], folder, published)
    try:
        return server.wait_ready()
    finally:
        server.stop()


def _seconds_to_load(folder: Path) -> float:
    began = time.monotonic()
    code = "import os, sys, spacy; spacy.load(sys.argv[1]); os._exit(0)"  # without the interpreter's own end
    subprocess.run([environments.server(), "-c", code, folder], env=os.environ | ONE_THREAD, check=True)
    return time.monotonic() - began


# --- rows and table ---


def _rows(model: str, seen: dict[str, Seen]) -> list[dict[str, Any]]:
    ours, spacy = seen[OURS], seen[IN_PROCESS]
    rows = []
    for workload, threshold in ((SHORT, 1.4), (LONG, 2.0), (BATCHES, 2.2)):
        name = f"{model}: texts/s, {workload.name} ÷ nlp.pipe in {CORES} processes"
        ratio = _ratio(ours.rates, spacy.rates, workload)
        rows.append(row(name, ratio, AT_LEAST, threshold, ours.faults, **_rates(seen, workload)))
    for workload, threshold in ((SHORT, 4.5), (LONG, 2.7), (BATCHES, 2.5)):
        best = max((kind.name for kind in PEERS), key=lambda peer, w=workload: seen[peer].rate(w))
        name = f"{model}: texts/s, {workload.name} ÷ best peer ({best})"
        ratio = _ratio(ours.rates, seen[best].rates, workload)
        rows.append(
            row(name, ratio, AT_LEAST, threshold, ours.faults + [f"{best}: {f}" for f in seen[best].faults])
        )
    alone = _ratio(ours.p50, spacy.p50, ALONE)
    rows.append(
        row(
            f"{model}: p50 at 1 connection ÷ nlp(text) in process",
            alone,
            AT_MOST,
            0.85,
            ours.faults,
            milliseconds=[round(1000 * each, 3) for each in ours.p50[ALONE.name]],
            spacy_milliseconds=[round(1000 * each, 3) for each in spacy.p50[ALONE.name]],
        )
    )
    spread = _ratio(ours.p99, ours.p50, SHORT)
    rows.append(row(f"{model}: p99 ÷ p50 at 64 connections", spread, AT_MOST, 3.0, ours.faults))
    return rows


def _ratio(ones: dict[str, list[float]], others: dict[str, list[float]], workload: Workload) -> float:
    """The median over the rounds of one ÷ other within a round."""
    pairs = zip(ones[workload.name], others[workload.name], strict=True)
    return statistics.median(one / other if other else float("inf") for one, other in pairs)


def _rates(seen: dict[str, Seen], workload: Workload) -> dict[str, Any]:
    return {
        "rates": {name: [round(rate, 1) for rate in each.rates[workload.name]] for name, each in seen.items()}
    }


def _table(seen: dict[str, Seen]) -> str:
    """What was seen of each, medians of the rounds."""
    columns: dict[str, Callable[[Seen], str]] = {
        "texts/s 20 words": lambda s: f"{s.rate(SHORT):.0f}",
        "p50/p99 ms": lambda s: "/".join(_milliseconds(each, SHORT) for each in (s.p50, s.p99)),
        "200 words": lambda s: f"{s.rate(LONG):.0f}",
        "p50/p99": lambda s: "/".join(_milliseconds(each, LONG) for each in (s.p50, s.p99)),
        "batches of 64": lambda s: (
            f"{s.rate(BATCHES):.0f}" + (f" ({s.connections} conn)" if s.connections else "")
        ),
        "1 conn p50/p99": lambda s: "/".join(_milliseconds(each, ALONE) for each in (s.p50, s.p99)),
        "CPU s/1000": lambda s: f"{statistics.median(s.cpu):.2f}" if s.cpu else "-",
        "PSS MiB": lambda s: f"{s.pss:.0f}" if s.pss else "-",
        "idle CPU": lambda s: f"{s.idle:.1%}",
        "wrong": lambda s: str(s.wrong),
    }
    lines = [["", *columns]]
    lines += [[name, *(cell(each) for cell in columns.values())] for name, each in seen.items()]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(
            [line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    ]
    text += [f"{name}: {fault}" for name, each in seen.items() for fault in dict.fromkeys(each.faults)]
    return "\n".join(text)


def _milliseconds(values: dict[str, list[float]], workload: Workload) -> str:
    return f"{1000 * statistics.median(values[workload.name]):.1f}" if workload.name in values else "-"


# --- what the rest stands on ---


@contextmanager
def _two_cores() -> Iterator[None]:
    """Have all that is started meanwhile run on two cores."""
    allowed = os.sched_getaffinity(0)
    if len(allowed) < CORES:
        raise SystemExit(f"the bars are for {CORES} cores, and this process may use {len(allowed)}")
    os.sched_setaffinity(0, sorted(allowed)[:CORES])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _busy_seconds() -> float:
    """CPU seconds that all processors have spent on anything, since the machine's start."""
    user, nice, system = map(int, Path("/proc/stat").read_text().split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    for each in measure():
        print(json.dumps(each))
