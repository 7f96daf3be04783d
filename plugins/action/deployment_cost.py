# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell what a deployment costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..module_utils.contract import prices
from ..module_utils.contract import spec as specs
from ..module_utils.contract.errors import UserError
from ..module_utils.contract.runs import Run, Runs
from ..modules.deployment_cost import DOCUMENTATION
from ..plugin_utils import estimate, price_list, stack_variables, upkeep
from ..plugin_utils.action import ControlAction
from ..plugin_utils.session import Aws, NotDeployed, aws_errors


class ActionModule(ControlAction):
    """Prints what an idle deployment costs a month, and what a spec will cost."""

    documentation = DOCUMENTATION

    def act(self, aws: Aws, params: dict[str, Any]) -> dict[str, Any]:
        """Fetch prices if asked to; then count."""
        folder = self.find(params["stacks"])
        training = stack_variables.of_stack(folder / "training", params["training_variables"])
        serving = stack_variables.of_stack(folder / "serving", params["serving_variables"])
        if params["refresh"]:
            self._refresh(aws, params["prefix"], training)
        past, table = self._known(aws, params["prefix"])
        self.say(f"Prices of {table.dated}, {table.region}: {table.source}.")
        region = aws.client("ssm").meta.region_name
        if region != table.region:
            self.say(f"Those of {region} differ, in some regions by half: refresh asks AWS for them.")
        result: dict[str, Any] = {
            "changed": params["refresh"],
            "prices": {"dated": table.dated, "region": table.region, "source": table.source},
        }
        if params["spec"]:
            return result | self._of_spec(self.find(params["spec"]), training, past, table)
        bill = upkeep.bill(training, serving, table)
        for line in upkeep.lines(bill, training, table):
            self.say(line)
        return result | {"idle": [line.result() for line in bill]}

    def _of_spec(
        self, path: Path, training: dict[str, Any], past: list[Run], table: prices.Prices
    ) -> dict[str, Any]:
        spec = estimate.readable(path, specs.with_defaults(specs.load(path)))
        found = estimate.estimate(spec, training, past, table)
        self.say(f"{path}: {spec['name']}")
        for line in found.lines():
            self.say(line)
        return {"estimate": found.result()}

    def _known(self, aws: Aws, prefix: str) -> tuple[list[Run], prices.Prices]:
        """Past runs and the deployment's prices; without a deployment none, and those of the code."""
        try:
            runs = _runs(aws, prefix)
            return estimate.succeeded(runs), runs.current_prices()
        except NotDeployed:
            self.say(f"Nothing is deployed under the prefix {prefix}: no past run to go by.")
        except aws_errors() as error:
            self.say(f"No past run to go by: {aws.explained(error)}")
        return [], prices.bundled()

    def _refresh(self, aws: Aws, prefix: str, training: dict[str, Any]) -> None:
        if aws.endpoint:
            fix = "Use the inventory of your account: -i playbooks/inventory/aws.yml."
            raise UserError(f"there are no prices at {aws.endpoint}", "refresh", fix)
        runs = _runs(aws, prefix)
        kinds = [kind for kind in ("cpu", "gpu") if training[f"{kind}_max_instances"]]
        wanted = dict.fromkeys(name for kind in kinds for name in training[f"{kind}_instance_types"])
        table = price_list.refreshed(aws, wanted, prices.bundled(), self.say)
        if not self._task.check_mode:
            runs.record_prices(table)


def _runs(aws: Aws, prefix: str) -> Runs:
    published = aws.parameters(prefix, "training", ["runs_table"])
    return Runs(aws.table(published["runs_table"]))
