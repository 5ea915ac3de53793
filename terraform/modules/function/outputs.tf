output "name" {
  description = "Name of the function."
  value       = aws_lambda_function.this.function_name
}

output "arn" {
  description = "ARN of the function, without a version."
  value       = aws_lambda_function.this.arn
}

output "qualified_arn" {
  description = "ARN of the published version."
  value       = aws_lambda_function.this.qualified_arn
}

output "size" {
  description = "Memory in MB, time-out in seconds, /tmp in MB."
  value       = [aws_lambda_function.this.memory_size, aws_lambda_function.this.timeout, one(aws_lambda_function.this.ephemeral_storage).size]
}

output "layer_arns" {
  description = "ARNs of its layer versions."
  value       = aws_lambda_function.this.layers
}

output "log_group" {
  description = "Name of the log group."
  value       = aws_cloudwatch_log_group.this.name
}
