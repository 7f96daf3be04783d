# The stack with all that it may have, for Python to look at what is text to Terraform.

mock_provider "aws" {
  source = "./tests"
}

variables {
  prefix                = "ner"
  region                = "eu-central-1"
  trainer_image         = "ner/trainer:1"
  dispatcher_zip        = "versions.tf" # any file will do
  container_environment = { AWS_ENDPOINT_URL = "http://127.0.0.1:4566" }
}

run "all_of_it" {}
