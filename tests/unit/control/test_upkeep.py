"""What an idle deployment costs a month, by the variables of both stacks as they are."""

import re

import metrics
import pytest
from ansible_collections.nerforge.aws.plugins.module_utils.contract import prices
from ansible_collections.nerforge.aws.plugins.module_utils.contract.errors import UserError
from ansible_collections.nerforge.aws.plugins.plugin_utils import stack_variables, upkeep

TABLE = prices.bundled()

# Of all resources in both stacks, those that AWS bills by time, and so have a line.
BILLED = {
    "aws_autoscaling_group",
    "aws_cloudwatch_metric_alarm",
    "aws_appautoscaling_policy",
    "aws_ecr_repository",
    "aws_ecs_cluster",
    "aws_eip",
    "aws_lambda_function",
    "aws_launch_template",
    "aws_lb",
    "aws_nat_gateway",
    "aws_s3_bucket",
    "aws_subnet",
    "aws_vpc_endpoint",
}
# These cost nothing, or only when they are used.
FREE = {
    "aws_appautoscaling_target",
    "aws_cloudwatch_event_rule",
    "aws_cloudwatch_event_target",
    "aws_cloudwatch_log_group",
    "aws_default_security_group",
    "aws_dynamodb_table",
    "aws_ecr_lifecycle_policy",
    "aws_ecs_capacity_provider",
    "aws_ecs_cluster_capacity_providers",
    "aws_ecs_service",
    "aws_ecs_task_definition",
    "aws_iam_instance_profile",
    "aws_iam_role",
    "aws_iam_role_policy",
    "aws_internet_gateway",
    "aws_lambda_function_event_invoke_config",
    "aws_lambda_permission",
    "aws_lb_listener",
    "aws_lb_listener_rule",
    "aws_lb_target_group",
    "aws_route",
    "aws_route_table",
    "aws_route_table_association",
    "aws_s3_bucket_lifecycle_configuration",
    "aws_s3_bucket_policy",
    "aws_s3_bucket_public_access_block",
    "aws_s3_bucket_server_side_encryption_configuration",
    "aws_s3_bucket_versioning",
    "aws_security_group",
    "aws_sns_topic",
    "aws_sns_topic_policy",
    "aws_sns_topic_subscription",
    "aws_sqs_queue",
    "aws_ssm_parameter",
    "aws_vpc",
    "aws_vpc_security_group_egress_rule",
    "aws_vpc_security_group_ingress_rule",
}


@pytest.fixture
def stacks(root):
    """Both stacks' variables, some of them given."""

    def given(training=None, serving=None):
        folder = root / "terraform"
        return (
            stack_variables.of_stack(folder / "training", training or {}),
            stack_variables.of_stack(folder / "serving", serving or {}),
        )

    return given


def usd(bill, when, what=""):
    return sum(line.usd for line in bill if line.when == when and what in line.what)


def test_no_resource_of_the_stacks_is_left_out(root):
    sources = [path.read_text() for path in (root / "terraform").glob("*/*.tf")]
    made = {name for text in sources for name in re.findall(r'^resource "(\w+)"', text, re.MULTILINE)}
    assert made - FREE == BILLED


def test_the_defaults(stacks):
    bill = upkeep.bill(*stacks(), TABLE)

    assert usd(bill, upkeep.ALWAYS, "load balancer") == pytest.approx(16.43, abs=0.01)
    assert usd(bill, upkeep.ALWAYS, "alarms") == pytest.approx(3.00)
    assert usd(bill, upkeep.ALWAYS, "dispatcher, each minute") < 0.5
    assert usd(bill, upkeep.ALWAYS) == pytest.approx(26.7, abs=0.1)
    assert usd(bill, upkeep.SERVED, "m6i.xlarge") == pytest.approx(140.16)
    assert usd(bill, upkeep.SERVED) == pytest.approx(153.61)


@pytest.mark.parametrize(("choice", "a_month"), [("public", 0), ("endpoints", 102.2), ("nat", 73.0)])
def test_the_ways_to_aws(stacks, root, choice, a_month):
    """The figures are those that network.tf names beside the resources, and they are in the bill."""
    assert upkeep.network(choice, TABLE) == pytest.approx(a_month)
    source = (root / "terraform/training/network.tf").read_text()
    named = re.search(rf"^#   {choice} +([\d.]+)", source, re.MULTILINE)[1]
    assert choice == "public" or float(named) == a_month
    bill = upkeep.bill(*stacks({"network": choice}), TABLE)
    assert usd(bill, upkeep.ALWAYS, "ways to the AWS APIs") == pytest.approx(a_month)
    assert bool(usd(bill, upkeep.SERVED, "public address")) == (choice == "public")


