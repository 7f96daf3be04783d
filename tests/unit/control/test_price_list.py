"""Prices fetched from AWS: products in their real shape, found by a double that filters as AWS does."""

import dataclasses
import json
from types import SimpleNamespace

import pytest
from ansible_collections.nerforge.aws.plugins.module_utils.contract import prices
from ansible_collections.nerforge.aws.plugins.module_utils.contract.errors import UserError
from ansible_collections.nerforge.aws.plugins.plugin_utils import price_list
from support.aws_double import Double

REGION = "eu-central-1"
KNOWN = dataclasses.replace(prices.bundled(), dated="2001-01-01")
INSTANCE = {
    "instanceType": "g4dn.xlarge",
    "vcpu": "4",
    "memory": "16 GiB",
    "gpu": "1",
    "regionCode": REGION,
    "usagetype": "EUC1-BoxUsage:g4dn.xlarge",
    "operatingSystem": "Linux",
    "preInstalledSw": "NA",
    "licenseModel": "No License required",
    "tenancy": "Shared",
    "capacitystatus": "Used",
    "marketoption": "OnDemand",
}


def product(service, family, attributes, unit, *tiers):
    """A product as GetProducts writes it, without the attributes that nothing here reads."""
    sku, term = "2SX63SRBXZK94TSA", "2SX63SRBXZK94TSA.JRTCKXETXF"
    starts = ["0", "10000", "250000"]
    dimensions = {
        f"{term}.{number}": {
            "unit": unit,
            "beginRange": starts[number],
            "endRange": starts[number + 1] if number + 1 < len(tiers) else "Inf",
            "description": f"${price} per {unit}",
            "appliesTo": [],
            "rateCode": f"{term}.{number}",
            "pricePerUnit": {"USD": f"{price:.10f}"},
        }
        for number, price in enumerate(tiers)
    }
    on_demand = {
        "priceDimensions": dimensions,
        "sku": sku,
        "effectiveDate": "2031-01-01T00:00:00Z",
        "offerTermCode": "JRTCKXETXF",
        "termAttributes": {},
    }
    return {
        "product": {"productFamily": family, "attributes": {"regionCode": REGION} | attributes, "sku": sku},
        "serviceCode": service,
        "terms": {"OnDemand": {term: on_demand}},
        "version": "20310101000000",
        "publicationDate": "2031-01-01T00:00:00Z",
    }


def instance(price=0.658, **attributes):
    return product("AmazonEC2", "Compute Instance", INSTANCE | attributes, "Hrs", price)


def service(code, family, usagetype, unit, *tiers, **attributes):
    return product(code, family, {"usagetype": usagetype} | attributes, unit, *tiers)


LOAD_BALANCER = "Load Balancer-Application"
SERVICES = [
    service("AWSELB", LOAD_BALANCER, "EUC1-LoadBalancerUsage", "Hrs", 0.027),
    service("AWSELB", LOAD_BALANCER, "EUC1-LCUUsage", "LCU-Hrs", 0.008),
    service("AWSELB", LOAD_BALANCER, "TS-LoadBalancerUsage", "Hrs", 0.99),
    service("AWSELB", "Load Balancer-Network", "EUC1-LoadBalancerUsage", "Hrs", 0.99),
    service("AmazonVPC", "VpcEndpoint", "EUC1-VpcEndpoint-Hours", "Hrs", 0.012),
    service("AmazonVPC", "VpcEndpoint", "EUC1-VpcEndpoint-GWLBE-Hours", "Hrs", 0.99),
    service("AmazonVPC", "", "EUC1-PublicIPv4:InUseAddress", "Hrs", 0.0051),
    service("AmazonVPC", "", "EUC1-PublicIPv4:IdleAddress", "Hrs", 0.99),
    service("AmazonEC2", "NAT Gateway", "EUC1-NatGateway-Hours", "Hrs", 0.052),
    service("AmazonEC2", "NAT Gateway", "EUC1-NatGateway-Bytes", "GB", 0.99),
    service("AmazonEC2", "Storage", "EUC1-EBS:VolumeUsage.gp3", "GB-Mo", 0.0952, volumeApiName="gp3"),
    service("AmazonEC2", "Storage", "EUC1-EBS:VolumeUsage.gp2", "GB-Mo", 0.99, volumeApiName="gp2"),
    service("AmazonCloudWatch", "Alarm", "EUC1-CW:AlarmMonitorUsage", "Alarms", 0.11),
    service("AmazonCloudWatch", "Alarm", "EUC1-CW:HighResAlarmMonitorUsage", "Alarms", 0.99),
    service("AmazonCloudWatch", "Metric", "EUC1-CW:MetricMonitorUsage", "Metrics", 0.31, 0.1, 0.05),
]
FETCHED = {
    "alarm_metric_month": 0.11,
    "custom_metric_month": 0.31,
    "interface_endpoint_hour": 0.012,
    "load_balancer_hour": 0.027,
    "nat_gateway_hour": 0.052,
    "public_address_hour": 0.0051,
    "volume_gb_month": 0.0952,
}


