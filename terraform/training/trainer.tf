# The task that trains. The dispatcher overrides what each run asks for: CPU, memory, GPUs and the run's own variables.

resource "aws_cloudwatch_log_group" "container" {
  # checkov:skip=CKV_AWS_158:AWS's own key: one of ours would cost by the month and outlive destroy by a week
  # checkov:skip=CKV_AWS_338:log_retention_days is the user's to set; a year of training logs is rarely worth its price

  for_each          = local.images
  name              = "/${var.prefix}/${each.key}"
  retention_in_days = var.log_retention_days
}

resource "aws_ecs_task_definition" "trainer" {
  family                   = "${var.prefix}-trainer"
  requires_compatibilities = ["EC2"]
  network_mode             = "bridge"
  execution_role_arn       = aws_iam_role.role["execution"].arn
  task_role_arn            = aws_iam_role.role["trainer"].arn

  volume {
    name = "scratch" # a fresh Docker volume for each task
  }

  container_definitions = jsonencode([{
    name        = "trainer"
    image       = var.trainer_image
    essential   = true
    cpu         = 1024
    memory      = 2048
    stopTimeout = 120 # as long as ECS allows: time for a last checkpoint

    environment = [
      for name, value in merge(var.container_environment, {
        AWS_DEFAULT_REGION    = var.region
        NERFORGE_BUCKET       = aws_s3_bucket.main.id
        NERFORGE_RUNS_TABLE   = aws_dynamodb_table.runs.name
        NERFORGE_MODELS_TABLE = aws_dynamodb_table.models.name
        NERFORGE_IMAGE        = var.trainer_image
      }) : { name = name, value = value }
    ]

    user                   = "10001:10001"
    readonlyRootFilesystem = true
    dockerSecurityOptions  = ["no-new-privileges"]
    mountPoints            = [{ sourceVolume = "scratch", containerPath = "/tmp", readOnly = false }]
    linuxParameters = {
      initProcessEnabled = true
      capabilities       = { add = [], drop = ["ALL"] }
    }

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.container["trainer"].name
        awslogs-region        = var.region
        awslogs-stream-prefix = "trainer"
      }
    }
  }])
}
