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

output "dead_letter_queue_url" {
  description = "Queue of failed rows."
  value       = module.row_batches.dead_letter_queue_url
}

output "notification_topic_arn" {
  description = "Topic that announces the end of batches."
  value       = module.row_batches.notification_topic_arn
}

output "caller_policy_json" {
  description = "IAM policy that a person or a calling agent needs."
  value       = module.row_batches.caller_policy_json
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
  description = "Where the local AWS answers; null elsewhere."
  value       = var.endpoint_url
}

output "sample_parent_state_machine_arn" {
  description = "Example caller: a state machine that starts a batch and waits; null without sample targets."
  value       = one(module.parent_state_machine[*].arn)
}
