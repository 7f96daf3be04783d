# The stack with all that it may have, for Python to look at what is text to Terraform.

mock_provider "aws" {
  source = "./tests"
}

variables {
  prefix                = "ner"
  region                = "eu-central-1"
  server_image          = "ner/server:1"
  container_environment = { NERFORGE_LOG_LEVEL = "debug" }
  deployment_strategy   = "canary"
}

run "all_of_it" {}
