# What the stack refuses before it makes anything.

mock_provider "aws" {
  source = "./tests"
}

variables {
  prefix         = "ner"
  region         = "eu-central-1"
  trainer_image  = "ner/trainer:1f2e3d"
  dispatcher_zip = "versions.tf" # any file will do
}

run "too_little" {
  command = plan

  variables {
    prefix              = "ab"
    vpc                 = { vpc_id = "vpc-1", private_subnet_ids = ["subnet-1", "subnet-1"], public_subnet_ids = ["subnet-2", "subnet-3"] }
    vpc_cidr            = "10.0.0.0/25"
    cpu_max_instances   = 0
    gpu_max_instances   = -1
    cpu_instance_types  = []
    gpu_instance_types  = []
    max_concurrent_runs = 0
    trainer_image       = "registry:5000/ner/trainer" # no tag
    dispatcher_zip      = "missing.zip"
    log_retention_days  = 10 # AWS offers 7 or 14

    alarm_email             = "oncall"
    alarm_queue_age_minutes = 0
    runbook                 = ""
  }

  expect_failures = [
    var.prefix,
    var.vpc,
    var.vpc_cidr,
    var.cpu_max_instances,
    var.gpu_max_instances,
    var.cpu_instance_types,
    var.gpu_instance_types,
    var.max_concurrent_runs,
    var.trainer_image,
    var.dispatcher_zip,
    var.log_retention_days,
    var.alarm_email,
    var.alarm_queue_age_minutes,
    var.runbook,
  ]
}

run "too_much" {
  command = plan

  variables {
    prefix              = "a-prefix-of-21-letter"
    region              = "eu-central-1a" # a zone
    vpc_cidr            = "10.0.0.0/15"
    cpu_max_instances   = 1.5
    gpu_max_instances   = 0.5
    max_concurrent_runs = 2.5
    trainer_image       = "ner/trainer:latest" # moves

    alarm_queue_age_minutes = 20160                   # a message is gone by then
    runbook                 = "RUNBOOK.md#stuck-runs" # each alarm adds its own section
  }

  expect_failures = [
    var.prefix,
    var.region,
    var.vpc_cidr,
    var.cpu_max_instances,
    var.gpu_max_instances,
    var.max_concurrent_runs,
    var.trainer_image,
    var.alarm_queue_age_minutes,
    var.runbook,
  ]
}

run "of_the_wrong_kind" {
  command = plan

  variables {
    prefix            = "Ner"
    vpc_cidr          = "10.0.0.0"
    network           = "vpn"
    cpu_ami_parameter = "ami-0123456789abcdef0"
    gpu_ami_parameter = "ami-0123456789abcdef0"
  }

  expect_failures = [
    var.prefix,
    var.vpc_cidr,
    var.network,
    var.cpu_ami_parameter,
    var.gpu_ami_parameter,
  ]
}

run "prefix_that_begins_with_a_digit" {
  command = plan

  variables {
    prefix = "1ner"
  }

  expect_failures = [var.prefix]
}

run "prefix_that_ends_in_a_hyphen" {
  command = plan

  variables {
    prefix = "ner-"
  }

  expect_failures = [var.prefix]
}

run "prefix_that_aws_keeps" {
  command = plan

  variables {
    prefix = "aws-ner"
  }

  expect_failures = [var.prefix]
}

run "a_way_to_aws_in_an_existing_network" {
  command = plan

  variables {
    network = "nat"
    vpc     = { vpc_id = "vpc-1", private_subnet_ids = ["subnet-1", "subnet-2"], public_subnet_ids = ["subnet-3", "subnet-4"] }
  }

  expect_failures = [var.network]
}
