# What the training stack would have left under /ner/training, and the names AWS would have given.

mock_data "aws_ssm_parameters_by_path" {
  defaults = {
    names = [
      "/ner/training/alarm_topic_arn",
      "/ner/training/bucket",
      "/ner/training/capacity_providers",
      "/ner/training/cluster_arn",
      "/ner/training/cluster_name",
      "/ner/training/container_instance_security_group_id",
      "/ner/training/private_subnet_ids",
      "/ner/training/public_subnet_ids",
      "/ner/training/server_log_group",
      "/ner/training/vpc_id",
    ]
    values = [
      "arn:aws:sns:eu-central-1:123456789012:ner-alarms",
      "ner-models",
      "{\"cpu\": {\"on_demand\": \"ner-cpu\", \"spot\": \"ner-cpu-spot\"}, \"gpu\": null}",
      "arn:aws:ecs:eu-central-1:123456789012:cluster/ner",
      "ner",
      "sg-instances",
      "subnet-private-a,subnet-private-b",
      "subnet-public-a,subnet-public-b",
      "/ner/server",
      "vpc-1",
    ]
  }
}

mock_data "aws_vpc" {
  defaults = { cidr_block = "10.64.0.0/16" }
}

mock_resource "aws_lb" {
  defaults = {
    arn        = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/ner/1"
    arn_suffix = "app/ner/1"
    dns_name   = "ner-1.eu-central-1.elb.amazonaws.com"
  }
}

mock_resource "aws_lb_target_group" {
  defaults = {
    arn        = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/ner-server/2"
    arn_suffix = "targetgroup/ner-server/2"
  }
}

mock_resource "aws_lb_listener" {
  defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener/app/ner/1/3" }
}

mock_resource "aws_lb_listener_rule" {
  defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener-rule/app/ner/1/3/4" }
}

mock_resource "aws_iam_role" {
  defaults = { arn = "arn:aws:iam::123456789012:role/ner" }
}

mock_resource "aws_ecs_task_definition" {
  defaults = { arn = "arn:aws:ecs:eu-central-1:123456789012:task-definition/ner-server:1" }
}
