locals {
  parameters = {
    deployment                   = jsonencode(local.deployment)
    desired_count                = tostring(var.desired_count)
    service_name                 = aws_ecs_service.server.name
    task_definition_family       = aws_ecs_task_definition.server.family
    template_task_definition_arn = aws_ecs_task_definition.server.arn
    url                          = "${local.public ? "https" : "http"}://${aws_lb.server.dns_name}"
  }
}

# What playbooks and plugins find the service by.
resource "aws_ssm_parameter" "serving" {
  # checkov:skip=CKV2_AWS_34:names and addresses, no secrets

  for_each = local.parameters

  name  = "/${var.prefix}/serving/${each.key}"
  type  = "String"
  value = each.value
}
