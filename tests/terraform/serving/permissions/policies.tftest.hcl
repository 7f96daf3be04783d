# The serving stack's policies, about resources that have the names of the tests' AWS.

mock_provider "aws" {
  source = "./tests"

  override_data {
    target = data.aws_ssm_parameters_by_path.training
    values = {
      names = [
        "/nerforge/training/alarm_topic_arn",
        "/nerforge/training/bucket",
        "/nerforge/training/capacity_providers",
        "/nerforge/training/cluster_arn",
        "/nerforge/training/cluster_name",
        "/nerforge/training/container_instance_security_group_id",
        "/nerforge/training/private_subnet_ids",
        "/nerforge/training/public_subnet_ids",
        "/nerforge/training/server_log_group",
        "/nerforge/training/vpc_id",
      ]
      values = [
        "arn:aws:sns:us-east-1:123456789012:nerforge-alarms",
        "bucket",
        "{\"cpu\": {\"on_demand\": \"nerforge-cpu\", \"spot\": \"nerforge-cpu-spot\"}, \"gpu\": null}",
        "arn:aws:ecs:us-east-1:123456789012:cluster/nerforge",
        "nerforge",
        "sg-instances",
        "subnet-private-a,subnet-private-b",
        "subnet-public-a,subnet-public-b",
        "/nerforge/server",
        "vpc-1",
      ]
    }
  }
  override_resource {
    target = aws_iam_role.execution
    values = { arn = "arn:aws:iam::123456789012:role/nerforge-server-execution" }
  }
  override_resource {
    target = aws_iam_role.task
    values = { arn = "arn:aws:iam::123456789012:role/nerforge-server-task" }
  }
}

variables {
  prefix       = "nerforge"
  region       = "us-east-1"
  server_image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/nerforge/server:1f2e3d"
}

run "policies" {}

run "policies_with_a_secret" {
  variables {
    api_keys_secret_arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:keys-Ab12Cd"
  }
}
