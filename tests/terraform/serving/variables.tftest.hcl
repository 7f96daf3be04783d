# What the variables refuse.

mock_provider "aws" {
  source = "./tests"
}

variables {
  prefix       = "ner"
  region       = "eu-central-1"
  server_image = "ner/server:1"
}

run "values_that_cannot_be" {
  command = plan

  variables {
    prefix                       = "Ner"
    region                       = "eu-central-1a"
    server_image                 = "127.0.0.1:5000/ner/server" # no tag
    cpu                          = 64
    memory_mib                   = 1024.5
    desired_count                = 0
    requests_per_task            = 0
    deployment_strategy          = "big_bang"
    deployment_bake_minutes      = 1441
    deployment_canary_percent    = 0
    deployment_step_percent      = 2
    certificate_arn              = "ner.example.com"
    api_keys_secret_arn          = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:ner-keys" # no suffix
    deregistration_delay_seconds = 3601
    alarm_latency_seconds        = 0
    runbook                      = "our runbook"
    container_environment        = { "A-B" = "c" }
  }

  expect_failures = [
    var.prefix,
    var.region,
    var.server_image,
    var.cpu,
    var.memory_mib,
    var.desired_count,
    var.requests_per_task,
    var.deployment_strategy,
    var.deployment_bake_minutes,
    var.deployment_canary_percent,
    var.deployment_step_percent,
    var.certificate_arn,
    var.api_keys_secret_arn,
    var.deregistration_delay_seconds,
    var.alarm_latency_seconds,
    var.runbook,
    var.container_environment,
  ]
}

run "values_that_do_not_go_together" {
  command = plan

  variables {
    prefix          = "internal-ner" # no name for a load balancer
    desired_count   = 3
    max_count       = 2
    certificate_arn = "arn:aws:acm:eu-central-1:123456789012:certificate/1" # and no allowed_cidrs

    deployment_strategy = "canary"
    traffic_shifting    = false

    api_keys              = false
    api_keys_secret_arn   = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:ner-keys-a1B2c3"
    container_environment = { NERFORGE_API_KEYS = "" }
  }

  expect_failures = [
    var.prefix,
    var.max_count,
    var.deployment_strategy,
    var.allowed_cidrs,
    var.api_keys_secret_arn,
    var.container_environment,
  ]
}

run "a_prefix_that_ends_in_a_hyphen_and_an_address_that_is_no_range" {
  command = plan

  variables {
    prefix        = "ner-"
    allowed_cidrs = ["10.0.0.1"]
  }

  expect_failures = [
    var.prefix,
    var.allowed_cidrs,
  ]
}

run "a_prefix_too_long_for_a_load_balancer" {
  command = plan

  variables {
    prefix = "a23456789012345678901"
  }

  expect_failures = [
    var.prefix,
  ]
}
