# How a release reaches the tasks. ECS takes the strategy with each UpdateService, and provider 5.100 knows none: so it is
# published as what UpdateService is given, and releases pass it on. What the provider does know is the same here and
# there, so that a plan after a release finds nothing to change.

locals {
  deployment_strategies = {
    rolling    = { strategy = "ROLLING" }
    blue_green = { strategy = "BLUE_GREEN", bakeTimeInMinutes = var.deployment_bake_minutes }
    canary = {
      strategy          = "CANARY"
      bakeTimeInMinutes = var.deployment_bake_minutes
      canaryConfiguration = {
        canaryPercent           = var.deployment_canary_percent
        canaryBakeTimeInMinutes = var.deployment_bake_minutes
      }
    }
    linear = {
      strategy          = "LINEAR"
      bakeTimeInMinutes = var.deployment_bake_minutes
      linearConfiguration = {
        stepPercent           = var.deployment_step_percent
        stepBakeTimeInMinutes = var.deployment_bake_minutes
      }
    }
  }

  deployment_configuration = merge(
    {
      # The new task starts before the old one stops.
      minimumHealthyPercent    = 100
      maximumPercent           = 200
      deploymentCircuitBreaker = { enable = true, rollback = true }
      # Told where there are none, too: ECS keeps what it is not told.
      alarms = {
        alarmNames = sort([for alarm in aws_cloudwatch_metric_alarm.deployment : alarm.alarm_name])
        enable     = var.deployment_alarms
        rollback   = var.deployment_alarms
      }
    },
    local.deployment_strategies[var.deployment_strategy],
  )

  # A rolling release names no load balancer: the tasks stay in the target group that is live.
  deployment_load_balancers = var.deployment_strategy == "rolling" ? {} : {
    loadBalancers = [{
      targetGroupArn = aws_lb_target_group.server["primary"].arn
      containerName  = "server"
      containerPort  = local.server_port
      advancedConfiguration = {
        alternateTargetGroupArn = aws_lb_target_group.server["alternate"].arn
        productionListenerRule  = aws_lb_listener_rule.production[0].arn
        roleArn                 = aws_iam_role.deployment[0].arn
      }
    }]
  }

  deployment = merge({ deploymentConfiguration = local.deployment_configuration }, local.deployment_load_balancers)
}

# What ECS itself may do: move tasks and traffic between the two target groups.
resource "aws_iam_role" "deployment" {
  count = var.traffic_shifting ? 1 : 0

  name = "${local.name}-deployment"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ecs.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "deployment" {
  count = var.traffic_shifting ? 1 : 0

  name = "traffic"
  role = aws_iam_role.deployment[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect = "Allow" # these know no resources
        Action = [
          "elasticloadbalancing:DescribeListeners",
          "elasticloadbalancing:DescribeRules",
          "elasticloadbalancing:DescribeTargetGroups",
          "elasticloadbalancing:DescribeTargetHealth",
        ]
        Resource = "*"
      },
      {
        Effect   = "Allow"
        Action   = ["elasticloadbalancing:DeregisterTargets", "elasticloadbalancing:RegisterTargets"]
        Resource = [for group in aws_lb_target_group.server : group.arn]
      },
      {
        Effect   = "Allow"
        Action   = "elasticloadbalancing:ModifyRule"
        Resource = aws_lb_listener_rule.production[0].arn
      },
    ]
  })
}

# What undoes a release while it is under way. ECS listens to these; they wake nobody. They look at each target group by
# itself, else a canary's errors would drown in the good answers of the old version. ECS watches as long after a rolling
# release as the slowest of them needs to go off.
locals {
  deployment_alarm_measures = {
    errors = {
      description = "More than 5 % of requests to a target group failed, at least five of them"
      threshold   = 5
      periods     = 1
      expression  = "IF(FILL(%[1]s_errors, 0) + FILL(%[1]s_unreached, 0) >= 5, 100 * (FILL(%[1]s_errors, 0) + FILL(%[1]s_unreached, 0)) / (FILL(%[1]s_requests, 0) + FILL(%[1]s_unreached, 0)), 0)"
      metrics = {
        errors    = { name = "HTTPCode_Target_5XX_Count", stat = "Sum" }
        unreached = { name = "TargetConnectionErrorCount", stat = "Sum" } # counted as no request
        requests  = { name = "RequestCount", stat = "Sum" }
      }
    }
    latency = {
      description = "One answer in a hundred takes longer than ${var.alarm_latency_seconds} s in a target group"
      threshold   = var.alarm_latency_seconds
      periods     = 2
      expression  = "FILL(%[1]s_seconds, 0)"
      metrics     = { seconds = { name = "TargetResponseTime", stat = "p99" } }
    }
    unhealthy-hosts = {
      description = "A task has not been ready for three minutes"
      threshold   = 0
      periods     = 3 # more than a new task is given to begin
      expression  = "FILL(%[1]s_unhealthy, 0)"
      metrics     = { unhealthy = { name = "UnHealthyHostCount", stat = "Minimum" } }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "deployment" {
  for_each = var.deployment_alarms ? local.deployment_alarm_measures : {}

  alarm_name        = "${local.name}-deployment-${each.key}"
  alarm_description = "${each.value.description}: ECS undoes a release that is under way."

  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  evaluation_periods  = each.value.periods
  treat_missing_data  = "notBreaching"

  metric_query {
    id          = "worst"
    label       = "The worse of the target groups"
    expression  = "MAX([${join(", ", [for group, _ in aws_lb_target_group.server : format(each.value.expression, group)])}])"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = merge([
      for group, resource in aws_lb_target_group.server : {
        for id, metric in each.value.metrics : "${group}_${id}" => merge(metric, { target_group = resource.arn_suffix })
      }
    ]...)

    content {
      id = metric_query.key

      metric {
        namespace   = "AWS/ApplicationELB"
        metric_name = metric_query.value.name
        dimensions  = { LoadBalancer = aws_lb.server.arn_suffix, TargetGroup = metric_query.value.target_group }
        period      = 60
        stat        = metric_query.value.stat
      }
    }
  }
}
