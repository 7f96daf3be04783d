# A message waits here for a free slot. The dispatcher itself sends what it cannot read to the dead letter queue; the
# redrive is for what makes it fail each time.

resource "aws_sqs_queue" "dead_letters" {
  name                      = "${var.prefix}-runs-dead-letters"
  message_retention_seconds = 14 * 86400
  sqs_managed_sse_enabled   = true
}

resource "aws_sqs_queue" "runs" {
  name                       = "${var.prefix}-runs"
  message_retention_seconds  = 14 * 86400
  visibility_timeout_seconds = 2 * local.dispatcher_timeout_seconds
  sqs_managed_sse_enabled    = true

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letters.arn
    maxReceiveCount     = 5
  })
}
