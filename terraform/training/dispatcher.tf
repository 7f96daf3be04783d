# The function that starts tasks for runs and sees to those that have one. The schedule alone would do, a minute late;
# the events make it prompt.

locals {
  dispatcher_name            = "${var.prefix}-dispatcher"
  dispatcher_timeout_seconds = 60

  triggers = {
    schedule = {
      description = "Every minute: runs that wait, and runs whose task ended unheard"
      schedule    = "rate(1 minute)"
      pattern     = null
    }
    submitted = {
      description = "A run was submitted or cancelled"
      schedule    = null
      pattern = {
        source      = ["nerforge"]
        detail-type = ["Run Submitted", "Run Cancelled"]
        detail      = { prefix = [var.prefix] }
      }
    }
    stopped = {
      description = "A task of the cluster stopped"
      schedule    = null
      pattern = {
        source      = ["aws.ecs"]
        detail-type = ["ECS Task State Change"]
        detail      = { clusterArn = [aws_ecs_cluster.main.arn], lastStatus = ["STOPPED"] }
      }
    }
  }
}

resource "aws_cloudwatch_log_group" "dispatcher" {
  # checkov:skip=CKV_AWS_158:AWS's own key: one of ours would cost by the month and outlive destroy by a week
  # checkov:skip=CKV_AWS_338:log_retention_days is the user's to set; a year of training logs is rarely worth its price

  name              = "/aws/lambda/${local.dispatcher_name}"
  retention_in_days = var.log_retention_days
}

resource "aws_lambda_function" "dispatcher" {
  # checkov:skip=CKV_AWS_50:it calls no service of ours that a trace could follow; each tick logs what it did
  # checkov:skip=CKV_AWS_115:a young account has ten executions at once, of which AWS lets none be reserved
  # checkov:skip=CKV_AWS_116:a call that was lost is made good by the next tick, a minute later
  # checkov:skip=CKV_AWS_117:it calls AWS's public APIs alone; from a VPC it would need endpoints or a NAT gateway
  # checkov:skip=CKV_AWS_173:names, no secrets, under AWS's own key
  # checkov:skip=CKV_AWS_272:who may replace the code may replace a signing profile too; source_code_hash shows a change

  function_name    = local.dispatcher_name
  description      = "Starts a task for each run that waits, and sees to those that have one"
  role             = aws_iam_role.role["dispatcher"].arn
  runtime          = "python3.13"
  handler          = "dispatcher.handler"
  filename         = var.dispatcher_zip
  source_code_hash = filebase64sha256(var.dispatcher_zip)
  timeout          = local.dispatcher_timeout_seconds
  memory_size      = 256

  environment {
    variables = {
      NERFORGE_RUNS_TABLE   = aws_dynamodb_table.runs.name
      QUEUE_URL             = aws_sqs_queue.runs.url
      DEAD_LETTER_QUEUE_URL = aws_sqs_queue.dead_letters.url
      CLUSTER               = aws_ecs_cluster.main.name
      TASK_DEFINITION       = aws_ecs_task_definition.trainer.family
      CAPACITY_PROVIDERS    = jsonencode(local.capacity_providers)
      MAX_CONCURRENT_RUNS   = var.max_concurrent_runs
    }
  }

  depends_on = [
    aws_cloudwatch_log_group.dispatcher,     # or Lambda makes its own, without retention
    aws_ecs_cluster_capacity_providers.main, # so that the first tick can start tasks,
    aws_iam_role_policy.role["dispatcher"],  # and is allowed to
  ]
}

# A failed call is tried once more and then left to the next tick, which does the same work.
resource "aws_lambda_function_event_invoke_config" "dispatcher" {
  function_name                = aws_lambda_function.dispatcher.function_name
  maximum_retry_attempts       = 1
  maximum_event_age_in_seconds = 120
}

resource "aws_cloudwatch_event_rule" "trigger" {
  for_each            = local.triggers
  name                = "${local.dispatcher_name}-${each.key}"
  description         = each.value.description
  schedule_expression = each.value.schedule
  event_pattern       = each.value.pattern == null ? null : jsonencode(each.value.pattern)
  state               = var.dispatcher ? "ENABLED" : "DISABLED" # so that a deployment enables what somebody has disabled
}

resource "aws_cloudwatch_event_target" "dispatcher" {
  for_each = aws_cloudwatch_event_rule.trigger
  rule     = each.value.name
  arn      = aws_lambda_function.dispatcher.arn

  depends_on = [aws_lambda_permission.trigger]
}

resource "aws_lambda_permission" "trigger" {
  for_each      = aws_cloudwatch_event_rule.trigger
  statement_id  = "events-${each.key}"
  function_name = aws_lambda_function.dispatcher.function_name
  action        = "lambda:InvokeFunction"
  principal     = "events.amazonaws.com"
  source_arn    = each.value.arn
}
