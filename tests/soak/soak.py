"""The server at full load with its workers killed at random: every answer right, or an honest refusal.

Clients of several kinds ask without a pause: single texts, batches, streams, long texts; and some send
slowly, vanish in the midst of a request, or leave an answer unread. Every answer is compared with what spaCy
itself finds. A 503 counts as honest if it says when to come back. A connection that a killed worker cuts is
counted, and its request is sent again. Anything else is a failure, also an answer that does not come.

    python tests/soak/soak.py --minutes 30 [--model FOLDER] [--workers 2] [--seed N]
"""

import argparse
import http.client
import itertools
import json
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support import paths  # noqa: E402

paths.put()

from nerforge_contract import names  # noqa: E402
from support import serving  # noqa: E402

ANSWER_SECONDS = 45  # more than a request's deadline and a refused client's wait: beyond it an answer hangs
KILL_SECONDS = (1.0, 8.0)  # between two kills
TEXTS = 1_500
ODDITIES = ("🌍", "Tim", "", "  ", "\r\n")
KINDS = {"single": 12, "batch": 3, "stream": 2, "long": 2, "slow": 2, "vanishing": 2, "unreading": 1}

Found = list[dict]


class Load:
    """What is asked, what is right, and what has happened so far."""

    def __init__(self, model_folder: Path, rng: random.Random) -> None:
        self.texts, self.right = _texts_and_answers(model_folder, rng)
        self.long = [index for index, text in enumerate(self.texts) if len(text) > 5_000]
        self.short = [index for index, text in enumerate(self.texts) if len(text) <= 5_000]
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self.slowest = 0.0
        self.stop = threading.Event()
        self._lock = threading.Lock()

    def count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1

    def fail(self, what: str) -> None:
        with self._lock:
            self.failures.append(what)

    def check(self, kind: str, indexes: list[int], found: list[Found]) -> None:
        """Count a right answer, or note a wrong one."""
        right = [self.right[index] for index in indexes]
        if [serving.unscored(entities) for entities in found] == right:
            self.count(f"{kind}: answered")
        else:
            self.fail(f"{kind}: wrong entities for texts {indexes[:5]}")


