locals {
  trust = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = local.account_id } }
    }]
  })
}

# What the server itself may do: read models, and the hashes of its API keys.
resource "aws_iam_role" "task" {
  name               = "${local.name}-task"
  assume_role_policy = local.trust
}

resource "aws_iam_role_policy" "task" {
  name = "models"
  role = aws_iam_role.task.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = "s3:GetObject"
        Resource = "arn:${local.partition}:s3:::${local.training.bucket}/models/*"
      },
      {
        Effect   = "Allow" # else a missing object reads as forbidden
        Action   = "s3:ListBucket"
        Resource = "arn:${local.partition}:s3:::${local.training.bucket}"
      },
    ]
  })
}

resource "aws_iam_role_policy" "api_keys" {
  count = var.api_keys ? 1 : 0

  name = "api-keys"
  role = aws_iam_role.task.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      var.api_keys_secret_arn == null ? {
        Effect   = "Allow"
        Action   = "ssm:GetParameter"
        Resource = "arn:${local.partition}:ssm:${var.region}:${local.account_id}:parameter${local.api_keys_parameter}"
        } : {
        Effect   = "Allow"
        Action   = "secretsmanager:GetSecretValue"
        Resource = var.api_keys_secret_arn
      },
    ]
  })
}

# What ECS may do to start it: pull the image and write the log.
resource "aws_iam_role" "execution" {
  name               = "${local.name}-execution"
  assume_role_policy = local.trust
}

resource "aws_iam_role_policy" "execution" {
  name = "image-and-log"
  role = aws_iam_role.execution.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = "ecr:GetAuthorizationToken" # knows no resources
        Resource = "*"
      },
      {
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = "arn:${local.partition}:ecr:${var.region}:${local.account_id}:repository/${var.prefix}/server"
      },
      {
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "arn:${local.partition}:logs:${var.region}:${local.account_id}:log-group:${local.training.server_log_group}:*"
      },
    ]
  })
}
