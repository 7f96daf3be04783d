mock_provider "aws" {
  source = "./tests/mocks"
}
run "x" {
  command = plan
  variables {
    prefix = "aa"
  }
  expect_failures = [var.prefix]
}
