"""What a tick does to runs, messages and tasks.

Cases: a run is started · the request · messages that cannot be used · duplicates · the cap · refusals and
errors of RunTask · spot first · retries · interruptions · the time limit · cancelled runs · the slot · stuck
runs · lost messages · what a tick says of itself · one bad run.
"""

import json

import pytest
from nerforge_contract import causes, states
from nerforge_contract.names import message_body
from tick import TickError


def test_a_queued_run_gets_a_slot_and_a_task_and_its_message_is_deleted(world):
    run_id = world.submit()

    answer = world.tick()

    run = world.runs.get(run_id)
    (task,) = world.ecs.of(run_id)
    assert answer == {"started": [run_id]}
    assert (run["state"], run["attempt"], run["task_arn"]) == (states.STARTING, 1, task["taskArn"])
    assert run["reason"].startswith("waiting for an EC2 instance (CPU) since 20")
    assert run["cause"] == causes.STARTING
    assert world.runs.active() == [run_id]
    assert world.messages() == []


def test_the_request_says_what_the_spec_asks_for(world):
    run_id = world.submit(resources={"vcpu": 0.5, "memory_mib": 4096, "gpus": 2, "spot": True}, name="places")

    world.tick()

    (request,) = world.wire.called("RunTask")
    token = request.pop("clientToken")
    assert len(token) == 64
    assert request == {
        "cluster": "nerforge",
        "taskDefinition": "nerforge-trainer",
        "capacityProviderStrategy": [{"capacityProvider": "nerforge-gpu-spot", "weight": 1}],
        "startedBy": run_id,
        "count": 1,
        "overrides": {
            "containerOverrides": [
                {
                    "name": "trainer",
                    "environment": [
                        {"name": "NERFORGE_RUN", "value": run_id},
                        {"name": "NERFORGE_ATTEMPT", "value": "1"},
                    ],
                    "cpu": 512,
                    "memory": 4096,
                    "resourceRequirements": [{"type": "GPU", "value": "2"}],
                }
            ]
        },
        "tags": [{"key": "run", "value": run_id}, {"key": "model", "value": "places"}],
        "propagateTags": "TASK_DEFINITION",
    }


# --- messages that cannot be used ---


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("people", "the message is not JSON"),
        ('{"run": ', "the message is not JSON"),
        ('["01J00000000000000000000000"]', "the message is not a JSON object"),
        ('{"name": "people", "epochs": 3}', "the message names no run"),
        ('{"run": 7}', "the message names no run"),
        ('{"run": "people"}', "the message names no run"),
        (message_body("01J00000000000000000000000"), "no run 01J00000000000000000000000 is recorded"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_message_that_cannot_be_read_ends_in_the_dead_letter_queue(world, body, reason):
    world.send(body)

    world.tick()

    ((dead, why),) = world.dead_letters()
    assert dead == body
    assert reason in why
    assert world.messages() == []
    assert world.ecs.started == 0


def test_the_run_that_an_unreadable_message_names_has_failed(world):
    run_id = world.record()
    world.send(json.dumps({"run": run_id, "image": "other:1", "\ud800": 1}))

    world.tick()

    assert world.state(run_id) == states.FAILED
    assert world.reason(run_id) == "the message has fields that mean nothing here: 'image', '\\ud800'"
    assert world.runs.get(run_id)["ended"]
    assert len(world.dead_letters()) == 1


def test_a_message_with_no_room_for_the_reason_ends_in_the_dead_letter_queue_without_it(world):
    for spare in (0, 500):
        body = "x" * (262_144 - spare)
        world.send(body)

        world.tick()

        assert world.dead_letters()[-1] == (body, "the message is not JSON" if spare else "")
    assert world.messages() == []


def test_an_unreadable_message_does_not_fail_a_run_that_has_begun(world):
    run_id, __ = world.started()
    world.send(json.dumps({"run": run_id, "image": "other:1"}))

    world.tick()

    assert world.state(run_id) == states.RUNNING
    assert len(world.dead_letters()) == 1


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"resources": {"memory_mib": None}}, "resources.memory_mib"),
        ({"resources": {"vcpu": "2"}}, "resources.vcpu"),
        ({"resources": {"vcpu": True}}, "resources.vcpu"),
        ({"retries": 1.5}, "retries"),
        ({"time_limit_minutes": None}, "time_limit_minutes"),
    ],
)
def test_a_run_whose_stored_spec_is_unusable_has_failed_and_says_which_field(world, spec, field):
    run_id = world.submit(**spec)

    world.tick()

    assert world.state(run_id) == states.FAILED
    assert field in world.reason(run_id)
    assert "Submit the spec again" in world.reason(run_id)
    assert world.dead_letters() == [(message_body(run_id), world.reason(run_id))]
    assert world.runs.active() == world.messages() == []


