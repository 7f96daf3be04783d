from nerforge_contract import causes


def test_every_code_is_a_constant_and_every_constant_has_its_row():
    constants = {name: value for name, value in vars(causes).items() if name.isupper() and name[0] != "_"}
    assert {value for value in constants.values() if isinstance(value, str)} == causes.CAUSES.keys()
    assert all(constants[code] == code for code in causes.CAUSES)


def test_every_cause_says_what_has_happened_and_what_becomes_of_the_run():
    for code, cause in causes.CAUSES.items():
        assert cause.meaning and cause.then, code


def test_what_ends_a_run_says_what_to_do():
    for code, cause in causes.CAUSES.items():
        if "fails" in cause.then:
            assert cause.fix, code
