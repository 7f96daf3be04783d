# What an operator is woken for. The topic is the whole deployment's; the serving stack's alarms go to it too. Each
# description says what has happened and ends with the alarm's section of the runbook, which has the alarm's name.

# Without a KMS key: CloudWatch may not use the AWS-managed one, and one of our own would outlive destroy by a week, all
# for names and numbers that leave as plain mail.
resource "aws_sns_topic" "alarms" {
  # checkov:skip=CKV_AWS_26:see above

  name = "${var.prefix}-alarms"
}

resource "aws_sns_topic_policy" "alarms" {
  arn = aws_sns_topic.alarms.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "AlarmsOfThisAccount"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = "sns:Publish"
        Resource  = aws_sns_topic.alarms.arn
        Condition = {
          ArnLike = { "aws:SourceArn" = "arn:${data.aws_partition.current.partition}:cloudwatch:${var.region}:${local.account}:alarm:*" }
        }
      },
      {
        Sid       = "OnlyTLS"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sns:Publish"
        Resource  = aws_sns_topic.alarms.arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}

resource "aws_sns_topic_subscription" "email" {
  count = var.alarm_email == null ? 0 : 1

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

locals {
  dispatcher_dimensions = { FunctionName = aws_lambda_function.dispatcher.function_name }

  training_alarms = {
    dead-letters = {
      happened   = "A message that the dispatcher could not use lies in the dead letter queue ${aws_sqs_queue.dead_letters.name}, for 14 days at most."
      namespace  = "AWS/SQS"
      metric     = "ApproximateNumberOfMessagesVisible"
      dimensions = { QueueName = aws_sqs_queue.dead_letters.name }
      statistic  = "Maximum"
      comparison = "GreaterThanThreshold"
      threshold  = 0
      minutes    = 1
      of         = 1
      # An idle queue's metrics stop after hours, whatever lies in it: only a count ends the alarm.
      missing = "ignore"
    }

    queue-age = {
      happened   = "The oldest run in the queue has waited for more than ${var.alarm_queue_age_minutes} minutes."
      namespace  = "AWS/SQS"
      metric     = "ApproximateAgeOfOldestMessage"
      dimensions = { QueueName = aws_sqs_queue.runs.name }
      statistic  = "Maximum"
      comparison = "GreaterThanThreshold"
      threshold  = 60 * var.alarm_queue_age_minutes
      minutes    = 5
      of         = 5
      missing    = "notBreaching" # an empty queue has no oldest message
    }

    stuck-runs = {
      happened   = "A run that holds a slot has shown no life for 30 minutes."
      namespace  = "nerforge" # what the dispatcher logs of each tick, made metrics by CloudWatch
      metric     = "StuckRuns"
      dimensions = local.dispatcher_dimensions
      statistic  = "Maximum"
      comparison = "GreaterThanThreshold"
      threshold  = 0
      minutes    = 3
      of         = 3
      missing    = "ignore" # no tick, no news: the run is as it was
    }

    dispatcher-errors = {
      happened   = "The dispatcher ${aws_lambda_function.dispatcher.function_name} has failed in five of the last ten minutes."
      namespace  = "AWS/Lambda"
      metric     = "Errors"
      dimensions = local.dispatcher_dimensions
      statistic  = "Sum"
      comparison = "GreaterThanThreshold"
      threshold  = 0
      minutes    = 5 # what a throttle or two broke, the next ticks have done
      of         = 10
      missing    = "notBreaching" # not called, it cannot fail; dispatcher-silent sees to that
    }

    dispatcher-silent = {
      happened   = "The dispatcher ${aws_lambda_function.dispatcher.function_name} has not run for ten minutes: no run starts, and none is seen to."
      namespace  = "AWS/Lambda"
      metric     = "Invocations"
      dimensions = local.dispatcher_dimensions
      statistic  = "Sum"
      comparison = "LessThanThreshold"
      threshold  = 1
      minutes    = 10
      of         = 10
      missing    = "breaching" # Lambda counts calls, not their absence
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "training" {
  # A dispatcher that is never called is silent as it should be.
  for_each = { for name, alarm in local.training_alarms : name => alarm if var.dispatcher || name != "dispatcher-silent" }

  alarm_name        = "${var.prefix}-${each.key}"
  alarm_description = "${each.value.happened} What to do: ${var.runbook}#${each.key}"

  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = 60
  datapoints_to_alarm = each.value.minutes
  evaluation_periods  = each.value.of
  treat_missing_data  = each.value.missing

  alarm_actions = [aws_sns_topic.alarms.arn]
  ok_actions    = [aws_sns_topic.alarms.arn]

  # Made last and destroyed first, or the schedule's own coming and going would seem a silence.
  depends_on = [aws_cloudwatch_event_target.dispatcher, aws_sns_topic_policy.alarms]
}
