# What the serving stack and the playbooks read.

locals {
  parameters = {
    alarm_topic_arn                      = aws_sns_topic.alarms.arn
    bucket                               = aws_s3_bucket.main.id
    capacity_providers                   = jsonencode(local.capacity_providers)
    cluster_arn                          = aws_ecs_cluster.main.arn
    cluster_name                         = aws_ecs_cluster.main.name
    container_instance_security_group_id = aws_security_group.container_instances.id
    dead_letter_queue_url                = aws_sqs_queue.dead_letters.url
    dispatcher_function_name             = aws_lambda_function.dispatcher.function_name
    models_table                         = aws_dynamodb_table.models.name
    private_subnet_ids                   = join(",", local.private_subnet_ids)
    public_subnet_ids                    = join(",", local.public_subnet_ids)
    queue_url                            = aws_sqs_queue.runs.url
    runs_table                           = aws_dynamodb_table.runs.name
    server_log_group                     = aws_cloudwatch_log_group.container["server"].name
    server_repository_url                = aws_ecr_repository.image["server"].repository_url
    trainer_log_group                    = aws_cloudwatch_log_group.container["trainer"].name
    trainer_repository_url               = aws_ecr_repository.image["trainer"].repository_url
    vpc_id                               = local.vpc_id
  }
}

resource "aws_ssm_parameter" "published" {
  # checkov:skip=CKV2_AWS_34:names and addresses, no secrets

  for_each  = local.parameters
  name      = "/${var.prefix}/training/${each.key}"
  type      = "String"
  value     = each.value
  overwrite = true # a deploy that was cut off may have left it without knowing
}
