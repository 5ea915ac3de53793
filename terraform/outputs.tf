output "batch_processor_state_machine_arn" {
  description = "State machine that runs row batches."
  value       = module.row_batches.state_machine_arn
}

output "input_bucket" {
  description = "Bucket for input CSV files."
  value       = module.input_bucket.name
}

output "results_bucket" {
  description = "Bucket of results/ and work/."
  value       = module.results_bucket.name
}

output "registry_table" {
  description = "DynamoDB table of the registered targets."
  value       = module.registry.table_name
}

output "results_table" {
  description = "DynamoDB table of the rows of batches with storage_mode dynamodb."
  value       = module.row_batches.results_table
}

output "runs_table" {
  description = "DynamoDB table of runs: state, counts, cost, and a year of history."
  value       = module.row_batches.runs_table
}

output "dead_letter_queue_url" {
  description = "Queue of failed rows."
  value       = module.row_batches.dead_letter_queue_url
}

output "notification_topic_arn" {
  description = "Topic for the end of batches and Bedrock batch jobs, and for alarms."
  value       = module.row_batches.notification_topic_arn
}

output "caller_policy_json" {
  description = "IAM policy for agents, schedules and state machines that start batches."
  value       = module.row_batches.caller_policy_json
}

output "reader_policy_json" {
  description = "IAM policy for people who look: at runs, rows, targets, jobs and content."
  value = jsonencode({
    Version   = "2012-10-17"
    Statement = concat(module.row_batches.reader_statements, flatten(module.bedrock_batches[*].reader_statements))
  })
}

output "operator_policy_json" {
  description = "IAM policy for people who start, change and stop runs and jobs, and edit and verify content. It adds to reader_policy_json."
  value = jsonencode({
    Version   = "2012-10-17"
    Statement = concat(module.row_batches.operator_statements, flatten(module.bedrock_batches[*].operator_statements))
  })
}

output "target_policy_arns" {
  description = "Managed IAM policies for people who call targets with `make try` or in the console. They add to reader_policy_json."
  value       = concat(values(module.registry.synchronous_policy_arns), values(module.registry.standard_policy_arns))
}

output "purger_policy_json" {
  description = "IAM policy for `make purge`. It adds to reader_policy_json."
  value       = module.row_batches.purger_policy_json
}

output "admin_api_url" {
  description = "Address of the admin API of Bedrock batches; null without them."
  value       = one(module.bedrock_batches[*].admin_api_url)
}

output "admin_api_caller_policy_json" {
  description = "IAM policy for callers of the admin API."
  value       = one(module.bedrock_batches[*].admin_api_caller_policy_json)
}

output "lake_operator_policy_json" {
  description = "IAM policy for `make seed-lake` and `make resync`."
  value       = one(module.bedrock_batches[*].lake_operator_policy_json)
}

output "bedrock_jobs_table" {
  description = "DynamoDB table of Bedrock batch jobs."
  value       = one(module.bedrock_batches[*].jobs_table)
}

output "violations_table" {
  description = "DynamoDB table of the generated content."
  value       = one(module.bedrock_batches[*].violations_table)
}

output "data_bucket" {
  description = "Bucket of bedrock-batches/."
  value       = one(module.bedrock_batches[*].data_bucket)
}

output "lake_table_bucket_arn" {
  description = "ARN of the lake's table bucket."
  value       = one(module.lake[*].table_bucket_arn)
}

output "lake_namespace" {
  description = "Namespace of the agencies' tables."
  value       = one(module.lake[*].namespace)
}

output "lake_agencies" {
  description = "The agencies of the lake. Each has a table with its name."
  value       = var.agencies
}

output "bedrock_function_names" {
  description = "Names of the functions of Bedrock batches, by folder."
  value       = one(module.bedrock_batches[*].function_names)
}

output "environment" {
  description = "The environment."
  value       = var.environment
}

output "region" {
  description = "The region."
  value       = var.region
}

output "endpoint_url" {
  description = "Endpoint of the local AWS; null elsewhere."
  value       = var.endpoint_url
}

output "sample_parent_state_machine_arn" {
  description = "Example caller: a state machine that starts a batch and waits; null without sample targets."
  value       = one(module.parent_state_machine[*].arn)
}
