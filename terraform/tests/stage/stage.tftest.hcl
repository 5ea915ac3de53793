# Environment stage, in workspace stage.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  environment         = "stage"
  artifact_manifest   = "tests/manifest.json"
  allowed_account_ids = ["123456789012"]
}

run "names_carry_the_workspace" {
  command = plan

  assert {
    condition     = module.row_batches.state_machine_name == "batch-processor-stage"
    error_message = "The state machine is batch-processor-stage."
  }

  assert {
    condition     = alltrue([for name in values(module.row_batches.function_names) : endswith(name, "-stage")])
    error_message = "Functions end in -stage."
  }

  assert {
    condition     = alltrue([for name in concat(values(module.bedrock_batches[0].function_names), values(module.bedrock_batches[0].role_names), [output.bedrock_jobs_table, output.violations_table]) : endswith(name, "-stage")])
    error_message = "Functions, roles and tables of Bedrock batches end in -stage."
  }

  assert {
    condition     = output.registry_table == "batch-processor-registry-stage"
    error_message = "The registry is batch-processor-registry-stage."
  }

  assert {
    condition     = local.deployment.metrics_namespace == "BatchProcessor-stage"
    error_message = "Metrics are in BatchProcessor-stage, not ${local.deployment.metrics_namespace}."
  }
}

run "what_is_here_can_be_destroyed" {
  command = plan

  assert {
    condition     = module.results_bucket.force_destroy && module.input_bucket.force_destroy && !module.registry.protected && module.bedrock_batches[0].data_bucket_force_destroy
    error_message = "Only prod is protected."
  }
}

run "a_target_is_limited_to_whole_rows" {
  command = plan

  variables {
    targets = {
      echo = { type = "tool", arn = "arn:aws:lambda:us-east-1:123456789012:function:echo", max_concurrency = 2.5 }
    }
  }

  expect_failures = [var.targets]
}

run "a_rate_of_a_target_says_something" {
  command = plan

  variables {
    targets = {
      echo = { type = "tool", arn = "arn:aws:lambda:us-east-1:123456789012:function:echo", rate = {} }
    }
  }

  expect_failures = [var.targets]
}

run "a_rate_of_a_target_is_more_than_0" {
  command = plan

  variables {
    targets = {
      echo = { type = "tool", arn = "arn:aws:lambda:us-east-1:123456789012:function:echo", rate = { rows_per_minute = 0 } }
    }
  }

  expect_failures = [var.targets]
}

run "a_column_of_an_output_has_a_name_of_up_to_255_characters" {
  command = plan

  variables {
    targets = {
      echo = { type = "tool", arn = "arn:aws:lambda:us-east-1:123456789012:function:echo", output = [{ name = format("%0256d", 0) }] }
    }
  }

  expect_failures = [var.targets]
}

run "a_column_of_an_output_has_no_control_character_in_its_name" {
  command = plan

  variables {
    targets = {
      echo = { type = "tool", arn = "arn:aws:lambda:us-east-1:123456789012:function:echo", output = [{ name = "two\nlines" }] }
    }
  }

  expect_failures = [var.targets]
}

run "a_column_of_an_output_is_no_metadata_column" {
  command = plan

  variables {
    targets = {
      echo = { type = "tool", arn = "arn:aws:lambda:us-east-1:123456789012:function:echo", output = [{ name = "label" }, { name = "_status" }] }
    }
  }

  expect_failures = [var.targets]
}

run "an_output_has_each_column_once" {
  command = plan

  variables {
    targets = {
      echo = { type = "tool", arn = "arn:aws:lambda:us-east-1:123456789012:function:echo", output = [{ name = "label" }, { name = "label" }] }
    }
  }

  expect_failures = [var.targets]
}

run "a_column_of_an_output_has_a_known_type" {
  command = plan

  variables {
    targets = {
      echo = { type = "tool", arn = "arn:aws:lambda:us-east-1:123456789012:function:echo", output = [{ name = "label", type = "text" }] }
    }
  }

  expect_failures = [var.targets]
}

run "the_source_of_a_column_is_a_path" {
  command = plan

  variables {
    targets = {
      echo = { type = "tool", arn = "arn:aws:lambda:us-east-1:123456789012:function:echo", output = [{ name = "label", source = "label" }] }
    }
  }

  expect_failures = [var.targets]
}

run "targets_that_share_an_arn_share_its_limits" {
  command = plan

  variables {
    targets = {
      echo  = { type = "tool", arn = "arn:aws:lambda:us-east-1:123456789012:function:echo", max_concurrency = 5 }
      other = { type = "tool", arn = "arn:aws:lambda:us-east-1:123456789012:function:echo" }
    }
  }

  expect_failures = [var.targets]
}
