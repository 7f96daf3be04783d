# What the training stack left for this one, and nothing else of it.

data "aws_ssm_parameters_by_path" "training" {
  path = "/${var.prefix}/training"

  lifecycle {
    postcondition {
      condition     = length(self.names) > 0
      error_message = "There are no SSM parameters under /${var.prefix}/training in ${var.region}: deploy the training stack with this prefix and region first."
    }
  }
}

data "aws_vpc" "training" {
  id = local.training.vpc_id
}

locals {
  training = zipmap(
    [for name in data.aws_ssm_parameters_by_path.training.names : basename(name)],
    nonsensitive(data.aws_ssm_parameters_by_path.training.values),
  )

  capacity_provider = jsondecode(local.training.capacity_providers).cpu.on_demand

  # arn:PARTITION:ecs:REGION:ACCOUNT:cluster/NAME
  partition  = split(":", local.training.cluster_arn)[1]
  account_id = split(":", local.training.cluster_arn)[4]
}
