"""Worlds for the dispatcher; see aws_in_memory.world."""

from collections.abc import Callable
from typing import Any

import pytest
from aws_in_memory.world import World, set_time


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    set_time(made.clock, monkeypatch)
    return made


@pytest.fixture
def make_world(monkeypatch: pytest.MonkeyPatch) -> Callable[..., World]:
    """Makes worlds, each empty; the one before is gone."""

    def make(**kwargs: Any) -> World:
        made = World(**kwargs)
        set_time(made.clock, monkeypatch)
        return made

    return make