def test_the_endpoints_zones_and_volumes_are_those_of_the_stack(root):
    source = (root / "terraform/training/network.tf").read_text()
    named = re.search(r"interface_endpoints = .*?toset\(\[(.*?)\]\)", source, re.DOTALL)[1]
    assert len(re.findall(r'"([\w.-]+)"', named)) == upkeep.ENDPOINTS
    assert f"names, 0, {upkeep.ZONES})" in source
    volume = re.search(r"volume_size += (\d+)", (root / "terraform/training/capacity.tf").read_text())
    assert int(volume[1]) == upkeep.VOLUME_GB


def test_the_alarms_metrics_are_counted(stacks, root):
    """tests/terraform/serving/alarms.tftest.hcl counts those of the serving stack's 9 and 10."""
    source = (root / "terraform/training/alarms.tf").read_text()
    of_training = len(re.findall(r"^      metric += ", source, re.MULTILINE))
    of_autoscaling = 2 * 1 + 2 * 2  # an alarm to grow and one to shrink, by CPU and by requests for each task
    assert upkeep.alarm_metrics(*stacks()) == of_training + 9 + 10 + of_autoscaling
    assert upkeep.alarm_metrics(*stacks({"dispatcher": False})) == of_training - 1 + 9 + 10 + of_autoscaling


def test_the_dispatchers_metrics_are_counted(stacks):
    bill = upkeep.bill(*stacks(), TABLE)
    of_insights = upkeep._INSIGHTS_OF_CLUSTER + upkeep._INSIGHTS_OF_SERVICE
    assert usd(bill, upkeep.ALWAYS, "metrics of dispatcher") == pytest.approx(
        0.3 * (len(metrics._UNITS) + of_insights)
    )


def test_an_existing_network_costs_nothing_here(stacks):
    vpc = {"vpc_id": "vpc-1", "private_subnet_ids": ["a", "b"], "public_subnet_ids": ["c", "d"]}
    bill = upkeep.bill(*stacks({"vpc": vpc}), TABLE)
    assert not usd(bill, upkeep.ALWAYS, "ways to") and not usd(bill, upkeep.SERVED, "address")


def test_a_public_load_balancer_has_an_address_in_each_public_subnet(stacks):
    vpc = {"vpc_id": "vpc-1", "private_subnet_ids": ["a", "b"], "public_subnet_ids": ["c", "d", "e"]}
    serving = {"certificate_arn": "arn:aws:acm:eu-central-1:123456789012:certificate/x"}
    bill = upkeep.bill(*stacks({"vpc": vpc}, serving), TABLE)
    assert usd(bill, upkeep.ALWAYS, "its 3 public addresses") == pytest.approx(3 * 3.65)


def test_what_the_variables_add_and_take(stacks):
    plain = upkeep.bill(*stacks(), TABLE)
    serving = {"autoscaling": False, "deployment_alarms": False, "traffic_shifting": False}
    assert usd(upkeep.bill(*stacks(None, serving), TABLE), upkeep.ALWAYS, "alarms") == pytest.approx(1.2)
    public = {
        "certificate_arn": "arn:aws:acm:eu-central-1:123456789012:certificate/x",
        "allowed_cidrs": ["0.0.0.0/0"],
    }
    shown = upkeep.bill(*stacks(None, public), TABLE)
    assert usd(shown, upkeep.ALWAYS) - usd(plain, upkeep.ALWAYS) == pytest.approx(7.3)
    secret = upkeep.bill(*stacks(None, {"api_keys_secret_arn": "arn"}), TABLE)
    assert usd(secret, upkeep.ALWAYS) - usd(plain, upkeep.ALWAYS) == pytest.approx(0.4)
    more = upkeep.bill(*stacks(None, {"desired_count": 5, "max_count": 6}), TABLE)
    assert usd(more, upkeep.SERVED, "m6i.xlarge") == pytest.approx(2 * 140.16)


def test_tasks_that_fit_no_instance_and_types_without_a_price(stacks):
    with pytest.raises(UserError, match=r"fits no m6i\.xlarge"):
        upkeep.bill(*stacks(None, {"cpu": 8192}), TABLE)
    with pytest.raises(UserError, match=r"none of x9\.huge"):
        upkeep.bill(*stacks({"cpu_instance_types": ["x9.huge"]}), TABLE)


def test_the_lines_add_up(stacks):
    training, serving = stacks()
    lines = list(upkeep.lines(upkeep.bill(training, serving, TABLE), training, TABLE))
    figures = [float(found[0]) for line in lines if (found := re.match(r"[\d.]+", line))]
    assert sum(figures) == pytest.approx(
        2 * sum(float(line.split()[0]) for line in lines if "in all" in line), abs=0.1
    )
    assert any(line.endswith("as deployed") and "public:" in line for line in lines)


def test_variables_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        stack_variables.of_stack(tmp_path, {})
    (tmp_path / "variables.tf").write_text('variable "size" {\n  default = var.other\n}\n')
    with pytest.raises(UserError, match="default of size"):
        stack_variables.of_stack(tmp_path, {})
