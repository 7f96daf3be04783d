# The stack as it would be made, against a provider that only knows the schemas.

mock_provider "aws" {
  source = "./tests"

  override_resource {
    target = aws_dynamodb_table.runs
    values = { arn = "arn:aws:dynamodb:eu-central-1:123456789012:table/ner-runs" }
  }
  override_resource {
    target = aws_dynamodb_table.models
    values = { arn = "arn:aws:dynamodb:eu-central-1:123456789012:table/ner-models" }
  }
  override_resource {
    target = aws_sqs_queue.runs
    values = { arn = "arn:aws:sqs:eu-central-1:123456789012:ner-runs", url = "https://sqs/ner-runs" }
  }
  override_resource {
    target = aws_sqs_queue.dead_letters
    values = { arn = "arn:aws:sqs:eu-central-1:123456789012:ner-runs-dead-letters", url = "https://sqs/ner-runs-dead-letters" }
  }
  override_resource {
    target = aws_vpc.main[0]
    values = { id = "vpc-own" }
  }
  override_resource {
    target = aws_subnet.public[0]
    values = { id = "subnet-public-a" }
  }
  override_resource {
    target = aws_subnet.public[1]
    values = { id = "subnet-public-b" }
  }
  override_resource {
    target = aws_subnet.private[0]
    values = { id = "subnet-private-a" }
  }
  override_resource {
    target = aws_subnet.private[1]
    values = { id = "subnet-private-b" }
  }
  override_resource {
    target = aws_iam_role.role["trainer"]
    values = { arn = "arn:aws:iam::123456789012:role/ner-trainer" }
  }
  override_resource {
    target = aws_iam_role.role["execution"]
    values = { arn = "arn:aws:iam::123456789012:role/ner-execution" }
  }
}

variables {
  prefix         = "ner"
  region         = "eu-central-1"
  tags           = { team = "research" }
  trainer_image  = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/ner/trainer:1f2e3d"
  dispatcher_zip = "versions.tf" # any file will do

  gpu_max_instances = 2
}

run "network_of_its_own" {
  assert {
    condition     = [for subnet in concat(aws_subnet.public, aws_subnet.private) : subnet.cidr_block] == ["10.64.0.0/18", "10.64.64.0/18", "10.64.128.0/18", "10.64.192.0/18"]
    error_message = "The subnets must share the VPC's range out among themselves."
  }

  assert {
    condition     = [for subnet in aws_subnet.private : subnet.availability_zone] == ["eu-central-1a", "eu-central-1b"] && [for subnet in aws_subnet.public : subnet.availability_zone] == ["eu-central-1a", "eu-central-1b"]
    error_message = "There must be a public and a private subnet in each of two zones."
  }

  assert {
    condition     = alltrue([for table in aws_route_table.private : length(table.route) == 0]) && length(aws_route.nat) == 0 && one(aws_route_table.public[0].route).gateway_id == aws_internet_gateway.main[0].id
    error_message = "Only the public subnets have a way out, through the internet gateway."
  }

  assert {
    condition     = keys(aws_vpc_endpoint.gateway) == ["dynamodb", "s3"] && alltrue([for endpoint in aws_vpc_endpoint.gateway : endpoint.vpc_endpoint_type == "Gateway" && length(endpoint.route_table_ids) == 3])
    error_message = "S3 and DynamoDB must be reached through gateway endpoints from all subnets."
  }

  assert {
    condition     = alltrue([for group in aws_autoscaling_group.pool : toset(group.vpc_zone_identifier) == toset(["subnet-public-a", "subnet-public-b"])]) && alltrue(aws_subnet.public[*].map_public_ip_on_launch) && !anytrue(aws_subnet.private[*].map_public_ip_on_launch)
    error_message = "Container instances need the public subnets and a public address: nothing else leads out."
  }

  assert {
    condition     = aws_vpc_security_group_egress_rule.https.from_port == 443 && aws_vpc_security_group_egress_rule.https.to_port == 443 && length(aws_security_group.container_instances.ingress) == 0
    error_message = "Container instances speak HTTPS outwards and hear nothing."
  }
}

