# What an operator is woken for, by the topic of the training stack. Each description says what has happened and ends
# with the alarm's section of the runbook, which has the alarm's name.

locals {
  load_balancer_dimensions = { LoadBalancer = aws_lb.server.arn_suffix }
  target_group_dimensions = {
    for name, group in aws_lb_target_group.server :
    name => { LoadBalancer = aws_lb.server.arn_suffix, TargetGroup = group.arn_suffix }
  }

  # Hosts of all target groups, of which all but one are empty most of the time, and then without a metric.
  hosts = join(" + ", [for name, _ in local.target_group_dimensions : "FILL(${name}, 0)"])
}

resource "aws_cloudwatch_metric_alarm" "no_healthy_host" {
  alarm_name        = "${local.name}-no-healthy-host"
  alarm_description = "There should be server tasks, but none is ready, so every request fails. The server's log group is ${local.training.server_log_group}. What to do: ${var.runbook}#server-no-healthy-host"

  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = 5 # a first release may have to wait for an instance
  treat_missing_data  = "notBreaching"

  # The load balancer counts healthy hosts only while some task is registered.
  metric_query {
    id          = "nobody_serves"
    label       = "Tasks wanted and none healthy"
    expression  = "IF(FILL(desired, 0) > 0 AND ${local.hosts} < 1, 1, 0)"
    return_data = true
  }

  metric_query {
    id = "desired"

    metric {
      namespace   = "ECS/ContainerInsights"
      metric_name = "DesiredTaskCount"
      dimensions  = { ClusterName = local.training.cluster_name, ServiceName = aws_ecs_service.server.name }
      period      = 60
      stat        = "Minimum"
    }
  }

  dynamic "metric_query" {
    for_each = local.target_group_dimensions

    content {
      id = metric_query.key

      metric {
        namespace   = "AWS/ApplicationELB"
        metric_name = "HealthyHostCount"
        dimensions  = metric_query.value
        period      = 60
        stat        = "Maximum"
      }
    }
  }

  alarm_actions = [local.training.alarm_topic_arn]
  ok_actions    = [local.training.alarm_topic_arn]
}

resource "aws_cloudwatch_metric_alarm" "unhealthy_hosts" {
  alarm_name        = "${local.name}-unhealthy-hosts"
  alarm_description = "A server task has not been ready for ten minutes, so there is less room than there should be. The server's log group is ${local.training.server_log_group}. What to do: ${var.runbook}#server-unhealthy-hosts"

  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = 10
  treat_missing_data  = "notBreaching"

  metric_query {
    id          = "unhealthy"
    label       = "Tasks that are not ready"
    expression  = local.hosts
    return_data = true
  }

  dynamic "metric_query" {
    for_each = local.target_group_dimensions

    content {
      id = metric_query.key

      metric {
        namespace   = "AWS/ApplicationELB"
        metric_name = "UnHealthyHostCount"
        dimensions  = metric_query.value
        period      = 60
        stat        = "Minimum"
      }
    }
  }

  alarm_actions = [local.training.alarm_topic_arn]
  ok_actions    = [local.training.alarm_topic_arn]
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  alarm_name        = "${local.name}-errors"
  alarm_description = "More than 5 % of requests ended in a 5xx answer, of the server or, where no task could be reached, of the load balancer. The server's log group is ${local.training.server_log_group}. What to do: ${var.runbook}#server-errors"

  comparison_operator = "GreaterThanThreshold"
  threshold           = 5
  evaluation_periods  = 5
  datapoints_to_alarm = 3
  treat_missing_data  = "notBreaching"

  # The load balancer counts a request only once it has chosen a target, hence its own errors in the divisor too;
  # fewer than five errors a minute wake nobody.
  metric_query {
    id          = "error_percent"
    label       = "5xx answers, %"
    expression  = "IF(FILL(server, 0) + FILL(balancer, 0) >= 5, 100 * (FILL(server, 0) + FILL(balancer, 0)) / (FILL(requests, 0) + FILL(balancer, 0)), 0)"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = {
      server   = "HTTPCode_Target_5XX_Count"
      balancer = "HTTPCode_ELB_5XX_Count"
      requests = "RequestCount"
    }

    content {
      id = metric_query.key

      metric {
        namespace   = "AWS/ApplicationELB"
        metric_name = metric_query.value
        dimensions  = local.load_balancer_dimensions
        period      = 60
        stat        = "Sum"
      }
    }
  }

  alarm_actions = [local.training.alarm_topic_arn]
  ok_actions    = [local.training.alarm_topic_arn]
}

resource "aws_cloudwatch_metric_alarm" "latency" {
  alarm_name        = "${local.name}-latency"
  alarm_description = "One answer in a hundred takes longer than ${var.alarm_latency_seconds} s, with at most ${var.max_count} tasks. What to do: ${var.runbook}#server-latency"

  namespace           = "AWS/ApplicationELB"
  metric_name         = "TargetResponseTime"
  dimensions          = local.load_balancer_dimensions
  extended_statistic  = "p99"
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.alarm_latency_seconds
  period              = 60
  evaluation_periods  = 5
  datapoints_to_alarm = 3
  treat_missing_data  = "notBreaching"

  evaluate_low_sample_count_percentiles = "ignore"

  alarm_actions = [local.training.alarm_topic_arn]
  ok_actions    = [local.training.alarm_topic_arn]
}
