# The sample targets on an account: what examples and end-to-end tests need there.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  environment         = "stage"
  artifact_manifest   = "tests/manifest.json"
  allowed_account_ids = ["123456789012"]
}

run "sample_targets_are_deployed_where_they_are_asked_for" {
  command = plan

  variables {
    sample_targets = true
  }

  assert {
    condition = toset(keys(module.sample_targets[0].targets)) == toset([
      "browsing_agent", "chaos", "chaos_agent", "company_enrichment_agent", "echo", "echo_express_agent", "generate_description", "limited", "limited_agent",
      "ticket_classifier_agent",
    ])
    error_message = jsonencode(keys(module.sample_targets[0].targets))
  }

  assert {
    condition     = { for name, target in module.sample_targets[0].targets : name => target.max_concurrency if try(target.max_concurrency, null) != null } == { limited = 5, limited_agent = 5 }
    error_message = "Two of them have a limit in the registry."
  }
}

run "without_being_asked_for_there_are_none" {
  command = plan

  assert {
    condition     = length(module.sample_targets) == 0 && output.sample_parent_state_machine_arn == null
    error_message = "Samples are deployed by sample_targets only."
  }
}
