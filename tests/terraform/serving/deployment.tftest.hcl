# How a release reaches the tasks, and what undoes it.

mock_provider "aws" {
  source = "./tests"
}

variables {
  prefix       = "ner"
  region       = "eu-central-1"
  server_image = "ner/server:1"
}

run "rolling" {
  assert {
    condition = jsondecode(aws_ssm_parameter.serving["deployment"].value) == {
      deploymentConfiguration = {
        strategy                 = "ROLLING"
        minimumHealthyPercent    = 100
        maximumPercent           = 200
        deploymentCircuitBreaker = { enable = true, rollback = true }
        alarms = {
          alarmNames = ["ner-server-deployment-errors", "ner-server-deployment-latency", "ner-server-deployment-unhealthy-hosts"]
          enable     = true
          rollback   = true
        }
      }
    }
    error_message = "A rolling release must leave the load balancers alone: either target group may be the live one."
  }

  assert {
    condition = (
      [for group in aws_lb_target_group.server : group.name] == ["ner-server-2", "ner-server"] &&
      length(distinct([for group in aws_lb_target_group.server : jsonencode([group.health_check, group.deregistration_delay, group.target_type])])) == 1
    )
    error_message = "The two target groups must treat tasks alike."
  }

  assert {
    condition = (
      [for condition in aws_lb_listener_rule.production[0].condition : one(condition.path_pattern).values] == [toset(["/*"])] &&
      length(aws_lb_listener_rule.production[0].action[0].forward[0].target_group) == 2
    )
    error_message = "All requests must pass the rule whose weights releases move."
  }
}

run "blue_green" {
  variables {
    deployment_strategy     = "blue_green"
    deployment_bake_minutes = 0
    deployment_alarms       = false
  }

  assert {
    condition = jsondecode(aws_ssm_parameter.serving["deployment"].value) == {
      deploymentConfiguration = {
        strategy                 = "BLUE_GREEN"
        bakeTimeInMinutes        = 0
        minimumHealthyPercent    = 100
        maximumPercent           = 200
        deploymentCircuitBreaker = { enable = true, rollback = true }
        alarms                   = { alarmNames = [], enable = false, rollback = false }
      }
      loadBalancers = [{
        targetGroupArn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/ner-server/2"
        containerName  = "server"
        containerPort  = 8080
        advancedConfiguration = {
          alternateTargetGroupArn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/ner-server/2"
          productionListenerRule  = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener-rule/app/ner/1/3/4"
          roleArn                 = "arn:aws:iam::123456789012:role/ner"
        }
      }]
    }
    error_message = "ECS must learn of both target groups, the rule between them and the role to use."
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.deployment) == 0
    error_message = "Without alarms nothing but the tasks themselves undoes a release."
  }

  assert {
    condition     = jsondecode(aws_iam_role.deployment[0].assume_role_policy).Statement[0].Principal == { Service = "ecs.amazonaws.com" }
    error_message = "The role must be ECS's to take."
  }
}

run "canary" {
  variables {
    deployment_strategy = "canary"
  }

  assert {
    condition = {
      for name, value in jsondecode(aws_ssm_parameter.serving["deployment"].value).deploymentConfiguration : name => value
      if contains(["strategy", "bakeTimeInMinutes", "canaryConfiguration"], name)
      } == {
      strategy            = "CANARY"
      bakeTimeInMinutes   = 5
      canaryConfiguration = { canaryPercent = 10, canaryBakeTimeInMinutes = 5 }
    }
    error_message = "A canary begins with a tenth of the requests, and is watched before it gets the rest and after."
  }
}

run "linear" {
  variables {
    deployment_strategy     = "linear"
    deployment_step_percent = 50
  }

  assert {
    condition = {
      for name, value in jsondecode(aws_ssm_parameter.serving["deployment"].value).deploymentConfiguration : name => value
      if contains(["strategy", "bakeTimeInMinutes", "linearConfiguration"], name)
      } == {
      strategy            = "LINEAR"
      bakeTimeInMinutes   = 5
      linearConfiguration = { stepPercent = 50, stepBakeTimeInMinutes = 5 }
    }
    error_message = "A linear release is watched after each step."
  }
}

run "a_target_without_traffic_shifting" {
  variables {
    traffic_shifting = false
  }

  assert {
    condition = (
      keys(aws_lb_target_group.server) == ["primary"] &&
      length(aws_lb_listener_rule.production) + length(aws_iam_role.deployment) + length(aws_iam_role_policy.deployment) == 0
    )
    error_message = "Rolling releases need one target group and no more."
  }
}

run "what_undoes_a_release" {
  assert {
    condition = {
      for alarm in aws_cloudwatch_metric_alarm.deployment :
      alarm.alarm_name => "${alarm.comparison_operator} ${alarm.threshold}, ${alarm.evaluation_periods} min, missing: ${alarm.treat_missing_data}"
      } == {
      ner-server-deployment-errors          = "GreaterThanThreshold 5, 1 min, missing: notBreaching"
      ner-server-deployment-latency         = "GreaterThanThreshold 2, 2 min, missing: notBreaching"
      ner-server-deployment-unhealthy-hosts = "GreaterThanThreshold 0, 3 min, missing: notBreaching"
    }
    error_message = "These alarms must go off sooner than those that wake somebody."
  }

  assert {
    condition = {
      for query in aws_cloudwatch_metric_alarm.deployment["errors"].metric_query :
      query.id => one(query.metric) == null ? query.expression : "${one(query.metric).stat} of ${one(query.metric).metric_name}"
      } == {
      worst               = "MAX([IF(FILL(alternate_errors, 0) + FILL(alternate_unreached, 0) >= 5, 100 * (FILL(alternate_errors, 0) + FILL(alternate_unreached, 0)) / (FILL(alternate_requests, 0) + FILL(alternate_unreached, 0)), 0), IF(FILL(primary_errors, 0) + FILL(primary_unreached, 0) >= 5, 100 * (FILL(primary_errors, 0) + FILL(primary_unreached, 0)) / (FILL(primary_requests, 0) + FILL(primary_unreached, 0)), 0)])"
      alternate_errors    = "Sum of HTTPCode_Target_5XX_Count"
      alternate_requests  = "Sum of RequestCount"
      alternate_unreached = "Sum of TargetConnectionErrorCount"
      primary_errors      = "Sum of HTTPCode_Target_5XX_Count"
      primary_requests    = "Sum of RequestCount"
      primary_unreached   = "Sum of TargetConnectionErrorCount"
    }
    error_message = "Each target group's errors count by themselves, else a canary's would drown."
  }

  assert {
    condition = alltrue(flatten([
      for alarm in aws_cloudwatch_metric_alarm.deployment : [
        for query in alarm.metric_query :
        one(query.metric) == null ? query.return_data : one(query.metric).dimensions == tomap({ LoadBalancer = "app/ner/1", TargetGroup = "targetgroup/ner-server/2" })
      ]
    ]))
    error_message = "They must watch this service's target groups."
  }
}