def _texts_and_answers(model_folder: Path, rng: random.Random) -> tuple[list[str], list[Found]]:
    """Texts of one to some thousand words, many of them unseen, and what spaCy finds in them."""
    import spacy

    def sentence() -> str:
        frame = rng.choice(serving.FRAMES).format(rng.choice(serving.PEOPLE), rng.choice(serving.PLACES))
        return f"{frame} w{rng.getrandbits(40):x} ön {rng.choice(ODDITIES)} ."

    sizes = [0, 1, 1, 1, 2, 3, 5, 10] * (TEXTS // 8) + [400] * 12
    texts = [" ".join(sentence() for __ in range(size)) for size in sizes]
    nlp = spacy.load(model_folder)
    answers = [
        [{"text": e.text, "tag": e.label_, "start": e.start_char, "end": e.end_char} for e in doc.ents]
        for doc in nlp.pipe(texts)
    ]
    return texts, answers


# --- clients ---


def ask(server: serving.Server, load: Load, kind: str, rng: random.Random) -> None:
    """Ask for right answers over a connection that is kept alive, until the load stops."""
    connection = server.connect(timeout=ANSWER_SECONDS)
    while not load.stop.is_set():
        indexes, content_type, body, read = _request(load, kind, rng)
        asked = time.monotonic()
        try:
            connection.request("POST", "/ner", body, {"Content-Type": content_type})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status == 200:
                load.check(kind, indexes, read(content))
                load.slowest = max(load.slowest, time.monotonic() - asked)
            elif answer.status == 503 and int(answer.headers["Retry-After"]) > 0:
                load.count(f"{kind}: refused")
                load.stop.wait(min(int(answer.headers["Retry-After"]), 2))
            else:
                load.fail(f"{kind}: {answer.status} {content[:200]!r}")
        except KeyError:  # a stream that ends with a problem
            if json.loads(content.splitlines()[-1]).get("status") == 503:
                load.count(f"{kind}: refused")
            else:
                load.fail(f"{kind}: {content[-200:]!r}")
        except TimeoutError:
            load.fail(f"{kind}: no answer within {ANSWER_SECONDS} s")
            connection.close()
        except (OSError, http.client.HTTPException):
            load.count(f"{kind}: cut")
            connection.close()
    connection.close()


def _request(
    load: Load, kind: str, rng: random.Random
) -> tuple[list[int], str, bytes, Callable[[bytes], list[Found]]]:
    """Which texts are asked for, the request's type and body, and how its answer is read."""
    if kind == "stream":
        indexes = rng.choices(load.short, k=300)
        lines = [json.dumps({"text": load.texts[index]}).encode() + b"\n" for index in indexes]
        return indexes, "application/x-ndjson", b"".join(lines), _read_lines
    if kind == "batch":
        indexes = rng.choices(load.short, k=64)
        document = {"texts": [load.texts[index] for index in indexes]}
        return indexes, "application/json", json.dumps(document).encode(), _read_results
    indexes = [rng.choice(load.long if kind == "long" else load.short)]
    return indexes, "text/plain", load.texts[indexes[0]].encode(), lambda content: [json.loads(content)]


def _read_lines(content: bytes) -> list[Found]:
    if not content.endswith(b"\n"):
        raise http.client.IncompleteRead(content)
    return [json.loads(line)["entities"] for line in content.splitlines()]


def _read_results(content: bytes) -> list[Found]:
    return [result["entities"] for result in json.loads(content)["results"]]


def misbehave(server: serving.Server, load: Load, kind: str, rng: random.Random) -> None:
    """Be a nuisance of this kind until the load stops; what the others get is what counts."""
    while not load.stop.is_set():
        body = load.texts[rng.choice(load.long)].encode()
        head = (
            b"POST /ner HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
            % len(body)
        )
        try:
            with socket.create_connection(("127.0.0.1", server.port), timeout=ANSWER_SECONDS) as connection:
                if kind == "slow":
                    for byte in head[: rng.randrange(len(head))]:
                        connection.sendall(bytes([byte]))
                        if load.stop.wait(0.1):
                            break
                elif kind == "vanishing":
                    connection.sendall((head + body)[: rng.randrange(len(head), len(head) + 2 * len(body))])
                    load.stop.wait(rng.random() / 10)
                else:
                    connection.sendall((head + body) * 20)
                    load.stop.wait(10)
            load.count(f"{kind}: done")
        except OSError:
            load.count(f"{kind}: cut")


def kill(server: serving.Server, load: Load, rng: random.Random) -> None:
    """Kill a worker now and then, and see that it is replaced."""
    while not load.stop.wait(rng.uniform(*KILL_SECONDS)):
        victim = rng.choice(server.workers())
        os.kill(victim, signal.SIGKILL)
        load.count("workers: killed")


# --- the run ---


def run(server: serving.Server, load: Load, seconds: float, workers: int, rng: random.Random) -> None:
    """Load the server for so many seconds, then see that it is whole, and that it ends as it should."""
    clients = [
        threading.Thread(
            target=misbehave if kind in ("slow", "vanishing", "unreading") else ask,
            args=(server, load, kind, random.Random(rng.random())),
        )
        for kind, count in KINDS.items()
        for __ in range(count)
    ]
    killer = threading.Thread(target=kill, args=(server, load, random.Random(rng.random())))
    for thread in [killer, *clients]:
        thread.start()
    end = time.monotonic() + seconds
    for minute in itertools.count(1):
        if load.stop.wait(max(0.0, min(60.0, end - time.monotonic()))) or time.monotonic() >= end:
            break
        print(f"{minute} min: {sum(load.counts.values())} counted, {len(load.failures)} failures", flush=True)
    load.stop.set()
    for thread in [killer, *clients]:
        thread.join(2 * ANSWER_SECONDS)
        if thread.is_alive():
            load.fail("a client hangs")
    server.wait_until(lambda: len(server.workers()) == workers, seconds=20)
    if server.request("GET", "/ready")[0] != 200:
        load.fail("it is not ready in the end")
    for pid in server.workers():
        print(f"worker {pid}: {_pss(pid)} MiB of its own and its part of what is shared")
    if code := server.terminate():
        load.fail(f"exit code {code}")
    replaced = sum("was replaced" in line["message"] for line in server.lines())  # every line is JSON
    if replaced < load.counts["workers: killed"]:
        load.fail(f"{load.counts['workers: killed']} workers were killed, {replaced} replaced")


def _pss(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) >> 10


def main() -> int:
    """Run; the exit code is 1 if anything was not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--model", type=Path, help="a pipeline's folder; left out: a small one is trained")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    rng = random.Random(options.seed)
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="nerforge-soak-") as scratch:
        model = options.model or Path(scratch, "model")
        if not options.model:
            serving.train(model)
        load = Load(model, rng)
        artifact = serving.pack(model)
        aws = serving.AWS(artifact)
        environment = serving.environment_of(artifact) | {names.ENV_WORKERS: str(options.workers)}
        server = serving.Server(environment, aws.url, Path(scratch, "server"))
        try:
            server.wait_ready()
            run(server, load, 60 * options.minutes, options.workers, rng)
        finally:
            server.kill()
            aws.close()
    for what, count in sorted(load.counts.items()):
        print(f"{what:24}{count:>10,}")
    print(f"slowest right answer: {load.slowest:.1f} s")
    for failure in load.failures[:20]:
        print(f"FAILED {failure}")
    if not any(count for what, count in load.counts.items() if what.endswith("answered")):
        load.fail("nothing was answered")
    print(f"{len(load.failures)} failures" if load.failures else "no failure")
    return 1 if load.failures else 0


if __name__ == "__main__":
    sys.exit(main())
