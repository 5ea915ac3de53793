# Bedrock batches: what Bedrock may do with our files, and what sets the functions off.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  deployment = {
    suffix             = "-test"
    partition          = "aws"
    account_id         = "123456789012"
    region             = "us-east-1"
    runtime            = "python3.13"
    architecture       = "arm64"
    protected          = false
    metrics_namespace  = "BatchProcessor-test"
    log_retention_days = 30
    log_level          = "INFO"
    xray_tracing       = false
  }
  layer_arns             = ["arn:aws:lambda:us-east-1:123456789012:layer:core:1"]
  duckdb_layer_arn       = "arn:aws:lambda:us-east-1:123456789012:layer:ventureos-duckdb:1"
  sdk_layer_arn          = "arn:aws:lambda:us-east-1:123456789012:layer:ventureos-sdk:1"
  kms_key_arn            = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"
  table_bucket_arn       = "arn:aws:s3tables:us-east-1:123456789012:bucket/lake"
  namespace              = "silver"
  agencies               = ["osha"]
  data_bucket_name       = "data"
  notification_topic_arn = "arn:aws:sns:us-east-1:123456789012:topic"
  models                 = { "amazon.nova-lite-v1:0" = { input_usd_per_1k_tokens = 0.00006, output_usd_per_1k_tokens = 0.00024, as_of = "2025-06-01" } }
  default_model          = "amazon.nova-lite-v1:0"
  quotas                 = { minimum_records = 100, records_per_job = 50000, bytes_per_file = 1000000000, concurrent_jobs = 20 }
  sync_window_seconds    = 300
  jwt_issuer             = null
  jwt_audience           = []
  artifacts = { for name in ["batch_processor", "batch_result", "job_events", "sync", "admin_api"] :
    "functions/bedrock_${name}" => { bucket = "artifacts", key = "${name}.zip", sha256 = "c2FtcGxl" }
  }
}

run "only_bedrock_takes_the_job_role_and_only_for_jobs_of_this_account" {
  command = plan

  module {
    source = "./modules/bedrock_batches"
  }

  assert {
    condition = jsondecode(aws_iam_role.job.assume_role_policy).Statement == [{
      Effect    = "Allow"
      Principal = { Service = "bedrock.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceAccount" = "123456789012" }
        ArnEquals    = { "aws:SourceArn" = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/*" }
      }
    }]
    error_message = aws_iam_role.job.assume_role_policy
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.job.policy).Statement :
      alltrue([for resource in statement.Resource : startswith(resource, "arn:aws:s3:::data/bedrock-batches/")]) if contains(["ReadInput", "WriteOutput"], statement.Sid)
    ])
    error_message = aws_iam_role_policy.job.policy
  }

  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.job.policy).Statement : statement.Sid] == ["ReadInput", "WriteOutput", "ListFiles", "Key"]
    error_message = "Without inference profiles it invokes no model: ${aws_iam_role_policy.job.policy}"
  }
}

run "a_job_on_an_inference_profile_may_invoke_the_models_behind_it" {
  command = plan

  module {
    source = "./modules/bedrock_batches"
  }

  variables {
    models        = { "us.amazon.nova-pro-v1:0" = { input_usd_per_1k_tokens = 0.0008, output_usd_per_1k_tokens = 0.0032, as_of = "2025-06-01" } }
    default_model = "us.amazon.nova-pro-v1:0"
  }

  assert {
    condition = one([for statement in jsondecode(aws_iam_role_policy.job.policy).Statement : statement.Resource if statement.Sid == "InvokeBehindProfiles"]) == [
      "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-pro-v1:0",
      "arn:aws:bedrock:*::foundation-model/amazon.nova-pro-v1:0",
    ]
    error_message = aws_iam_role_policy.job.policy
  }
}

run "results_reach_their_function_in_both_layouts_and_nothing_else_does" {
  command = plan

  module {
    source = "./modules/bedrock_batches"
  }

  assert {
    condition     = sort([for to in aws_s3_bucket_notification.output.lambda_function : "${to.filter_prefix}*${to.filter_suffix}"]) == tolist(["bedrock-batches/output/*.jsonl", "bedrock-batches/output/*.jsonl.out"])
    error_message = "One notification for each layout."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.content.batch_size == 5000 && aws_lambda_event_source_mapping.content.maximum_batching_window_in_seconds == 300 && aws_lambda_event_source_mapping.content.bisect_batch_on_function_error
    error_message = "Content is gathered for five minutes."
  }
}

run "functions_have_the_sizes_of_the_file_that_python_reads" {
  command = plan

  module {
    source = "./modules/bedrock_batches"
  }

  assert {
    condition     = jsonencode({ for name, function in module.function : name => function.size }) == jsonencode({ for name, size in jsondecode(file("../layers/core/python/bedrock_batches/functions.json")) : name => [size.memory_mb, size.timeout_seconds, size.temporary_mb] })
    error_message = jsonencode({ for name, function in module.function : name => function.size })
  }
}

run "who_calls_bedrock_has_the_sdk_and_who_uses_the_lake_has_duckdb" {
  command = plan

  module {
    source = "./modules/bedrock_batches"
  }

  assert {
    condition = jsonencode({ for name, function in module.function : name => setsubtract(function.layer_arns, var.layer_arns) }) == jsonencode({
      bedrock_admin_api       = [var.sdk_layer_arn]
      bedrock_batch_processor = [var.duckdb_layer_arn, var.sdk_layer_arn]
      bedrock_batch_result    = []
      bedrock_job_events      = [var.sdk_layer_arn]
      bedrock_sync            = [var.duckdb_layer_arn]
    })
    error_message = jsonencode({ for name, function in module.function : name => function.layer_arns })
  }
}

run "environments_of_one_account_have_metrics_of_their_own" {
  command = plan

  module {
    source = "./modules/bedrock_batches"
  }

  assert {
    condition     = local.alarms["ventureos-bedrock-sync-failed-test"].namespace == "BatchProcessor-test" && local.environments["bedrock_sync"].METRICS_NAMESPACE == "BatchProcessor-test"
    error_message = "Content that stage cannot merge is no alarm of prod."
  }
}
