# Environment prod, in workspace prod.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  environment         = "prod"
  artifact_manifest   = "tests/manifest.json"
  allowed_account_ids = ["123456789012"]
}

run "names_carry_no_suffix" {
  command = plan

  assert {
    condition     = module.row_batches.state_machine_name == "batch-processor"
    error_message = "In prod the state machine is batch-processor, not ${module.row_batches.state_machine_name}."
  }

  assert {
    condition = sort(values(module.row_batches.function_names)) == tolist([
      "batch-processor-aggregate-results", "batch-processor-finish-run", "batch-processor-map-input", "batch-processor-map-output",
      "batch-processor-notify", "batch-processor-process-tool-rows", "batch-processor-validate-input",
    ])
    error_message = "Functions are batch-processor-<name>: ${jsonencode(module.row_batches.function_names)}"
  }

  assert {
    condition     = contains(module.row_batches.log_groups, "/aws/stepfunctions/batch-processor") && contains(module.row_batches.log_groups, "/aws/lambda/batch-processor-notify")
    error_message = "Log groups are /aws/stepfunctions/batch-processor and /aws/lambda/batch-processor-*."
  }

  assert {
    condition = module.bedrock_batches[0].function_names == {
      for name in ["admin_api", "batch_processor", "batch_result", "job_events", "sync"] : "bedrock_${name}" => "ventureos-bedrock-${replace(name, "_", "-")}"
    }
    error_message = jsonencode(module.bedrock_batches[0].function_names)
  }

  assert {
    condition = module.bedrock_batches[0].role_names == {
      bedrock_admin_api       = "ventureos-bedrock-admin-api-role"
      bedrock_batch_processor = "ventureos-bedrock-batch-processor-role"
      bedrock_batch_result    = "ventureos-bedrock-batch-result-role"
      bedrock_job_events      = "ventureos-bedrock-job-events-role"
      bedrock_sync            = "ventureos-bedrock-sync-role"
      job                     = "ventureos-bedrock-batch-job-role"
    }
    error_message = jsonencode(module.bedrock_batches[0].role_names)
  }

  assert {
    condition     = output.bedrock_jobs_table == "VentureOS-BedrockBatchJobs" && output.violations_table == "VentureOS-Violations"
    error_message = "Tables are VentureOS-BedrockBatchJobs and VentureOS-Violations."
  }

  assert {
    condition     = output.registry_table == "batch-processor-registry"
    error_message = "The registry is batch-processor-registry."
  }

  assert {
    condition     = output.results_table == "batch_processor_results"
    error_message = "The table of rows is batch_processor_results."
  }

  assert {
    condition     = output.runs_table == "batch_processor_runs"
    error_message = "The table of runs is batch_processor_runs."
  }

  assert {
    condition     = local.deployment.metrics_namespace == "BatchProcessor"
    error_message = "Metrics are in BatchProcessor, not ${local.deployment.metrics_namespace}."
  }
}

run "data_is_protected" {
  command = plan

  assert {
    condition     = !module.results_bucket.force_destroy && !module.input_bucket.force_destroy && !module.bedrock_batches[0].data_bucket_force_destroy
    error_message = "Buckets in prod are not destroyed with their objects."
  }

  assert {
    condition     = module.registry.protected
    error_message = "Tables in prod refuse to be deleted."
  }
}

run "another_environment_in_this_workspace_is_refused" {
  command = plan

  variables {
    environment = "stage"
  }

  expect_failures = [var.environment]
}

run "an_account_must_be_named" {
  command = plan

  variables {
    allowed_account_ids = []
  }

  expect_failures = [var.allowed_account_ids]
}

run "sample_targets_are_refused" {
  command = plan

  variables {
    sample_targets = true
  }

  expect_failures = [var.sample_targets]
}

run "a_missing_manifest_is_named" {
  command = plan

  variables {
    artifact_manifest = "tests/missing.json"
  }

  expect_failures = [var.artifact_manifest]
}

run "a_tool_that_is_no_function_is_refused" {
  command = plan

  variables {
    targets = { classifier = { type = "tool", arn = "arn:aws:states:us-east-1:123456789012:stateMachine:classifier" } }
  }

  expect_failures = [var.targets]
}