def test_a_spec_that_is_not_even_json_is_unusable(world):
    run_id = world.submit()
    world.table.update_item(
        Key={"run_id": run_id}, UpdateExpression="SET spec = :bad", ExpressionAttributeValues={":bad": "{"}
    )

    world.tick()

    assert world.state(run_id) == states.FAILED
    assert len(world.dead_letters()) == 1


def test_a_run_that_asks_for_gpus_where_there_are_none_has_failed(world):
    run_id = world.submit(resources={"gpus": 1})

    world.tick(providers={"cpu": {"on_demand": "nerforge-cpu", "spot": "nerforge-cpu-spot"}, "gpu": None})

    assert world.state(run_id) == states.FAILED
    assert "has no GPU instances" in world.reason(run_id)
    assert "device: cpu" in world.reason(run_id)
    assert len(world.dead_letters()) == 1


# --- duplicates and the cap ---


def test_a_message_delivered_three_times_makes_one_task(world):
    run_id = world.submit()
    world.send(message_body(run_id))
    world.tick()
    world.send(message_body(run_id))

    world.tick()

    assert len(world.ecs.of(run_id)) == 1
    assert world.messages() == world.dead_letters() == []


def test_a_message_of_a_cancelled_run_is_deleted(world):
    run_id = world.submit()
    world.runs.move(run_id, states.QUEUED, states.CANCELLED)

    world.tick()

    assert world.messages() == []
    assert world.ecs.started == 0


def test_runs_beyond_the_cap_wait_and_say_for_what(world):
    runs = [world.submit() for __ in range(5)]

    world.tick()

    assert len(world.ecs.tasks) == len(world.runs.active()) == 3
    waiting = [run_id for run_id in runs if world.state(run_id) == states.QUEUED]
    assert {world.reason(run_id) for run_id in waiting} == {"waiting: all 3 slots are taken"}
    assert {world.cause(run_id) for run_id in waiting} == {causes.NO_SLOT}
    assert sorted(world.messages()) == sorted(map(message_body, waiting))


def test_nothing_is_received_while_no_slot_is_free(world):
    for __ in range(4):
        world.submit()
    world.tick()
    calls = []

    world.tick(around=lambda when, name: calls.append(name))

    assert "ReceiveMessage" not in calls
    assert "UpdateItem" not in calls  # the reasons stand there already


def test_a_slot_that_is_taken_meanwhile_sends_the_message_back_at_once(world):
    world.slots = 1
    run_id = world.submit()

    def take_the_slot(when, name):
        if (when, name) == ("before", "TransactWriteItems"):
            world.runs.claim(rival, 1)

    rival = world.record()
    world.tick(around=take_the_slot)

    assert world.runs.active() == [rival]
    assert world.state(run_id) == states.QUEUED
    assert world.reason(run_id) == "waiting: all 1 slots are taken"
    received = world.sqs.receive_message(QueueUrl=world.queue_url)["Messages"]
    assert [message["Body"] for message in received] == [message_body(run_id)]


def test_a_freed_slot_goes_to_a_waiting_run_in_the_same_tick(world):
    world.slots = 1
    first, task = world.started()
    second = world.submit()
    world.tick()
    world.runs.move(first, states.RUNNING, states.SUCCEEDED)
    world.ecs.stop(task, 0)

    world.tick()

    assert world.runs.active() == [second]
    assert len(world.ecs.of(second)) == 1


