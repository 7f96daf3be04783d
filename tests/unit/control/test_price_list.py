"""Prices fetched from AWS: real response shapes, which botocore's own models check."""

import json

import boto3
import pytest
from ansible_collections.nerforge.aws.plugins.module_utils.contract import prices
from ansible_collections.nerforge.aws.plugins.module_utils.contract.errors import UserError
from ansible_collections.nerforge.aws.plugins.plugin_utils import price_list
from botocore.stub import ANY, Stubber

# A product of the price list as GetProducts writes it, without the attributes that nothing here reads.
PRODUCT = {
    "product": {
        "productFamily": "Compute Instance",
        "attributes": {
            "instanceType": "g4dn.xlarge",
            "vcpu": "4",
            "memory": "16 GiB",
            "gpu": "1",
            "regionCode": "eu-central-1",
            "operatingSystem": "Linux",
            "tenancy": "Shared",
        },
        "sku": "2SX63SRBXZK94TSA",
    },
    "serviceCode": "AmazonEC2",
    "terms": {
        "OnDemand": {
            "2SX63SRBXZK94TSA.JRTCKXETXF": {
                "priceDimensions": {
                    "2SX63SRBXZK94TSA.JRTCKXETXF.6YS6EN2CT7": {
                        "unit": "Hrs",
                        "endRange": "Inf",
                        "beginRange": "0",
                        "description": "$0.658 per On Demand Linux g4dn.xlarge Instance Hour",
                        "appliesTo": [],
                        "rateCode": "2SX63SRBXZK94TSA.JRTCKXETXF.6YS6EN2CT7",
                        "pricePerUnit": {"USD": "0.6580000000"},
                    }
                },
                "sku": "2SX63SRBXZK94TSA",
                "effectiveDate": "2031-01-01T00:00:00Z",
                "offerTermCode": "JRTCKXETXF",
                "termAttributes": {},
            }
        }
    },
    "version": "20310101000000",
    "publicationDate": "2031-01-01T00:00:00Z",
}


class Account:
    """Clients of a region whose answers a test queues."""

    def __init__(self):
        self.asked = []
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
        self._clients = {
            "ec2": boto3.client("ec2", "eu-central-1", **keys),
            "pricing": boto3.client("pricing", "us-east-1", **keys),
        }
        self.stubs = {name: Stubber(client) for name, client in self._clients.items()}

    def client(self, service, region=None):
        self.asked.append((service, region))
        return self._clients[service]

    def has(self, instance_type, products, spot):
        filters = [{"Type": "TERM_MATCH", "Field": ANY, "Value": ANY}] * 8
        self.stubs["pricing"].add_response(
            "get_products",
            {"FormatVersion": "aws_v1", "PriceList": [json.dumps(product) for product in products]},
            {"ServiceCode": "AmazonEC2", "FormatVersion": "aws_v1", "Filters": filters},
        )
        history = [
            {
                "AvailabilityZone": f"eu-central-1{zone}",
                "InstanceType": instance_type,
                "ProductDescription": "Linux/UNIX",
                "SpotPrice": price,
                "Timestamp": "2031-01-01T00:00:00Z",
            }
            for zone, price in zip("abc", spot, strict=False)
        ]
        self.stubs["ec2"].add_response(
            "describe_spot_price_history",
            {"NextToken": "", "SpotPriceHistory": history},
            {"InstanceTypes": [instance_type], "ProductDescriptions": ["Linux/UNIX"], "StartTime": ANY},
        )


@pytest.fixture
def account():
    made = Account()
    for stub in made.stubs.values():
        stub.activate()
    yield made
    for stub in made.stubs.values():
        stub.deactivate()


def test_a_table_of_the_regions_own_prices(account):
    account.has("g4dn.xlarge", [PRODUCT], ["0.230000", "0.250000", "0.400000"])
    said = []

    table = price_list.refreshed(account, ["g4dn.xlarge"], prices.bundled(), said.append)

    assert said == ["g4dn.xlarge in eu-central-1: 0.6580 USD an hour on demand, spot 0.2500"]
    assert table["region"] == "eu-central-1" and table["dated"] > prices.bundled().dated
    fetched = prices.Prices.of(json.loads(json.dumps(table)))
    assert fetched.instances == {"g4dn.xlarge": prices.InstanceType(4, 16384, 1, 0.658, 0.25)}
    assert fetched.services == prices.bundled().services
    assert ("pricing", "us-east-1") in account.asked  # AWS answers for prices there


def test_the_product_that_is_asked_for_is_one(account):
    """Without any of these the list has Windows, dedicated hosts and reservations too."""
    account.has("m6i.xlarge", [PRODUCT], [])
    sent = []
    client = account.client("pricing")
    client.meta.events.register("before-parameter-build.pricing", lambda params, **__: sent.append(params))

    price_list.refreshed(account, ["m6i.xlarge"], prices.bundled(), lambda __: None)

    assert {each["Field"]: each["Value"] for each in sent[0]["Filters"]} == {
        "capacitystatus": "Used",
        "instanceType": "m6i.xlarge",
        "licenseModel": "No License required",
        "marketoption": "OnDemand",
        "operatingSystem": "Linux",
        "preInstalledSw": "NA",
        "regionCode": "eu-central-1",
        "tenancy": "Shared",
    }


def test_where_it_is_not_sold_on_spot_the_share_counts(account):
    account.has("g4dn.xlarge", [PRODUCT], [])
    table = price_list.refreshed(account, ["g4dn.xlarge"], prices.bundled(), lambda __: None)
    assert prices.Prices.of(table).hourly("g4dn.xlarge", spot=True) == pytest.approx(0.329)


@pytest.mark.parametrize("products", [[], [PRODUCT | {"terms": {"Reserved": {}}}]])
def test_what_aws_does_not_sell(account, products):
    account.has("x9.huge", products, [])
    with pytest.raises(UserError, match=r"sells no x9\.huge in eu-central-1"):
        price_list.refreshed(account, ["x9.huge"], prices.bundled(), lambda __: None)
