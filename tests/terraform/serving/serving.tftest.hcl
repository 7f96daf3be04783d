# The stack as it would be made, against a provider that only knows the schemas.

mock_provider "aws" {
  source = "./tests"
}

variables {
  prefix       = "ner"
  region       = "eu-central-1"
  server_image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/ner/server:1f2e3d"
}

run "internal_by_default" {
  assert {
    condition     = aws_lb.server.internal && toset(aws_lb.server.subnets) == toset(["subnet-private-a", "subnet-private-b"])
    error_message = "Without a certificate the load balancer must stay in the private subnets."
  }

  assert {
    condition     = aws_lb_listener.http.default_action[0].type == "forward" && length(aws_lb_listener.https) == 0
    error_message = "An internal load balancer speaks HTTP to the server."
  }

  assert {
    condition     = [for rule in aws_vpc_security_group_ingress_rule.load_balancer : "${rule.cidr_ipv4}:${rule.from_port}-${rule.to_port}"] == ["10.64.0.0/16:80-80"]
    error_message = "Only the VPC may reach an internal load balancer."
  }

  assert {
    condition     = aws_lb.server.drop_invalid_header_fields
    error_message = "Invalid headers must be dropped."
  }

  assert {
    condition     = output.url == "http://ner-1.eu-central-1.elb.amazonaws.com"
    error_message = "The URL must say where the load balancer answers."
  }
}

run "tasks_are_reached_by_the_load_balancer_alone" {
  assert {
    condition = (
      aws_vpc_security_group_ingress_rule.tasks_from_load_balancer.security_group_id == "sg-instances" &&
      aws_vpc_security_group_ingress_rule.tasks_from_load_balancer.referenced_security_group_id == aws_security_group.load_balancer.id &&
      aws_vpc_security_group_ingress_rule.tasks_from_load_balancer.from_port == 32768 &&
      aws_vpc_security_group_ingress_rule.tasks_from_load_balancer.to_port == 65535
    )
    error_message = "The instances must take the load balancer's connections on the ports that Docker gives out."
  }

  assert {
    condition = (
      aws_lb_target_group.server["primary"].target_type == "instance" &&
      aws_lb_target_group.server["primary"].health_check[0].path == "/ready" &&
      aws_lb_target_group.server["primary"].deregistration_delay == "30"
    )
    error_message = "A target is an instance's port, healthy when its model is loaded."
  }
}

run "internet_facing_with_a_certificate" {
  variables {
    certificate_arn = "arn:aws:acm:eu-central-1:123456789012:certificate/1"
    allowed_cidrs   = ["203.0.113.0/24", "198.51.100.0/24"]
  }

  assert {
    condition     = !aws_lb.server.internal && toset(aws_lb.server.subnets) == toset(["subnet-public-a", "subnet-public-b"])
    error_message = "With a certificate the load balancer faces the internet."
  }

  assert {
    condition = (
      aws_lb_listener.http.default_action[0].type == "redirect" &&
      aws_lb_listener.http.default_action[0].redirect[0].protocol == "HTTPS" &&
      aws_lb_listener.http.default_action[0].redirect[0].port == "443" &&
      aws_lb_listener.http.default_action[0].redirect[0].status_code == "HTTP_301"
    )
    error_message = "Plain HTTP must only redirect."
  }

  assert {
    condition = (
      aws_lb_listener.https[0].port == 443 &&
      aws_lb_listener.https[0].certificate_arn == var.certificate_arn &&
      startswith(aws_lb_listener.https[0].ssl_policy, "ELBSecurityPolicy-TLS13-1-2")
    )
    error_message = "HTTPS must offer TLS 1.2 and 1.3 only."
  }

  assert {
    condition = toset([for rule in aws_vpc_security_group_ingress_rule.load_balancer : "${rule.cidr_ipv4} ${rule.from_port}"]) == toset([
      "203.0.113.0/24 80", "203.0.113.0/24 443", "198.51.100.0/24 80", "198.51.100.0/24 443",
    ])
    error_message = "Only allowed_cidrs may reach it, on 80 and 443."
  }

  assert {
    condition     = aws_ssm_parameter.serving["url"].value == "https://ner-1.eu-central-1.elb.amazonaws.com"
    error_message = "The published URL must be the HTTPS one."
  }
}

run "a_release_starts_the_new_task_before_it_stops_the_old" {
  assert {
    condition = (
      aws_ecs_service.server.deployment_minimum_healthy_percent == 100 &&
      aws_ecs_service.server.deployment_maximum_percent == 200 &&
      aws_ecs_service.server.deployment_circuit_breaker[0].enable &&
      aws_ecs_service.server.deployment_circuit_breaker[0].rollback
    )
    error_message = "A rollout must keep all tasks, have room for as many, and roll back by itself."
  }

  assert {
    condition     = aws_ecs_service.server.desired_count == 0 && aws_ssm_parameter.serving["desired_count"].value == "2"
    error_message = "There is nothing to serve before the first release, which reads the count from SSM."
  }

  assert {
    condition     = [for strategy in aws_ecs_service.server.capacity_provider_strategy : strategy.capacity_provider] == ["ner-cpu"]
    error_message = "The service runs on the on-demand CPU instances."
  }
}