def test_with_little_time_left_messages_go_back_and_nothing_is_begun(world):
    run_id = world.submit()
    seconds = iter([60, *[5] * 9])

    world.dispatcher().tick(lambda: next(seconds))

    assert world.state(run_id) == states.QUEUED
    assert "Messages" in world.sqs.receive_message(QueueUrl=world.queue_url)
    assert world.ecs.started == 0


# --- RunTask says no ---


def test_a_run_without_capacity_waits_says_since_when_and_is_asked_for_again(world):
    world.ecs.refuse("RESOURCE:MEMORY")
    run_id = world.submit()
    world.tick()
    run = world.runs.get(run_id)
    assert run["state"] == states.STARTING
    since = world.clock().strftime("%Y-%m-%d %H:%M UTC")
    assert run["reason"] == (
        f"waiting for room since {since}: no instance has 3072 MiB free. Wait, lower resources.memory_mib, "
        "or allow a larger CPU instance type or a higher maximum of CPU instances in the training stack "
        "(ECS: RESOURCE:MEMORY)"
    )
    world.ecs.refuse("RESOURCE:CPU")
    world.clock.advance(minutes=10)
    world.tick()
    assert f"since {since}: no instance has 2 vCPUs" in world.reason(run_id)

    world.clock.advance(minutes=10)
    world.tick()

    run = world.runs.get(run_id)
    assert (run["attempt"], run["retries_used"]) == (1, 0)
    assert len(world.ecs.of(run_id)) == 1
    assert run["reason"].startswith("waiting for an EC2 instance")
    assert len({request["clientToken"] for request in world.wire.called("RunTask")}) == 3


def test_after_a_refusal_ecs_is_asked_again_after_a_minute_and_not_at_each_event(world):
    world.ecs.refuse("RESOURCE:CPU")
    run_id = world.submit()
    world.tick()
    for __ in range(5):
        world.clock.advance(seconds=5)
        world.tick()
    assert len(world.wire.called("RunTask")) == 1
    world.clock.advance(seconds=30)

    world.tick()

    assert len(world.ecs.of(run_id)) == 1


def test_of_many_runs_without_capacity_those_asked_for_least_recently_come_first(world):
    runs = [world.submit() for __ in range(3)]
    for __ in runs:
        world.ecs.refuse("RESOURCE:CPU")
    world.tick(around=lambda when, __: world.clock.advance(seconds=0.1))
    first = runs[0]
    world.clock.advance(minutes=1)
    for __ in runs:
        world.ecs.refuse("RESOURCE:CPU")
    seconds = iter([60, 60, *[5] * 99])  # enough for one
    world.dispatcher().tick(lambda: next(seconds))
    world.clock.advance(minutes=1)

    world.tick()

    asked = [request["startedBy"] for request in world.wire.called("RunTask")]
    assert asked[3:5] == [first, runs[1]]


def test_a_run_that_waits_for_capacity_for_a_day_has_failed_and_frees_its_slot(world):
    run_id = world.submit()
    for hours in (0, 23, 2):
        world.clock.advance(hours=hours)
        world.ecs.refuse("RESOURCE:GPU")
        world.tick()

    assert world.state(run_id) == states.FAILED
    assert "after 24 hours there was still no room" in world.reason(run_id)
    assert world.cause(run_id) == causes.NO_CAPACITY
    assert len(world.runs.get(run_id)["history"]) == 1
    world.clock.advance(minutes=1)
    world.tick()
    assert world.runs.active() == []


def test_a_wrong_set_up_fails_the_run_and_frees_its_slot(world):
    world.ecs.refuse("ATTRIBUTE", "com.amazonaws.ecs.capability.docker-remote-api.1.18")
    run_id = world.submit()

    world.tick()

    assert world.state(run_id) == states.FAILED
    assert "check their AMI and instance type" in world.reason(run_id)
    assert world.cause(run_id) == causes.CONFIGURATION
    assert world.runs.active() == [run_id]  # another tick may still be asking for its task
    world.clock.advance(minutes=1)
    world.tick()
    assert world.runs.active() == []


