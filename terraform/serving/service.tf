resource "aws_ecs_service" "server" {
  name                              = local.name
  cluster                           = local.training.cluster_arn
  task_definition                   = aws_ecs_task_definition.server.arn
  desired_count                     = 0 # there is no model to serve yet
  health_check_grace_period_seconds = 120
  propagate_tags                    = "SERVICE"

  # The new task starts before the old one stops.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  capacity_provider_strategy {
    capacity_provider = local.capacity_provider
    weight            = 1
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.server.arn
    container_name   = "server"
    container_port   = local.server_port
  }

  lifecycle {
    ignore_changes = [task_definition, desired_count] # releases and autoscaling move these
  }

  # ECS takes a target group only once a listener uses it, and a task needs its permissions to the last.
  depends_on = [
    aws_iam_role_policy.api_keys,
    aws_iam_role_policy.execution,
    aws_iam_role_policy.task,
    aws_lb_listener.http,
    aws_lb_listener.https,
    aws_vpc_security_group_ingress_rule.tasks_from_load_balancer,
  ]
}
