"""The trainer's account and corpus, from the unit tests, for pipelines that need PyTorch."""

import importlib.util
import sys

from support import paths

_TRAINER = paths.ROOT / "tests" / "unit" / "trainer" / "conftest.py"
_found = importlib.util.spec_from_file_location("trainer_account", _TRAINER)
account = importlib.util.module_from_spec(_found)
sys.modules[_found.name] = account
_found.loader.exec_module(account)

aws, conll, pages_not_drawn = account.aws, account.conll, account.pages_not_drawn
