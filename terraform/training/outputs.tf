output "alarm_topic_arn" {
  description = "SNS topic of all alarms, the serving stack's too."
  value       = aws_sns_topic.alarms.arn
}

output "bucket" {
  description = "The S3 bucket of datasets, checkpoints and models."
  value       = aws_s3_bucket.main.id
}

output "cluster_name" {
  description = "The ECS cluster."
  value       = aws_ecs_cluster.main.name
}

output "dispatcher_function_name" {
  description = "The function that starts tasks for runs."
  value       = aws_lambda_function.dispatcher.function_name
}

output "queue_url" {
  description = "The queue of submitted runs."
  value       = aws_sqs_queue.runs.url
}

output "repository_urls" {
  description = "Where the images are pushed: trainer and server."
  value       = { for image, repository in aws_ecr_repository.image : image => repository.repository_url }
}
