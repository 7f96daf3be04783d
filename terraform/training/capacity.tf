# The cluster and what its tasks run on. A pool is one kind of instance bought in one way: an Auto Scaling group that
# starts from zero, and the capacity provider that scales it by the tasks that wait.

locals {
  cluster_name = var.prefix

  kinds = {
    for kind, instances in {
      cpu = { types = var.cpu_instance_types, max = var.cpu_max_instances, ami = var.cpu_ami_parameter }
      gpu = { types = var.gpu_instance_types, max = var.gpu_max_instances, ami = var.gpu_ami_parameter }
    } : kind => instances if instances.max > 0
  }
  purchases = var.spot_instances ? ["on_demand", "spot"] : ["on_demand"]
  pools = {
    for pool in setproduct(keys(local.kinds), local.purchases) : "${pool[0]}_${pool[1]}" => {
      kind = pool[0]
      spot = pool[1] == "spot"
      name = "${var.prefix}-${pool[0]}-${replace(pool[1], "_", "-")}"
    }
  }

  # What the dispatcher and the serving stack choose from: null where there is no such kind.
  capacity_providers = {
    for kind in ["cpu", "gpu"] : kind => contains(keys(local.kinds), kind) ? {
      on_demand = local.pools["${kind}_on_demand"].name
      spot      = local.pools["${kind}_${var.spot_instances ? "spot" : "on_demand"}"].name
    } : null
  }
}

# ECS would make this group by itself, for ever and out of destroy's reach.
resource "aws_cloudwatch_log_group" "container_insights" {
  # checkov:skip=CKV_AWS_158:AWS's own key: one of ours would cost by the month and outlive destroy by a week
  # checkov:skip=CKV_AWS_338:log_retention_days is the user's to set; a year of training logs is rarely worth its price

  name              = "/aws/ecs/containerinsights/${local.cluster_name}/performance"
  retention_in_days = var.log_retention_days
}

resource "aws_ecs_cluster" "main" {
  name = local.cluster_name

  setting {
    name  = "containerInsights"
    value = "enabled"
  }

  depends_on = [aws_cloudwatch_log_group.container_insights]
}

resource "aws_launch_template" "instance" {
  for_each               = local.kinds
  name                   = "${var.prefix}-${each.key}"
  image_id               = "resolve:ssm:${each.value.ami}" # read at each launch: always the newest
  instance_type          = each.value.types[0]
  vpc_security_group_ids = [aws_security_group.container_instances.id]
  update_default_version = true

  iam_instance_profile {
    arn = aws_iam_instance_profile.instance.arn
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1 # the agent reaches it, containers on the bridge do not
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_size           = 100
      volume_type           = "gp3"
      encrypted             = true
      delete_on_termination = true
    }
  }

  user_data = base64encode(join("\n", concat(
    [
      "#!/bin/sh",
      "cat >> /etc/ecs/ecs.config <<'END'",
      "ECS_CLUSTER=${aws_ecs_cluster.main.name}",
      "ECS_ENABLE_SPOT_INSTANCE_DRAINING=true",
      "ECS_ENABLE_AWSLOGS_EXECUTIONROLE_OVERRIDE=true",
    ],
    each.key == "gpu" ? ["ECS_ENABLE_GPU_SUPPORT=true"] : [],
    ["END", ""],
  )))

  dynamic "tag_specifications" { # the provider's default tags stop at the template
    for_each = ["instance", "volume", "network-interface"]

    content {
      resource_type = tag_specifications.value
      tags          = merge(local.tags, { Name = "${var.prefix}-${each.key}" })
    }
  }
}

resource "aws_autoscaling_group" "pool" {
  for_each              = local.pools
  name                  = each.value.name
  min_size              = 0
  max_size              = local.kinds[each.value.kind].max
  vpc_zone_identifier   = local.instance_subnet_ids
  protect_from_scale_in = true # ECS lifts it from an instance without tasks
  force_delete          = true

  dynamic "launch_template" {
    for_each = each.value.spot ? [] : [aws_launch_template.instance[each.value.kind]]

    content {
      id      = launch_template.value.id
      version = launch_template.value.latest_version
    }
  }

  dynamic "mixed_instances_policy" {
    for_each = each.value.spot ? [aws_launch_template.instance[each.value.kind]] : []

    content {
      instances_distribution {
        on_demand_percentage_above_base_capacity = 0
        spot_allocation_strategy                 = "price-capacity-optimized"
      }

      launch_template {
        launch_template_specification {
          launch_template_id = mixed_instances_policy.value.id
          version            = mixed_instances_policy.value.latest_version
        }

        dynamic "override" {
          for_each = local.kinds[each.value.kind].types

          content {
            instance_type = override.value
          }
        }
      }
    }
  }

  tag {
    key                 = "AmazonECSManaged" # without it ECS does not scale from zero
    value               = "true"
    propagate_at_launch = true
  }
}

resource "aws_ecs_capacity_provider" "pool" {
  for_each = local.pools
  name     = each.value.name

  auto_scaling_group_provider {
    auto_scaling_group_arn         = aws_autoscaling_group.pool[each.key].arn
    managed_termination_protection = "ENABLED" # a training is never scaled away

    managed_scaling {
      status                    = "ENABLED"
      target_capacity           = 100
      minimum_scaling_step_size = 1
      maximum_scaling_step_size = local.kinds[each.value.kind].max
    }
  }

  lifecycle {
    create_before_destroy = true # a pool that goes must leave the cluster before it can be deleted
  }
}

resource "aws_ecs_cluster_capacity_providers" "main" {
  cluster_name       = aws_ecs_cluster.main.name
  capacity_providers = [for provider in aws_ecs_capacity_provider.pool : provider.name]

  default_capacity_provider_strategy {
    capacity_provider = aws_ecs_capacity_provider.pool["cpu_on_demand"].name
    weight            = 1
  }
}
