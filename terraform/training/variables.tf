variable "prefix" {
  description = "Begins the name of everything in this deployment: 3 to 20 lower-case letters, digits and hyphens, from a letter, not to a hyphen. Deployments under different prefixes live side by side."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.prefix))
    error_message = "prefix must be 3 to 20 lower-case letters, digits and hyphens, begin with a letter and not end with a hyphen, such as nerforge-dev."
  }

  validation {
    condition     = !can(regex("^(aws|ssm|ecs|fargate|internal-)", var.prefix))
    error_message = "prefix must not begin with aws, ssm, ecs, fargate or internal-: AWS keeps such names of parameters, capacity providers and load balancers to itself."
  }
}

variable "region" {
  description = "AWS region of the whole deployment."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be the code of an AWS region, such as eu-central-1."
  }
}

variable "tags" {
  description = "Tags for every resource, beside the tag nerforge, which holds the prefix."
  type        = map(string)
  default     = {}
}

variable "vpc" {
  description = "An existing VPC to use. Container instances go into its private subnets, which must reach the AWS APIs through a NAT gateway or endpoints. null: a VPC is made."
  type = object({
    vpc_id             = string
    private_subnet_ids = list(string)
    public_subnet_ids  = list(string)
  })
  default = null

  validation {
    condition = var.vpc == null ? true : (
      length(distinct(var.vpc.private_subnet_ids)) >= 2 && length(distinct(var.vpc.public_subnet_ids)) >= 2
    )
    error_message = "vpc needs at least 2 private and 2 public subnets, in different availability zones: a load balancer demands two."
  }
}

variable "vpc_cidr" {
  description = "Address range of the VPC that is made when vpc is null: /16 to /24."
  type        = string
  default     = "10.64.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && can(regex("/(1[6-9]|2[0-4])$", var.vpc_cidr))
    error_message = "vpc_cidr must be an IPv4 range between /16 and /24, such as 10.64.0.0/16."
  }
}

variable "network" {
  description = "How container instances of the VPC that is made when vpc is null reach the AWS APIs: public (public subnets, an address each, closed to the outside; costs nothing while nothing runs), endpoints (private subnets and interface endpoints, no way to the internet) or nat (private subnets and NAT gateways). cost.yml prints what each costs a month."
  type        = string
  default     = "public"

  validation {
    condition     = contains(["public", "endpoints", "nat"], var.network)
    error_message = "network must be public, endpoints or nat."
  }

  validation {
    condition     = var.network == "public" || var.vpc == null
    error_message = "network is for the VPC that is made here: an existing one (vpc) has its own ways to the AWS APIs."
  }
}

variable "cpu_instance_types" {
  description = "Instance types for CPU runs and for the server, all of one size. On demand gets the first, spot whichever is cheap and likely to last."
  type        = list(string)
  default     = ["m6i.xlarge", "m5.xlarge", "m6a.xlarge"]

  validation {
    condition     = length(var.cpu_instance_types) >= 1
    error_message = "cpu_instance_types must name at least one instance type."
  }
}

variable "cpu_max_instances" {
  description = "At most how many CPU instances on demand, and as many again on spot."
  type        = number
  default     = 4

  validation {
    condition     = var.cpu_max_instances >= 1 && floor(var.cpu_max_instances) == var.cpu_max_instances
    error_message = "cpu_max_instances must be a whole number of at least 1: the server runs on CPU instances."
  }
}

variable "cpu_ami_parameter" {
  description = "SSM parameter that names the ECS-optimized AMI of CPU instances."
  type        = string
  default     = "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"

  validation {
    condition     = startswith(var.cpu_ami_parameter, "/")
    error_message = "cpu_ami_parameter must be the full name of an SSM parameter, from its first slash."
  }
}

variable "gpu_instance_types" {
  description = "The same for GPU runs."
  type        = list(string)
  default     = ["g4dn.xlarge", "g5.xlarge"]

  validation {
    condition     = length(var.gpu_instance_types) >= 1
    error_message = "gpu_instance_types must name at least one instance type; gpu_max_instances = 0 is what switches GPUs off."
  }
}

variable "gpu_max_instances" {
  description = "At most how many GPU instances on demand, and as many again on spot. 0: the deployment has no GPUs, and the trainer's image no CUDA."
  type        = number
  default     = 0

  validation {
    condition     = var.gpu_max_instances >= 0 && floor(var.gpu_max_instances) == var.gpu_max_instances
    error_message = "gpu_max_instances must be a whole number, and 0 for no GPUs."
  }
}

variable "gpu_ami_parameter" {
  description = "SSM parameter that names the ECS-optimized AMI of GPU instances. Some regions have none for Amazon Linux 2023."
  type        = string
  default     = "/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id"

  validation {
    condition     = startswith(var.gpu_ami_parameter, "/")
    error_message = "gpu_ami_parameter must be the full name of an SSM parameter, from its first slash."
  }
}

variable "spot_instances" {
  description = "Whether there are spot instances. false: runs that ask for spot run on demand."
  type        = bool
  default     = true
}

variable "max_concurrent_runs" {
  description = "How many runs may hold a task at once; the others wait in the queue."
  type        = number
  default     = 4

  validation {
    condition     = var.max_concurrent_runs >= 1 && floor(var.max_concurrent_runs) == var.max_concurrent_runs
    error_message = "max_concurrent_runs must be a whole number of at least 1."
  }
}

variable "dispatcher" {
  description = "Whether the deployment starts runs itself. false: nothing calls its dispatcher, and a consumer of your own takes the runs from the queue."
  type        = bool
  default     = true
}

variable "trainer_image" {
  description = "The trainer's image, by digest or by an immutable tag."
  type        = string

  validation {
    condition     = can(regex("^[^\\s@]+(:[\\w.-]+|@sha256:[0-9a-f]{64})$", var.trainer_image)) && !endswith(var.trainer_image, ":latest")
    error_message = "trainer_image must name a tag other than latest, or a digest: repository:tag or repository@sha256:..."
  }
}

variable "container_environment" {
  description = "Environment variables for the containers beside those that the stack sets itself."
  type        = map(string)
  default     = {}
}

variable "dispatcher_zip" {
  description = "Path of the dispatcher's deployment package."
  type        = string

  validation {
    condition     = fileexists(var.dispatcher_zip)
    error_message = "dispatcher_zip must be the path of an existing file."
  }
}

variable "alarm_email" {
  description = "Who is told of alarms by email; they must confirm the subscription. With null, subscribe to the alarm topic by other means."
  type        = string
  default     = null

  validation {
    condition     = var.alarm_email == null || can(regex("^[^@\\s]+@[^@\\s]+$", var.alarm_email))
    error_message = "alarm_email must be an email address, or null."
  }
}

variable "alarm_queue_age_minutes" {
  description = "How long a run may wait for a slot before the alarm queue-age goes off."
  type        = number
  default     = 60

  validation {
    condition     = var.alarm_queue_age_minutes >= 1 && var.alarm_queue_age_minutes < 14 * 24 * 60
    error_message = "alarm_queue_age_minutes must be at least 1, and below the 14 days (20160) that the queue keeps a message."
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

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 30

  validation {
    condition = contains(
      [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653],
      var.log_retention_days,
    )
    error_message = "log_retention_days must be one of the periods CloudWatch Logs offers: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653."
  }
}

variable "force_destroy" {
  description = "Whether destroy may take models, records and images with it. false: it stops at what is not empty."
  type        = bool
  default     = false
}