def test_a_refusal_that_nobody_knows_uses_up_the_retries_one_a_tick(world):
    run_id = world.submit(retries=1)
    world.ecs.refuse("WHATEVER")
    world.tick()
    assert (world.state(run_id), world.runs.get(run_id)["attempt"]) == (states.STARTING, 2)
    world.ecs.refuse("WHATEVER")
    world.clock.advance(minutes=1)

    world.tick()

    assert world.state(run_id) == states.FAILED
    assert "ECS started no task and said: WHATEVER (all 1 retries are used up)" in world.reason(run_id)
    assert [past["task_arn"] for past in world.runs.get(run_id)["history"]] == [None, None]
    world.clock.advance(minutes=1)
    world.tick()
    assert world.runs.active() == []


def test_the_quota_of_waiting_tasks_is_a_want_of_capacity(world):
    world.ecs.reject("ClientException", "Tasks provisioning capacity limit exceeded.")
    run_id = world.submit()

    world.tick()

    assert world.state(run_id) == states.STARTING
    assert "waiting for room" in world.reason(run_id)


def test_a_request_that_ecs_finds_wrong_fails_the_run(world):
    world.ecs.reject("InvalidParameterException", "Invalid setting for container 'trainer'.")
    run_id = world.submit()

    world.tick()

    assert world.state(run_id) == states.FAILED
    assert "InvalidParameter: Invalid setting for container 'trainer'. Check resources" in world.reason(
        run_id
    )
    assert "memory_mib 3072" in world.reason(run_id)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("ThrottlingException", "Rate exceeded"),
        ("ServerException", "Service Unavailable. Please try again later."),
        ("AccessDeniedException", "not authorized to perform: ecs:RunTask"),
        ("ClusterNotFoundException", "Cluster not found."),
        ("ClientException", "TaskDefinition is inactive"),
        ("ClientException", "Unable to find task definition: nerforge-trainer"),
    ],
)
def test_an_error_that_says_nothing_about_the_run_leaves_it_waiting_and_is_raised(world, code, message):
    world.ecs.reject(code, message)
    run_id = world.submit()
    with pytest.raises(TickError, match="unexpected errors in this tick, each in the log: 1"):
        world.tick()
    assert world.state(run_id) == states.STARTING
    assert message in world.reason(run_id)

    world.tick()

    assert len(world.ecs.of(run_id)) == 1
    assert len({request["clientToken"] for request in world.wire.called("RunTask")}) == 1


def test_a_token_used_with_other_parameters_means_that_its_task_is_the_runs(world):
    run_id = world.submit()
    world.tick()
    (task,) = world.ecs.of(run_id)
    world.table.update_item(Key={"run_id": run_id}, UpdateExpression="REMOVE task_arn, task_recorded")
    world.ecs.stop(task, 1)  # so that a list of what runs does not show it
    changed = {"cpu": {"on_demand": "nerforge-gpu", "spot": "nerforge-gpu"}, "gpu": None}

    world.tick(providers=changed)

    assert world.runs.get(run_id)["task_arn"] == task["taskArn"]
    assert len(world.ecs.tasks) == 1


def test_a_task_whose_token_ecs_has_forgotten_is_found_by_the_run_it_was_started_for(world):
    run_id, task = world.started()
    world.table.update_item(Key={"run_id": run_id}, UpdateExpression="REMOVE task_arn, task_recorded")
    world.ecs.forget_tokens()

    world.tick()

    assert world.runs.get(run_id)["task_arn"] == task["taskArn"]
    assert len(world.ecs.of(run_id)) == 1


