# Names, and ARNs built from them: functions, roles and tables name each other.

locals {
  prefix           = "bedrock-batches"
  jobs_table       = "VentureOS-BedrockBatchJobs${var.deployment.suffix}"
  violations_table = "VentureOS-Violations${var.deployment.suffix}"
  job_role_name    = "ventureos-bedrock-batch-job-role${var.deployment.suffix}"
  job_role_arn     = "arn:${var.deployment.partition}:iam::${var.deployment.account_id}:role/${local.job_role_name}"
  undelivered_name = "ventureos-bedrock-undelivered-events${var.deployment.suffix}"

  function_names = { for name in keys(local.sizes) : name => "ventureos-${replace(name, "_", "-")}${var.deployment.suffix}" }
  function_roles = { for name in keys(local.sizes) : name => "ventureos-${replace(name, "_", "-")}-role${var.deployment.suffix}" }
  function_arns  = { for name, full in local.function_names : name => "arn:${var.deployment.partition}:lambda:${var.deployment.region}:${var.deployment.account_id}:function:${full}" }

  bedrock_arn = "arn:${var.deployment.partition}:bedrock:${var.deployment.region}:${var.deployment.account_id}"
  # Of every model that is configured: the model, or an inference profile and the models behind it, in each of its Regions
  # (https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-prereq.html).
  profiles = [for id in keys(var.models) : id if can(regex("^(us|us-gov|eu|apac|jp|au|ca|global)\\.", id))]
  model_arns = concat(
    [for id in keys(var.models) : "arn:${var.deployment.partition}:bedrock:${var.deployment.region}::foundation-model/${id}" if !contains(local.profiles, id)],
    local.profile_arns,
  )
  profile_arns = flatten([for id in local.profiles : [
    "${local.bedrock_arn}:inference-profile/${id}",
    "arn:${var.deployment.partition}:bedrock:*::foundation-model/${replace(id, "/^[a-z-]+\\./", "")}",
  ]])
}
