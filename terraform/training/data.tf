# What outlives a task: datasets, checkpoints and models in the bucket; runs and models in the tables.

resource "aws_s3_bucket" "main" {
  # checkov:skip=CKV_AWS_18:CloudTrail logs who reads objects, for those who ask it to; a bucket of logs would cost by itself
  # checkov:skip=CKV_AWS_144:versioning keeps what is overwritten; a second region would double the price
  # checkov:skip=CKV_AWS_145:AWS's own key: one of ours would cost by the month and outlive destroy by a week
  # checkov:skip=CKV2_AWS_62:nothing waits for an object: records say when one is whole

  bucket        = "${var.prefix}-models-${data.aws_caller_identity.current.account_id}-${var.region}"
  force_destroy = var.force_destroy
}

resource "aws_s3_bucket_public_access_block" "main" {
  bucket                  = aws_s3_bucket.main.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "main" {
  bucket = aws_s3_bucket.main.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_versioning" "main" {
  bucket = aws_s3_bucket.main.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_policy" "main" {
  bucket = aws_s3_bucket.main.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OnlyTLS"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.main.arn, "${aws_s3_bucket.main.arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })

  depends_on = [aws_s3_bucket_public_access_block.main] # S3 refuses both at once
}

resource "aws_s3_bucket_lifecycle_configuration" "main" {
  bucket = aws_s3_bucket.main.id

  rule {
    id     = "checkpoints"
    status = "Enabled"

    filter {
      prefix = "checkpoints/"
    }
    expiration {
      days = 14 # a run in doubt for longer begins anew
    }
    noncurrent_version_expiration {
      noncurrent_days = 1
    }
  }

  rule {
    id     = "leftovers"
    status = "Enabled"

    filter {}
    expiration {
      expired_object_delete_marker = true
    }
    noncurrent_version_expiration {
      noncurrent_days = 30
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 2
    }
  }

  depends_on = [aws_s3_bucket_versioning.main]
}

resource "aws_dynamodb_table" "runs" {
  # checkov:skip=CKV_AWS_119:AWS's own key: one of ours would cost by the month and outlive destroy by a week

  name                        = "${var.prefix}-runs"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "run_id"
  deletion_protection_enabled = !var.force_destroy

  attribute {
    name = "run_id"
    type = "S"
  }
  attribute {
    name = "state"
    type = "S"
  }

  global_secondary_index {
    name            = "by_state"
    hash_key        = "state"
    range_key       = "run_id"
    projection_type = "ALL"
  }

  point_in_time_recovery {
    enabled = true
  }
  server_side_encryption {
    enabled = true
  }
}

resource "aws_dynamodb_table" "models" {
  # checkov:skip=CKV_AWS_119:AWS's own key: one of ours would cost by the month and outlive destroy by a week

  name                        = "${var.prefix}-models"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "name"
  range_key                   = "item"
  deletion_protection_enabled = !var.force_destroy

  attribute {
    name = "name"
    type = "S"
  }
  attribute {
    name = "item"
    type = "S"
  }

  point_in_time_recovery {
    enabled = true
  }
  server_side_encryption {
    enabled = true
  }
}
