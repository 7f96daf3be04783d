"""A line of log that CloudWatch Logs turns into metrics by itself: the embedded metric format."""

import datetime
import json

NAMESPACE = "nerforge"
_UNITS = {"ActiveRuns": "Count", "StuckRuns": "Count", "TickErrors": "Count", "TickSeconds": "Seconds"}


def line(function_name: str, now: datetime.datetime, **values: float) -> str:
    """The metrics of one tick, which has the dimension FunctionName; ``values`` are those of ``_UNITS``."""
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [["FunctionName"]],
        "Metrics": [{"Name": name, "Unit": _UNITS[name]} for name in values],
    }
    about = {"Timestamp": int(now.timestamp() * 1000), "CloudWatchMetrics": [directive]}
    return json.dumps({"_aws": about, "FunctionName": function_name, **values})