run "nothing_idles_that_costs" {
  assert {
    condition     = length(aws_nat_gateway.main) + length(aws_eip.nat) + length(aws_vpc_endpoint.interface) + length(aws_security_group.endpoints) == 0
    error_message = "Nobody has asked for a NAT gateway or for interface endpoints, which cost by the hour."
  }

  assert {
    condition     = alltrue([for group in aws_autoscaling_group.pool : group.min_size == 0])
    error_message = "Capacity must go back to zero."
  }
}

run "interface_endpoints" {
  variables {
    network = "endpoints"
  }

  assert {
    condition     = alltrue([for group in aws_autoscaling_group.pool : toset(group.vpc_zone_identifier) == toset(["subnet-private-a", "subnet-private-b"])]) && !anytrue(aws_subnet.public[*].map_public_ip_on_launch)
    error_message = "Container instances must be in the private subnets, and nothing must have a public address."
  }

  assert {
    condition     = keys(aws_vpc_endpoint.interface) == ["ecr.api", "ecr.dkr", "ecs", "ecs-agent", "ecs-telemetry", "logs", "ssm"] && alltrue([for endpoint in aws_vpc_endpoint.interface : endpoint.private_dns_enabled && endpoint.subnet_ids == toset(["subnet-private-a", "subnet-private-b"])])
    error_message = "Each API that instances and containers call must have an endpoint under its usual name, in both zones."
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.endpoints[0].referenced_security_group_id == aws_security_group.container_instances.id && aws_vpc_security_group_ingress_rule.endpoints[0].from_port == 443 && aws_vpc_security_group_ingress_rule.endpoints[0].to_port == 443
    error_message = "Only container instances may use the endpoints, over HTTPS."
  }

  assert {
    condition     = length(aws_nat_gateway.main) + length(aws_route.nat) == 0
    error_message = "With endpoints nothing leads to the internet."
  }
}

run "nat_gateways" {
  variables {
    network = "nat"
  }

  assert {
    condition     = alltrue([for group in aws_autoscaling_group.pool : toset(group.vpc_zone_identifier) == toset(["subnet-private-a", "subnet-private-b"])]) && !anytrue(aws_subnet.public[*].map_public_ip_on_launch)
    error_message = "Container instances must be in the private subnets, without public addresses."
  }

  assert {
    condition     = aws_nat_gateway.main[*].subnet_id == ["subnet-public-a", "subnet-public-b"] && aws_nat_gateway.main[*].allocation_id == aws_eip.nat[*].id
    error_message = "Each zone must have a NAT gateway in its public subnet, under an address of ours."
  }

  assert {
    condition     = aws_route.nat[*].route_table_id == aws_route_table.private[*].id && aws_route.nat[*].nat_gateway_id == aws_nat_gateway.main[*].id && alltrue([for route in aws_route.nat : route.destination_cidr_block == "0.0.0.0/0"]) && aws_route_table_association.private[*].route_table_id == aws_route_table.private[*].id
    error_message = "Each private subnet must go out by its own zone's NAT gateway."
  }

  assert {
    condition     = length(aws_vpc_endpoint.interface) == 0 && keys(aws_vpc_endpoint.gateway) == ["dynamodb", "s3"]
    error_message = "Only S3 and DynamoDB keep their free endpoints."
  }
}

run "existing_network" {
  variables {
    vpc = {
      vpc_id             = "vpc-existing"
      private_subnet_ids = ["subnet-1", "subnet-2"]
      public_subnet_ids  = ["subnet-3", "subnet-4"]
    }
  }

  assert {
    condition     = length(aws_vpc.main) + length(aws_subnet.public) + length(aws_subnet.private) + length(aws_internet_gateway.main) + length(aws_route_table.public) + length(aws_route_table.private) + length(aws_vpc_endpoint.gateway) + length(aws_default_security_group.closed) == 0
    error_message = "Nothing of a network may be made in an existing VPC."
  }

  assert {
    condition     = aws_security_group.container_instances.vpc_id == "vpc-existing" && alltrue([for group in aws_autoscaling_group.pool : toset(group.vpc_zone_identifier) == toset(["subnet-1", "subnet-2"])])
    error_message = "Container instances must go into the private subnets of the existing VPC."
  }

  assert {
    condition     = aws_ssm_parameter.published["vpc_id"].value == "vpc-existing" && aws_ssm_parameter.published["private_subnet_ids"].value == "subnet-1,subnet-2" && aws_ssm_parameter.published["public_subnet_ids"].value == "subnet-3,subnet-4"
    error_message = "The serving stack must get the existing VPC."
  }
}

