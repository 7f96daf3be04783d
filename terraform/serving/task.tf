locals {
  name        = "${var.prefix}-server"
  server_port = 8080

  # Where the server reads the hashes of its API keys. keys.yml writes the parameter: a state has no secrets.
  api_keys_parameter = "/${var.prefix}/serving/api_keys"
  api_keys           = var.api_keys ? coalesce(var.api_keys_secret_arn, local.api_keys_parameter) : null

  # Sorted by name, as ECS stores it, so that a second plan finds nothing to change.
  server_environment = merge(
    {
      AWS_DEFAULT_REGION = var.region
      NERFORGE_BUCKET    = local.training.bucket
      NERFORGE_IMAGE     = var.server_image
      NERFORGE_WORKERS   = tostring(max(1, floor(var.cpu / 1024))) # a container sees all CPUs of its instance
    },
    var.api_keys ? { NERFORGE_API_KEYS = local.api_keys } : {},
    var.container_environment,
  )
}

# The template of every release: a release is this with a pinned model, registered as a later revision.
resource "aws_ecs_task_definition" "server" {
  family                   = local.name
  network_mode             = "bridge"
  requires_compatibilities = ["EC2"]
  task_role_arn            = aws_iam_role.task.arn
  execution_role_arn       = aws_iam_role.execution.arn

  volume {
    name = "scratch" # a fresh Docker volume for each task
  }

  container_definitions = jsonencode([{
    name      = "server"
    image     = var.server_image
    essential = true
    cpu       = var.cpu
    memory    = var.memory_mib

    environment  = [for name in sort(keys(local.server_environment)) : { name = name, value = local.server_environment[name] }]
    portMappings = [{ containerPort = local.server_port, hostPort = 0, protocol = "tcp" }]

    user                   = "10001:10001"
    readonlyRootFilesystem = true
    dockerSecurityOptions  = ["no-new-privileges"]
    mountPoints            = [{ sourceVolume = "scratch", containerPath = "/tmp", readOnly = false }]
    linuxParameters = {
      capabilities       = { add = [], drop = ["ALL"] }
      initProcessEnabled = true
    }

    healthCheck = {
      command     = ["CMD", "python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:${local.server_port}/health', timeout=4)"]
      interval    = 15
      timeout     = 5
      retries     = 3
      startPeriod = 60
    }

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = local.training.server_log_group
        awslogs-region        = var.region
        awslogs-stream-prefix = "server"
        max-buffer-size       = "4m"
        mode                  = "non-blocking" # a slow log must not slow an answer
      }
    }
  }])
}