run "a_target_arn_with_a_wildcard_is_refused" {
  command = plan

  variables {
    targets = { every = { type = "tool", arn = "arn:aws:lambda:us-east-1:123456789012:function:*" } }
  }

  expect_failures = [var.targets]
}

run "an_agent_is_not_invoked_as_a_function" {
  command = plan

  variables {
    targets = { agent = { type = "agent", invocation = "lambda", arn = "arn:aws:states:us-east-1:123456789012:stateMachine:agent" } }
  }

  expect_failures = [var.targets]
}

run "prod_is_not_short_lived" {
  command = plan

  variables {
    short_lived = true
  }

  expect_failures = [var.short_lived]
}

run "a_deployment_that_stays_has_a_key_that_rotates" {
  command = plan

  assert {
    condition     = module.key.rotates && module.results_bucket.expire_after_days["work/"] == 7
    error_message = "The key rotates, and work/ expires."
  }
}

run "retention_is_in_whole_days" {
  command = plan

  variables {
    work_retention_days = 0.5
  }

  expect_failures = [var.work_retention_days]
}

run "the_input_that_a_dead_letter_names_outlives_the_letter" {
  command = plan

  variables {
    work_retention_days        = 3
    dead_letter_retention_days = 10
  }

  # The letter is sent while work/ is kept, at the latest, and waits in the queue from then on.
  assert {
    condition     = module.results_bucket.expire_after_days == { "work/" = 3, "dead-letters/" = 13 }
    error_message = jsonencode(module.results_bucket.expire_after_days)
  }
}

run "sqs_keeps_no_letter_for_longer_than_two_weeks" {
  command = plan

  variables {
    dead_letter_retention_days = 15
  }

  expect_failures = [var.dead_letter_retention_days]
}

run "log_retention_is_one_that_cloudwatch_has" {
  command = plan

  variables {
    log_retention_days = 10
  }

  expect_failures = [var.log_retention_days]
}

run "a_key_alias_is_refused" {
  command = plan

  variables {
    input_kms_key_arns = ["arn:aws:kms:us-east-1:123456789012:alias/other"]
  }

  expect_failures = [var.input_kms_key_arns]
}

run "an_alias_of_an_output_key_is_refused" {
  command = plan

  variables {
    output_kms_key_arns = ["arn:aws:kms:us-east-1:123456789012:alias/other"]
  }

  expect_failures = [var.output_kms_key_arns]
}

run "an_output_bucket_is_a_name" {
  command = plan

  variables {
    output_buckets = ["s3://my-results/folder/"]
  }

  expect_failures = [var.output_buckets]
}

run "the_deployments_own_bucket_is_no_output_bucket" {
  command = plan

  variables {
    results_bucket_name = "our-results"
    output_buckets      = ["our-results"]
  }

  expect_failures = [var.output_buckets]
}

run "bedrock_batches_can_be_left_out" {
  command = plan

  variables {
    bedrock_batches = false
  }

  assert {
    condition     = length(module.bedrock_batches) + length(module.lake) == 0 && output.admin_api_url == null
    error_message = "Nothing of it is deployed."
  }
}

run "a_model_whose_end_of_life_is_no_day_is_refused" {
  command = plan

  variables {
    bedrock_models = { "amazon.nova-lite-v1:0" = { end_of_life = "soon" } }
  }

  expect_failures = [var.bedrock_models]
}

run "a_quota_of_nothing_is_refused" {
  command = plan

  variables {
    bedrock_quotas = { concurrent_jobs = 0 }
  }

  expect_failures = [var.bedrock_quotas]
}

run "an_agency_that_is_no_table_name_is_refused" {
  command = plan

  variables {
    agencies = ["osha", "Fish & Wildlife"]
  }

  expect_failures = [var.agencies]
}

run "tokens_need_an_audience" {
  command = plan

  variables {
    jwt_issuer = "https://issuer.example"
  }

  expect_failures = [var.jwt_audience]
}

run "content_waits_for_the_lake_for_five_minutes_at_most" {
  command = plan

  variables {
    sync_window_seconds = 301
  }

  expect_failures = [var.sync_window_seconds]
}
