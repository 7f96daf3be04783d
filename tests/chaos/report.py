"""What a campaign has to tell: a table of what happened, and the story of each run that went wrong."""

from collections import Counter
from typing import Any

from nerforge_contract import states

from .campaign import Campaign
from .verdict import Evidence
from .workload import described

LOG_LINES = 15


def told(campaign: Campaign, evidence: Evidence, wrong: list[tuple[str | None, str]]) -> str:
    """The whole report; ``wrong`` is the verdict."""
    violated = [f"VIOLATED  {f'run {run_id}: ' if run_id else ''}{words}" for run_id, words in wrong]
    named = dict.fromkeys(run_id for run_id, __ in wrong if run_id)
    return "\n".join(
        [table(campaign, evidence), *violated, *(story(campaign, evidence, run_id) for run_id in named)]
    )


def table(campaign: Campaign, evidence: Evidence) -> str:
    """What happened, counted."""
    tracks, counts = list(campaign.tracks.values()), campaign.counts
    rows: list[tuple[str, Any]] = [
        ("runs", len(tracks)),
        *(
            (f"  ended as {state}", count)
            for state, count in Counter(run["state"] for run in evidence.records.values()).items()
        ),
        ("  of them SUCCEEDED after an interruption", len(interrupted(campaign, evidence))),
        ("  of them retried by the operator", counts["retried by the operator"]),
        ("submissions refused, and told so", counts["submissions refused"]),
        ("attempts", sum(map(len, evidence.exits.values()))),
        ("  of them went on from a checkpoint", evidence.resumed),
        *(
            (f"  exit code {code}", count)
            for code, count in sorted(
                Counter(code for codes in evidence.exits.values() for code in codes).items(), key=str
            )
        ),
        ("trainers sent SIGTERM", counts["SIGTERM"]),
        ("trainers sent SIGKILL", counts["SIGKILL"]),
        ("dispatchers killed in the middle of a call", counts["dispatchers killed"]),
        ("restarts of the embedded AWS", counts["restarts"]),
        ("messages sent twice or three times over", counts["duplicate messages"]),
        ("messages that name no run", len(campaign.garbage)),
        ("ticks of the dispatcher", counts["ticks"]),
        ("  of them failed", counts["ticks that failed"]),
    ]
    for caller, faults in campaign.faults.items():
        services = ", ".join(f"{count} {service}" for service, count in faults.calls.most_common())
        rows.append((f"calls of the {caller}: {services}", faults.calls.total()))
        rows += [(f"  {fault}", count) for fault, count in sorted(faults.counts.items())]
    width = max(len(name) for name, __ in rows)
    return "\n".join(f"{name:{width}}  {value:>7}" for name, value in rows)


def interrupted(campaign: Campaign, evidence: Evidence) -> list[str]:
    """The runs that succeeded in more than one attempt."""
    return [
        run_id
        for run_id, run in evidence.records.items()
        if run["state"] == states.SUCCEEDED and run["attempt"] > 1
    ]


def story(campaign: Campaign, evidence: Evidence, run_id: str) -> str:
    """All that is known of one run."""
    lines = [f"run {run_id}"]
    if track := campaign.tracks.get(run_id):
        lines += [f"  planned: {described(track.plan)}", *(f"  {line}" for line in track.journal)]
    record = evidence.records.get(run_id, {})
    shown = {key: value for key, value in record.items() if key not in ("spec", "history", "scores")}
    lines += [f"  record: {shown}", f"  exit codes of its tasks: {evidence.exits.get(run_id)}"]
    lines += [f"  history: {entry}" for entry in record.get("history", [])]
    if "task_arn" in record:
        lines += [f"  log: {line}" for line in campaign.log(record["task_arn"])[-LOG_LINES:]]
    return "\n".join(lines)
