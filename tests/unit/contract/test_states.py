from nerforge_contract import states


def test_every_state_is_queued_active_or_terminal_and_just_one_of_them():
    assert sorted(states.STATES) == sorted([states.QUEUED, *states.ACTIVE, *states.TERMINAL])


def test_a_terminal_state_never_changes():
    assert all(states.MOVES[state] == frozenset() for state in states.TERMINAL)


def test_every_state_can_be_reached_and_every_other_can_be_left_for_failed_and_cancelled():
    reached = set().union(*states.MOVES.values())
    assert reached == set(states.STATES) - {states.QUEUED}
    for state in {states.QUEUED, *states.ACTIVE}:
        assert {states.FAILED, states.CANCELLED} <= states.MOVES[state]


def test_only_a_running_run_succeeds():
    assert [state for state, moves in states.MOVES.items() if states.SUCCEEDED in moves] == [states.RUNNING]


def test_every_move_says_who_makes_it_and_when():
    assert all(move.by and move.when for move in states.TRANSITIONS)
    assert len(set(states.TRANSITIONS)) == len(states.TRANSITIONS)


def test_the_trainer_begins_and_ends_runs_and_only_the_operator_cancels():
    def moves(by: str) -> set[tuple[str, str]]:
        return {(move.source, move.to) for move in states.TRANSITIONS if move.by == by}

    assert moves(states.TRAINER) == {
        (states.STARTING, states.RUNNING),
        (states.RUNNING, states.SUCCEEDED),
        (states.RUNNING, states.FAILED),
    }
    assert {to for __, to in moves(states.OPERATOR)} == {states.CANCELLED}
    others = {move.by for move in states.TRANSITIONS if move.to == states.CANCELLED}
    assert others == {states.OPERATOR}


def test_the_exit_codes_differ():
    codes = {states.EXIT_DONE, states.EXIT_WRONG_INPUT, states.EXIT_INTERRUPTED, states.EXIT_SUPERSEDED}
    assert len(codes) == 4
    assert 1 not in codes  # Python's own, for an exception nobody caught
    assert max(codes) < 128  # above, a shell's and Docker's word for a signal
