# A service with no task stays so: neither measure has a value until a release has started the first.

resource "aws_appautoscaling_target" "server" {
  count = var.autoscaling ? 1 : 0

  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${local.training.cluster_name}/${aws_ecs_service.server.name}"
  min_capacity       = var.desired_count
  max_capacity       = var.max_count
}

resource "aws_appautoscaling_policy" "server" {
  for_each = var.autoscaling ? { cpu = 60, requests = var.requests_per_task } : {}

  name               = "${local.name}-${each.key}"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.server[0].service_namespace
  scalable_dimension = aws_appautoscaling_target.server[0].scalable_dimension
  resource_id        = aws_appautoscaling_target.server[0].resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = each.value
    scale_out_cooldown = 60
    scale_in_cooldown  = 300

    dynamic "predefined_metric_specification" {
      for_each = each.key == "cpu" ? [1] : []

      content {
        predefined_metric_type = "ECSServiceAverageCPUUtilization"
      }
    }

    # Not ALBRequestCountPerTarget: that is of one target group, and the tasks may be in the other.
    dynamic "customized_metric_specification" {
      for_each = each.key == "requests" ? [1] : []

      content {
        metrics {
          id          = "requests_per_task"
          label       = "Requests for each task wanted"
          expression  = "requests / tasks"
          return_data = true
        }

        metrics {
          id          = "requests"
          return_data = false

          metric_stat {
            stat = "Sum"

            metric {
              namespace   = "AWS/ApplicationELB"
              metric_name = "RequestCount"

              dimensions {
                name  = "LoadBalancer"
                value = aws_lb.server.arn_suffix
              }
            }
          }
        }

        metrics {
          id          = "tasks"
          return_data = false

          metric_stat {
            stat = "Average"

            metric {
              namespace   = "ECS/ContainerInsights"
              metric_name = "DesiredTaskCount"

              dimensions {
                name  = "ClusterName"
                value = local.training.cluster_name
              }

              dimensions {
                name  = "ServiceName"
                value = aws_ecs_service.server.name
              }
            }
          }
        }
      }
    }
  }
}
