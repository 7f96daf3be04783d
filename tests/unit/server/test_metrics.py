"""Metrics: counted in forked processes, told by any of them, in Prometheus's format."""

import os

import pytest
from nerforge_server.api import METRICS
from nerforge_server.metrics import Metrics
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.parser import text_string_to_metric_families


def told(metrics: Metrics) -> dict[tuple, float]:
    """Every sample, by its name and labels."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.exposition("people:7").decode())
        for sample in family.samples
    }


def in_a_fork(slot: int, metrics: Metrics, work) -> None:
    """Run this in a worker that sits in this row, to its end."""
    pid = os.fork()
    if not pid:
        try:
            metrics.sit(slot)
            work()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(3, ["PER", "LOC"], "exact")


def request(route, method, status):
    return ("nerforge_requests_total", ("method", method), ("route", route), ("status", str(status)))


def test_the_format_is_the_one_that_is_announced():
    assert METRICS == CONTENT_TYPE_PLAIN_0_0_4


def test_all_processes_are_added_up_and_any_of_them_can_tell(metrics):
    for slot in range(3):
        in_a_fork(slot, metrics, lambda slot=slot: [metrics.answered("/ner", "POST", 200, 0.004)] * slot)
        for __ in range(slot + 1):
            in_a_fork(slot, metrics, lambda: metrics.answered("/ner", "POST", 503, 0.3))
    metrics.replaced()
    in_a_fork(0, metrics, lambda: metrics.entities(["PER", "LOC", "PER"]))
    in_a_fork(2, metrics, lambda: metrics.entities(["PER", "DATE"]))
    samples = told(metrics)
    assert samples[request("/ner", "POST", 200)] == 3
    assert samples[request("/ner", "POST", 503)] == 6
    assert samples["nerforge_workers_replaced_total",] == 1
    assert samples["nerforge_entities_total", ("label", "PER")] == 3
    assert samples["nerforge_entities_total", ("label", "LOC")] == 1
    assert samples["nerforge_entities_total", ("label", "other")] == 1
    assert samples["nerforge_engine_info", ("engine", "exact"), ("model", "people:7")] == 1
    reading, writing = os.pipe()
    in_a_fork(1, metrics, lambda: os.write(writing, metrics.exposition("people:7")))
    assert b'nerforge_entities_total{label="PER"} 3.0' in os.read(reading, 1 << 16)
    os.close(reading), os.close(writing)


def test_who_takes_anothers_place_goes_on_with_its_counts_and_waits_for_nothing(metrics):
    for __ in range(2):
        in_a_fork(
            1,
            metrics,
            lambda: (metrics.answered("/health", "GET", 200, 0), metrics.waiting(7), metrics.batch(4, 1)),
        )
    assert told(metrics)["nerforge_requests_waiting",] == 7
    in_a_fork(1, metrics, lambda: None)
    samples = told(metrics)
    assert samples["nerforge_requests_waiting",] == 0
    assert samples[request("/health", "GET", 200)] == 2
    assert samples["nerforge_batch_texts_sum",] == 8


def test_what_is_unknown_is_counted_as_other(metrics):
    metrics.sit(0)
    for route, method, status in (
        ("/secret", "GET", 404),
        ("", "GET", 404),
        ("/ner", "BREW", 405),
        ("/ner", "POST", 299),
        ("/x", "Y", 999),
    ):
        metrics.answered(route, method, status, 0)
    samples = told(metrics)
    assert samples[request("other", "GET", 404)] == 2
    assert samples[request("/ner", "other", 405)] == 1
    assert samples[request("/ner", "POST", "other")] == 1
    assert samples[request("other", "other", "other")] == 1
    assert sum(value for name, value in samples.items() if name[0] == "nerforge_requests_total") == 5


def test_histograms(metrics):
    metrics.sit(0)
    for seconds in (0.001, 0.0011, 0.3, 99):
        metrics.answered("/ner", "POST", 200, seconds)
    for texts, seconds in ((1, 0.001), (64, 0.02), (65, 2)):
        metrics.batch(texts, seconds)
    samples = told(metrics)

    def buckets(name, *labels):
        return {
            dict(sample[1:])["le"]: value
            for sample, value in samples.items()
            if sample[0] == f"{name}_bucket" and set(labels) <= set(sample[1:])
        }

    of_requests = buckets("nerforge_request_duration_seconds", ("route", "/ner"))
    assert [of_requests[le] for le in ("0.001", "0.0025", "0.25", "0.5", "20.0", "+Inf")] == [
        1,
        2,
        2,
        3,
        3,
        4,
    ]
    assert samples["nerforge_request_duration_seconds_count", ("route", "/ner")] == 4
    assert samples["nerforge_request_duration_seconds_sum", ("route", "/ner")] == pytest.approx(99.3021)
    of_texts = buckets("nerforge_batch_texts")
    assert [of_texts[le] for le in ("1.0", "32.0", "64.0", "+Inf")] == [1, 1, 2, 3]
    assert samples["nerforge_batch_seconds_count",] == 3


def test_memory_and_cpu_of_the_workers_that_live(metrics):
    metrics.sit(0)
    in_a_fork(1, metrics, lambda: None)  # it has ended
    samples = told(metrics)
    assert samples["nerforge_worker_resident_memory_bytes", ("worker", "0")] > 10_000_000
    assert samples["nerforge_worker_cpu_seconds_total", ("worker", "0")] > 0
    assert not [sample for sample in samples if ("worker", "1") in sample[1:]]


def test_labels_are_escaped_as_the_format_asks():
    metrics = Metrics(1, ['a"b\\c\nd'], "spacy")
    metrics.sit(0)
    metrics.entities(['a"b\\c\nd'])
    assert told(metrics)["nerforge_entities_total", ("label", 'a"b\\c\nd')] == 1


def test_a_label_that_is_called_other(metrics):
    metrics = Metrics(1, ["other"], "")
    metrics.sit(0)
    metrics.entities(["other", "unknown"])
    samples = told(metrics)
    assert samples["nerforge_entities_total", ("label", "other")] == 2
    assert not [sample for sample in samples if sample[0] == "nerforge_engine_info"]
