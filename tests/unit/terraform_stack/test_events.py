"""What terraform_stack makes of Terraform's JSON stream; the samples are Terraform 1.11.4's, for main.tf."""

import json
from pathlib import Path

import pytest
from ansible_collections.nerforge.aws.plugins.plugin_utils import terraform

SAMPLES = Path(__file__).parent / "samples"


def events_of(sample: str) -> list[dict]:
    return [json.loads(text) for text in (SAMPLES / f"{sample}.jsonl").read_text().splitlines()]


def lines_of(sample: str, line=terraform.line) -> list[str]:
    return [text for text in map(line, events_of(sample)) if text]


def failure_of(sample: str, *arguments: str) -> str:
    return terraform.failure(terraform.Ended(1, events_of(sample), ""), *arguments)


def test_each_resource_gets_its_line():
    assert lines_of("apply") == [
        "  1 to create, 1 to change, 1 to destroy",
        "  destroyed terraform_data.made_anew in 0 s",
        "  changed terraform_data.copy in 0 s",
        "  created terraform_data.made_anew in 0 s",
    ]


def test_a_long_wait_is_told():
    assert "  still creating terraform_data.slow[0] (10 s)" in lines_of("slow")
    assert "  created terraform_data.slow[0] in 12 s" in lines_of("slow")


def test_an_unchanged_stack_says_so():
    assert lines_of("unchanged") == ["  nothing to create, change or destroy"]


def test_check_mode_names_what_would_be_done():
    assert lines_of("plan", terraform.planned_line) == [
        "  would change terraform_data.copy",
        "  would replace terraform_data.made_anew",
        "  1 to create, 1 to change, 1 to destroy",
    ]


def test_a_provider_download_and_an_interrupt_are_told():
    log = {"type": "log", "@message": "Installing provider version: hashicorp/aws v5.100.0..."}
    assert terraform.line(log) == "  installing provider version: hashicorp/aws v5.100.0..."
    interrupt = {"type": "log", "@message": "\nInterrupt received.\nPlease wait for Terraform to exit ..."}
    assert (
        terraform.line(interrupt) == "  interrupted: Terraform finishes what is under way and saves its state"
    )


def test_reading_a_data_source_is_not_worth_a_line():
    hook = {"resource": {"addr": "data.aws_vpc.training"}, "action": "read", "elapsed_seconds": 0}
    assert terraform.line({"type": "apply_complete", "hook": hook}) is None
    assert terraform.result([{"type": "apply_complete", "hook": hook}], check=False)["resources"] == []


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (75, "1 min 15 s"), (3601, "60 min 1 s")],
)
def test_durations(seconds, told):
    assert terraform.duration(seconds) == told


@pytest.mark.parametrize(
    ("sample", "check", "changed", "added", "altered", "destroyed"),
    [
        ("apply", False, True, 1, 1, 1),
        ("plan", True, True, 1, 1, 1),
        ("unchanged", False, False, 0, 0, 0),
        ("unchanged", True, False, 0, 0, 0),
        ("slow", False, True, 2, 1, 2),
        ("destroy", False, True, 0, 0, 3),
        ("refused", False, False, 0, 0, 0),
        ("locked", False, False, 0, 0, 0),
    ],
)
def test_the_counts_and_changed_are_true(sample, check, changed, added, altered, destroyed):
    result = terraform.result(events_of(sample), check)
    assert (result["changed"], result["added"], result["altered"], result["destroyed"]) == (
        changed,
        added,
        altered,
        destroyed,
    )


def test_a_failed_apply_tells_what_it_had_done():
    result = terraform.result(events_of("failed"), check=False)
    assert result["changed"]
    assert (result["added"], result["altered"], result["destroyed"]) == (1, 1, 1)
    assert {r["address"] for r in result["resources"]} == {"terraform_data.made_anew", "terraform_data.copy"}
    assert result["outputs"] == {}


@pytest.mark.parametrize(("action", "changed"), [("update", True), ("noop", False)])
@pytest.mark.parametrize("check", [True, False])
def test_a_changed_output_alone_is_a_change(action, changed, check):
    nothing = {"add": 0, "change": 0, "import": 0, "remove": 0}
    told = [
        {"type": "change_summary", "changes": nothing | {"operation": "plan"}},
        {"type": "outputs", "outputs": {"word": {"sensitive": False, "action": action}}},
    ]
    if not check:
        told += [
            {"type": "change_summary", "changes": nothing | {"operation": "apply"}},
            {"type": "outputs", "outputs": {"word": {"sensitive": False, "type": "string", "value": "two"}}},
        ]
    assert terraform.result(told, check)["changed"] is changed


def test_outputs_come_without_the_sensitive_ones():
    result = terraform.result(events_of("apply"), check=False)
    assert result["outputs"] == {"word": "two"}
    assert result["sensitive_outputs"] == ["secret"]


def test_a_sensitive_value_in_the_stream_is_kept_out():
    told = [
        {"type": "change_summary", "changes": {"operation": "apply", "add": 0, "change": 0, "remove": 0}},
        {"type": "outputs", "outputs": {"secret": {"sensitive": True, "type": "string", "value": "s3cret"}}},
    ]
    assert "s3cret" not in str(terraform.result(told, check=False))


def test_check_mode_lists_the_planned_resources():
    assert terraform.result(events_of("plan"), check=True)["resources"] == [
        {"address": "terraform_data.copy", "action": "update"},
        {"address": "terraform_data.made_anew", "action": "replace"},
    ]


def test_a_failure_names_file_line_resource_and_reason():
    message = failure_of("failed", "apply /stack", "unlock")
    assert message.startswith("Terraform could not apply /stack.")
    assert "main.tf:35, terraform_data.broken[0]: local-exec provisioner error" in message
    assert "exit status 3" in message


def test_a_refused_variable_is_explained_in_the_stacks_words():
    message = failure_of("refused", "apply /stack", "unlock")
    assert "main.tf:1: Invalid value for variable" in message
    assert "word is too long." in message


def test_a_locked_state_comes_with_its_fix():
    message = failure_of("locked", "apply /stack", "terraform force-unlock")
    assert "locked by user@host since 2026-" in message
    assert message.endswith("terraform force-unlock 7a9592e5-6475-473b-a078-385980937321")
    assert "-lock=false" not in message


def test_a_lock_that_cannot_be_had_at_all_is_not_called_locked():
    diagnostic = {"severity": "error", "summary": terraform.LOCKED, "detail": "Error message: access denied"}
    message = terraform.failure(
        terraform.Ended(1, [{"type": "diagnostic", "diagnostic": diagnostic}], ""), "apply"
    )
    assert "access denied" in message
    assert "locked by" not in message


def test_a_crash_without_a_diagnostic_shows_what_was_written():
    assert "panic: nil" in terraform.failure(terraform.Ended(2, [], "panic: nil"), "apply /stack")


def test_the_same_diagnostic_is_told_once():
    diagnostic = {"type": "diagnostic", "diagnostic": {"severity": "error", "summary": "execution halted"}}
    assert terraform.failure(terraform.Ended(1, [diagnostic] * 2, ""), "apply").count("execution halted") == 1


def test_an_undeclared_variable_is_a_warning():
    (warning,) = terraform.diagnostics(events_of("apply"), "warning")
    assert 'does not declare a variable named "wrod"' in terraform.problem(warning)


def test_only_events_are_parsed():
    assert terraform.parse('{"type": "version"}') == {"type": "version"}
    assert terraform.parse("panic: runtime error") is None
    assert terraform.parse('{"no": "type"}') is None
    assert terraform.parse("17") is None
