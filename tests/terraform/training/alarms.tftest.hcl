# What an operator is woken for, and how.

mock_provider "aws" {
  source = "./tests"
}

variables {
  prefix         = "ner"
  region         = "eu-central-1"
  trainer_image  = "ner/trainer:1f2e3d"
  dispatcher_zip = "versions.tf" # any file will do
}

run "what_each_alarm_watches" {
  assert {
    condition = {
      for name, alarm in aws_cloudwatch_metric_alarm.training :
      alarm.alarm_name => "${alarm.statistic} of ${alarm.namespace} ${alarm.metric_name} ${jsonencode(alarm.dimensions)}"
      } == {
      ner-dead-letters      = "Maximum of AWS/SQS ApproximateNumberOfMessagesVisible {\"QueueName\":\"ner-runs-dead-letters\"}"
      ner-queue-age         = "Maximum of AWS/SQS ApproximateAgeOfOldestMessage {\"QueueName\":\"ner-runs\"}"
      ner-stuck-runs        = "Maximum of nerforge StuckRuns {\"FunctionName\":\"ner-dispatcher\"}"
      ner-dispatcher-errors = "Sum of AWS/Lambda Errors {\"FunctionName\":\"ner-dispatcher\"}"
      ner-dispatcher-silent = "Sum of AWS/Lambda Invocations {\"FunctionName\":\"ner-dispatcher\"}"
    }
    error_message = "Each alarm must watch its metric of this deployment."
  }

  assert {
    condition = {
      for name, alarm in aws_cloudwatch_metric_alarm.training :
      name => "${alarm.comparison_operator} ${alarm.threshold}, ${alarm.datapoints_to_alarm} of ${alarm.evaluation_periods} times ${alarm.period} s, missing: ${alarm.treat_missing_data}"
      } == {
      dead-letters      = "GreaterThanThreshold 0, 1 of 1 times 60 s, missing: ignore"
      queue-age         = "GreaterThanThreshold 3600, 5 of 5 times 60 s, missing: notBreaching"
      stuck-runs        = "GreaterThanThreshold 0, 3 of 3 times 60 s, missing: ignore"
      dispatcher-errors = "GreaterThanThreshold 0, 5 of 10 times 60 s, missing: notBreaching"
      dispatcher-silent = "LessThanThreshold 1, 10 of 10 times 60 s, missing: breaching"
    }
    error_message = "Each alarm must go off when it should, and only then."
  }
}

run "each_alarm_tells_someone_what_has_happened" {
  assert {
    condition = alltrue([
      for alarm in aws_cloudwatch_metric_alarm.training :
      alarm.alarm_actions == toset([aws_sns_topic.alarms.arn]) && alarm.ok_actions == alarm.alarm_actions
    ])
    error_message = "The topic must hear of each alarm, and of its end."
  }

  assert {
    condition = alltrue([
      for name, alarm in aws_cloudwatch_metric_alarm.training :
      length(alarm.alarm_description) > 80 && endswith(alarm.alarm_description, " playbooks/RUNBOOK.md#${name}")
    ])
    error_message = "Each description must say what has happened, and end with the runbook's section of the alarm's name."
  }
}

run "another_runbook_and_another_patience" {
  variables {
    runbook                 = "https://wiki.example.com/nerforge"
    alarm_queue_age_minutes = 90
  }

  assert {
    condition     = alltrue([for name, alarm in aws_cloudwatch_metric_alarm.training : endswith(alarm.alarm_description, " https://wiki.example.com/nerforge#${name}")])
    error_message = "The descriptions must link the team's own runbook."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.training["queue-age"].threshold == 5400 && strcontains(aws_cloudwatch_metric_alarm.training["queue-age"].alarm_description, "90 minutes")
    error_message = "alarm_queue_age_minutes must be the limit, in seconds, and the description must say it."
  }
}

run "who_may_publish" {
  assert {
    condition = jsondecode(aws_sns_topic_policy.alarms.policy).Statement == [
      {
        Sid       = "AlarmsOfThisAccount"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = "sns:Publish"
        Resource  = "arn:aws:sns:eu-central-1:123456789012:ner-alarms"
        Condition = { ArnLike = { "aws:SourceArn" = "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:*" } }
      },
      {
        Sid       = "OnlyTLS"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sns:Publish"
        Resource  = "arn:aws:sns:eu-central-1:123456789012:ner-alarms"
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
    error_message = "CloudWatch's alarms of this account and region may publish, and nothing may without TLS."
  }

  assert {
    condition     = aws_sns_topic.alarms.kms_master_key_id != "alias/aws/sns"
    error_message = "CloudWatch cannot publish to a topic under the AWS-managed key."
  }

  assert {
    condition     = aws_sns_topic.alarms.name == "ner-alarms" && aws_ssm_parameter.published["alarm_topic_arn"].value == aws_sns_topic.alarms.arn && output.alarm_topic_arn == aws_sns_topic.alarms.arn
    error_message = "The topic must be published: the serving stack's alarms go to it too."
  }
}

run "nobody_is_subscribed_by_default" {
  assert {
    condition     = length(aws_sns_topic_subscription.email) == 0
    error_message = "Without alarm_email there is the topic, and no subscription."
  }
}

run "alarm_email_is_subscribed" {
  variables {
    alarm_email = "oncall@example.com"
  }

  assert {
    condition     = one(aws_sns_topic_subscription.email).endpoint == "oncall@example.com" && one(aws_sns_topic_subscription.email).protocol == "email" && one(aws_sns_topic_subscription.email).topic_arn == aws_sns_topic.alarms.arn
    error_message = "alarm_email must be subscribed to the topic."
  }
}

run "a_dispatcher_that_is_switched_off_is_not_called_and_not_missed" {
  variables {
    dispatcher = false
  }

  assert {
    condition     = alltrue([for rule in aws_cloudwatch_event_rule.trigger : rule.state == "DISABLED"])
    error_message = "Nothing may call the dispatcher."
  }

  assert {
    condition     = !contains(keys(aws_cloudwatch_metric_alarm.training), "dispatcher-silent")
    error_message = "Its silence must not wake anybody."
  }
}
