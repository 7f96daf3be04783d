# Copyright (c) 2026, The nerforge authors
# GNU General Public License v3.0+ (see plugins/COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prices as AWS tells them: on demand, and of services, by its price list; on spot by what it costs now."""

from __future__ import annotations

import datetime
import json
import re
import statistics
from collections.abc import Iterable, Iterator
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

# What of Prices.services is billed by time: its service code, its usage type, and what else finds it. Usage
# types: https://docs.aws.amazon.com/vpc/latest/userguide/vpc-billing-usage-reports.html and others' guides.
_SERVICES: dict[str, tuple[str, str, dict[str, str]]] = {
    "alarm_metric_month": ("AmazonCloudWatch", "CW:AlarmMonitorUsage", {"productFamily": "Alarm"}),
    "custom_metric_month": ("AmazonCloudWatch", "CW:MetricMonitorUsage", {"productFamily": "Metric"}),
    "interface_endpoint_hour": ("AmazonVPC", "VpcEndpoint-Hours", {"productFamily": "VpcEndpoint"}),
    "load_balancer_hour": ("AWSELB", "LoadBalancerUsage", {"productFamily": "Load Balancer-Application"}),
    "nat_gateway_hour": ("AmazonEC2", "NatGateway-Hours", {"productFamily": "NAT Gateway"}),
    "public_address_hour": ("AmazonVPC", "PublicIPv4:InUseAddress", {}),
    "volume_gb_month": ("AmazonEC2", "EBS:VolumeUsage.gp3", {"volumeApiName": "gp3"}),
}
_REGION = r"(?:EU-|[A-Z]{3,4}\d-)?"  # before a usage type, such as EUC1-; not in every region


def refreshed(aws: Aws, instance_types: Iterable[str], known: Prices, say: Say) -> dict[str, Any]:
    """A table as ``prices.json`` is one, with the region's prices as of today.

    It has these instance types, and of services what is billed by time. What is billed by use costs cents,
    and stays as it is known; so does what is not found in the price list. Raises UserError where AWS lists no
    such instance type.
    """
    region = aws.client("ec2").meta.region_name
    instances = {}
    for name in instance_types:
        about = _on_demand(aws, name, region) | {"spot": _spot(aws, name)}
        instances[name] = about
        spot = "none now" if about["spot"] is None else f"{about['spot']:.4f}"
        say(f"{name} in {region}: {about['on_demand']:.4f} USD an hour on demand, spot {spot}")
    services = dict(_of_services(aws, region))
    for name, price in services.items():
        say(f"{name} in {region}: {price:.4f} USD")
    kept = ", ".join(sorted(known.services.keys() - services.keys()))
    return asdict(known) | {
        "dated": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        "region": region,
        "source": f"AWS's price list and spot prices; of {known.dated}, {known.region}: {kept}",
        "instances": instances,
        "services": known.services | services,
    }


def _on_demand(aws: Aws, instance_type: str, region: str) -> dict[str, Any]:
    found = _products(aws, "AmazonEC2", _PLAIN | {"instanceType": instance_type, "regionCode": region})
    prices = [price for product in found for price in _prices(product)]
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


def _of_services(aws: Aws, region: str) -> Iterator[tuple[str, float]]:
    """Names in Prices.services, and what AWS takes there before any discount for many."""
    for name, (service_code, usage_type, others) in _SERVICES.items():
        wanted = re.compile(_REGION + re.escape(usage_type))
        products = _products(aws, service_code, others | {"regionCode": region})
        prices = [
            price
            for product in products
            if wanted.fullmatch(product["product"]["attributes"].get("usagetype", ""))
            for price in _prices(product)
        ]
        if prices:
            yield name, max(prices)


def _products(aws: Aws, service_code: str, wanted: dict[str, str]) -> list[dict[str, Any]]:
    """The products of a service that have these attributes."""
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
    pages = (
        aws.client("pricing", PRICE_LIST_REGION)
        .get_paginator("get_products")
        .paginate(ServiceCode=service_code, Filters=filters, FormatVersion="aws_v1")
    )
    return [json.loads(product) for page in pages for product in page["PriceList"]]


def _prices(product: dict[str, Any]) -> list[float]:
    """USD for a unit by a product's terms; a reservation that is paid for already shows as nothing."""
    terms = product["terms"].get("OnDemand", {}).values()
    rates = [rate for term in terms for rate in term["priceDimensions"].values()]
    prices = [float(rate["pricePerUnit"].get("USD", 0)) for rate in rates]
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
