"""A campaign: runs by the dozen on the embedded AWS, and everything that goes wrong meanwhile."""

import contextlib
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.nerforge.aws.plugins.module_utils.contract.errors import UserError
from ansible_collections.nerforge.aws.plugins.plugin_utils import cancellation, queueing, retrying
from ansible_collections.nerforge.aws.plugins.plugin_utils.session import Aws, aws_errors
from botocore.exceptions import ClientError
from nerforge_contract import names, states
from nerforge_contract.models import Models
from nerforge_contract.runs import Run, Runs
from support.deployment import Deployment
from support.iam_requests import Account

from . import victims
from .faults import Faults
from .permissions import Asked
from .proxy import Call, Fault, Proxy
from .workload import Blow, Data, Kind, Plan, spec

SLOTS = 3
OPEN_RUNS = 10  # submitted and not ended at a time
LOOK_SECONDS = 0.1  # between two looks at the processes
READ_SECONDS = 0.7  # between two looks at the records
SAY_SECONDS = 5.0
PULSE_SECONDS = 1.2  # between two invocations of the dispatcher by each of the two threads, on average
VISIBILITY_SECONDS = 8  # so that a message whose receiver was killed comes back soon
SETTLE_SECONDS = 120
DEADLINE_SECONDS = 120  # without any run ending

# Patient with an emulator that is being restarted; nothing else fails on this way.
PATIENT = {"read_timeout": 90, "retries": {"mode": "standard", "total_max_attempts": 8}}

Say = Callable[[str], None]


@dataclass
class Track:
    """A run and what has befallen it so far."""

    plan: Plan
    run_id: str
    journal: list[str] = field(default_factory=list)
    state: str = ""
    since: float = 0.0
    began: dict[int, float] = field(default_factory=dict)  # attempt: when its process was first seen
    calls: Counter[int] = field(default_factory=Counter)  # attempt: its calls so far
    struck: set[int] = field(default_factory=set)  # attempts that had their blow
    cancelled: bool = False
    retried_as: str | None = None

    def note(self, words: str) -> None:
        """Keep what befell the run, for the report on it."""
        self.journal.append(f"{time.strftime('%H:%M:%S')}  {words}")

    @property
    def expected(self) -> str:
        """The state that the run has to end in."""
        if self.cancelled:
            return states.CANCELLED
        return states.FAILED if self.plan.kind is Kind.WRONG else states.SUCCEEDED


