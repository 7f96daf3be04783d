"""What a spec will take and cost, with and without past runs like it."""

import pytest
from ansible_collections.nerforge.aws.plugins.module_utils.contract import prices
from ansible_collections.nerforge.aws.plugins.module_utils.contract import spec as specs
from ansible_collections.nerforge.aws.plugins.module_utils.contract.errors import UserError
from ansible_collections.nerforge.aws.plugins.plugin_utils import estimate, stack_variables

TABLE = prices.bundled()
HOUR = TABLE.hourly("m6i.xlarge", spot=False)


@pytest.fixture
def training(root):
    return stack_variables.of_stack(root / "terraform/training", {"gpu_max_instances": 2})


def spec(name="people", **fields):
    return specs.with_defaults({"name": name, "data": {"train": "a.conll", "dev": "b.conll"}} | fields)


def past(of, minutes, step, resumed=0, **progress):
    """A run that has succeeded, its last attempt after so many minutes."""
    return {
        "spec": of,
        "running": "2026-03-01T09:00:00.000+00:00",
        "ended": f"2026-03-01T09:{minutes:02}:00.000+00:00",
        "progress": {"step": step, "max_steps": 20000, "resumed": resumed} | progress,
    }


def test_by_past_runs_of_the_same_spec(training):
    """The last five count, by the median; others are not like it."""
    wanted = spec()
    runs = [past(wanted, minutes, 1200) for minutes in (10, 10, 20, 10, 10)]
    others = [past(spec(resources={"vcpu": 4}), 50, 100), past(spec(optimize="accuracy"), 50, 100)]

    found = estimate.estimate(wanted, training, [*others, *runs, past(wanted, 59, 1)], TABLE)

    assert found.seconds == pytest.approx(600)
    assert found.basis == "by the last 5 runs like it: 0.5 s a step, 1,200 steps as before"
    assert found.usd == pytest.approx(HOUR / 6)
    assert found.usd_around == pytest.approx(HOUR * 18 / 60)
    assert found.usd_at_most == pytest.approx(HOUR * 2 * (240 + 18) / 60)


def test_by_runs_of_another_model_that_took_such_steps(training):
    """Nobody knows when this one will stop: all its steps count."""
    wanted = spec(hyperparameters={"max_steps": 600})
    found = estimate.estimate(wanted, training, [past(spec("places"), 10, 1200)], TABLE)
    assert found.seconds == pytest.approx(300)
    assert found.basis.startswith("by the last run like it: 0.5 s a step, all 600 steps")


def test_an_attempt_that_went_on_has_done_only_the_rest(training):
    wanted = spec(hyperparameters={"max_steps": 600})
    found = estimate.estimate(wanted, training, [past(wanted, 10, 600, resumed=300)], TABLE)
    assert found.seconds == pytest.approx(600 * 2)


@pytest.mark.parametrize(
    ("fields", "step"),
    [
        ({}, 0.11),
        ({"optimize": "accuracy"}, 0.55),
        ({"device": "gpu"}, 0.55),
        ({"device": "gpu", "transformer": "bert.tar"}, 0.55),
        ({"transformer": "bert.tar", "time_limit_minutes": 600}, 22),
    ],
)
def test_by_the_rule_where_nothing_was_like_it(training, fields, step):
    wanted = spec(hyperparameters={"max_steps": 1000}, **fields)
    unfit = [past(wanted, 10, 0), {"spec": wanted}]  # neither tells anything
    found = estimate.estimate(wanted, training, unfit, TABLE)
    assert found.seconds == pytest.approx(60 + 1000 * step)
    assert "since no run was like it" in found.basis
    assert ("a guess" in found.basis) == bool(fields)


def test_a_config_of_its_own_is_like_itself_alone(training, tmp_path):
    (tmp_path / "one.cfg").write_text("[nlp]\n")
    path = tmp_path / "people.yml"
    wanted = estimate.readable(path, spec(config="one.cfg"))
    assert wanted["config"] == "[nlp]\n"
    other = wanted | {"config": "[nlp]\nlang = 'de'\n"}
    found = estimate.estimate(wanted, training, [past(other, 50, 100), past(wanted, 10, 1200)], TABLE)
    assert found.seconds == pytest.approx(600)
    with pytest.raises(UserError, match=r"config: .*two\.cfg"):
        estimate.readable(path, spec(config="two.cfg"))


def test_another_transformer_has_another_pace(training):
    small, large = (spec(transformer=f"s3://weights/{size}.tar") for size in ("small", "large"))
    ran = small | {"transformer": {"from": "s3://weights/small.tar", "key": "datasets/0.tar"}}
    assert "the last run like it" in estimate.estimate(small, training, [past(ran, 10, 600)], TABLE).basis
    assert "no run was like it" in estimate.estimate(large, training, [past(ran, 10, 600)], TABLE).basis


def test_a_run_that_its_time_limit_would_end_is_told_so(training):
    found = estimate.estimate(spec(time_limit_minutes=5), training, [], TABLE)
    assert found.seconds == 300
    assert found.basis.endswith("longer than time_limit_minutes, which would end it")
    assert "would end it" not in estimate.estimate(spec(), training, [], TABLE).basis


def test_on_spot_where_there_is_spot(training):
    wanted = spec(resources={"spot": True}, device="gpu")
    found = estimate.estimate(wanted, training, [], TABLE)
    assert (found.instance_type, found.spot) == ("g4dn.xlarge", True)
    assert found.hourly == TABLE.hourly("g4dn.xlarge", spot=True)
    found = estimate.estimate(wanted, training | {"spot_instances": False}, [], TABLE)
    assert (found.spot, found.hourly) == (False, TABLE.hourly("g4dn.xlarge", spot=False))


@pytest.mark.parametrize(
    ("fields", "variables", "said"),
    [
        ({"device": "gpu"}, {"gpu_max_instances": 0}, "no GPU instances"),
        ({"resources": {"vcpu": 8}}, {}, "resources.vcpu: 8 asked for, and m6i.xlarge has 4"),
        ({"resources": {"memory_mib": 16000}}, {}, "memory_mib: 16000 asked for, and m6i.xlarge has 15564"),
        ({"resources": {"gpus": 2}, "device": "gpu"}, {}, "resources.gpus"),
        ({}, {"cpu_instance_types": ["x9.huge"]}, "none of x9.huge"),
    ],
)
def test_what_cannot_be_run_has_no_price(training, fields, variables, said):
    with pytest.raises(UserError, match=said):
        estimate.estimate(spec(**fields), training | variables, [], TABLE)


def test_its_lines(training):
    lines = list(estimate.estimate(spec(hyperparameters={"max_steps": 2000}), training, [], TABLE).lines())
    assert lines[0] == "  on          m6i.xlarge, on demand, 0.192 USD an hour"
    assert lines[1].startswith("  time        about 4:40, by a rule of thumb")
    assert lines[2] == "  training    0.01 USD"