run "capacity_with_gpus" {
  assert {
    condition     = keys(aws_autoscaling_group.pool) == ["cpu_on_demand", "cpu_spot", "gpu_on_demand", "gpu_spot"]
    error_message = "There must be a pool for each kind and way to buy."
  }

  assert {
    condition     = alltrue([for group in aws_autoscaling_group.pool : group.min_size == 0 && group.protect_from_scale_in && contains([for tag in group.tag : tag.key], "AmazonECSManaged")])
    error_message = "Pools must start from zero and be ECS's to scale."
  }

  assert {
    condition     = alltrue([for provider in aws_ecs_capacity_provider.pool : provider.auto_scaling_group_provider[0].managed_scaling[0].status == "ENABLED" && provider.auto_scaling_group_provider[0].managed_termination_protection == "ENABLED"])
    error_message = "Capacity providers must scale, and never take a running training's instance."
  }

  assert {
    condition     = aws_ecs_cluster_capacity_providers.main.capacity_providers == toset(["ner-cpu-on-demand", "ner-cpu-spot", "ner-gpu-on-demand", "ner-gpu-spot"])
    error_message = "The cluster must have all capacity providers."
  }

  assert {
    condition     = jsondecode(aws_ssm_parameter.published["capacity_providers"].value) == { cpu = { on_demand = "ner-cpu-on-demand", spot = "ner-cpu-spot" }, gpu = { on_demand = "ner-gpu-on-demand", spot = "ner-gpu-spot" } }
    error_message = "The capacity providers must be published by kind and way to buy."
  }

  assert {
    condition     = aws_lambda_function.dispatcher.environment[0].variables.CAPACITY_PROVIDERS == aws_ssm_parameter.published["capacity_providers"].value
    error_message = "The dispatcher must know the capacity providers that are published."
  }

  assert {
    condition     = aws_launch_template.instance["gpu"].image_id == "resolve:ssm:/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id" && aws_launch_template.instance["cpu"].image_id == "resolve:ssm:/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
    error_message = "Each kind must start from its own AMI."
  }

  assert {
    condition     = strcontains(base64decode(aws_launch_template.instance["gpu"].user_data), "ECS_ENABLE_GPU_SUPPORT=true") && !strcontains(base64decode(aws_launch_template.instance["cpu"].user_data), "GPU")
    error_message = "Only GPU instances offer GPUs."
  }

  assert {
    condition     = alltrue([for template in aws_launch_template.instance : strcontains(base64decode(template.user_data), "ECS_ENABLE_SPOT_INSTANCE_DRAINING=true\n") && strcontains(base64decode(template.user_data), "ECS_CLUSTER=ner\n")])
    error_message = "Instances must join the cluster, and drain when spot takes them back."
  }

  assert {
    condition     = alltrue([for template in aws_launch_template.instance : template.metadata_options[0].http_tokens == "required" && template.metadata_options[0].http_put_response_hop_limit == 1 && template.block_device_mappings[0].ebs[0].encrypted == "true"])
    error_message = "Instances need IMDSv2 out of the containers' reach, and encrypted disks."
  }

  assert {
    condition     = alltrue([for pool in ["cpu_spot", "gpu_spot"] : aws_autoscaling_group.pool[pool].mixed_instances_policy[0].instances_distribution[0].on_demand_percentage_above_base_capacity == 0 && length(aws_autoscaling_group.pool[pool].launch_template) == 0])
    error_message = "Spot pools must buy spot only."
  }

  assert {
    condition     = alltrue([for pool in ["cpu_on_demand", "gpu_on_demand"] : length(aws_autoscaling_group.pool[pool].mixed_instances_policy) == 0 && aws_autoscaling_group.pool[pool].launch_template[0].version == "3"])
    error_message = "On-demand pools must start from the newest template alone."
  }

  assert {
    condition     = alltrue([for template in aws_launch_template.instance : alltrue([for tags in template.tag_specifications : tags.tags.nerforge == "ner" && tags.tags.team == "research"])])
    error_message = "What instances bring with them must carry the deployment's tags."
  }
}

