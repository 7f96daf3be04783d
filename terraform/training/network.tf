# Container instances let in the load balancer alone. They need the APIs of ECS, ECR, S3, DynamoDB, SSM and CloudWatch
# Logs; the ways there (var.network), a month in us-east-1 in two zones:
#   public      0.005 USD an hour for an instance's address: 3.65 for one that runs all month, nothing while none runs
#   endpoints   102.20 for seven interface endpoints, and 0.01 a GB
#   nat         73.00 for two NAT gateways with their addresses, and 0.045 a GB
# Instances start from zero here, so the first costs nothing while nothing trains, and it is the default. S3 and
# DynamoDB go through gateway endpoints in any case, which are free. With public, the private subnets have no way out
# at all: they hold what only answers, such as an internal load balancer.

locals {
  own_vpc = var.vpc == null
  zones   = local.own_vpc ? slice(data.aws_availability_zones.available[0].names, 0, 2) : []

  with_public_addresses = local.own_vpc && var.network == "public"
  nat_zones             = var.network == "nat" ? local.zones : []

  # What ECS's agent and the containers call, but for S3 and DynamoDB.
  interface_endpoints = local.own_vpc && var.network == "endpoints" ? toset([
    "ecr.api", "ecr.dkr", "ecs", "ecs-agent", "ecs-telemetry", "logs", "ssm",
  ]) : []

  vpc_id             = local.own_vpc ? aws_vpc.main[0].id : var.vpc.vpc_id
  private_subnet_ids = local.own_vpc ? aws_subnet.private[*].id : var.vpc.private_subnet_ids
  public_subnet_ids  = local.own_vpc ? aws_subnet.public[*].id : var.vpc.public_subnet_ids

  instance_subnet_ids = local.with_public_addresses ? local.public_subnet_ids : local.private_subnet_ids
}

data "aws_availability_zones" "available" {
  count = local.own_vpc ? 1 : 0
  state = "available"

  filter { # no local zones: they lack most instance types
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

resource "aws_vpc" "main" {
  # checkov:skip=CKV2_AWS_11:flow logs are billed by the GB, mostly of S3's traffic, and only the load balancer is let in

  count                = local.own_vpc ? 1 : 0
  cidr_block           = var.vpc_cidr
  enable_dns_hostnames = true

  tags = { Name = var.prefix }
}

resource "aws_default_security_group" "closed" {
  count  = local.own_vpc ? 1 : 0
  vpc_id = aws_vpc.main[0].id

  tags = { Name = "${var.prefix}-unused" }
}

resource "aws_subnet" "public" {
  # checkov:skip=CKV_AWS_130:the container instances' way out, as said above; they let in the load balancer alone

  count             = length(local.zones)
  vpc_id            = aws_vpc.main[0].id
  availability_zone = local.zones[count.index]
  cidr_block        = cidrsubnet(var.vpc_cidr, 2, count.index)

  map_public_ip_on_launch = local.with_public_addresses

  tags = { Name = "${var.prefix}-public-${local.zones[count.index]}" }
}

resource "aws_subnet" "private" {
  count             = length(local.zones)
  vpc_id            = aws_vpc.main[0].id
  availability_zone = local.zones[count.index]
  cidr_block        = cidrsubnet(var.vpc_cidr, 2, 2 + count.index)

  tags = { Name = "${var.prefix}-private-${local.zones[count.index]}" }
}

resource "aws_internet_gateway" "main" {
  count  = local.own_vpc ? 1 : 0
  vpc_id = aws_vpc.main[0].id

  tags = { Name = var.prefix }
}

resource "aws_route_table" "public" {
  count  = local.own_vpc ? 1 : 0
  vpc_id = aws_vpc.main[0].id

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.main[0].id
  }

  tags = { Name = "${var.prefix}-public" }
}

resource "aws_route_table" "private" {
  count  = length(local.zones)
  vpc_id = aws_vpc.main[0].id

  tags = { Name = "${var.prefix}-private-${local.zones[count.index]}" }
}

resource "aws_eip" "nat" {
  count  = length(local.nat_zones)
  domain = "vpc"

  tags = { Name = "${var.prefix}-nat-${local.nat_zones[count.index]}" }
}

resource "aws_nat_gateway" "main" {
  count         = length(local.nat_zones)
  allocation_id = aws_eip.nat[count.index].id
  subnet_id     = aws_subnet.public[count.index].id

  tags = { Name = "${var.prefix}-${local.nat_zones[count.index]}" }

  depends_on = [aws_route_table_association.public] # it needs the internet gateway
}

resource "aws_route" "nat" {
  count                  = length(local.nat_zones)
  route_table_id         = aws_route_table.private[count.index].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.main[count.index].id
}

resource "aws_route_table_association" "public" {
  count          = length(local.zones)
  subnet_id      = aws_subnet.public[count.index].id
  route_table_id = aws_route_table.public[0].id
}

resource "aws_route_table_association" "private" {
  count          = length(local.zones)
  subnet_id      = aws_subnet.private[count.index].id
  route_table_id = aws_route_table.private[count.index].id
}

resource "aws_vpc_endpoint" "gateway" {
  for_each          = local.own_vpc ? toset(["s3", "dynamodb"]) : []
  vpc_id            = aws_vpc.main[0].id
  service_name      = "com.amazonaws.${var.region}.${each.key}"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = concat(aws_route_table.public[*].id, aws_route_table.private[*].id)

  tags = { Name = "${var.prefix}-${each.key}" }
}

resource "aws_vpc_endpoint" "interface" {
  for_each            = local.interface_endpoints
  vpc_id              = aws_vpc.main[0].id
  service_name        = "com.amazonaws.${var.region}.${each.key}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = aws_subnet.private[*].id
  security_group_ids  = [aws_security_group.endpoints[0].id]

  tags = { Name = "${var.prefix}-${each.key}" }
}

resource "aws_security_group" "endpoints" {
  count       = length(local.interface_endpoints) > 0 ? 1 : 0
  name        = "${var.prefix}-endpoints"
  description = "Interface endpoints: HTTPS from container instances"
  vpc_id      = local.vpc_id

  tags = { Name = "${var.prefix}-endpoints" }
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  count                        = length(aws_security_group.endpoints)
  security_group_id            = aws_security_group.endpoints[0].id
  description                  = "Container instances"
  referenced_security_group_id = aws_security_group.container_instances.id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443

  tags = { Name = "${var.prefix}-endpoints" }
}

resource "aws_security_group" "container_instances" {
  name        = "${var.prefix}-container-instances"
  description = "Container instances: nothing comes in unless another stack adds a rule"
  vpc_id      = local.vpc_id

  tags = { Name = "${var.prefix}-container-instances" }
}

resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.container_instances.id
  description       = "The AWS APIs"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"

  tags = { Name = "${var.prefix}-https" }
}
