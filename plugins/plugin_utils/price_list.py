# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prices as AWS tells them: instances on demand by its price list, on spot by what they cost now."""

from __future__ import annotations

import datetime
import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from ..module_utils.contract.errors import UserError
from ..module_utils.contract.prices import Prices
from .session import Aws
from .wording import Say

PRICE_LIST_REGION = "us-east-1"  # where AWS answers for the prices of all regions
_PLAIN = {  # Linux with nothing installed, shared hardware, by the hour: one product is left
    "operatingSystem": "Linux",
    "preInstalledSw": "NA",
    "licenseModel": "No License required",
    "tenancy": "Shared",
    "capacitystatus": "Used",
    "marketoption": "OnDemand",
}
_LINUX = "Linux/UNIX"


def refreshed(aws: Aws, instance_types: Iterable[str], known: Prices, say: Say) -> dict[str, Any]:
    """A table as ``prices.json`` is one, with the region's prices of these instance types as of today.

    The prices of services stay those that are known. Raises UserError where AWS lists no such type.
    """
    region = aws.client("ec2").meta.region_name
    instances = {}
    for name in instance_types:
        about = _on_demand(aws, name, region) | {"spot": _spot(aws, name)}
        instances[name] = about
        spot = "none now" if about["spot"] is None else f"{about['spot']:.4f}"
        say(f"{name} in {region}: {about['on_demand']:.4f} USD an hour on demand, spot {spot}")
    return asdict(known) | {
        "dated": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        "region": region,
        "source": f"AWS's price list and spot prices; all but instances: {known.dated}, {known.region}",
        "instances": instances,
    }


def _on_demand(aws: Aws, instance_type: str, region: str) -> dict[str, Any]:
    wanted = _PLAIN | {"instanceType": instance_type, "regionCode": region}
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
    answer = aws.client("pricing", PRICE_LIST_REGION).get_products(
        ServiceCode="AmazonEC2", Filters=filters, FormatVersion="aws_v1"
    )
    found = [json.loads(product) for product in answer["PriceList"]]
    prices = [price for product in found for price in _hourly(product)]
    if not prices:
        fix = "Mend the instance types, or choose another region."
        raise UserError(f"AWS sells no {instance_type} in {region}", "instance types", fix)
    has = found[0]["product"]["attributes"]
    return {
        "vcpu": int(has["vcpu"]),
        "memory_mib": round(float(has["memory"].removesuffix(" GiB").replace(",", "")) * 1024),
        "gpus": int(has.get("gpu", 0)),
        "on_demand": min(prices),
    }


def _hourly(product: dict[str, Any]) -> list[float]:
    """USD an hour by a product's terms; a reservation that is paid for already shows as nothing."""
    terms = product["terms"].get("OnDemand", {}).values()
    rates = [rate for term in terms for rate in term["priceDimensions"].values()]
    prices = [float(rate["pricePerUnit"].get("USD", 0)) for rate in rates if rate["unit"] == "Hrs"]
    return [price for price in prices if price]


def _spot(aws: Aws, instance_type: str) -> float | None:
    """What it costs now on spot, between the dearer and the cheaper zones; None where it is not sold so."""
    answer = aws.client("ec2").describe_spot_price_history(
        InstanceTypes=[instance_type],
        ProductDescriptions=[_LINUX],
        StartTime=datetime.datetime.now(datetime.UTC),  # which gives the prices in force
    )
    prices = [float(each["SpotPrice"]) for each in answer["SpotPriceHistory"]]
    return statistics.median(prices) if prices else None
