"""A service rolls between two versions, back, and to versions that cannot be served, while clients ask it.

Promotions and rollbacks are the playbooks that a user runs, on the embedded AWS. No request may fail, each
must be answered as spaCy itself would with the version that the answer names, and none by a version that has
been replaced once the command has returned.
"""

import json
import time
from pathlib import Path

import pytest
from rolls import report, verdict
from rolls.commands import Commands
from rolls.load import Load
from rolls.versions import Spoiled, Versions, spec, texts

RATE = 160.0  # requests a second; the embedded AWS's load balancer and two starting servers share the machine
SETTLE_SECONDS = 1.5  # between two commands, in which only the one version may answer
GRACE_SECONDS, CHECK_SECONDS, CHECKS = 20, 5, 2  # how soon a task that is never ready is given up


def test_no_request_is_lost_and_none_goes_to_a_version_that_was_replaced(
    rolls_deployment, root: Path, tmp_path: Path, pytestconfig: pytest.Config, capsys
):
    rolls, rollbacks, requests = map(pytestconfig.getoption, ("rolls", "rollbacks", "requests"))
    began = time.monotonic()

    def say(line: str) -> None:
        with capsys.disabled():
            print(f"{time.monotonic() - began:6.0f} s  {line}", flush=True)

    say("deploying both stacks, about three minutes ...")
    assert rolls_deployment.playbook("playbooks/deploy.yml").returncode == 0
    _hasten(rolls_deployment)
    one, two = _train(rolls_deployment, root, tmp_path, say)
    versions = Versions(rolls_deployment)
    expected = versions.expected([one, two], texts(root))
    third = versions.copy(one)
    expected[third] = expected[one]
    spoiled = {kind: versions.copy(one, kind) for kind in Spoiled}
    assert rolls_deployment.playbook("playbooks/promote.yml", "-e", f"model={one}").returncode == 0

    with Load(rolls_deployment, expected, RATE) as load:

        def settle(roll: verdict.Roll) -> None:
            time.sleep(SETTLE_SECONDS)
            failed = sum(bool(answer.wrong) for answer in load.answers)
            say(f"{roll.command}: {roll.seconds:.1f} s; {len(load.answers):,} requests, {failed} failed")

        time.sleep(SETTLE_SECONDS)
        commands = Commands(rolls_deployment, versions, one, settle)
        for number in range(rolls + rollbacks):
            other = two if commands.serves == one else one
            # The release before is always the other: each promotion adds one, each rollback takes one away.
            if (number + 1) * rollbacks // (rolls + rollbacks) > number * rollbacks // (rolls + rollbacks):
                commands.roll_back(other)
            else:
                commands.promote(other)
        for kind, model in spoiled.items():
            commands.refused(model, kind.name.lower(), kind)
        before = commands.serves
        commands.at_once(commands.promotion(two if before == one else one), commands.promotion(third))
        other = two if commands.serves == third else third
        commands.at_once(commands.promotion(other), commands.rollback(before))
        while len(load.answers) < requests:
            say(f"{len(load.answers):,} of {requests:,} requests; asking on")
            time.sleep(10)

    wrong = commands.wrong + verdict.violations(load.answers, commands.rolls, one)
    with capsys.disabled():
        print(report.table(load, commands.rolls))
        print("\n".join(f"VIOLATED  {words}" for words in wrong[:50]))
    assert not wrong


def _train(deployment, root: Path, folder: Path, say) -> tuple[str, str]:
    """Two versions by different seeds."""
    for seed in (1, 2):
        file = folder / f"seed-{seed}.yml"
        file.write_text(json.dumps(spec(root, "rolls", seed)))
        say(f"training rolls:{seed} ...")
        assert deployment.playbook("playbooks/train.yml", "-e", f"spec={file}").returncode == 0
    return "rolls:1", "rolls:2"


def _hasten(deployment) -> None:
    """Have a task that is never ready given up within half a minute, and not within two and a half."""
    ecs, where = deployment.client("ecs"), {"cluster": deployment.parameter("training/cluster_name")}
    service = deployment.parameter("serving/service_name")
    described = ecs.describe_services(**where, services=[service])["services"][0]
    ecs.update_service(**where, service=service, healthCheckGracePeriodSeconds=GRACE_SECONDS)
    deployment.client("elbv2").modify_target_group(
        TargetGroupArn=described["loadBalancers"][0]["targetGroupArn"],
        HealthCheckIntervalSeconds=CHECK_SECONDS,
        UnhealthyThresholdCount=CHECKS,
    )
