output "state_machine_arn" {
  description = "ARN of the state machine."
  value       = module.state_machine.arn
}

output "results_table" {
  description = "Name of the table of rows."
  value       = aws_dynamodb_table.results.name
}

output "runs_table" {
  description = "Name of the table of runs."
  value       = aws_dynamodb_table.runs.name
}

output "dead_letter_queue_url" {
  description = "URL of the queue of failed rows."
  value       = aws_sqs_queue.dead_letters.url
}

output "notification_topic_arn" {
  description = "ARN of the topic that announces the end of batches."
  value       = aws_sns_topic.notifications.arn
}

output "caller_policy_json" {
  description = "IAM policy for agents, schedules and state machines that start batches."
  value       = jsonencode({ Version = "2012-10-17", Statement = local.caller_statements })
}

output "reader_statements" {
  description = "Statements of the policy for people who look at runs, rows and targets."
  value       = local.reader_statements
}

output "operator_statements" {
  description = "Statements of the policy for people who operate runs, beside the reader's."
  value       = local.operator_statements
}

output "purger_policy_json" {
  description = "IAM policy for people who delete all that a run left, beside the reader's."
  value       = jsonencode({ Version = "2012-10-17", Statement = local.purger_statements })
}

output "state_machine_name" {
  description = "Name of the state machine."
  value       = module.state_machine.name
}

output "function_names" {
  description = "Names of the functions, by folder."
  value       = { for folder, function in module.function : folder => function.name }
}

output "log_groups" {
  description = "Names of the log groups."
  value       = concat([module.state_machine.log_group, module.finish_machine.log_group], [for function in module.function : function.log_group])
}