def test_a_task_of_an_attempt_that_is_over_is_not_taken_for_the_next_ones(world):
    run_id = world.submit()
    world.tick()
    (stray,) = world.ecs.of(run_id)
    world.runs.next_attempt(run_id, 1, reason="by hand")

    world.tick()

    assert stray["desiredStatus"] == "STOPPED"
    assert "task_arn" not in world.runs.get(run_id)
    world.ecs.stop(stray)
    world.tick()
    assert world.runs.get(run_id)["task_arn"] == world.ecs.of(run_id)[1]["taskArn"]


# --- spot first ---


def test_a_run_turns_to_on_demand_instances_after_so_long_without_spot(world):
    run_id = world.submit(resources={"spot": True, "on_demand_after_minutes": 5})
    for minutes in (0, 3, 3):
        world.clock.advance(minutes=minutes)
        world.ecs.refuse("RESOURCE:CPU")
        world.tick()
    run = world.runs.get(run_id)
    assert (run["cause"], run["on_demand"], run["attempt"]) == (causes.NO_SPOT, True, 1)
    assert "after 5 minutes (resources.on_demand_after_minutes)" in run["reason"]
    world.clock.advance(minutes=1)

    world.tick()

    (task,) = world.ecs.of(run_id)
    assert task["capacityProviderName"] == "nerforge-cpu"
    assert world.reason(run_id).startswith("waiting for an EC2 instance (CPU) since")


def test_a_task_that_gets_no_spot_instance_is_replaced_once_it_is_gone(world):
    run_id = world.submit(resources={"spot": True}, retries=0)
    world.tick()
    (task,) = world.ecs.of(run_id)
    assert "(CPU spot)" in world.reason(run_id)
    assert "; on-demand from " in world.reason(run_id)
    world.clock.advance(minutes=15)
    world.tick()
    assert task["desiredStatus"] == "STOPPED"
    assert "on-demand" in task["stoppedReason"]
    assert world.cause(run_id) == causes.NO_SPOT
    world.tick()
    assert len(world.ecs.of(run_id)) == len(world.wire.called("StopTask")) == 1
    world.ecs.stop(task)

    world.tick()

    __, second = world.ecs.of(run_id)
    assert second["capacityProviderName"] == "nerforge-cpu"
    world.ecs.stop(second, 75, stopCode="UserInitiated")  # any later end is an ordinary one
    world.tick()
    run = world.runs.get(run_id)
    assert (run["attempt"], run["interruptions"], run["retries_used"]) == (3, 1, 0)
    assert [past["cause"] for past in run["history"]] == [causes.NO_SPOT, causes.INTERRUPTED]
    assert world.ecs.of(run_id)[2]["capacityProviderName"] == "nerforge-cpu"


def test_a_spot_instance_that_comes_at_the_last_moment_is_kept(world):
    run_id = world.submit(resources={"spot": True})
    world.tick()
    (task,) = world.ecs.of(run_id)
    world.clock.advance(minutes=15)

    def begin(when, name):
        if (when, name) == ("after", "DescribeTasks"):
            world.begin(run_id, task)

    world.tick(around=begin)

    assert task["desiredStatus"] == "RUNNING"
    assert "on_demand" not in world.runs.get(run_id)


# --- how tasks end ---


def test_the_history_says_how_each_attempt_ended(world):
    run_id, first = world.started(retries=1)
    world.ecs.stop(first, 137)
    world.tick()
    second = world.ecs.of(run_id)[1]
    ended = world.clock.text()
    world.ecs.stop(second, 1)

    world.tick()

    run = world.runs.get(run_id)
    assert (run["state"], run["cause"]) == (states.FAILED, causes.ERROR)
    killed, failed = run["history"]
    assert (killed["attempt"], killed["exit_code"], killed["cause"]) == (1, 137, causes.KILLED)
    assert killed["reason"].startswith("retry 1 of 1: attempt 1 was killed (exit code 137: SIGKILL")
    assert failed == {
        "attempt": 2,
        "task_arn": second["taskArn"],
        "exit_code": 1,
        "cause": causes.ERROR,
        "reason": run["reason"],
        "ended": ended,
    }


