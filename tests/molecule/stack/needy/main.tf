# A stack that needs a provider which no registry has, only a mirror; and the provider is none.

terraform {
  required_providers {
    nothing = {
      source  = "registry.terraform.io/nerforge/nothing"
      version = "1.0.0"
    }
  }

  backend "s3" {}
}

variable "prefix" {
  type = string
}

variable "region" {
  type = string
}
