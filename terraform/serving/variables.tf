variable "prefix" {
  description = "First part of every name, as given to the training stack. Two deployments of one account and region differ in it."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.prefix))
    error_message = "prefix must be 3 to 20 lower-case letters, digits and hyphens, start with a letter and not end in a hyphen."
  }

  validation {
    condition     = !startswith(var.prefix, "internal-")
    error_message = "prefix must not begin with internal-: AWS keeps such names of load balancers to itself."
  }
}

variable "region" {
  description = "AWS region, the one the training stack is in."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be an AWS region such as eu-central-1."
  }
}

variable "tags" {
  description = "Tags for every resource, beside the tag nerforge, which holds the prefix."
  type        = map(string)
  default     = {}
}

variable "server_image" {
  description = "Image of the server, REPOSITORY:TAG or REPOSITORY@DIGEST."
  type        = string

  validation {
    condition     = can(regex("^[^\\s:@/][^\\s@]*(:[^\\s:@/]+|@sha256:[0-9a-f]{64})$", var.server_image))
    error_message = "server_image must name an image with its tag or digest, such as 123456789012.dkr.ecr.eu-central-1.amazonaws.com/ner/server:1f2e3d."
  }
}

variable "cpu" {
  description = "CPU units of one server task; 1024 are one vCPU. The server runs a process for each whole vCPU, and at least one."
  type        = number
  default     = 1024

  validation {
    condition     = var.cpu >= 128 && floor(var.cpu) == var.cpu
    error_message = "cpu must be a whole number of CPU units, 128 or more."
  }
}

variable "memory_mib" {
  description = "Memory of one server task in MiB; it is killed above it. Its processes share the model: one takes little more than another."
  type        = number
  default     = 2048

  validation {
    condition     = var.memory_mib >= 512 && floor(var.memory_mib) == var.memory_mib
    error_message = "memory_mib must be a whole number of MiB, 512 or more."
  }
}

variable "desired_count" {
  description = "Server tasks to run once a model is released; also the least that autoscaling keeps. The service itself is made with none."
  type        = number
  default     = 2

  validation {
    condition     = var.desired_count >= 1 && floor(var.desired_count) == var.desired_count
    error_message = "desired_count must be a whole number, 1 or more."
  }
}

variable "max_count" {
  description = "The most server tasks that autoscaling may start."
  type        = number
  default     = 6

  validation {
    condition     = var.max_count >= var.desired_count && floor(var.max_count) == var.max_count
    error_message = "max_count must be a whole number not below desired_count."
  }
}

variable "autoscaling" {
  description = "Whether the number of tasks follows the load."
  type        = bool
  default     = true
}

variable "requests_per_task" {
  description = "Requests a minute that one task should carry before autoscaling starts another; measure it with your own texts."
  type        = number
  default     = 6000

  validation {
    condition     = var.requests_per_task > 0
    error_message = "requests_per_task must be above 0."
  }
}

variable "deployment_strategy" {
  description = "How a release takes over: rolling (task by task), blue_green (all requests at once, when all new tasks are ready), canary (deployment_canary_percent of the requests, then all) or linear (in steps of deployment_step_percent). The next release is the first to follow a change; the first one after rolling still rolls, since ECS needs one to learn of both target groups."
  type        = string
  default     = "rolling"

  validation {
    condition     = contains(["rolling", "blue_green", "canary", "linear"], var.deployment_strategy)
    error_message = "deployment_strategy must be rolling, blue_green, canary or linear."
  }

  validation {
    condition     = var.deployment_strategy == "rolling" || var.traffic_shifting
    error_message = "deployment_strategy can only be rolling where traffic_shifting is false."
  }
}

variable "deployment_bake_minutes" {
  description = "How long the new version is watched after each shift of requests to it, until the next shift or the end of the old tasks. Rolling releases leave it to ECS."
  type        = number
  default     = 5

  validation {
    condition     = var.deployment_bake_minutes >= 0 && var.deployment_bake_minutes <= 1440 && floor(var.deployment_bake_minutes) == var.deployment_bake_minutes
    error_message = "deployment_bake_minutes must be a whole number of minutes between 0 and 1440."
  }
}

variable "deployment_canary_percent" {
  description = "Share of the requests that a canary release begins with."
  type        = number
  default     = 10

  validation {
    condition     = var.deployment_canary_percent >= 1 && var.deployment_canary_percent <= 99 && floor(var.deployment_canary_percent) == var.deployment_canary_percent
    error_message = "deployment_canary_percent must be a whole number between 1 and 99."
  }
}