run "the_task_is_locked_down" {
  variables {
    container_environment = { AWS_ENDPOINT_URL = "http://127.0.0.1:4566" }
    cpu                   = 512
    memory_mib            = 1024
  }

  assert {
    condition = (
      jsondecode(aws_ecs_task_definition.server.container_definitions)[0].readonlyRootFilesystem &&
      jsondecode(aws_ecs_task_definition.server.container_definitions)[0].user == "10001:10001" &&
      jsondecode(aws_ecs_task_definition.server.container_definitions)[0].dockerSecurityOptions == ["no-new-privileges"] &&
      jsondecode(aws_ecs_task_definition.server.container_definitions)[0].linuxParameters.capabilities.drop == ["ALL"] &&
      jsondecode(aws_ecs_task_definition.server.container_definitions)[0].linuxParameters.initProcessEnabled
    )
    error_message = "The server runs as nobody, with no capability and none to gain, on a read-only root."
  }

  assert {
    condition = (
      aws_ecs_task_definition.server.network_mode == "bridge" &&
      jsondecode(aws_ecs_task_definition.server.container_definitions)[0].name == "server" &&
      jsondecode(aws_ecs_task_definition.server.container_definitions)[0].portMappings == [{ containerPort = 8080, hostPort = 0, protocol = "tcp" }] &&
      jsondecode(aws_ecs_task_definition.server.container_definitions)[0].cpu == 512 &&
      jsondecode(aws_ecs_task_definition.server.container_definitions)[0].memory == 1024
    )
    error_message = "Old and new tasks must find room side by side on one instance."
  }

  assert {
    condition = {
      for variable in jsondecode(aws_ecs_task_definition.server.container_definitions)[0].environment : variable.name => variable.value
      } == {
      AWS_DEFAULT_REGION = "eu-central-1"
      AWS_ENDPOINT_URL   = "http://127.0.0.1:4566"
      NERFORGE_API_KEYS  = "/ner/serving/api_keys"
      NERFORGE_BUCKET    = "ner-models"
      NERFORGE_IMAGE     = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/ner/server:1f2e3d"
      NERFORGE_WORKERS   = "1"
    }
    error_message = "The server must be told its region, bucket, image, keys and processes, and what container_environment adds."
  }
}

run "a_process_for_each_whole_vcpu" {
  variables {
    cpu = 2560
  }

  assert {
    condition = contains(
      jsondecode(aws_ecs_task_definition.server.container_definitions)[0].environment,
      { name = "NERFORGE_WORKERS", value = "2" },
    )
    error_message = "A task of two and a half vCPUs has work for two processes."
  }
}

run "keys_that_the_playbook_makes" {
  assert {
    condition     = !contains([for parameter in aws_ssm_parameter.serving : parameter.name], "/ner/serving/api_keys")
    error_message = "Terraform must not make the parameter: its value would be in the state."
  }
}

run "keys_in_a_secret" {
  variables {
    api_keys_secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:ner-keys-a1B2c3"
  }

  assert {
    condition = contains(
      jsondecode(aws_ecs_task_definition.server.container_definitions)[0].environment,
      { name = "NERFORGE_API_KEYS", value = var.api_keys_secret_arn },
    )
    error_message = "The server must be told the secret."
  }
}

run "no_keys" {
  variables {
    api_keys = false
  }

  assert {
    condition = length(aws_iam_role_policy.api_keys) == 0 && !contains(
      [for variable in jsondecode(aws_ecs_task_definition.server.container_definitions)[0].environment : variable.name],
      "NERFORGE_API_KEYS",
    )
    error_message = "A server without keys is told of none, and may read none."
  }
}

run "the_number_of_tasks_follows_the_load" {
  variables {
    desired_count = 3
    max_count     = 9
  }

  assert {
    condition = (
      aws_appautoscaling_target.server[0].min_capacity == 3 &&
      aws_appautoscaling_target.server[0].max_capacity == 9 &&
      aws_appautoscaling_target.server[0].resource_id == "service/ner/ner-server"
    )
    error_message = "Autoscaling must keep between desired_count and max_count."
  }

  assert {
    condition = (
      { for name, policy in aws_appautoscaling_policy.server : name => policy.target_tracking_scaling_policy_configuration[0].target_value } == { cpu = 60, requests = 6000 } &&
      aws_appautoscaling_policy.server["cpu"].target_tracking_scaling_policy_configuration[0].predefined_metric_specification[0].predefined_metric_type == "ECSServiceAverageCPUUtilization"
    )
    error_message = "CPU and requests must both be tracked."
  }

  assert {
    condition = {
      for metric in aws_appautoscaling_policy.server["requests"].target_tracking_scaling_policy_configuration[0].customized_metric_specification[0].metrics :
      metric.id => one(metric.metric_stat) == null ? metric.expression : join(" ", concat(
        [one(metric.metric_stat).stat, one(one(metric.metric_stat).metric).namespace, one(one(metric.metric_stat).metric).metric_name],
        [for dimension in one(one(metric.metric_stat).metric).dimensions : "${dimension.name}=${dimension.value}"],
      ))
      } == {
      requests_per_task = "requests / tasks"
      requests          = "Sum AWS/ApplicationELB RequestCount LoadBalancer=app/ner/1"
      tasks             = "Average ECS/ContainerInsights DesiredTaskCount ClusterName=ner ServiceName=ner-server"
    }
    error_message = "Requests must count in whichever target group the tasks are."
  }
}

run "a_fixed_number_of_tasks" {
  variables {
    autoscaling = false
  }

  assert {
    condition     = length(aws_appautoscaling_target.server) == 0 && length(aws_appautoscaling_policy.server) == 0
    error_message = "autoscaling = false must leave application autoscaling alone."
  }
}

run "parameters_lie_under_the_prefix" {
  assert {
    condition     = alltrue([for name, parameter in aws_ssm_parameter.serving : parameter.name == "/ner/serving/${name}"])
    error_message = "The playbooks look under /PREFIX/serving/."
  }
}

run "training_comes_first" {
  command = plan

  override_data {
    target = data.aws_ssm_parameters_by_path.training
    values = { names = [], values = [] }
  }

  expect_failures = [data.aws_ssm_parameters_by_path.training]
}