def test_a_failed_attempt_is_retried_until_the_retries_are_used_up(world):
    run_id, task = world.started(retries=2)
    for attempt in (1, 2):
        world.ecs.stop(task, 1)
        world.tick()
        run = world.runs.get(run_id)
        assert (run["state"], run["attempt"], run["retries_used"]) == (states.STARTING, attempt + 1, attempt)
        task = world.ecs.of(run_id)[attempt]
        assert run["task_arn"] == task["taskArn"]
        override = task["overrides"]["containerOverrides"][0]
        assert {"name": "NERFORGE_ATTEMPT", "value": str(attempt + 1)} in override["environment"]
    world.runs.move(run_id, states.STARTING, states.RUNNING, 3, reason=None)
    world.runs.annotate(run_id, states.RUNNING, 3, reason="OSError: no space left")
    world.ecs.stop(task, 1)

    world.tick()

    assert world.state(run_id) == states.FAILED
    assert world.reason(run_id) == (
        "attempt 3 failed with exit code 1: OSError: no space left. Its log stream is "
        f"trainer/trainer/{task['taskArn'][-32:]} (all 2 retries are used up)"
    )
    assert world.runs.active() == []
    assert len(world.ecs.of(run_id)) == 3


def test_a_retry_starts_with_a_clean_record(world):
    run_id, task = world.started()
    world.runs.annotate(run_id, states.RUNNING, progress={"step": 7})
    world.ecs.stop(task, 1)

    world.tick()

    run = world.runs.get(run_id)
    assert "progress" not in run
    assert run["reason"].startswith("waiting for an EC2 instance")


def test_what_the_trainer_wrote_last_wins_over_what_was_read_before(world):
    run_id, task = world.started()
    world.ecs.stop(task, 0)

    def succeed(when, name):
        if (when, name) == ("before", "DescribeTasks"):
            world.runs.move(run_id, states.RUNNING, states.SUCCEEDED, model="people:1")

    world.tick(around=succeed)

    assert world.state(run_id) == states.SUCCEEDED
    assert world.runs.active() == []
    assert len(world.ecs.tasks) == 1


def test_an_interruption_uses_up_no_retry(world):
    run_id, task = world.started(retries=0)
    for count in range(1, 4):
        world.ecs.stop(task, 75, stopCode="SpotInterruption", stoppedReason="Your Spot Task was interrupted.")
        world.tick()
        run = world.runs.get(run_id)
        assert (run["attempt"], run["retries_used"], run["interruptions"]) == (count + 1, 0, count)
        task = world.ecs.of(run_id)[-1]


def test_a_task_that_found_no_instance_is_asked_for_anew_and_the_wait_counts_from_the_start(world):
    run_id = world.submit(retries=0)
    world.tick()
    for __ in range(3):
        world.clock.advance(minutes=20)
        world.ecs.stop(
            world.ecs.of(run_id)[-1], stopCode="TaskFailedToStart", stoppedReason="EMPTY CAPACITY PROVIDER"
        )
        world.tick()

    run = world.runs.get(run_id)
    assert (run["state"], run["attempt"], run["retries_used"]) == (states.STARTING, 4, 0)
    assert len(world.ecs.of(run_id)) == 4
    assert "waiting_since" in run


def test_a_task_that_ecs_has_forgotten_counts_as_stopped_without_a_word(world):
    run_id, task = world.started()
    world.clock.advance(hours=2)
    world.ecs.forget(task)

    world.tick()

    assert world.runs.get(run_id)["attempt"] == 2
    assert len(world.ecs.of(run_id)) == 1


def test_a_task_that_ecs_does_not_list_but_still_runs_is_stopped_before_another_is_asked_for(world):
    run_id, task = world.started()
    world.clock.advance(hours=2)
    world.ecs.overlooked.add(task["taskArn"])
    world.tick()
    assert task["desiredStatus"] == "STOPPED"
    assert len(world.ecs.of(run_id)) == 1
    world.ecs.overlooked.clear()
    world.ecs.stop(task, 75)

    world.tick()

    assert len(world.ecs.of(run_id)) == 2