run "capacity_without_gpus" {
  variables {
    gpu_max_instances = 0
  }

  assert {
    condition     = keys(aws_autoscaling_group.pool) == ["cpu_on_demand", "cpu_spot"] && keys(aws_launch_template.instance) == ["cpu"] && length(aws_ecs_capacity_provider.pool) == 2
    error_message = "Nothing of GPUs may be made."
  }

  assert {
    condition     = jsondecode(aws_ssm_parameter.published["capacity_providers"].value) == { cpu = { on_demand = "ner-cpu-on-demand", spot = "ner-cpu-spot" }, gpu = null }
    error_message = "Readers must learn that there are no GPUs."
  }
}

run "capacity_without_spot" {
  variables {
    spot_instances = false
  }

  assert {
    condition     = keys(aws_autoscaling_group.pool) == ["cpu_on_demand", "gpu_on_demand"]
    error_message = "No spot pools may be made."
  }

  assert {
    condition     = jsondecode(aws_ssm_parameter.published["capacity_providers"].value) == { cpu = { on_demand = "ner-cpu-on-demand", spot = "ner-cpu-on-demand" }, gpu = { on_demand = "ner-gpu-on-demand", spot = "ner-gpu-on-demand" } }
    error_message = "Runs that ask for spot must go on demand."
  }
}

