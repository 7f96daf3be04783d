locals {
  public        = var.certificate_arn != null
  allowed_cidrs = length(var.allowed_cidrs) > 0 ? var.allowed_cidrs : [data.aws_vpc.training.cidr_block]
  ports         = local.public ? [80, 443] : [80]

  # Where Docker places a container's port on an ECS instance (hostPort 0).
  first_task_port = 32768
  last_task_port  = 65535
}

resource "aws_lb" "server" {
  # checkov:skip=CKV_AWS_150:it keeps nothing, and destroy.yml must be able to take it away
  # checkov:skip=CKV_AWS_91:the server counts and logs its requests; a bucket of access logs would cost and outlive them
  # checkov:skip=CKV2_AWS_20:where it faces the internet, the HTTP listener does redirect: checkov cannot follow the condition
  # checkov:skip=CKV2_AWS_28:a web ACL costs from 5 USD a month; who may ask is up to allowed_cidrs and API keys

  name                       = var.prefix
  internal                   = !local.public
  subnets                    = split(",", local.public ? local.training.public_subnet_ids : local.training.private_subnet_ids)
  security_groups            = [aws_security_group.load_balancer.id]
  drop_invalid_header_fields = true
}

# Rolling releases stay in one target group. The others move the traffic between two, so either may be the live one.
resource "aws_lb_target_group" "server" {
  # checkov:skip=CKV_AWS_378:TLS ends at the load balancer, which would not verify a task's certificate anyway

  for_each = merge({ primary = local.name }, var.traffic_shifting ? { alternate = "${local.name}-2" } : {})

  name                          = each.value
  target_type                   = "instance"
  vpc_id                        = local.training.vpc_id
  port                          = local.server_port # each task is registered with its own port
  protocol                      = "HTTP"
  deregistration_delay          = var.deregistration_delay_seconds
  load_balancing_algorithm_type = "least_outstanding_requests"

  health_check {
    path                = "/ready"
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

moved {
  from = aws_lb_target_group.server
  to   = aws_lb_target_group.server["primary"]
}

resource "aws_lb_listener" "http" {
  # checkov:skip=CKV_AWS_2:it redirects to HTTPS, or answers inside the VPC alone: checkov cannot follow the condition

  load_balancer_arn = aws_lb.server.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type             = local.public ? "redirect" : "forward"
    target_group_arn = local.public ? null : aws_lb_target_group.server["primary"].arn

    dynamic "redirect" {
      for_each = local.public ? [443] : []

      content {
        port        = tostring(redirect.value)
        protocol    = "HTTPS"
        status_code = "HTTP_301"
      }
    }
  }
}

resource "aws_lb_listener" "https" {
  count = local.public ? 1 : 0

  load_balancer_arn = aws_lb.server.arn
  port              = 443
  protocol          = "HTTPS"
  certificate_arn   = var.certificate_arn
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-Res-2021-06"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.server["primary"].arn
  }
}

# All requests, by weights that ECS moves from one target group to the other.
resource "aws_lb_listener_rule" "production" {
  count = var.traffic_shifting ? 1 : 0

  listener_arn = local.public ? aws_lb_listener.https[0].arn : aws_lb_listener.http.arn
  priority     = 1

  condition {
    path_pattern {
      values = ["/*"]
    }
  }

  action {
    type = "forward"

    forward {
      dynamic "target_group" {
        for_each = { primary = 100, alternate = 0 }

        content {
          arn    = aws_lb_target_group.server[target_group.key].arn
          weight = target_group.value
        }
      }
    }
  }

  lifecycle {
    ignore_changes = [action] # releases move the weights
  }
}

resource "aws_security_group" "load_balancer" {
  name        = "${local.name}-load-balancer"
  description = "The load balancer of ${local.name}"
  vpc_id      = local.training.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "load_balancer" {
  for_each = {
    for pair in setproduct(local.ports, local.allowed_cidrs) : "${pair[0]} from ${pair[1]}" => { port = pair[0], cidr = pair[1] }
  }

  security_group_id = aws_security_group.load_balancer.id
  description       = "Clients"
  cidr_ipv4         = each.value.cidr
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
}

resource "aws_vpc_security_group_egress_rule" "load_balancer_to_tasks" {
  security_group_id            = aws_security_group.load_balancer.id
  description                  = "Server tasks"
  referenced_security_group_id = local.training.container_instance_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = local.first_task_port
  to_port                      = local.last_task_port
}

resource "aws_vpc_security_group_ingress_rule" "tasks_from_load_balancer" {
  security_group_id            = local.training.container_instance_security_group_id
  description                  = "Load balancer of ${local.name}"
  referenced_security_group_id = aws_security_group.load_balancer.id
  ip_protocol                  = "tcp"
  from_port                    = local.first_task_port
  to_port                      = local.last_task_port
}
