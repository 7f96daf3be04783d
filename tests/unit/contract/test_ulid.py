from nerforge_contract import ulid


def test_the_specs_own_example():
    assert ulid.new(1469918176385, bytes(10)) == "01ARYZ6S410000000000000000"
    assert ulid.milliseconds("01ARYZ6S41TSV4RRFFQ69G5FAV") == 1469918176385


def test_they_sort_by_time():
    made = [ulid.new(ms) for ms in (0, 1, 31, 32, 1_700_000_000_000, 1_700_000_000_001, 2**48 - 1)]
    assert made == sorted(made)
    assert [ulid.milliseconds(one) for one in made] == [
        0,
        1,
        31,
        32,
        1_700_000_000_000,
        1_700_000_000_001,
        2**48 - 1,
    ]


def test_two_of_one_millisecond_differ():
    assert ulid.new(5) != ulid.new(5)


def test_the_largest_still_is_one():
    largest = ulid.new(2**48 - 1, b"\xff" * 10)
    assert largest == "7" + "Z" * 25
    assert ulid.is_ulid(largest)


def test_what_is_none():
    good = ulid.new()
    assert ulid.is_ulid(good)
    for bad in (
        None,
        7,
        "",
        good[:-1],
        good + "0",
        good.lower(),
        "8" + good[1:],
        good[:-1] + "I",
        good[:-1] + "é",
    ):
        assert not ulid.is_ulid(bad), bad
