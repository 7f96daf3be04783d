"""Real runs on the embedded AWS, while trainers, dispatcher, calls, messages and the emulator fail at random.

Each run has to end in its right state, once, and explained; each model has to have the weights of a run that
nothing befell; and the roles have to allow every call that trainers and dispatcher made. The seed draws the
specs, the plans and the faults; how processes interleave is the machine's own, so that a seed narrows a
failure down and does not repeat it exactly.

The emulator is only ever stopped gracefully: it saves what is not in S3 at intervals and when it is stopped,
so that SIGKILL would lose what AWS never loses. Nor does it enforce limits of memory, or lose instances.
"""

import json
import random
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from chaos import plain, report, verdict, workload
from chaos.campaign import SLOTS, Campaign
from chaos.workload import Kind, Plan
from support.deployment import free_port

RUNS_A_RESTART = 20
GARBAGE = ("not JSON", '{"run": "nobody"}', json.dumps({"run": "0" * 26}))


def test_no_run_is_lost_doubled_or_left_unexplained(
    chaos_deployment, root: Path, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
):
    runs, seed = pytestconfig.getoption("chaos_runs"), pytestconfig.getoption("chaos_seed")
    began = time.monotonic()

    def say(line: str) -> None:
        with capsys.disabled():
            print(f"{time.monotonic() - began:6.0f} s  {line}", flush=True)

    say(f"{runs} runs with seed {seed} (--chaos-runs, --chaos-seed); deploying the stack, a minute ...")
    data, proxy_port = workload.Data.of_sample(root), free_port()
    with ThreadPoolExecutor(1) as aside, tempfile.TemporaryDirectory() as folder:
        expected = aside.submit(
            plain.weights, workload.spec(data, workload.SEEDS[0]), data.files, Path(folder)
        )
        ended = chaos_deployment.playbook(
            "tests/chaos/deploy.yml",
            *("-e", json.dumps({"images_engines": [], "local_aws_docker_host": "none"})),
            *("-e", f"chaos_slots={SLOTS}"),
            *("-e", f"chaos_proxy=http://127.0.0.1:{proxy_port}"),
        )
        assert ended.returncode == 0

    with Campaign(chaos_deployment, proxy_port, data, seed, say) as campaign:

        def examine(reference: dict[int, verdict.Version]) -> verdict.Evidence:
            """Wait for the last task to go, look at what is left, and fail if anything is wrong with it."""
            campaign.settle()
            evidence = verdict.gather(campaign)
            wrong = [(None, words) for words in [*campaign.seen_wrong, *campaign.forbidden()]]
            wrong += verdict.violations(list(campaign.tracks.values()), evidence, reference, campaign.garbage)
            if wrong or reference:
                with capsys.disabled():
                    print(report.told(campaign, evidence, wrong))
            assert not wrong
            return evidence

        say("the reference: one undisturbed run of each seed")
        campaign.run([Plan(each, Kind.GOOD) for each in workload.SEEDS])
        evidence = examine({})
        reference = {campaign.tracks[each.run].plan.seed: each for each in evidence.versions}
        assert reference[workload.SEEDS[0]].weights == expected.result()

        campaign.begin_faults()
        campaign.send_garbage(GARBAGE)
        campaign.run(workload.plans(random.Random(seed), runs), restarts=max(1, runs // RUNS_A_RESTART))
        assert examine(reference).resumed, "no attempt went on from a checkpoint: this shows nothing of that"
