# The team's own targets: a function or state machine for each folder, with what its target.yaml says and nothing more.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  environment         = "stage"
  artifact_manifest   = "tests/manifest.json"
  allowed_account_ids = ["123456789012"]
  targets_folder      = "tests/targets"
}

run "each_folder_is_registered" {
  command = plan

  assert {
    condition = { for name, target in module.own_targets.targets : name => target.invocation } == {
      plain = "lambda", private = "lambda", quick = "express", thorough = "standard"
    }
    error_message = jsonencode(keys(module.own_targets.targets))
  }

  assert {
    condition     = module.own_targets.targets["plain"].cost_per_call_usd == null && module.own_targets.targets["plain"].enabled && length(module.own_targets.targets["plain"].input) == 0
    error_message = "A target without a file has the defaults."
  }

  assert {
    condition = (
      module.own_targets.targets["private"].cost_per_call_usd == 0.002 && module.own_targets.targets["private"].max_concurrency == 4 &&
      module.own_targets.targets["private"].input.text == { description = "What to read.", required = true } &&
      module.own_targets.targets["private"].input.language == { description = "", required = false }
    )
    error_message = jsonencode(module.own_targets.targets["private"].input)
  }
}

run "a_target_has_the_permissions_in_its_file_and_no_others" {
  command = plan

  assert {
    condition = jsonencode([for statement in module.own_targets.permissions["private"] : [statement.Action, statement.Resource]]) == jsonencode([
      [["bedrock:InvokeModel"], ["arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0"]],
      [["secretsmanager:GetSecretValue"], ["arn:aws:secretsmanager:us-east-1:123456789012:secret:key-AbCdEf"]],
    ])
    error_message = jsonencode(module.own_targets.permissions["private"])
  }

  assert {
    condition     = length(module.own_targets.permissions["plain"]) == 0 && length(module.own_targets.permissions["quick"]) == 0
    error_message = "Nothing is granted that no file names."
  }
}

run "a_name_that_the_variable_targets_has_too_is_refused" {
  command = plan

  variables {
    targets = { plain = { type = "tool", arn = "arn:aws:lambda:us-east-1:123456789012:function:other" } }
  }

  expect_failures = [var.targets]
}
