# What an operator is woken for, by the training stack's topic.

mock_provider "aws" {
  source = "./tests"
}

variables {
  prefix       = "ner"
  region       = "eu-central-1"
  server_image = "ner/server:1"
}

run "what_each_alarm_watches" {
  assert {
    condition = (
      "${aws_cloudwatch_metric_alarm.latency.extended_statistic} of ${aws_cloudwatch_metric_alarm.latency.namespace} ${aws_cloudwatch_metric_alarm.latency.metric_name} ${jsonencode(aws_cloudwatch_metric_alarm.latency.dimensions)}" ==
      "p99 of AWS/ApplicationELB TargetResponseTime {\"LoadBalancer\":\"app/ner/1\"}"
    )
    error_message = "Latency is that of all answers."
  }

  assert {
    condition = {
      for query in aws_cloudwatch_metric_alarm.unhealthy_hosts.metric_query :
      query.id => one(query.metric) == null ? query.expression : "${one(query.metric).stat} of ${one(query.metric).namespace} ${one(query.metric).metric_name} ${jsonencode(one(query.metric).dimensions)}"
      } == {
      unhealthy = "FILL(alternate, 0) + FILL(primary, 0)"
      alternate = "Minimum of AWS/ApplicationELB UnHealthyHostCount {\"LoadBalancer\":\"app/ner/1\",\"TargetGroup\":\"targetgroup/ner-server/2\"}"
      primary   = "Minimum of AWS/ApplicationELB UnHealthyHostCount {\"LoadBalancer\":\"app/ner/1\",\"TargetGroup\":\"targetgroup/ner-server/2\"}"
    }
    error_message = "A task that is not ready counts in whichever target group it is."
  }

  assert {
    condition = {
      for query in aws_cloudwatch_metric_alarm.no_healthy_host.metric_query :
      query.id => one(query.metric) == null ? query.expression : "${one(query.metric).stat} of ${one(query.metric).namespace} ${one(query.metric).metric_name} ${jsonencode(one(query.metric).dimensions)}"
      } == {
      nobody_serves = "IF(FILL(desired, 0) > 0 AND FILL(alternate, 0) + FILL(primary, 0) < 1, 1, 0)"
      desired       = "Minimum of ECS/ContainerInsights DesiredTaskCount {\"ClusterName\":\"ner\",\"ServiceName\":\"ner-server\"}"
      alternate     = "Maximum of AWS/ApplicationELB HealthyHostCount {\"LoadBalancer\":\"app/ner/1\",\"TargetGroup\":\"targetgroup/ner-server/2\"}"
      primary       = "Maximum of AWS/ApplicationELB HealthyHostCount {\"LoadBalancer\":\"app/ner/1\",\"TargetGroup\":\"targetgroup/ner-server/2\"}"
    }
    error_message = "Nobody serves when tasks are wanted and none is healthy, counted or not."
  }

  assert {
    condition = {
      for query in aws_cloudwatch_metric_alarm.errors.metric_query :
      query.id => "${one(query.metric).stat} of ${one(query.metric).namespace} ${one(query.metric).metric_name} ${jsonencode(one(query.metric).dimensions)}" if one(query.metric) != null
      } == {
      server   = "Sum of AWS/ApplicationELB HTTPCode_Target_5XX_Count {\"LoadBalancer\":\"app/ner/1\"}"
      balancer = "Sum of AWS/ApplicationELB HTTPCode_ELB_5XX_Count {\"LoadBalancer\":\"app/ner/1\"}"
      requests = "Sum of AWS/ApplicationELB RequestCount {\"LoadBalancer\":\"app/ner/1\"}"
    }
    error_message = "Errors are the server's and the load balancer's."
  }

  assert {
    condition = {
      for alarm in [
        aws_cloudwatch_metric_alarm.no_healthy_host,
        aws_cloudwatch_metric_alarm.unhealthy_hosts,
        aws_cloudwatch_metric_alarm.errors,
        aws_cloudwatch_metric_alarm.latency,
      ] :
      alarm.alarm_name => "${alarm.comparison_operator} ${alarm.threshold}, ${coalesce(alarm.datapoints_to_alarm, alarm.evaluation_periods)} of ${alarm.evaluation_periods}, missing: ${alarm.treat_missing_data}"
      } == {
      ner-server-no-healthy-host = "GreaterThanThreshold 0, 5 of 5, missing: notBreaching"
      ner-server-unhealthy-hosts = "GreaterThanThreshold 0, 10 of 10, missing: notBreaching"
      ner-server-errors          = "GreaterThanThreshold 5, 3 of 5, missing: notBreaching"
      ner-server-latency         = "GreaterThanThreshold 2, 3 of 5, missing: notBreaching"
    }
    error_message = "Each alarm must go off when it should, and only then."
  }
}

run "each_alarm_tells_someone_what_has_happened" {
  variables {
    runbook = "https://wiki.example.com/nerforge"
  }

  assert {
    condition = alltrue([
      for alarm in [
        aws_cloudwatch_metric_alarm.no_healthy_host,
        aws_cloudwatch_metric_alarm.unhealthy_hosts,
        aws_cloudwatch_metric_alarm.errors,
        aws_cloudwatch_metric_alarm.latency,
      ] :
      alarm.alarm_actions == toset(["arn:aws:sns:eu-central-1:123456789012:ner-alarms"]) && alarm.ok_actions == alarm.alarm_actions
    ])
    error_message = "The training stack's topic must hear of each alarm, and of its end."
  }

  assert {
    condition = alltrue([
      for alarm in [
        aws_cloudwatch_metric_alarm.no_healthy_host,
        aws_cloudwatch_metric_alarm.unhealthy_hosts,
        aws_cloudwatch_metric_alarm.errors,
        aws_cloudwatch_metric_alarm.latency,
      ] :
      length(alarm.alarm_description) > 80 && endswith(alarm.alarm_description, " https://wiki.example.com/nerforge#${trimprefix(alarm.alarm_name, "ner-")}")
    ])
    error_message = "Each description must say what has happened, and end with the runbook's section of the alarm's name."
  }
}

run "the_projects_own_runbook_by_default" {
  assert {
    condition     = endswith(aws_cloudwatch_metric_alarm.errors.alarm_description, " playbooks/RUNBOOK.md#server-errors")
    error_message = "A description must link the runbook."
  }
}

run "as_many_metrics_as_the_bill_counts" { # plugin_utils/upkeep.py: 9 of the service, 10 of its releases
  assert {
    condition = [
      length(flatten([
        for alarm in [aws_cloudwatch_metric_alarm.no_healthy_host, aws_cloudwatch_metric_alarm.unhealthy_hosts, aws_cloudwatch_metric_alarm.errors] :
        [for query in alarm.metric_query : query.id if one(query.metric) != null]
      ])) + 1,
      length(flatten([
        for alarm in aws_cloudwatch_metric_alarm.deployment : [for query in alarm.metric_query : query.id if one(query.metric) != null]
      ])),
    ] == [9, 10]
    error_message = "AWS bills an alarm by the metrics that it watches: mend alarm_metrics in plugins/plugin_utils/upkeep.py too."
  }
}