run "what_is_kept" {
  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.main.rule).apply_server_side_encryption_by_default).sse_algorithm == "AES256" && aws_s3_bucket_versioning.main.versioning_configuration[0].status == "Enabled"
    error_message = "The bucket must be encrypted and versioned."
  }

  assert {
    condition     = aws_s3_bucket_public_access_block.main.block_public_acls && aws_s3_bucket_public_access_block.main.block_public_policy && aws_s3_bucket_public_access_block.main.ignore_public_acls && aws_s3_bucket_public_access_block.main.restrict_public_buckets
    error_message = "The bucket must be private."
  }

  assert {
    condition     = jsondecode(aws_s3_bucket_policy.main.policy).Statement == [{ Sid = "OnlyTLS", Effect = "Deny", Principal = "*", Action = "s3:*", Resource = ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"], Condition = { Bool = { "aws:SecureTransport" = "false" } } }]
    error_message = "The bucket must refuse what comes without TLS."
  }

  assert {
    condition     = [for rule in aws_s3_bucket_lifecycle_configuration.main.rule : rule.filter[0].prefix if rule.id == "checkpoints" && rule.expiration[0].days == 14] == ["checkpoints/"]
    error_message = "Checkpoints must expire, and nothing else."
  }

  assert {
    condition     = [for rule in aws_s3_bucket_lifecycle_configuration.main.rule : "${rule.noncurrent_version_expiration[0].noncurrent_days} ${rule.abort_incomplete_multipart_upload[0].days_after_initiation}" if rule.id == "leftovers" && try(rule.expiration[0].days, 0) == 0] == ["30 2"]
    error_message = "Old versions and broken uploads must go, and what is current must stay."
  }

  assert {
    condition     = alltrue([for table in [aws_dynamodb_table.runs, aws_dynamodb_table.models] : table.point_in_time_recovery[0].enabled && table.server_side_encryption[0].enabled && table.billing_mode == "PAY_PER_REQUEST" && table.deletion_protection_enabled])
    error_message = "The tables must be encrypted, recoverable and safe from a stray destroy."
  }

  assert {
    condition     = !aws_s3_bucket.main.force_destroy && !anytrue([for repository in aws_ecr_repository.image : repository.force_delete])
    error_message = "Destroy must stop at models and images unless told otherwise."
  }

  assert {
    condition     = alltrue([for repository in aws_ecr_repository.image : repository.image_tag_mutability == "IMMUTABLE" && repository.image_scanning_configuration[0].scan_on_push]) && length(aws_ecr_lifecycle_policy.image) == 2
    error_message = "Images must be immutable, scanned, and tidied up."
  }

  assert {
    condition     = alltrue([for group in concat([aws_cloudwatch_log_group.dispatcher, aws_cloudwatch_log_group.container_insights], values(aws_cloudwatch_log_group.container)) : group.retention_in_days == 30])
    error_message = "All logs must end some day."
  }
}

run "what_force_destroy_frees" {
  variables {
    force_destroy = true
  }

  assert {
    condition     = aws_s3_bucket.main.force_destroy && alltrue([for repository in aws_ecr_repository.image : repository.force_delete]) && !aws_dynamodb_table.runs.deletion_protection_enabled && !aws_dynamodb_table.models.deletion_protection_enabled
    error_message = "Destroy must be able to take everything."
  }
}

run "queue_and_dispatcher" {
  assert {
    condition     = aws_sqs_queue.runs.sqs_managed_sse_enabled && aws_sqs_queue.dead_letters.sqs_managed_sse_enabled
    error_message = "The queues must be encrypted."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.runs.redrive_policy) == { deadLetterTargetArn = "arn:aws:sqs:eu-central-1:123456789012:ner-runs-dead-letters", maxReceiveCount = 5 }
    error_message = "A message that fails each time must end among the dead letters."
  }

  assert {
    condition     = aws_sqs_queue.runs.visibility_timeout_seconds > aws_lambda_function.dispatcher.timeout
    error_message = "A message must stay hidden for as long as the dispatcher may work on it."
  }

  assert {
    condition     = aws_lambda_function.dispatcher.environment[0].variables.QUEUE_URL == "https://sqs/ner-runs" && aws_lambda_function.dispatcher.environment[0].variables.DEAD_LETTER_QUEUE_URL == "https://sqs/ner-runs-dead-letters" && aws_lambda_function.dispatcher.environment[0].variables.MAX_CONCURRENT_RUNS == "4"
    error_message = "The dispatcher must know both queues and the cap on runs."
  }

  assert {
    condition     = aws_lambda_function.dispatcher.source_code_hash == filebase64sha256("versions.tf")
    error_message = "A new package must deploy a new dispatcher."
  }

  assert {
    condition     = aws_cloudwatch_event_rule.trigger["schedule"].schedule_expression == "rate(1 minute)" && aws_cloudwatch_event_rule.trigger["schedule"].event_pattern == null
    error_message = "The dispatcher must run every minute."
  }

  assert {
    condition     = alltrue([for rule in aws_cloudwatch_event_rule.trigger : rule.state == "ENABLED"])
    error_message = "A deployment must enable a rule that somebody has disabled."
  }

  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.trigger["submitted"].event_pattern) == { source = ["nerforge"], detail-type = ["Run Submitted", "Run Cancelled"], detail = { prefix = ["ner"] } }
    error_message = "A submission to this deployment, or a cancellation, must start the dispatcher at once; no other deployment's."
  }

  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.trigger["stopped"].event_pattern) == { source = ["aws.ecs"], detail-type = ["ECS Task State Change"], detail = { clusterArn = ["arn:aws:ecs:eu-central-1:123456789012:cluster/ner"], lastStatus = ["STOPPED"] } }
    error_message = "A task that stops in this cluster, and no other, must start the dispatcher."
  }

  assert {
    condition     = keys(aws_cloudwatch_event_target.dispatcher) == keys(aws_cloudwatch_event_rule.trigger) && keys(aws_lambda_permission.trigger) == keys(aws_cloudwatch_event_rule.trigger) && alltrue([for permission in aws_lambda_permission.trigger : permission.principal == "events.amazonaws.com" && permission.source_arn != null])
    error_message = "Each rule, and nothing else, must reach and be allowed to call the dispatcher."
  }
}