def test_a_task_too_new_for_ecs_to_know_is_left_alone(world):
    run_id, task = world.started()
    world.ecs.forget(task)

    world.tick()

    assert (world.state(run_id), world.runs.get(run_id)["attempt"]) == (states.RUNNING, 1)


def test_a_run_beyond_its_time_limit_has_failed_its_task_is_stopped_and_then_its_slot_is_free(world):
    run_id, task = world.started(time_limit_minutes=30)
    world.clock.advance(minutes=29)
    world.tick()
    assert world.state(run_id) == states.RUNNING
    world.clock.advance(minutes=2)

    world.tick()

    assert world.state(run_id) == states.FAILED
    assert "stopped after the 30 minutes it may run" in world.reason(run_id)
    (stopped,) = world.wire.called("StopTask")
    assert "time_limit_minutes" in stopped["reason"]
    assert world.runs.active() == [run_id]
    world.ecs.stop(task, 75)
    world.tick()
    assert world.runs.active() == []
    assert world.state(run_id) == states.FAILED


def test_the_time_limit_holds_for_a_trainer_that_never_reports(world):
    run_id = world.submit(time_limit_minutes=5)
    world.tick()
    world.ecs.set_running(world.ecs.of(run_id)[0])
    world.clock.advance(minutes=6)

    world.tick()

    assert world.state(run_id) == states.FAILED


def test_a_cancelled_run_keeps_its_slot_until_its_task_is_gone(world):
    run_id, task = world.started()
    world.runs.move(run_id, states.RUNNING, states.CANCELLED)
    world.tick()
    world.tick()
    assert len(world.wire.called("StopTask")) == 1
    assert world.runs.active() == [run_id]
    world.ecs.stop(task, 75)

    world.tick()

    assert world.runs.active() == []


def test_a_trainer_that_has_succeeded_is_given_time_to_exit(world):
    run_id, __ = world.started()
    world.runs.move(run_id, states.RUNNING, states.SUCCEEDED, ended=world.clock().isoformat())
    world.tick()
    assert world.wire.called("StopTask") == []
    world.clock.advance(minutes=2)

    world.tick()

    assert len(world.wire.called("StopTask")) == 1


def test_a_run_cancelled_before_it_had_a_task_frees_its_slot(world):
    world.ecs.refuse("RESOURCE:CPU")
    run_id = world.submit()
    world.tick()
    world.runs.move(run_id, states.STARTING, states.CANCELLED, ended=world.clock.text())
    world.tick()
    assert world.runs.active() == [run_id]  # another tick may still be asking for its task
    world.clock.advance(minutes=1)

    world.tick()

    assert world.runs.active() == world.wire.called("StopTask") == []


def test_a_run_cancelled_while_ecs_is_asked_does_not_keep_its_task(world):
    run_id = world.submit()

    def cancel(when, name):
        if (when, name) == ("after", "RunTask"):
            world.runs.move(run_id, states.STARTING, states.CANCELLED)

    world.tick(around=cancel)

    assert world.ecs.wanted() == []
    assert world.runs.active() == [run_id]
    world.ecs.stop(world.ecs.of(run_id)[0], 143)
    world.tick()
    assert world.runs.active() == []


def test_a_slot_whose_run_is_not_recorded_is_freed(world):
    run_id = world.submit()
    world.tick()
    world.table.delete_item(Key={"run_id": run_id})

    world.tick()

    assert world.runs.active() == []


# --- stuck runs ---


def test_a_run_without_a_sign_of_life_is_counted_and_says_so(world):
    run_id, __ = world.started()
    world.runs.annotate(run_id, states.RUNNING, reported=world.clock.text())
    world.clock.advance(minutes=31)

    world.tick()

    assert world.runs.last_tick()["stuck"] == 1
    assert world.reason(run_id).startswith("no sign of life from attempt 1 since 2026-03-01 12:00 UTC")
    assert world.state(run_id) == states.RUNNING
    writes = len(world.wire.called("UpdateItem"))
    world.tick()
    assert len(world.wire.called("UpdateItem")) == writes  # it is said once
    world.runs.annotate(run_id, states.RUNNING, reported=world.clock.text())

    world.tick()

    assert world.runs.last_tick()["stuck"] == 0
    assert "reason" not in world.runs.get(run_id)


