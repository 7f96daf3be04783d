# A service with no task stays so: neither measure has a value until a release has started the first.

resource "aws_appautoscaling_target" "server" {
  count = var.autoscaling ? 1 : 0

  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${local.training.cluster_name}/${aws_ecs_service.server.name}"
  min_capacity       = var.desired_count
  max_capacity       = var.max_count
}

locals {
  # Requests are counted in one target group, which is the live one as long as all releases roll; else the CPU says.
  scaling_measures = merge(
    { cpu = { metric = "ECSServiceAverageCPUUtilization", target = 60, label = null } },
    var.deployment_strategy != "rolling" ? {} : {
      requests = { metric = "ALBRequestCountPerTarget", target = var.requests_per_task, label = "${aws_lb.server.arn_suffix}/${aws_lb_target_group.server["primary"].arn_suffix}" }
    },
  )
}

resource "aws_appautoscaling_policy" "server" {
  for_each = var.autoscaling ? local.scaling_measures : {}

  name               = "${local.name}-${each.key}"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.server[0].service_namespace
  scalable_dimension = aws_appautoscaling_target.server[0].scalable_dimension
  resource_id        = aws_appautoscaling_target.server[0].resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = each.value.target
    scale_out_cooldown = 60
    scale_in_cooldown  = 300

    predefined_metric_specification {
      predefined_metric_type = each.value.metric
      resource_label         = each.value.label
    }
  }
}
