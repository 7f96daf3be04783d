# The training stack's policies, about resources that have the names of the tests' AWS.

mock_provider "aws" {
  source = "./tests"

  override_resource {
    target = aws_cloudwatch_log_group.container["trainer"]
    values = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:/nerforge/trainer" }
  }
  override_resource {
    target = aws_cloudwatch_log_group.dispatcher
    values = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/nerforge-dispatcher" }
  }
  override_resource {
    target = aws_dynamodb_table.models
    values = { arn = "arn:aws:dynamodb:us-east-1:123456789012:table/models" }
  }
  override_resource {
    target = aws_dynamodb_table.runs
    values = { arn = "arn:aws:dynamodb:us-east-1:123456789012:table/runs" }
  }
  override_resource {
    target = aws_ecr_repository.image["trainer"]
    values = { arn = "arn:aws:ecr:us-east-1:123456789012:repository/nerforge/trainer" }
  }
  override_resource {
    target = aws_ecs_cluster.main
    values = { arn = "arn:aws:ecs:us-east-1:123456789012:cluster/nerforge" }
  }
  override_resource {
    target = aws_ecs_task_definition.trainer
    values = { arn_without_revision = "arn:aws:ecs:us-east-1:123456789012:task-definition/nerforge-trainer" }
  }
  override_resource {
    target = aws_iam_role.role["execution"]
    values = { arn = "arn:aws:iam::123456789012:role/nerforge-execution" }
  }
  override_resource {
    target = aws_iam_role.role["trainer"]
    values = { arn = "arn:aws:iam::123456789012:role/nerforge-trainer" }
  }
  override_resource {
    target = aws_sqs_queue.dead_letters
    values = { arn = "arn:aws:sqs:us-east-1:123456789012:dead" }
  }
  override_resource {
    target = aws_sqs_queue.runs
    values = { arn = "arn:aws:sqs:us-east-1:123456789012:runs" }
  }
}

variables {
  prefix         = "nerforge"
  region         = "us-east-1"
  trainer_image  = "123456789012.dkr.ecr.us-east-1.amazonaws.com/nerforge/trainer:1f2e3d"
  dispatcher_zip = "versions.tf" # any file will do
}

run "policies" {}