def test_each_attempt_has_half_an_hour_to_begin(world):
    run_id, task = world.started()
    world.clock.advance(hours=3)
    world.ecs.stop(task, 1)
    world.tick()
    world.clock.advance(minutes=29)
    world.tick()
    assert world.runs.last_tick()["stuck"] == 0
    world.clock.advance(minutes=2)

    world.tick()

    assert world.runs.last_tick()["stuck"] == 1
    assert "It has been starting since 2026-03-01 15:00 UTC" in world.reason(run_id)


# --- what a tick says of itself ---


def test_a_tick_records_what_it_did(world):
    for __ in range(4):
        world.submit()
    ended = world.clock.text()

    world.tick()

    assert world.runs.last_tick() == {
        "run_id": "#dispatcher",
        "ticked": ended,
        "seconds": 0,
        "started": 3,
        "errors": 0,
        "active": 3,
        "queued_seen": 4,
        "stuck": 0,
    }


def test_a_tick_with_errors_records_them_too(world, capsys):
    world.ecs.reject("ServerException", "no")
    world.submit()

    with pytest.raises(TickError):
        world.tick()

    assert world.runs.last_tick()["errors"] == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["TickErrors"] == 1


def test_a_tick_that_cannot_be_recorded_is_an_error(world):
    run_id = world.submit()

    def fail(when, name):
        if (when, name) == ("before", "PutItem"):
            raise ConnectionError("the connection was reset")

    with pytest.raises(TickError):
        world.tick(around=fail)

    assert len(world.ecs.of(run_id)) == 1


# --- lost messages ---


def test_a_run_that_much_younger_ones_have_overtaken_gets_another_message(world):
    world.slots = 1
    lost = world.record()
    world.clock.advance(minutes=61)
    young, __ = world.submit(), world.submit()
    world.send("people")  # a message that is no run's shows nothing

    world.tick()

    assert world.runs.active() == [young]
    assert message_body(lost) in world.messages()
    assert "lost" in world.reason(lost)
    sent = len(world.messages())
    world.tick()
    assert len(world.messages()) == sent


def test_a_run_that_lost_its_message_gets_another(world):
    run_id = world.record()
    world.tick()
    assert world.messages() == []
    world.clock.advance(minutes=6)

    world.tick()
    assert world.messages() == [message_body(run_id)]
    world.tick()

    assert len(world.ecs.of(run_id)) == 1


# --- one bad run ---


def test_a_bad_record_does_not_keep_the_others_from_their_turn(world, capsys):
    bad, __ = world.started()
    failed, __ = world.started()
    world.table.update_item(Key={"run_id": bad}, UpdateExpression="REMOVE attempt, retries_used")
    for task in world.ecs.wanted():
        world.ecs.stop(task, 1)
    queued = world.submit()
    capsys.readouterr()

    with pytest.raises(TickError, match="unexpected errors in this tick, each in the log: 1"):
        world.tick()

    assert world.runs.get(failed)["attempt"] == 2
    assert len(world.ecs.of(queued)) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (error,) = [line for line in lines if line.get("event") == "error"]
    assert (error["run"], error["during"]) == (bad, "see to")
    assert "KeyError" in error["error"]


def test_a_task_arn_that_ecs_cannot_read_does_not_hide_the_other_tasks(world):
    bad, __ = world.started()
    runs = [world.started() for __ in range(2)]
    world.table.update_item(
        Key={"run_id": bad}, UpdateExpression="SET task_arn = :x", ExpressionAttributeValues={":x": "x"}
    )
    for __, task in runs:
        world.ecs.stop(task, 1)
    world.clock.advance(minutes=5)

    world.tick()

    assert [world.runs.get(run_id)["attempt"] for run_id, __ in runs] == [2, 2]
    assert world.runs.get(bad)["attempt"] == 2
