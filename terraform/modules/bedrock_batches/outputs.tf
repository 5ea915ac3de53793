output "admin_api_url" {
  description = "Address of the admin API."
  value       = module.admin_api.url
}

output "admin_api_caller_policy_json" {
  description = "IAM policy for callers of the admin API."
  value       = jsonencode({ Version = "2012-10-17", Statement = local.caller_statements })
}

output "lake_operator_policy_json" {
  description = "IAM policy for `make seed-lake` and `make resync`."
  value       = jsonencode({ Version = "2012-10-17", Statement = local.lake_operator_statements })
}

output "reader_statements" {
  description = "Statements of the policy for people who look at jobs and generated content."
  value       = local.reader_statements
}

output "operator_statements" {
  description = "Statements of the policy for people who operate jobs, and edit and verify content, beside the reader's."
  value       = local.operator_statements
}

output "jobs_table" {
  description = "DynamoDB table of the batch jobs."
  value       = aws_dynamodb_table.jobs.name
}

output "violations_table" {
  description = "DynamoDB table of the generated content."
  value       = aws_dynamodb_table.violations.name
}

output "data_bucket" {
  description = "Bucket of bedrock-batches/."
  value       = module.data_bucket.name
}

output "data_bucket_force_destroy" {
  description = "Whether destroying the bucket deletes its objects."
  value       = module.data_bucket.force_destroy
}

output "function_names" {
  description = "Names of the functions, by folder."
  value       = { for folder, function in module.function : folder => function.name }
}

output "role_names" {
  description = "Names of the roles, by function. The role of Bedrock's jobs is `job`."
  value       = merge(local.function_roles, { job = aws_iam_role.job.name })
}

output "log_groups" {
  description = "Names of the functions' log groups."
  value       = [for function in module.function : function.log_group]
}
