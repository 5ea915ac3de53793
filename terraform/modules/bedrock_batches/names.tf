# Names, and ARNs built from them, because functions, roles and tables refer to each other.

locals {
  prefix           = "bedrock-batches"
  jobs_table       = "VentureOS-BedrockBatchJobs${var.deployment.suffix}"
  violations_table = "VentureOS-Violations${var.deployment.suffix}"
  job_role_name    = "ventureos-bedrock-batch-job-role${var.deployment.suffix}"
  job_role_arn     = "arn:${var.deployment.partition}:iam::${var.deployment.account_id}:role/${local.job_role_name}"
  undelivered_name = "ventureos-bedrock-undelivered-events${var.deployment.suffix}"
  undelivered_arn  = "arn:${var.deployment.partition}:sqs:${var.deployment.region}:${var.deployment.account_id}:${local.undelivered_name}"

  function_names = { for name in keys(local.sizes) : name => "ventureos-${replace(name, "_", "-")}${var.deployment.suffix}" }
  function_roles = { for name in keys(local.sizes) : name => "ventureos-${replace(name, "_", "-")}-role${var.deployment.suffix}" }
  function_arns  = { for name, full in local.function_names : name => "arn:${var.deployment.partition}:lambda:${var.deployment.region}:${var.deployment.account_id}:function:${full}" }

  bedrock_arn = "arn:${var.deployment.partition}:bedrock:${var.deployment.region}:${var.deployment.account_id}"
}
