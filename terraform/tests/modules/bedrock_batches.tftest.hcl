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
    short_lived        = false
    metrics_namespace  = "BatchProcessor-test"
    log_retention_days = 30
    log_level          = "INFO"
    xray_tracing       = false
  }
  layer_arns             = ["arn:aws:lambda:us-east-1:123456789012:layer:core:1"]
  duckdb_layer_arn       = "arn:aws:lambda:us-east-1:123456789012:layer:ventureos-duckdb:1"
  sdk_layer_arn          = "arn:aws:lambda:us-east-1:123456789012:layer:ventureos-sdk:1"
  kms_key_arn            = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"
  queue_key_arn          = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"
  table_bucket_arn       = "arn:aws:s3tables:us-east-1:123456789012:bucket/lake"
  namespace              = "silver"
  agencies               = ["osha"]
  data_bucket_name       = "data"
  notification_topic_arn = "arn:aws:sns:us-east-1:123456789012:topic"
  default_model          = "amazon.nova-lite-v1:0"
  sync_window_seconds    = 300
  routes = [
    { key = "GET /jobs", permissions = [{ action = "dynamodb:Query", resource = "jobs_indexes" }] },
    { key = "GET /jobs/{jobId}", permissions = [{ action = "dynamodb:GetItem", resource = "jobs_table" }, { action = "bedrock:GetModelInvocationJob", resource = "bedrock_jobs" }] },
    { key = "POST /jobs", permissions = [{ action = "dynamodb:PutItem", resource = "jobs_table" }, { action = "dynamodb:GetItem", resource = "jobs_table" }, { action = "lambda:InvokeFunction", resource = "bedrock_batch_processor" }] },
    { key = "GET /jobs/{jobId}/records", permissions = [{ action = "s3:ListBucket", resource = "data_bucket" }] },
  ]
  jwt_issuer   = null
  jwt_audience = []
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
}

run "a_job_on_an_inference_profile_may_invoke_the_models_behind_it" {
  command = plan

  module {
    source = "./modules/bedrock_batches"
  }

  assert {
    condition = length(setsubtract(
      [
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-pro-v1:0",
        "arn:aws:bedrock:*::foundation-model/amazon.nova-pro-v1:0",
      ],
      one([for statement in jsondecode(aws_iam_role_policy.job.policy).Statement : statement.Resource if statement.Sid == "InvokeBehindProfiles"]),
    )) == 0
    error_message = aws_iam_role_policy.job.policy
  }

  assert {
    condition     = contains(one([for statement in jsondecode(aws_iam_role_policy.job.policy).Statement : statement.Resource if statement.Sid == "InvokeBehindProfiles"]), "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0") == false
    error_message = "Bedrock invokes a model without a profile by itself: ${aws_iam_role_policy.job.policy}"
  }
}

run "the_models_of_the_table_that_fit_the_region_are_offered" {
  command = plan

  module {
    source = "./modules/bedrock_batches"
  }

  assert {
    condition     = toset(output.models) == toset([for id, model in jsondecode(file("../layers/core/python/foundation/models.json")).models : id if model.batch && (model.batch_regions == null ? can(regex("^(us|global)\\.", id)) : contains(coalesce(model.batch_regions, []), "us-east-1"))])
    error_message = jsonencode(output.models)
  }

  assert {
    condition     = jsondecode(local.environments.bedrock_batch_processor.MODELS) == { for id in output.models : id => {} } && local.environments.bedrock_admin_api.MODELS == local.environments.bedrock_batch_processor.MODELS
    error_message = local.environments.bedrock_batch_processor.MODELS
  }

  assert {
    condition     = length(jsonencode(local.environments.bedrock_batch_processor)) < 3500
    error_message = "An environment holds 4 KB (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html)."
  }
}

run "a_model_is_added_and_another_changed" {
  command = plan

  module {
    source = "./modules/bedrock_batches"
  }

  variables {
    models = {
      "us.amazon.nova-pro-v1:0" = { minimum_records = 200 }
      "us.new.model-v1:0"       = { input_usd_per_1k_tokens = 0.001, output_usd_per_1k_tokens = 0.002, as_of = "2026-11-01" }
    }
    default_model = "us.new.model-v1:0"
    quotas        = { concurrent_jobs = 3 }
  }

  assert {
    condition = { for id, change in jsondecode(local.environments.bedrock_batch_processor.MODELS) : id => change if length(change) > 0 } == {
      "us.amazon.nova-pro-v1:0" = { minimum_records = 200 }
      "us.new.model-v1:0"       = { input_usd_per_1k_tokens = 0.001, output_usd_per_1k_tokens = 0.002, as_of = "2026-11-01" }
    }
    error_message = local.environments.bedrock_batch_processor.MODELS
  }

  assert {
    condition     = jsondecode(local.environments.bedrock_batch_processor.QUOTAS) == { concurrent_jobs = 3 }
    error_message = "What is not given is AWS's default, which the code knows: ${local.environments.bedrock_batch_processor.QUOTAS}"
  }
}

