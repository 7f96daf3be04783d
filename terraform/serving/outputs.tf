output "load_balancer_name" {
  description = "Name of the load balancer."
  value       = aws_lb.server.name
}

output "service_name" {
  description = "ECS service that serves the model."
  value       = aws_ecs_service.server.name
}

output "url" {
  description = "Where the load balancer answers."
  value       = local.parameters.url
}
