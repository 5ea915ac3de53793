# Environment local, in workspace local.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  environment         = "local"
  artifact_manifest   = "tests/manifest.json"
  allowed_account_ids = ["123456789012"]
}

run "names_carry_the_workspace" {
  command = plan

  assert {
    condition     = module.row_batches.state_machine_name == "batch-processor-local"
    error_message = "The state machine is batch-processor-local."
  }

  assert {
    condition     = alltrue([for name in values(module.row_batches.function_names) : endswith(name, "-local")])
    error_message = "Functions end in -local."
  }

  assert {
    condition     = alltrue([for name in concat(values(module.bedrock_batches[0].function_names), values(module.bedrock_batches[0].role_names), [output.bedrock_jobs_table, output.violations_table]) : endswith(name, "-local")])
    error_message = "Functions, roles and tables of Bedrock batches end in -local."
  }

  assert {
    condition     = output.registry_table == "batch-processor-registry-local"
    error_message = "The registry is batch-processor-registry-local."
  }

  assert {
    condition     = local.deployment.metrics_namespace == "BatchProcessor-local"
    error_message = "Metrics are in BatchProcessor-local, not ${local.deployment.metrics_namespace}."
  }
}

run "what_lives_for_a_day_has_nothing_that_terraform_waits_for" {
  command = plan

  variables {
    short_lived = true
  }

  assert {
    condition     = module.input_bucket.expire_after_days == {} && module.results_bucket.expire_after_days == {} && !module.key.rotates
    error_message = "Nothing expires, and the key does not rotate."
  }
}

run "what_is_here_can_be_destroyed" {
  command = plan

  assert {
    condition     = module.results_bucket.force_destroy && module.input_bucket.force_destroy && !module.registry.protected && module.bedrock_batches[0].data_bucket_force_destroy
    error_message = "Only prod is protected."
  }
}
