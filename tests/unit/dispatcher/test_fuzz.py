"""Ten thousand messages of every kind: none stops the dispatcher, each ends in a run or is a dead letter."""

import collections
import json
import random
import string
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aws_in_memory.sqs import LARGEST, NOT_ALLOWED
from aws_in_memory.world import World
from nerforge_contract import states, ulid
from nerforge_contract.names import message_body

MESSAGES = 10_000
STRANGE = "\t\n\r äß中\U0001f9ec\u200b\ufeff\u202e\ufffd{}[]\":,\\'"  # SQS takes no control characters


class Fuzz:
    """Makes messages.

    Parameters
    ----------
    runs:
        Ids of recorded runs, by state.
    """

    def __init__(self, runs: dict[str, list[str]], chance: random.Random) -> None:
        self._runs = [run_id for ids in runs.values() for run_id in ids]
        self._chance = chance
        self.kinds: dict[str, Callable[[], str]] = {
            "text": self._text,
            "bytes": self._bytes,
            "JSON": lambda: json.dumps(self._value(3)),
            "numbers": self._number,
            "cut off": lambda: message_body(self._run())[: chance.randint(0, 38)] or "{",
            "deep": self._deep,
            "huge": self._huge,
            "nearly right": self._nearly_right,
            "unknown runs": lambda: message_body(ulid.new()),
            "runs in every state": lambda: message_body(self._run()),
        }

    def messages(self, count: int) -> Iterator[tuple[str, str]]:
        """Kind and body of so many messages; one in ten repeats an earlier one."""
        made: list[tuple[str, str]] = []
        rare = {"huge": 0.05, "deep": 0.2}
        weights = [rare.get(kind, 1) for kind in self.kinds]
        while len(made) < count:
            if made and self._chance.random() < 0.1:
                made.append(("duplicates", self._chance.choice(made)[1]))
            else:
                (kind,) = self._chance.choices(list(self.kinds), weights)
                made.append((kind, self.kinds[kind]()))
            yield made[-1]

    def _run(self) -> str:
        return self._chance.choice(self._runs)

    def _text(self, most: int = 60) -> str:
        characters = string.ascii_letters + string.digits + STRANGE
        return "".join(self._chance.choices(characters, k=self._chance.randint(1, most)))

    def _bytes(self) -> str:
        text = self._chance.randbytes(self._chance.randint(1, 200)).decode("utf-8", "replace")
        return NOT_ALLOWED.sub("", text) or "\ufffd"

    def _number(self) -> str:
        return self._chance.choice(
            ["NaN", "-Infinity", "1e999", "-0", "0x10", "1" * 5000, "[1e400]", "true", "null", "00", "1_000"]
        )

    def _value(self, depth: int) -> Any:
        kinds = [self._text, self._run, lambda: self._chance.randint(-(2**70), 2**70), self._chance.random]
        kinds += [lambda: None, lambda: True]
        if depth:
            kinds += [
                lambda: [self._value(depth - 1) for __ in range(self._chance.randint(0, 4))],
                lambda: {self._key(): self._value(depth - 1) for __ in range(self._chance.randint(0, 4))},
            ]
        return self._chance.choice(kinds)()

    def _key(self) -> str:
        return self._chance.choice(["run", "Run", "runs", "name", "image", "", self._text()])

    def _deep(self) -> str:
        opening, inside, closing = self._chance.choice(
            [("[", "", "]"), ('{"run":', "1", "}"), ('[{"a":', "1", "}]")]
        )
        depth = self._chance.choice([50, 900, 5_000, 20_000])
        return opening * depth + self._chance.choice([inside + closing * depth, ""])

    def _huge(self) -> str:
        size = LARGEST - self._chance.choice([0, 1, 10, 100, 100_000])
        head = self._chance.choice(["", message_body(self._run()), '{"run": "', "中"])
        return head + "x" * (size - len(head.encode()))

    def _nearly_right(self) -> str:
        run_id = self._run()
        name = json.dumps(run_id)
        return self._chance.choice(
            [
                json.dumps({"run": run_id, self._key() or "more": self._value(1)}),
                json.dumps({"Run": run_id}),
                json.dumps({"run": [run_id]}),
                json.dumps([{"run": run_id}]),
                json.dumps({"run": run_id.lower()}),
                json.dumps({"run": f"{run_id} "}),
                json.dumps({"run": f"{run_id}\n"}),
                json.dumps({"run": run_id[:-1]}),
                json.dumps({"run": run_id[:-1] + "\u0130"}),
                json.dumps({"run": {"run": run_id}}),
                json.dumps({"run": "#slots"}),
                json.dumps({"run": "#dispatcher"}),
                f'{{"run": {name}, "run": {name}}}',
                f'{{"run": "x", "run": {name}}}',
                f'{{"run": {name}, "run": null}}',
                f'\n\t {{ "run" :\r{name} }} \n',
                f'\ufeff{{"run": {name}}}',
                f"{{'run': '{run_id}'}}",
                f'{{"run": {name}}}{{"run": {name}}}',
                f'{{"\\u0072un": {name}}}',
                f'{{"run": {name},}}',
                f'{{"run": {name}, "\\ud800": 1}}',
                run_id,
            ]
        )


