resource "aws_ecs_service" "server" {
  name                              = local.name
  cluster                           = local.training.cluster_arn
  task_definition                   = aws_ecs_task_definition.server.arn
  desired_count                     = 0 # there is no model to serve yet
  health_check_grace_period_seconds = 120
  propagate_tags                    = "SERVICE"

  deployment_minimum_healthy_percent = local.deployment_configuration.minimumHealthyPercent
  deployment_maximum_percent         = local.deployment_configuration.maximumPercent

  deployment_circuit_breaker {
    enable   = local.deployment_configuration.deploymentCircuitBreaker.enable
    rollback = local.deployment_configuration.deploymentCircuitBreaker.rollback
  }

  capacity_provider_strategy {
    capacity_provider = local.capacity_provider
    weight            = 1
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.server["primary"].arn
    container_name   = "server"
    container_port   = local.server_port
  }

  lifecycle {
    ignore_changes = [task_definition, desired_count, load_balancer, alarms] # releases and autoscaling move these
  }

  # ECS takes a target group only once a listener uses it, and a task needs its permissions to the last, as does ECS.
  depends_on = [
    aws_iam_role_policy.api_keys,
    aws_iam_role_policy.deployment,
    aws_iam_role_policy.execution,
    aws_iam_role_policy.task,
    aws_lb_listener.http,
    aws_lb_listener.https,
    aws_lb_listener_rule.production,
    aws_vpc_security_group_ingress_rule.tasks_from_load_balancer,
  ]
}