class Campaign:
    """Everything that a campaign needs to be under way; a context manager, which ends all of it.

    Parameters
    ----------
    deployment:
        A training stack whose trainers reach AWS by ``proxy_port``.
    proxy_port:
        A free port.
    data:
        The data of all runs.
    seed:
        Of all draws.
    say:
        Takes a line of progress.
    """

    def __init__(self, deployment: Deployment, proxy_port: int, data: Data, seed: int, say: Say) -> None:
        self.deployment, self.data, self.say = deployment, data, say
        self.folder = deployment.home / "local-aws"
        self.faults = {caller: Faults(caller, seed) for caller in ("trainer", "dispatcher", "operator")}
        self.asked = {caller: Asked() for caller in ("trainer", "dispatcher")}
        self.tracks: dict[str, Track] = {}
        self.counts: Counter[str] = Counter()
        self.seen_wrong: list[str] = []
        self.garbage: list[str] = []
        self._over, self._last_read, self._last_said = threading.Event(), 0.0, 0.0
        self._proxies = {
            "trainer": Proxy(
                proxy_port, deployment.port, self._judge_trainer, told=self.asked["trainer"].note
            ),
            "dispatcher": Proxy(
                0,
                deployment.port,
                self.faults["dispatcher"].draw,
                self._kill_dispatcher,
                self.asked["dispatcher"].note,
            ),
            "operator": Proxy(0, deployment.port, self.faults["operator"].draw),
        }
        self.published = {
            name: deployment.parameter(f"training/{name}")
            for name in (
                "bucket", "cluster_arn", "cluster_name", "dead_letter_queue_url", "dispatcher_function_name",
                "models_table", "queue_url", "runs_table", "trainer_log_group",
            )
        }  # fmt: skip
        aws = _aws(deployment.endpoint, aws_config=PATIENT)
        self.client = aws.client  # of a service; nothing befalls its calls
        self.runs = Runs(aws.table(self.published["runs_table"]))
        self.models = Models(aws.table(self.published["models_table"]))
        self._operator = _aws(self._proxies["operator"].url)
        self._pulses = [threading.Thread(target=self._pulse, daemon=True) for __ in range(2)]

    def __enter__(self) -> "Campaign":
        self.data.upload(self.client("s3"), self.published["bucket"])
        self.client("sqs").set_queue_attributes(
            QueueUrl=self.published["queue_url"], Attributes={"VisibilityTimeout": str(VISIBILITY_SECONDS)}
        )
        function = self.published["dispatcher_function_name"]
        dispatcher = self.client("lambda").get_function_configuration(FunctionName=function)
        variables = dispatcher["Environment"]["Variables"]
        variables["AWS_ENDPOINT_URL"] = self._proxies["dispatcher"].url
        self.client("lambda").update_function_configuration(
            FunctionName=function, Environment={"Variables": variables}
        )
        for pulse in self._pulses:
            pulse.start()
        return self

    def __exit__(self, *__: object) -> None:
        self._over.set()
        for pulse in self._pulses:
            pulse.join()
        for proxy in self._proxies.values():
            proxy.close()

    def alive(self) -> list[victims.Trainer]:
        """The trainers that run now."""
        return victims.trainers(self.folder)

    def log(self, task_arn: str) -> list[str]:
        """What a trainer's task has printed."""
        try:
            answer = self.client("logs").get_log_events(
                logGroupName=self.published["trainer_log_group"],
                logStreamName=names.log_stream(names.TRAINER_CONTAINER, task_arn),
            )
        except ClientError as error:
            return [str(error)]
        return [event["message"] for event in answer["events"]]

    def forbidden(self) -> list[str]:
        """What trainers and dispatchers have done and their roles do not allow."""
        prefix = self.deployment.prefix
        *__, region, number, __ = self.published["cluster_arn"].split(":")
        roles = tuple(f"arn:aws:iam::{number}:role/{prefix}-{role}" for role in ("execution", "trainer"))
        iam, account = self.client("iam"), Account(number, region, roles)
        return [
            words
            for caller, asked in self.asked.items()
            for words in asked.forbidden(iam, f"{prefix}-{caller}", account)
        ]

    # --- what a campaign does ---

    def run(self, plans: list[Plan], restarts: int = 0) -> None:
        """Submit a run for each plan, and have all go wrong that is planned, until all have ended.

        Parameters
        ----------
        restarts:
            How often the embedded AWS is stopped and started meanwhile.
        """
        waiting, total = list(plans), len(plans)
        due = [total * (i + 1) // (restarts + 1) for i in range(restarts)]
        mine: list[Track] = []
        progressed, ended_before = time.monotonic(), 0
        while waiting or any(track.state not in states.TERMINAL for track in mine):
            while waiting and sum(track.state not in states.TERMINAL for track in mine) < OPEN_RUNS:
                if track := self._submit(waiting[0]):
                    mine.append(track)
                    waiting.pop(0)
            self._look_at_processes()
            self._look_at_records(mine)
            for track in list(mine):
                if retry := self._cancel_if_due(track):
                    mine.append(retry)
            ended = sum(track.state in states.TERMINAL for track in mine)
            if due and ended >= due[0]:
                due.pop(0)
                self._restart()
            if ended > ended_before:
                progressed, ended_before = time.monotonic(), ended
            elif time.monotonic() - progressed > DEADLINE_SECONDS:
                self.say(f"nothing has ended for {DEADLINE_SECONDS} s: giving up")
                return
            self._say_progress(len(mine) + len(waiting), mine)
            time.sleep(LOOK_SECONDS)

    def begin_faults(self) -> None:
        """From now on calls fail."""
        for faults in self.faults.values():
            faults.on = True

    def send_garbage(self, bodies: Iterable[str]) -> None:
        """Queue messages that name no run; each has to end in the dead letter queue."""
        for body in bodies:
            self.client("sqs").send_message(QueueUrl=self.published["queue_url"], MessageBody=body)
            self.garbage.append(body)

    def settle(self) -> None:
        """Let nothing more go wrong, and wait until no slot, task or message is left, or too long."""
        for faults in self.faults.values():
            faults.on = False
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline and (self.runs.active() or self.alive() or self.messages()):
            time.sleep(0.5)

    def messages(self) -> int:
        """How many messages are in the queue, in sight or not."""
        wanted = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.client("sqs").get_queue_attributes(
            QueueUrl=self.published["queue_url"], AttributeNames=wanted
        )
        return sum(map(int, answer["Attributes"].values()))

    def _submit(self, plan: Plan, **fields: Any) -> Track | None:
        """As train.yml does; None if the operator was told that it did not work."""
        try:
            run_id, __ = queueing.enqueue(
                self._operator,
                self.deployment.prefix,
                self.published,
                spec(self.data, plan.seed, plan.kind),
                **fields,
            )
        except (UserError, *aws_errors()) as error:
            self.counts["submissions refused"] += 1
            self.say(f"a submission was refused, as its operator was told: {error}")
            return None
        track = Track(plan, run_id, since=time.monotonic())
        self.tracks[run_id] = track
        for __ in range(plan.copies - 1):
            with contextlib.suppress(*aws_errors()):
                queueing.send(self._operator, self.published["queue_url"], run_id)
                self.counts["duplicate messages"] += 1
        return track

    def _cancel_if_due(self, track: Track) -> Track | None:
        """Cancel the run if its hour has come; the run that retries it, if that is planned."""
        if track.cancelled or track.plan.cancel is None or track.state in states.TERMINAL:
            return None
        order = (states.QUEUED, states.STARTING, states.RUNNING)
        state, seconds = track.plan.cancel
        # A run that has passed the state unseen is cancelled at once.
        if order.index(track.state or states.QUEUED) < order.index(state) or (
            track.state == state and time.monotonic() - track.since < seconds
        ):
            return None
        try:
            runs = Runs(self._operator.table(self.published["runs_table"]))
            cancellation.cancel(runs, track.run_id, "cancelled by chaos")
        except UserError as error:
            track.note(f"could not be cancelled: {error}")
            return None
        except aws_errors():
            return None  # as an operator does: again
        track.cancelled = True
        track.note(f"cancelled while {track.state}")
        queueing.wake(self._operator, self.deployment.prefix, track.run_id, names.EVENT_RUN_CANCELLED)
        if track.plan.kind is not Kind.RETRIED:
            return None
        run = self.runs.get(track.run_id)
        retrying.check_ended(run)
        retrying.changed(run["spec"], {})
        retry = None
        while retry is None:
            old = self.runs.get(track.run_id)  # a submission that was refused may have left its mark
            retry = self._submit(Plan(track.plan.seed, Kind.GOOD), retry_of=old)
        track.retried_as = retry.run_id
        self.counts["retried by the operator"] += 1
        return retry

    # --- what is seen ---

    def _look_at_records(self, mine: Iterable[Track]) -> None:
        if time.monotonic() - self._last_read < READ_SECONDS:
            return
        self._last_read = time.monotonic()
        live = [track for track in mine if track.state not in states.TERMINAL]
        found = self.runs.get_many(track.run_id for track in live)
        for track in live:
            run = found.get(track.run_id)
            if run is None:
                self._wrong(track, "its record is gone")
                continue
            if run["state"] != track.state:
                track.state, track.since = run["state"], time.monotonic()
                track.note(f"{run['state']}, attempt {run['attempt']}: {_why(run)}")
            if run["state"] in (states.QUEUED, states.STARTING) and not run.get("reason"):
                self._wrong(track, f"it waits ({run['state']}) and no reason says what for")

    def _look_at_processes(self) -> None:
        alive = self.alive()
        if len(alive) > SLOTS:
            self.seen_wrong.append(f"{len(alive)} trainers at once, and there are {SLOTS} slots: {alive}")
        for run_id, count in Counter(trainer.run_id for trainer in alive).items():
            if count > 1:
                self.seen_wrong.append(f"run {run_id} has {count} trainers at once")
        for trainer in alive:
            track = self.tracks.get(trainer.run_id)
            if track is None:
                continue
            if trainer.attempt not in track.began:
                track.began[trainer.attempt] = time.monotonic()
                self.counts["attempts"] += 1
            blow = self._blow_for(track, trainer.attempt)
            age = time.monotonic() - track.began[trainer.attempt]
            if blow and blow.call is None and age >= blow.seconds:
                self._strike(track, trainer, blow.signal, "by the clock")

    def _wrong(self, track: Track, words: str) -> None:
        line = f"run {track.run_id}: {words}"
        if line not in self.seen_wrong:
            self.seen_wrong.append(line)

    def _say_progress(self, total: int, mine: list[Track]) -> None:
        if time.monotonic() - self._last_said < SAY_SECONDS:
            return
        self._last_said = time.monotonic()
        tally = Counter(track.state for track in mine)
        shown = ", ".join(f"{tally[state]} {state}" for state in states.STATES if tally[state])
        faults = sum(sum(each.counts.values()) for each in self.faults.values())
        self.say(
            f"{len(mine):>4} of {total} submitted: {shown}; {self.counts['attempts']} attempts, "
            f"{self.counts['SIGTERM'] + self.counts['SIGKILL']} trainers struck, {faults} calls failed"
        )

    # --- what goes wrong ---

    def _judge_trainer(self, call: Call) -> Fault | None:
        alive = {trainer.pid: trainer for trainer in self.alive()}
        trainer = alive.get(victims.holder(call.port, list(alive)))
        track = self.tracks.get(trainer.run_id) if trainer else None
        fault = self.faults["trainer"].draw(call)
        if track is None:
            return fault
        track.calls[trainer.attempt] += 1
        if fault:
            track.note(f"attempt {trainer.attempt}, {call}: {fault}")
        blow = self._blow_for(track, trainer.attempt)
        if blow and blow.call == track.calls[trainer.attempt]:
            self._strike(track, trainer, blow.signal, f"in {call}")
        return fault

    def _blow_for(self, track: Track, attempt: int) -> Blow | None:
        if attempt in track.struck or attempt > len(track.plan.blows):
            return None
        return track.plan.blows[attempt - 1]

    def _strike(self, track: Track, trainer: victims.Trainer, number: signal.Signals, when: str) -> None:
        track.struck.add(trainer.attempt)
        if victims.end(trainer.pid, number):
            self.counts[number.name] += 1
            track.note(f"attempt {trainer.attempt}: {number.name} {when}")

    def _kill_dispatcher(self, port: int) -> None:
        pid = victims.holder(port, victims.dispatchers(self.folder))
        if pid is not None and victims.end(pid, signal.SIGKILL):
            self.counts["dispatchers killed"] += 1

    def _pulse(self) -> None:
        """Wake the dispatcher over and over, as ECS's events would, which the emulator does not send."""
        lambdas = self.client("lambda")
        while not self._over.wait(random.expovariate(1 / PULSE_SECONDS)):
            with contextlib.suppress(*aws_errors()):
                answer = lambdas.invoke(FunctionName=self.published["dispatcher_function_name"])
                self.counts["ticks"] += 1
                self.counts["ticks that failed"] += "FunctionError" in answer

    def _restart(self) -> None:
        """Stop and start the embedded AWS as its role does. Its state is saved only by a graceful stop."""
        began = time.monotonic()
        files = self.deployment.root / "roles" / "local_aws" / "files" / "local_aws.py"
        home = f"--home={self.folder}"
        for arguments in (
            ("stopped", home),
            (
                "started",
                home,
                f"--venv={self.deployment.emulator_venv}",
                f"--images={self.deployment.images}",
                f"--port={self.deployment.port}",
                "--docker-host=none",
            ),
        ):
            subprocess.run([sys.executable, files, *arguments], check=True, stdout=subprocess.DEVNULL)
        self.counts["restarts"] += 1
        self.say(f"the embedded AWS was restarted in {time.monotonic() - began:.1f} s")


def _aws(endpoint: str, **options: Any) -> Aws:
    keys = {"access_key": "local", "secret_key": "local"}
    return Aws({"region": "us-east-1", "endpoint_url": endpoint, **keys, **options})


def _why(run: Run) -> str:
    return f"{run.get('cause', '-')}, {run.get('reason') or 'no reason'}"