def runs_in_every_state(world: World, of_each: int) -> dict[str, list[str]]:
    """Runs, by the state they are in; those that are active hold a slot and have a task."""
    made: dict[str, list[str]] = {state: [] for state in states.STATES}
    for __ in range(of_each):
        for state in states.STATES:
            run_id = world.record()
            made[state].append(run_id)
            if state == states.QUEUED:
                continue
            if state in (states.FAILED, states.CANCELLED):
                assert world.runs.move(
                    run_id, states.QUEUED, state, reason="by hand", ended=world.clock.text()
                )
                continue
            world.send(message_body(run_id))
            world.tick()
            (task,) = world.ecs.of(run_id)
            if state != states.STARTING:
                world.begin(run_id, task)
            if state == states.SUCCEEDED:
                assert world.runs.move(run_id, states.RUNNING, state, reason="done", ended=world.clock.text())
                world.ecs.stop(task, 0)
    return made


def names_a_recorded_run(body: str, recorded: list[str]) -> bool:
    """Whether a message is one that submissions send."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.keys() == {"run"} and content["run"] in recorded


def test_each_message_ends_in_a_run_or_the_dead_letter_queue(
    make_world: Callable[..., World], capsys: pytest.CaptureFixture[str]
) -> None:
    world = make_world(slots=40)
    runs = runs_in_every_state(world, 8)
    before = {run_id: (state, len(world.ecs.of(run_id))) for state, ids in runs.items() for run_id in ids}
    sent = list(Fuzz(runs, random.Random(11)).messages(MESSAGES))
    for __, body in sent:
        world.sqs_service.SendMessage({"QueueUrl": world.queue_url, "MessageBody": body})
    dispatcher = world.dispatcher(lambda when, __: world.clock.advance(seconds=0.01))

    ticks = 0
    while world.messages():
        assert ticks < 200, "it does not end"
        deadline = world.clock.now.timestamp() + 60
        dispatcher.tick(lambda deadline=deadline: deadline - world.clock.now.timestamp())  # raises TickError
        capsys.readouterr()  # or the log grows
        ticks += 1
        for task in world.ecs.alive():
            if before[task["startedBy"]][0] == states.QUEUED and task["lastStatus"] == "PROVISIONING":
                world.begin(task["startedBy"], task)

    bodies = collections.Counter(body for __, body in sent)
    dead = collections.Counter(body for body, __ in world.dead_letters())
    assert dead <= bodies
    recorded = list(before)
    assert all(names_a_recorded_run(body, recorded) for body in bodies - dead)
    assert not any(names_a_recorded_run(body, recorded) for body in dead)
    large = LARGEST - 200  # there, no room may be left for the reason
    assert all(reason or len(body.encode()) > large for body, reason in world.dead_letters())
    for run_id, (state, tasks) in before.items():
        run = world.runs.get(run_id)
        if state == states.QUEUED:
            assert run["state"] in (states.RUNNING, states.FAILED)
            assert run["state"] == states.RUNNING or run["reason"]
        else:
            assert (run["state"], len(world.ecs.of(run_id))) == (state, tasks)
    kinds = dict(collections.Counter(kind for kind, __ in sent))
    with capsys.disabled():
        print(f"\n{MESSAGES} messages, {kinds}: {dead.total()} dead letters, {ticks} ticks, no error")