run "a_default_model_that_nobody_knows_is_refused" {
  command = plan

  module {
    source = "./modules/bedrock_batches"
  }

  variables {
    default_model = "mistral.mistral-large-2402-v1:0"
  }

  expect_failures = [output.models]
}

run "a_new_model_without_a_price_is_refused" {
  command = plan

  module {
    source = "./modules/bedrock_batches"
  }

  variables {
    models = { "us.new.model-v1:0" = { batch = true } }
  }

  expect_failures = [output.models]
}

run "a_default_model_that_batch_inference_does_not_take_in_the_region_is_refused" {
  command = plan

  module {
    source = "./modules/bedrock_batches"
  }

  variables {
    deployment = {
      suffix             = "-test"
      partition          = "aws"
      account_id         = "123456789012"
      region             = "us-west-2"
      runtime            = "python3.13"
      architecture       = "arm64"
      protected          = false
      short_lived        = false
      metrics_namespace  = "BatchProcessor-test"
      log_retention_days = 30
      log_level          = "INFO"
      xray_tracing       = false
    }
  }

  expect_failures = [output.models]
}

run "an_inference_profile_of_another_geography_is_refused" {
  command = plan

  module {
    source = "./modules/bedrock_batches"
  }

  variables {
    default_model = "eu.anthropic.claude-sonnet-4-6"
  }

  expect_failures = [output.models]
}

run "a_model_that_batch_inference_does_not_take_is_refused" {
  command = plan

  module {
    source = "./modules/bedrock_batches"
  }

  variables {
    default_model = "us.anthropic.claude-sonnet-5"
  }

  expect_failures = [output.models]
}

run "a_model_past_the_end_of_its_life_is_refused" {
  command = plan

  module {
    source = "./modules/bedrock_batches"
  }

  variables {
    models = { "us.anthropic.claude-sonnet-4-20250514-v1:0" = { input_usd_per_1k_tokens = 0.003, output_usd_per_1k_tokens = 0.015, as_of = "2026-09-03", end_of_life = "2026-10-14" } }
  }

  expect_failures = [output.models]
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

run "events_that_a_function_fails_on_are_kept" {
  command = plan

  module {
    source = "./modules/bedrock_batches"
  }

  assert {
    condition     = sort([for config in aws_lambda_function_event_invoke_config.this : config.function_name if length(config.destination_config[0].on_failure) == 1]) == tolist(["ventureos-bedrock-batch-processor-test", "ventureos-bedrock-batch-result-test", "ventureos-bedrock-job-events-test"])
    error_message = jsonencode(keys(aws_lambda_function_event_invoke_config.this))
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

run "the_api_may_do_what_its_routes_do_and_no_more" {
  command = plan

  module {
    source = "./modules/bedrock_batches"
  }

  assert {
    condition = jsonencode({ for statement in local.function_statements.bedrock_admin_api : statement.Sid => [statement.Action, statement.Resource] }) == jsonencode({
      BedrockBatchProcessor = [["lambda:InvokeFunction"], ["arn:aws:lambda:us-east-1:123456789012:function:ventureos-bedrock-batch-processor-test"]]
      BedrockJobs           = [["bedrock:GetModelInvocationJob"], ["arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/*"]]
      DataBucket            = [["s3:ListBucket"], ["arn:aws:s3:::data"]]
      JobsIndexes           = [["dynamodb:Query"], ["arn:aws:dynamodb:us-east-1:123456789012:table/VentureOS-BedrockBatchJobs-test/index/*"]]
      JobsTable             = [["dynamodb:GetItem", "dynamodb:PutItem"], ["arn:aws:dynamodb:us-east-1:123456789012:table/VentureOS-BedrockBatchJobs-test"]]
    })
    error_message = jsonencode(local.function_statements.bedrock_admin_api)
  }

  assert {
    condition     = length([for statement in local.function_statements.bedrock_admin_api : statement if statement.Sid == "DataBucket" && try(statement.Condition, null) == null]) == 0
    error_message = "It lists its own prefix only."
  }

  assert {
    condition     = length(module.admin_api.authorization_types) == 4
    error_message = "API Gateway serves each route: ${jsonencode(module.admin_api.authorization_types)}"
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

  assert {
    condition     = local.alarms["ventureos-bedrock-sync-waiting-test"].metric == "SyncWaiting" && local.alarms["ventureos-bedrock-sync-waiting-test"].periods * local.alarms["ventureos-bedrock-sync-waiting-test"].period == 3600
    error_message = "Content that waits an hour for the lake is an alarm: ${jsonencode(local.alarms)}"
  }
}
