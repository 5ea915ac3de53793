# Names, and ARNs built from them: functions, roles and tables name each other.

locals {
  prefix           = "bedrock-batches"
  jobs_table       = "VentureOS-BedrockBatchJobs${var.suffix}"
  violations_table = "VentureOS-Violations${var.suffix}"
  job_role_name    = "ventureos-bedrock-batch-job-role${var.suffix}"
  job_role_arn     = "arn:${var.partition}:iam::${var.account_id}:role/${local.job_role_name}"
  undelivered_name = "ventureos-bedrock-undelivered-events${var.suffix}"

  function_names = { for name in keys(local.functions) : name => "ventureos-${replace(name, "_", "-")}${var.suffix}" }
  function_roles = { for name in keys(local.functions) : name => "ventureos-${replace(name, "_", "-")}-role${var.suffix}" }
  function_arns  = { for name, full in local.function_names : name => "arn:${var.partition}:lambda:${var.region}:${var.account_id}:function:${full}" }

  bedrock_arn = "arn:${var.partition}:bedrock:${var.region}:${var.account_id}"
  # Of every model that is configured: the model, or an inference profile and the models behind it, in each of its Regions
  # (https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-prereq.html).
  profiles = [for id in keys(var.models) : id if can(regex("^(us|us-gov|eu|apac|jp|au|ca|global)\\.", id))]
  model_arns = concat(
    [for id in keys(var.models) : "arn:${var.partition}:bedrock:${var.region}::foundation-model/${id}" if !contains(local.profiles, id)],
    local.profile_arns,
  )
  profile_arns = flatten([for id in local.profiles : [
    "${local.bedrock_arn}:inference-profile/${id}",
    "arn:${var.partition}:bedrock:*::foundation-model/${replace(id, "/^[a-z-]+\\./", "")}",
  ]])
}
