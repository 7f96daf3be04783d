# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Claims of the service: what tells a release that another has come between."""

from __future__ import annotations

from dataclasses import dataclass

from ..module_utils.contract.models import Model, Models


@dataclass(frozen=True)
class Claim:
    """The last claim of the service as a release knows it.

    Parameters
    ----------
    models:
        The models table.
    found:
        The claim.
    is_ours:
        Whether it is the release's own. To serve the same model once more claims nothing, so that whoever may
        be promoting it can end.
    """

    models: Models
    found: Model
    is_ours: bool

    @classmethod
    def make(cls, models: Models, name: str, alias: str) -> Claim:
        """Claim the service for a release that may move this alias."""
        return cls(models, {"id": models.claim(name, alias)}, True)

    @classmethod
    def leave(cls, models: Models) -> Claim:
        """Claim nothing, and see who does."""
        return cls(models, models.claimed() or {}, False)

    def is_kept(self) -> bool:
        """Whether nobody has claimed the service since; of another's claim, also whether it is as it was."""
        now = self.models.claimed() or {}
        return now.get("id") == self.found.get("id") and (self.is_ours or now == self.found)

    def finish(self) -> bool:
        """Say that the release is done; returns whether the service was its own to decide on till then."""
        return self.models.finish(self.found["id"]) if self.is_ours else self.is_kept()