class PriceList(Double):
    """AWS's price list, a product a page."""

    service = "pricing"

    def __init__(self, products):
        self._products = products

    def do_get_products(self, ServiceCode, Filters, FormatVersion, NextToken="0"):
        wanted = {each["Field"]: each["Value"] for each in Filters}
        found = [each for each in self._products if self._is(each, ServiceCode, wanted)]
        start = int(NextToken)
        more = {"NextToken": str(start + 1)} if found[start + 1 :] else {}
        page = [json.dumps(each) for each in found[start : start + 1]]
        return {"FormatVersion": FormatVersion, "PriceList": page} | more

    @staticmethod
    def _is(each, service_code, wanted):
        has = each["product"]["attributes"] | {"productFamily": each["product"]["productFamily"]}
        return each["serviceCode"] == service_code and wanted.items() <= has.items()


class Ec2(Double):
    """What spot instances cost now."""

    service = "ec2"

    def __init__(self, spot):
        self.meta = SimpleNamespace(region_name=REGION)
        self._spot = spot

    def do_describe_spot_price_history(self, InstanceTypes, ProductDescriptions, StartTime):
        about = {
            "InstanceType": InstanceTypes[0],
            "ProductDescription": ProductDescriptions[0],
            "Timestamp": StartTime,
        }
        prices = zip("abc", self._spot, strict=False)
        history = [
            about | {"AvailabilityZone": f"{REGION}{zone}", "SpotPrice": price} for zone, price in prices
        ]
        return {"NextToken": "", "SpotPriceHistory": history}


class Account:
    """Clients of a region."""

    def __init__(self, products, spot=()):
        self.regions = set()
        self._clients = {"pricing": PriceList(products), "ec2": Ec2(spot)}

    def client(self, name, region=None):
        if name == "pricing":
            self.regions.add(region)
        return self._clients[name]


def refreshed(account, name="g4dn.xlarge"):
    said = []
    table = price_list.refreshed(account, [name], KNOWN, said.append)
    return prices.Prices.of(json.loads(json.dumps(table))), said


def test_a_table_of_the_regions_own_prices():
    account = Account([instance(), *SERVICES], ["0.230000", "0.250000", "0.400000"])

    table, said = refreshed(account)

    assert said[0] == "g4dn.xlarge in eu-central-1: 0.6580 USD an hour on demand, spot 0.2500"
    assert "load_balancer_hour in eu-central-1: 0.0270 USD" in said
    assert table.region == REGION and table.dated > KNOWN.dated
    assert table.instances == {"g4dn.xlarge": prices.InstanceType(4, 16384, 1, 0.658, 0.25)}
    assert table.services == KNOWN.services | FETCHED
    assert account.regions == {"us-east-1"}  # where AWS answers for prices


@pytest.mark.parametrize(
    ("region", "price"),
    [("", 0.03), ("EU-", 0.03), ("APN1-", 0.03), ("USW2-LAX1-", KNOWN.services["load_balancer_hour"])],
    ids=["us-east-1", "eu-west-1", "ap-northeast-1", "us-west-2's zone in Los Angeles"],
)
def test_usage_types_begin_with_a_region_or_with_nothing(region, price):
    used = service("AWSELB", LOAD_BALANCER, f"{region}LoadBalancerUsage", "Hrs", 0.03)
    table, __ = refreshed(Account([instance(), used]))
    assert table.services["load_balancer_hour"] == price


def test_what_was_not_fetched_is_told():
    table, __ = refreshed(Account([instance(), *SERVICES[1:]]))
    assert table.services["load_balancer_hour"] == KNOWN.services["load_balancer_hour"]
    kept = table.source.partition(f"of {KNOWN.dated}, us-east-1: ")[2].split(", ")
    assert set(kept) == {"load_balancer_hour", *(KNOWN.services.keys() - FETCHED.keys())}


@pytest.mark.parametrize(
    "attributes",
    [
        {"operatingSystem": "Windows"},
        {"preInstalledSw": "SQL Ent"},
        {"licenseModel": "Bring your own license"},
        {"tenancy": "Dedicated"},
        {"capacitystatus": "UnusedCapacityReservation"},
        {"marketoption": "CapacityBlock"},
        {"regionCode": "eu-west-1"},
        {"instanceType": "g4dn.2xlarge"},
    ],
    ids=str,
)
def test_instances_of_another_kind_are_passed_over(attributes):
    table, __ = refreshed(Account([instance(0.1, **attributes), instance()]))
    assert table.instances["g4dn.xlarge"].on_demand == 0.658


def test_where_it_is_not_sold_on_spot_the_share_counts():
    table, said = refreshed(Account([instance()]))
    assert said == ["g4dn.xlarge in eu-central-1: 0.6580 USD an hour on demand, spot none now"]
    assert table.hourly("g4dn.xlarge", spot=True) == pytest.approx(0.329)


@pytest.mark.parametrize("products", [[], [instance(instanceType="x9.huge") | {"terms": {"Reserved": {}}}]])
def test_what_aws_does_not_sell(products):
    with pytest.raises(UserError, match=r"sells no x9\.huge in eu-central-1"):
        refreshed(Account(products), "x9.huge")
