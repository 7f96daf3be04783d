# The container instances of the VPC made here sit in the public subnets, each with a public address and a security
# group that lets nothing in. They need the APIs of ECS, ECR, S3, DynamoDB and CloudWatch Logs; the ways there, a month
# in us-east-1 in two zones:
#   public addresses      0.005 USD an hour each: 3.65 for an instance that runs all month, nothing while none runs
#   NAT gateways          66, and 0.045 a GB
#   interface endpoints   88 for the six of ECS, ECR and Logs, and 0.01 a GB
# Instances start from zero here, so the first costs nothing while nothing trains. S3 and DynamoDB go through gateway
# endpoints, which are free. The private subnets have no way out at all: they hold what only answers, such as an
# internal load balancer.

locals {
  own_vpc = var.vpc == null
  zones   = local.own_vpc ? slice(data.aws_availability_zones.available[0].names, 0, 2) : []

  vpc_id             = local.own_vpc ? aws_vpc.main[0].id : var.vpc.vpc_id
  private_subnet_ids = local.own_vpc ? aws_subnet.private[*].id : var.vpc.private_subnet_ids
  public_subnet_ids  = local.own_vpc ? aws_subnet.public[*].id : var.vpc.public_subnet_ids

  instance_subnet_ids = local.own_vpc ? local.public_subnet_ids : local.private_subnet_ids
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
  count             = length(local.zones)
  vpc_id            = aws_vpc.main[0].id
  availability_zone = local.zones[count.index]
  cidr_block        = cidrsubnet(var.vpc_cidr, 2, count.index)

  map_public_ip_on_launch = true # for the container instances, as said above

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
  count  = local.own_vpc ? 1 : 0
  vpc_id = aws_vpc.main[0].id

  tags = { Name = "${var.prefix}-private" }
}

resource "aws_route_table_association" "public" {
  count          = length(local.zones)
  subnet_id      = aws_subnet.public[count.index].id
  route_table_id = aws_route_table.public[0].id
}

resource "aws_route_table_association" "private" {
  count          = length(local.zones)
  subnet_id      = aws_subnet.private[count.index].id
  route_table_id = aws_route_table.private[0].id
}

resource "aws_vpc_endpoint" "gateway" {
  for_each          = local.own_vpc ? toset(["s3", "dynamodb"]) : []
  vpc_id            = aws_vpc.main[0].id
  service_name      = "com.amazonaws.${var.region}.${each.key}"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [aws_route_table.public[0].id, aws_route_table.private[0].id]

  tags = { Name = "${var.prefix}-${each.key}" }
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
