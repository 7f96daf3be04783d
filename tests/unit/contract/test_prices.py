"""The table of prices, and what attempts have cost by it."""

import dataclasses
import datetime

import pytest
from nerforge_contract import prices

TABLE = prices.Prices(
    dated="2031-01-01",
    region="eu-central-1",
    source="a test",
    spot_share=0.5,
    instances={
        "m6i.xlarge": prices.InstanceType(4, 16384, 0, on_demand=0.24),
        "m5.xlarge": prices.InstanceType(4, 16384, 0, on_demand=0.2, spot=0.05),
    },
    services={},
)
BEGAN = datetime.datetime(2031, 1, 1, 12, tzinfo=datetime.UTC)


def account(attempt=1, hours=1.0, instance_type="m6i.xlarge", spot=False):
    ended = BEGAN + datetime.timedelta(hours=hours)
    return prices.of_attempt(attempt, BEGAN, ended, instance_type, spot, TABLE)


@pytest.mark.parametrize(
    ("instance_type", "spot", "hourly"),
    [
        ("m6i.xlarge", False, 0.24),
        ("m6i.xlarge", True, 0.12),  # by the share: nobody has looked
        ("m5.xlarge", True, 0.05),
        ("x9.huge", False, None),
        ("x9.huge", True, None),
    ],
)
def test_an_hour(instance_type, spot, hourly):
    assert TABLE.hourly(instance_type, spot) == hourly


def test_the_table_that_comes_with_the_code_is_dated_and_whole():
    table = prices.bundled()
    datetime.date.fromisoformat(table.dated)
    assert table.source and 0 < table.spot_share < 1
    for name, about in table.instances.items():
        assert about.vcpu > 0 and about.memory_mib > 0 and about.on_demand > 0, name
        assert (about.gpus > 0) == name.startswith("g"), name
    assert all(price > 0 for price in table.services.values())


def test_a_table_that_an_older_release_recorded_is_completed():
    old = dataclasses.asdict(TABLE) | {"services": {"log_gb": 9.0}}
    table = prices.completed(old)
    assert table.services == prices.bundled().services | {"log_gb": 9.0}
    assert table.instances == TABLE.instances


def test_an_attempt_costs_by_the_second():
    assert account(hours=0.5) == {
        "attempt": 1,
        "seconds": 1800,
        "instance_type": "m6i.xlarge",
        "spot": False,
        "usd": 0.12,
        "prices": "2031-01-01, eu-central-1",
    }


def test_clocks_that_disagree_pay_nothing_back():
    assert account(hours=-1)["usd"] == 0


def test_attempts_add_up_and_each_counts_once():
    cost = prices.with_attempt(None, account())
    cost = prices.with_attempt(cost, account(attempt=2, hours=2, spot=True))
    again = prices.with_attempt(cost, account(attempt=2, hours=2, spot=True))

    assert again == cost
    assert cost["usd"] == pytest.approx(0.48)
    assert [each["attempt"] for each in cost["attempts"]] == [1, 2]


def test_what_is_not_known_is_not_counted():
    cost = prices.with_attempt(None, account(instance_type=None))
    assert cost["usd"] is None

    cost = prices.with_attempt(cost, account(attempt=2))

    assert cost["usd"] == 0.24
