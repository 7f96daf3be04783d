"""What has to hold when a campaign is over, looked up in what it left behind."""

import hashlib
import io
import json
import tarfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from nerforge_contract import causes, names, states
from nerforge_contract.runs import Run

from .campaign import Campaign, Track
from .workload import Kind

DONE = states.EXIT_DONE
RESUMED = "goes on from step"  # the trainer's words


@dataclass
class Version:
    """A model version as it is registered, and as it lies in the bucket.

    Parameters
    ----------
    label:
        ``name:number``.
    run:
        The run that the record names.
    recorded:
        The artifact's sha256 that the record names.
    found:
        The artifact's sha256, or None if there is none.
    files:
        The sha256 of each file in it.
    manifest:
        The manifest, or None.
    """

    label: str
    run: str
    recorded: str
    found: str | None
    files: dict[str, str]
    manifest: dict[str, Any] | None

    @property
    def weights(self) -> dict[str, str]:
        """The sha256 of each component's weights."""
        return {path: digest for path, digest in self.files.items() if Path(path).match("*/model")}


@dataclass
class Evidence:
    """What a campaign left behind.

    Parameters
    ----------
    records:
        Every run that is recorded, by its id.
    versions:
        Every model version that is registered.
    exits:
        The exit codes of each run's tasks, by the run's id.
    resumed:
        How many tasks went on from a checkpoint.
    slots:
        The runs that hold a slot.
    messages:
        How many messages are left in the queue.
    letters:
        The bodies in the dead letter queue.
    tasks:
        How many trainers still run.
    """

    records: dict[str, Run]
    versions: list[Version]
    exits: dict[str, list[int | None]]
    resumed: int = 0
    slots: list[str] = field(default_factory=list)
    messages: int = 0
    letters: list[str] = field(default_factory=list)
    tasks: int = 0


def violations(
    tracks: list[Track], evidence: Evidence, reference: dict[int, Version], garbage: list[str]
) -> list[tuple[str | None, str]]:
    """Every invariant that does not hold: the run that it is about, or None, and what is wrong.

    Parameters
    ----------
    tracks:
        What was submitted and what was done to it.
    reference:
        By seed, the version that a run made which nothing befell. Other seeds' may be any.
    garbage:
        Bodies that were queued and name no run.
    """
    wrong: list[tuple[str | None, str]] = []
    for track in tracks:
        mine = [version for version in evidence.versions if version.run == track.run_id]
        wrong += [
            (track.run_id, words)
            for words in (
                *_of_state(track, evidence.records.get(track.run_id)),
                *_of_attempts(
                    track, evidence.records.get(track.run_id), evidence.exits.get(track.run_id, [])
                ),
                *_of_model(track, evidence.records.get(track.run_id), mine, reference),
            )
        ]
    strangers = evidence.records.keys() - {track.run_id for track in tracks}
    wrong += [
        (run_id, f"nobody was told of this run, and it is {evidence.records[run_id]['state']}")
        for run_id in sorted(strangers)
        if evidence.records[run_id]["state"] not in states.TERMINAL
    ]
    known = set(evidence.records)
    wrong += [
        (None, f"{version.label} names run {version.run}, which is not recorded")
        for version in evidence.versions
        if version.run not in known
    ]
    if evidence.slots:
        wrong.append((None, f"slots are still held: {', '.join(evidence.slots)}"))
    if evidence.messages:
        wrong.append((None, f"{evidence.messages} messages are left in the queue"))
    if evidence.tasks:
        wrong.append((None, f"{evidence.tasks} trainers still run"))
    letters = Counter(evidence.letters)
    wrong += [(None, f"gone without a trace: message {body!r}") for body in garbage if not letters[body]]
    wrong += [
        (None, f"given up and put into the dead letter queue: message {body!r}")
        for body in letters
        if body not in garbage
    ]
    return wrong


def _of_state(track: Track, record: Run | None) -> list[str]:
    if record is None:
        return ["lost: it is not recorded"]
    state, wrong = record["state"], []
    if state != track.expected:
        wrong.append(f"ended as {state}, and should have as {track.expected}: {record.get('reason')}")
    if track.state in states.TERMINAL and state != track.state:
        wrong.append(f"was {track.state}, which is terminal, and became {state}")
    if state in states.TERMINAL and not (record.get("reason") and record.get("ended")):
        wrong.append(f"is {state} without a reason in words or a time")
    if record.get("cause") not in (None, *causes.CAUSES):
        wrong.append(f"has the cause {record['cause']}, which no table knows")
    wanted = {Kind.WRONG: causes.WRONG_INPUT}.get(track.plan.kind)
    if state == states.FAILED == track.expected and record.get("cause") != wanted:
        wrong.append(f"failed for the cause {record.get('cause')}, and should have for {wanted}")
    return wrong


