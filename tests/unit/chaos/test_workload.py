"""What a campaign draws before it begins."""

import random
from collections import Counter

import pytest
from chaos.workload import SEEDS, SHARES, plans


@pytest.mark.parametrize("runs", [4, 20, 200])
def test_each_kind_and_seed_has_its_share(runs):
    drawn = plans(random.Random(1), runs)
    kinds = Counter(plan.kind for plan in drawn)
    assert len(drawn) == runs
    assert all(abs(kinds[kind] - share * runs) <= 2 for kind, share in SHARES.items())
    assert set(kinds) == set(SHARES)
    assert {plan.seed for plan in drawn} == set(SEEDS)


def test_a_seed_draws_the_same_again():
    assert plans(random.Random(7), 50) == plans(random.Random(7), 50)
    assert plans(random.Random(7), 50) != plans(random.Random(8), 50)


def test_only_runs_that_are_to_be_cancelled_are():
    for plan in plans(random.Random(3), 200):
        assert (plan.cancel is not None) == (plan.kind in ("cancelled", "retried"))
