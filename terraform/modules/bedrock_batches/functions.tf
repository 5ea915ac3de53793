# The functions of Bedrock batches. Their permissions are in policies.tf.

locals {
  functions = {
    bedrock_batch_processor = {
      description = "Creates a Bedrock batch job, or estimates one"
      # DuckDB's share, and the input files that are written beside it; over one core for the selection.
      memory_mb = 2048
      # A selection over 1,000,000 records takes a minute; the rest is for waiting its turn.
      timeout_seconds = 300
      # The input of the job before it is cut into parts, and what DuckDB does not hold in memory.
      temporary_mb = 2048
      environment = {
        S3_TABLE_BUCKET_ARN = var.table_bucket_arn
        LAKE_NAMESPACE      = var.namespace
        AGENCIES            = jsonencode(var.agencies)
        LAKE_MEMORY_MB      = "384"
        DATA_BUCKET         = var.data_bucket_name
        BATCH_JOBS_TABLE    = local.jobs_table
        VIOLATIONS_TABLE    = local.violations_table
        MODELS              = jsonencode(var.models)
        DEFAULT_MODEL       = var.default_model
        JOB_ROLE_ARN        = local.job_role_arn
        QUOTAS              = jsonencode(var.quotas)
      }
    }
    bedrock_batch_result = {
      description = "Takes the results of Bedrock batch inference into VentureOS-Violations"
      # It streams with 256 MB at most; what is above buys the CPU share that keeps eight writers busy.
      memory_mb = 1024
      # It notes how far it is with each thousand records, and calls itself to go on.
      timeout_seconds = 300
      # Nothing is written there; as much as the function's memory.
      temporary_mb = 1024
      environment = {
        VIOLATIONS_TABLE    = local.violations_table
        BATCH_JOBS_TABLE    = local.jobs_table
        DATA_BUCKET         = var.data_bucket_name
        JOB_EVENTS_FUNCTION = "ventureos-bedrock-job-events${var.deployment.suffix}"
      }
    }
    bedrock_job_events = {
      description = "Follows Bedrock batch jobs: their status, their queue, their results, their end"
      # At the end of a job it holds the ids of one part's records: 50,000 in some 20 MB.
      memory_mb = 512
      # A schedule's call takes all unfinished jobs in turn, each in a second or two.
      timeout_seconds = 300
      temporary_mb    = 512
      environment = {
        BATCH_JOBS_TABLE       = local.jobs_table
        DATA_BUCKET            = var.data_bucket_name
        BATCH_RESULT_FUNCTION  = "ventureos-bedrock-batch-result${var.deployment.suffix}"
        JOB_ROLE_ARN           = local.job_role_arn
        NOTIFICATION_TOPIC_ARN = var.notification_topic_arn
        QUOTAS                 = jsonencode(var.quotas)
      }
    }
    bedrock_sync = {
      description = "Merges content from the stream of VentureOS-Violations into the lake"
      # As bedrock_batch_processor: a MERGE reads the agency's table.
      memory_mb = 2048
      # Up to seven tables, each for a lease and a MERGE of some seconds; 30 s are kept to write down what failed.
      timeout_seconds = 300
      # What DuckDB does not hold in memory.
      temporary_mb = 2048
      environment = {
        S3_TABLE_BUCKET_ARN = var.table_bucket_arn
        LAKE_NAMESPACE      = var.namespace
        AGENCIES            = jsonencode(var.agencies)
        LAKE_MEMORY_MB      = "1024"
        DATA_BUCKET         = var.data_bucket_name
        BATCH_JOBS_TABLE    = local.jobs_table
        VIOLATIONS_TABLE    = local.violations_table
        METRICS_NAMESPACE   = var.deployment.metrics_namespace
      }
    }
    bedrock_admin_api = {
      description = "The admin API of Bedrock batches"
      # JSON of some kilobytes; what is above buys the CPU share of a short cold start.
      memory_mb = 1024
      # HTTP APIs give up after 30 s; a creation is waited for for 20 s.
      timeout_seconds = 29
      temporary_mb    = 512
      environment = {
        BATCH_JOBS_TABLE         = local.jobs_table
        MODELS                   = jsonencode(var.models)
        DEFAULT_MODEL            = var.default_model
        AGENCIES                 = jsonencode(var.agencies)
        BATCH_PROCESSOR_FUNCTION = "ventureos-bedrock-batch-processor${var.deployment.suffix}"
        JOB_EVENTS_FUNCTION      = "ventureos-bedrock-job-events${var.deployment.suffix}"
      }
    }
  }

  common_environment = {
    POWERTOOLS_SERVICE_NAME = "bedrock-batches"
    POWERTOOLS_LOG_LEVEL    = var.deployment.log_level
  }

  # Layers follow permissions. Who calls Bedrock gets the SDK: the runtime's own may not know all that is sent
  # (modelInvocationType) or answered (recordCounts) yet. Who uses the lake gets DuckDB.
  services_used = {
    for name, statements in local.function_statements : name => distinct([
      for action in flatten(statements[*].Action) : split(":", action)[0]
    ])
  }
  # Called asynchronously: an event that failed for good must not vanish.
  called_by_events = ["bedrock_batch_processor", "bedrock_batch_result", "bedrock_job_events"]
}

module "function" {
  source   = "../function"
  for_each = local.functions

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
  environment     = merge(local.common_environment, each.value.environment)
  statements      = concat(local.function_statements[each.key], [local.use_key])

  dead_letter_queue_arn = contains(local.called_by_events, each.key) ? aws_sqs_queue.undelivered.arn : null

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
  jwt_issuer         = var.jwt_issuer
  jwt_audience       = var.jwt_audience
  kms_key_arn        = var.kms_key_arn
  log_retention_days = var.deployment.log_retention_days
}