run "trainer_task" {
  variables {
    container_environment = { AWS_ENDPOINT_URL = "http://127.0.0.1:4566", NERFORGE_BUCKET = "another" }
  }

  assert {
    condition     = aws_ecs_task_definition.trainer.family == "ner-trainer" && aws_ecs_task_definition.trainer.network_mode == "bridge" && aws_ecs_task_definition.trainer.requires_compatibilities == toset(["EC2"])
    error_message = "The trainer must run on the cluster's own instances."
  }

  assert {
    condition = { for variable in jsondecode(aws_ecs_task_definition.trainer.container_definitions)[0].environment : variable.name => variable.value } == {
      AWS_DEFAULT_REGION    = "eu-central-1"
      AWS_ENDPOINT_URL      = "http://127.0.0.1:4566"
      NERFORGE_BUCKET       = "bucket"
      NERFORGE_IMAGE        = var.trainer_image
      NERFORGE_MODELS_TABLE = "ner-models"
      NERFORGE_RUNS_TABLE   = "ner-runs"
    }
    error_message = "The trainer must get what the stack knows, which nothing overrides, and what the user adds."
  }

  assert {
    condition = {
      for setting in ["name", "user", "readonlyRootFilesystem", "dockerSecurityOptions", "stopTimeout", "linuxParameters"] :
      setting => jsondecode(aws_ecs_task_definition.trainer.container_definitions)[0][setting]
      } == {
      name                   = "trainer"
      user                   = "10001:10001"
      readonlyRootFilesystem = true
      dockerSecurityOptions  = ["no-new-privileges"]
      stopTimeout            = 120
      linuxParameters        = { initProcessEnabled = true, capabilities = { add = [], drop = ["ALL"] } }
    }
    error_message = "The trainer must have no rights that it does not need, and time to stop."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.trainer.container_definitions)[0].logConfiguration.options.awslogs-group == "/ner/trainer"
    error_message = "The trainer must write to its log group."
  }

  assert {
    condition     = aws_ecs_task_definition.trainer.task_role_arn == "arn:aws:iam::123456789012:role/ner-trainer" && aws_ecs_task_definition.trainer.execution_role_arn == "arn:aws:iam::123456789012:role/ner-execution"
    error_message = "The task and the agent that starts it must have a role each."
  }
}

run "roles" {
  assert {
    condition     = { for name, role in aws_iam_role.role : name => jsondecode(role.assume_role_policy).Statement[0].Principal.Service } == { dispatcher = "lambda.amazonaws.com", execution = "ecs-tasks.amazonaws.com", instance = "ec2.amazonaws.com", trainer = "ecs-tasks.amazonaws.com" }
    error_message = "Each role must be one service's to take."
  }
}

run "beside_another_deployment" {
  variables {
    prefix = "quite-a-long-prefix1"
  }

  assert {
    condition = alltrue([
      for name in concat(
        [
          aws_s3_bucket.main.bucket, aws_sqs_queue.runs.name, aws_sqs_queue.dead_letters.name, aws_ecs_cluster.main.name,
          aws_dynamodb_table.runs.name, aws_dynamodb_table.models.name, aws_lambda_function.dispatcher.function_name,
          aws_ecs_task_definition.trainer.family, aws_security_group.container_instances.name, aws_iam_instance_profile.instance.name,
        ],
        values(aws_iam_role.role)[*].name, values(aws_cloudwatch_event_rule.trigger)[*].name, values(aws_ecr_repository.image)[*].name,
        values(aws_autoscaling_group.pool)[*].name, values(aws_ecs_capacity_provider.pool)[*].name, values(aws_launch_template.instance)[*].name,
      ) : startswith(name, "quite-a-long-prefix1") && length(name) <= 64
    ])
    error_message = "Every name must begin with the prefix and stay within AWS's limits."
  }

  assert {
    condition     = alltrue([for group in concat(values(aws_cloudwatch_log_group.container), [aws_cloudwatch_log_group.dispatcher, aws_cloudwatch_log_group.container_insights]) : strcontains(group.name, "/quite-a-long-prefix1")]) && alltrue([for name, parameter in aws_ssm_parameter.published : parameter.name == "/quite-a-long-prefix1/training/${name}"])
    error_message = "Log groups and parameters must lie under the prefix."
  }

  assert {
    condition     = length(aws_s3_bucket.main.bucket) <= 63
    error_message = "The bucket's name must stay within 63 characters."
  }
}
