# Who may do what. A resource "*" stands only where the action knows no resource.

locals {
  role_services = {
    instance   = "ec2.amazonaws.com"
    execution  = "ecs-tasks.amazonaws.com"
    trainer    = "ecs-tasks.amazonaws.com"
    dispatcher = "lambda.amazonaws.com"
  }

  account     = data.aws_caller_identity.current.account_id
  ecs_arn     = "arn:${data.aws_partition.current.partition}:ecs:${var.region}:${local.account}"
  trainer_arn = aws_ecs_task_definition.trainer.arn_without_revision

  role_statements = {
    # The ECS agent on a container instance; tasks have roles of their own.
    instance = [
      {
        Effect   = "Allow"
        Action   = ["ecs:DiscoverPollEndpoint"]
        Resource = ["*"]
      },
      {
        Effect = "Allow"
        Action = [
          "ecs:DeregisterContainerInstance",
          "ecs:RegisterContainerInstance",
          "ecs:SubmitAttachmentStateChanges",
          "ecs:SubmitContainerStateChange",
          "ecs:SubmitTaskStateChange",
        ]
        Resource = [aws_ecs_cluster.main.arn]
      },
      {
        Effect   = "Allow"
        Action   = ["ecs:Poll", "ecs:StartTelemetrySession", "ecs:UpdateContainerInstancesState"]
        Resource = ["${local.ecs_arn}:container-instance/${local.cluster_name}/*"]
      },
    ]

    # The agent on behalf of the trainer's task: pull the image, write the log.
    execution = [
      {
        Effect   = "Allow"
        Action   = ["ecr:GetAuthorizationToken"]
        Resource = ["*"]
      },
      {
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = [aws_ecr_repository.image["trainer"].arn]
      },
      {
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = ["${aws_cloudwatch_log_group.container["trainer"].arn}:*"]
      },
    ]

    trainer = [
      {
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = [for folder in ["checkpoints", "datasets", "models"] : "${aws_s3_bucket.main.arn}/${folder}/*"]
      },
      {
        Effect   = "Allow"
        Action   = ["s3:AbortMultipartUpload", "s3:PutObject"]
        Resource = [for folder in ["checkpoints", "models"] : "${aws_s3_bucket.main.arn}/${folder}/*"]
      },
      {
        Effect   = "Allow" # older ones, and all once the run has its model
        Action   = ["s3:DeleteObject"]
        Resource = ["${aws_s3_bucket.main.arn}/checkpoints/*"]
      },
      {
        Effect   = "Allow" # else a missing object reads as forbidden
        Action   = ["s3:ListBucket"]
        Resource = [aws_s3_bucket.main.arn]
      },
      {
        Effect   = "Allow"
        Action   = ["dynamodb:GetItem", "dynamodb:UpdateItem"]
        Resource = [aws_dynamodb_table.runs.arn]
      },
      {
        Effect   = "Allow"
        Action   = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]
        Resource = [aws_dynamodb_table.models.arn]
      },
    ]

    dispatcher = [
      {
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = ["${aws_cloudwatch_log_group.dispatcher.arn}:*"]
      },
      {
        Effect   = "Allow"
        Action   = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:ReceiveMessage", "sqs:SendMessage"]
        Resource = [aws_sqs_queue.runs.arn]
      },
      {
        Effect   = "Allow"
        Action   = ["sqs:SendMessage"]
        Resource = [aws_sqs_queue.dead_letters.arn]
      },
      {
        Effect   = "Allow"
        Action   = ["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:UpdateItem"]
        Resource = [aws_dynamodb_table.runs.arn]
      },
      {
        Effect    = "Allow" # of whole items, only the one in which it says what its last tick did
        Action    = ["dynamodb:PutItem"]
        Resource  = [aws_dynamodb_table.runs.arn]
        Condition = { "ForAllValues:StringEquals" = { "dynamodb:LeadingKeys" = ["#dispatcher"] } }
      },
      {
        Effect   = "Allow"
        Action   = ["dynamodb:Query"]
        Resource = ["${aws_dynamodb_table.runs.arn}/index/by_state"]
      },
      {
        Effect    = "Allow"
        Action    = ["ecs:RunTask"]
        Resource  = [local.trainer_arn, "${local.trainer_arn}:*"]
        Condition = { ArnEquals = { "ecs:cluster" = aws_ecs_cluster.main.arn } }
      },
      {
        Effect    = "Allow" # its resource is a container instance, and "*" where none is named
        Action    = ["ecs:ListTasks"]
        Resource  = ["*"]
        Condition = { ArnEquals = { "ecs:cluster" = aws_ecs_cluster.main.arn } }
      },
      {
        Effect   = "Allow"
        Action   = ["ecs:DescribeTasks", "ecs:StopTask"]
        Resource = ["${local.ecs_arn}:task/${local.cluster_name}/*"]
      },
      {
        Effect   = "Allow" # what kind of instance a run was on, for what it cost
        Action   = ["ecs:DescribeContainerInstances"]
        Resource = ["${local.ecs_arn}:container-instance/${local.cluster_name}/*"]
      },
      {
        Effect    = "Allow"
        Action    = ["ecs:TagResource"]
        Resource  = ["${local.ecs_arn}:task/${local.cluster_name}/*"]
        Condition = { StringEquals = { "ecs:CreateAction" = "RunTask" } }
      },
      {
        Effect    = "Allow"
        Action    = ["iam:PassRole"]
        Resource  = [aws_iam_role.role["execution"].arn, aws_iam_role.role["trainer"].arn]
        Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
      },
    ]
  }
}

resource "aws_iam_role" "role" {
  for_each = local.role_services
  name     = "${var.prefix}-${each.key}"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [merge(
      {
        Effect    = "Allow"
        Action    = "sts:AssumeRole"
        Principal = { Service = each.value }
      },
      each.value == "ecs-tasks.amazonaws.com" ? {
        Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
      } : {},
    )]
  })
}

resource "aws_iam_role_policy" "role" {
  for_each = local.role_statements
  name     = each.key
  role     = aws_iam_role.role[each.key].name
  policy   = jsonencode({ Version = "2012-10-17", Statement = each.value })
}

resource "aws_iam_instance_profile" "instance" {
  name = "${var.prefix}-instance"
  role = aws_iam_role.role["instance"].name
}
