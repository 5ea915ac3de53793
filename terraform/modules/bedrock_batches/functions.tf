# The functions of Bedrock batches. Their permissions are in policies.tf.

locals {
  # Description, memory, time-out and /tmp of each function, with reasons. Commands and benchmarks read the same file.
  sizes = jsondecode(file("${path.module}/../../../layers/core/python/bedrock_batches/functions.json"))

  # Environment variables of each function, in addition to common_environment.
  environments = {
    bedrock_batch_processor = {
      S3_TABLE_BUCKET_ARN = var.table_bucket_arn
      LAKE_NAMESPACE      = var.namespace
      AGENCIES            = jsonencode(var.agencies)
      LAKE_MEMORY_MB      = tostring(local.sizes.bedrock_batch_processor.duckdb_memory_mb)
      DATA_BUCKET         = var.data_bucket_name
      BATCH_JOBS_TABLE    = local.jobs_table
      VIOLATIONS_TABLE    = local.violations_table
      MODELS              = local.models_setting
      DEFAULT_MODEL       = var.default_model
      JOB_ROLE_ARN        = local.job_role_arn
      QUOTAS              = jsonencode({ for quota, value in var.quotas : quota => value if value != null })
    }
    bedrock_batch_result = {
      VIOLATIONS_TABLE    = local.violations_table
      BATCH_JOBS_TABLE    = local.jobs_table
      DATA_BUCKET         = var.data_bucket_name
      JOB_EVENTS_FUNCTION = local.function_names["bedrock_job_events"]
    }
    bedrock_job_events = {
      BATCH_JOBS_TABLE         = local.jobs_table
      DATA_BUCKET              = var.data_bucket_name
      BATCH_RESULT_FUNCTION    = local.function_names["bedrock_batch_result"]
      BATCH_PROCESSOR_FUNCTION = local.function_names["bedrock_batch_processor"]
      JOB_ROLE_ARN             = local.job_role_arn
      NOTIFICATION_TOPIC_ARN   = var.notification_topic_arn
      METRICS_NAMESPACE        = var.deployment.metrics_namespace
      QUOTAS                   = jsonencode({ for quota, value in var.quotas : quota => value if value != null })
    }
    bedrock_sync = {
      S3_TABLE_BUCKET_ARN = var.table_bucket_arn
      LAKE_NAMESPACE      = var.namespace
      AGENCIES            = jsonencode(var.agencies)
      LAKE_MEMORY_MB      = tostring(local.sizes.bedrock_sync.duckdb_memory_mb)
      DATA_BUCKET         = var.data_bucket_name
      BATCH_JOBS_TABLE    = local.jobs_table
      VIOLATIONS_TABLE    = local.violations_table
      METRICS_NAMESPACE   = var.deployment.metrics_namespace
    }
    bedrock_admin_api = {
      BATCH_JOBS_TABLE         = local.jobs_table
      VIOLATIONS_TABLE         = local.violations_table
      DATA_BUCKET              = var.data_bucket_name
      MODELS                   = local.models_setting
      DEFAULT_MODEL            = var.default_model
      AGENCIES                 = jsonencode(var.agencies)
      BATCH_PROCESSOR_FUNCTION = local.function_names["bedrock_batch_processor"]
      JOB_EVENTS_FUNCTION      = local.function_names["bedrock_job_events"]
    }
  }

  common_environment = {
    POWERTOOLS_SERVICE_NAME = "bedrock-batches"
    POWERTOOLS_LOG_LEVEL    = var.deployment.log_level
  }

  # Layers follow permissions. Functions that call Bedrock get the SDK, because the runtime's own does not know all that is sent
  # (modelInvocationType) or answered (recordCounts) yet. Functions that use the lake get DuckDB.
  services_used = {
    for name, statements in local.function_statements : name => distinct([
      for action in flatten(statements[*].Action) : split(":", action)[0]
    ])
  }
  # Called asynchronously, so an event that failed after all retries must be kept.
  called_by_events = ["bedrock_batch_processor", "bedrock_batch_result", "bedrock_job_events"]
}

module "function" {
  source   = "../function"
  for_each = local.sizes

  name         = local.function_names[each.key]
  role_name    = local.function_roles[each.key]
  description  = each.value.description
  runtime      = var.deployment.runtime
  architecture = var.deployment.architecture
  artifact     = var.artifacts["functions/${each.key}"]
  layer_arns = concat(
    var.layer_arns,
    contains(local.services_used[each.key], "s3tables") ? [var.duckdb_layer_arn] : [],
    contains(local.services_used[each.key], "bedrock") ? [var.sdk_layer_arn] : [],
  )

  memory_mb       = each.value.memory_mb
  timeout_seconds = each.value.timeout_seconds
  temporary_mb    = each.value.temporary_mb
  environment     = merge(local.common_environment, local.environments[each.key])
  statements      = concat(local.function_statements[each.key], [local.use_key])

  failed_events_queue_arn = contains(local.called_by_events, each.key) ? local.undelivered_arn : null

  kms_key_arn        = var.kms_key_arn
  log_retention_days = var.deployment.log_retention_days
  xray_tracing       = var.deployment.xray_tracing
}

module "admin_api" {
  source = "../admin_api"

  name               = local.function_names["bedrock_admin_api"]
  account_id         = var.deployment.account_id
  function_name      = module.function["bedrock_admin_api"].name
  function_arn       = module.function["bedrock_admin_api"].arn
  routes             = var.routes[*].key
  jwt_issuer         = var.jwt_issuer
  jwt_audience       = var.jwt_audience
  kms_key_arn        = var.kms_key_arn
  log_retention_days = var.deployment.log_retention_days
}
