output "table_name" {
  description = "Name of the table."
  value       = aws_dynamodb_table.this.name
}

output "table_arn" {
  description = "ARN of the table."
  value       = aws_dynamodb_table.this.arn
}

output "synchronous_policy_arns" {
  description = "Policies to call the registered tools and Express agents, by number."
  value       = { for number, policy in aws_iam_policy.synchronous : tostring(number) => policy.arn }
}

output "inspect_policy_arns" {
  description = "Policies to read the time-outs and versions of the registered targets, by number."
  value       = { for number, policy in aws_iam_policy.inspect : tostring(number) => policy.arn }
}

output "standard_policy_arns" {
  description = "Policies to start and follow the registered Standard agents, by number."
  value       = { for number, policy in aws_iam_policy.standard : tostring(number) => policy.arn }
}

output "protected" {
  description = "Whether the table is protected from deletion."
  value       = aws_dynamodb_table.this.deletion_protection_enabled
}