variable "deployment_step_percent" {
  description = "Share of the requests that each step of a linear release adds."
  type        = number
  default     = 25

  validation {
    condition     = var.deployment_step_percent >= 3 && var.deployment_step_percent <= 99 && floor(var.deployment_step_percent) == var.deployment_step_percent
    error_message = "deployment_step_percent must be a whole number between 3 and 99."
  }
}

variable "deployment_alarms" {
  description = "Whether failing requests, slow answers and tasks that are not ready undo a release that is under way; a rollback they never do. The next release is the first to follow a change."
  type        = bool
  default     = true
}

variable "traffic_shifting" {
  description = "Whether to make what every strategy but rolling needs: a second target group, a listener rule and a role for ECS. It costs nothing. Leave it true once such a strategy was used: the second target group may be the live one."
  type        = bool
  default     = true
}

variable "certificate_arn" {
  description = "ACM certificate. With one the load balancer faces the internet over HTTPS; with null it is internal and speaks HTTP inside the VPC. Giving or taking it away makes a new load balancer; where deployment_strategy is not rolling, roll the service once after that: promote another version, or make a key with keys.yml."
  type        = string
  default     = null

  validation {
    condition     = var.certificate_arn == null || can(regex("^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/.+$", var.certificate_arn))
    error_message = "certificate_arn must be the ARN of an ACM certificate, arn:aws:acm:REGION:ACCOUNT:certificate/ID, or null."
  }
}

variable "allowed_cidrs" {
  description = "IPv4 ranges that may reach the load balancer. Empty: the VPC's own range."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.allowed_cidrs : can(cidrnetmask(cidr))])
    error_message = "allowed_cidrs must be IPv4 ranges such as 10.0.0.0/8."
  }

  validation {
    condition     = var.certificate_arn == null || length(var.allowed_cidrs) > 0
    error_message = "allowed_cidrs must say who may reach a load balancer that faces the internet (certificate_arn is set), such as [\"203.0.113.0/24\"]."
  }
}

variable "api_keys" {
  description = "Whether the server asks for an API key. keys.yml makes them; a server that is told to have keys does not start without one."
  type        = bool
  default     = true
}

variable "api_keys_secret_arn" {
  description = "Secrets Manager secret of your own with the hashes of the API keys, in place of the SSM parameter that keys.yml writes. It holds JSON: {\"NAME\": \"SHA-256 OF THE KEY, HEXADECIMAL\"}. Encrypted with the key aws/secretsmanager. Where the training stack has network = endpoints, the tasks reach Secrets Manager only by an endpoint of your own."
  type        = string
  default     = null

  validation {
    condition     = var.api_keys_secret_arn == null || can(regex("^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+-[A-Za-z0-9]{6}$", var.api_keys_secret_arn))
    error_message = "api_keys_secret_arn must be the whole ARN of a secret, arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-SUFFIX with a suffix of six characters, or null."
  }

  validation {
    condition     = var.api_keys_secret_arn == null || var.api_keys
    error_message = "api_keys_secret_arn names the keys of a server that asks for none (api_keys = false): leave out one of the two."
  }
}

variable "deregistration_delay_seconds" {
  description = "How long a task that is being replaced may finish the requests it has."
  type        = number
  default     = 30

  validation {
    condition     = var.deregistration_delay_seconds >= 0 && var.deregistration_delay_seconds <= 3600
    error_message = "deregistration_delay_seconds must be between 0 and 3600."
  }
}

variable "alarm_latency_seconds" {
  description = "99th percentile of the answer time above which the latency alarm goes off."
  type        = number
  default     = 2

  validation {
    condition     = var.alarm_latency_seconds > 0
    error_message = "alarm_latency_seconds must be above 0."
  }
}

variable "runbook" {
  description = "Where the team reads playbooks/RUNBOOK.md, such as its address on GitHub: alarms link their sections of it."
  type        = string
  default     = "playbooks/RUNBOOK.md"

  validation {
    condition     = can(regex("^[^\\s#]+$", var.runbook))
    error_message = "runbook must be a path or an address, without spaces and without a #section of its own."
  }
}

variable "container_environment" {
  description = "Further environment variables of the server."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.container_environment) : can(regex("^[A-Za-z_][A-Za-z0-9_]*$", name))])
    error_message = "container_environment's keys must be names of environment variables."
  }

  validation {
    condition     = !contains(keys(var.container_environment), "NERFORGE_API_KEYS")
    error_message = "container_environment must leave NERFORGE_API_KEYS alone: api_keys and api_keys_secret_arn say it, and what the server may read goes by them."
  }
}