def _of_attempts(track: Track, record: Run | None, exits: list[int | None]) -> list[str]:
    wrong = []
    told = len((record or {}).get("history", []))
    if told < len(exits) - 1:
        wrong.append(f"tells how {told} of its {len(exits)} attempts ended, which was with {exits}")
    if exits.count(DONE) > 1:
        wrong.append(f"was trained to success {exits.count(DONE)} times: exit codes {exits}")
    if track.plan.kind is not Kind.WRONG and states.EXIT_WRONG_INPUT in exits:
        wrong.append(f"its right input was called wrong: exit codes {exits}")
    if exits.count(states.EXIT_WRONG_INPUT) > 1:
        wrong.append(f"wrong input was tried again: exit codes {exits}")
    return wrong


def _of_model(
    track: Track, record: Run | None, versions: list[Version], reference: dict[int, Version]
) -> list[str]:
    labels = [version.label for version in versions]
    state = (record or {}).get("state")
    if state != states.SUCCEEDED:
        # A run that was cancelled a moment after it had registered its version keeps it.
        if len(versions) > (state == states.CANCELLED):
            return [f"is {state} and has the versions {labels}"]
        return []
    if len(versions) != 1 or record.get("model") != labels[0]:
        return [f"says it made {record.get('model')}, and these are registered for it: {labels or 'none'}"]
    (version,) = versions
    named = (version.manifest or {}).get("run")
    wrong = [] if named == track.run_id else [f"the manifest of {version.label} names run {named}"]
    manifested = (version.manifest or {}).get("artifact", {}).get("sha256")
    if not version.found == version.recorded == manifested:
        wrong.append(
            f"the artifact of {version.label} has the sha256 {version.found}, its record says "
            f"{version.recorded} and its manifest {manifested}"
        )
    undisturbed = reference.get(track.plan.seed, version)
    if version.found != undisturbed.found:
        paths = version.files.keys() | undisturbed.files.keys()
        differ = [path for path in sorted(paths) if version.files.get(path) != undisturbed.files.get(path)]
        wrong.append(
            f"{version.label} is not what an undisturbed run of seed {track.plan.seed} makes: "
            f"{', '.join(differ) or 'its files are the same, their archive'} differ"
        )
    return wrong


# --- looked up ---


def gather(campaign: Campaign) -> Evidence:
    """Look up what the campaign left behind."""
    published = campaign.published
    recorded = [item["run_id"] for item in campaign.deployment.runs()]
    tasks = _ended_tasks(campaign.client("ecs"), published["cluster_name"])
    exits: dict[str, list[int | None]] = {}
    for task in tasks:
        exits.setdefault(task["startedBy"], []).append(task["containers"][0].get("exitCode"))
    return Evidence(
        records=campaign.runs.get_many(recorded),
        versions=_versions(campaign),
        exits=exits,
        resumed=sum(any(RESUMED in line for line in campaign.log(task["taskArn"])) for task in tasks),
        slots=campaign.runs.active(),
        messages=campaign.messages(),
        letters=_letters(campaign.client("sqs"), published["dead_letter_queue_url"]),
        tasks=len(campaign.alive()),
    )


def _versions(campaign: Campaign) -> list[Version]:
    s3, bucket = campaign.client("s3"), campaign.published["bucket"]
    found = []
    for model in campaign.models.all()[0]:
        artifact = _object(s3, bucket, model["prefix"] + names.ARTIFACT)
        manifest = _object(s3, bucket, model["prefix"] + names.MANIFEST)
        found.append(
            Version(
                names.model_label(model["name"], model["version"]),
                model["run"],
                model["sha256"],
                artifact and hashlib.sha256(artifact).hexdigest(),
                _files(artifact) if artifact else {},
                manifest and json.loads(manifest),
            )
        )
    return found


def _object(s3: Any, bucket: str, key: str) -> bytes | None:
    try:
        return s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return None
        raise


def _files(artifact: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(artifact)) as archive:
        return {
            entry.name: hashlib.sha256(archive.extractfile(entry).read()).hexdigest()
            for entry in archive
            if entry.isfile()
        }


def _ended_tasks(ecs: Any, cluster: str) -> list[dict[str, Any]]:
    """The tasks that have ended, in the order in which they began."""
    pages = ecs.get_paginator("list_tasks").paginate(
        cluster=cluster, desiredStatus="STOPPED", PaginationConfig={"PageSize": 100}
    )
    ended = [
        task
        for page in pages
        if page["taskArns"]
        for task in ecs.describe_tasks(cluster=cluster, tasks=page["taskArns"])["tasks"]
    ]
    return sorted(ended, key=lambda task: task["createdAt"])


def _letters(sqs: Any, queue_url: str) -> list[str]:
    bodies = []
    while messages := sqs.receive_message(
        QueueUrl=queue_url, MaxNumberOfMessages=10, VisibilityTimeout=600
    ).get("Messages"):
        bodies += [message["Body"] for message in messages]
    return bodies
