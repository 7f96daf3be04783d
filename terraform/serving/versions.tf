terraform {
  required_version = ">= 1.10" # the first that locks state in S3 alone (use_lockfile)

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  backend "s3" {} # bucket, key and region are given at init
}

provider "aws" {
  region = var.region

  default_tags {
    tags = merge(var.tags, { nerforge = var.prefix })
  }
}
