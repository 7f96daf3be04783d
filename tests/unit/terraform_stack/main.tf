variable "word" {
  type = string

  validation {
    condition     = length(var.word) < 10
    error_message = "word is too long."
  }
}

variable "secret" {
  type      = string
  default   = "s3cret"
  sensitive = true
}

resource "terraform_data" "copy" {
  input = var.word
}

resource "terraform_data" "made_anew" {
  triggers_replace = var.word
}

resource "terraform_data" "slow" {
  count = var.word == "slow" ? 1 : 0

  provisioner "local-exec" {
    command = "sleep 1"
  }
}

resource "terraform_data" "broken" {
  count = var.word == "broken" ? 1 : 0

  provisioner "local-exec" {
    command = "exit 3"
  }
}

output "word" {
  value = terraform_data.copy.output
}

output "secret" {
  value     = var.secret
  sensitive = true
}
