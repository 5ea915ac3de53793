# A state machine: its log.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name               = "machine"
  account_id         = "123456789012"
  definition         = "{}"
  kms_key_arn        = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"
  log_retention_days = 30
}

run "its_log_takes_no_room_in_the_accounts_resource_policy" {
  command = plan

  module {
    source = "./modules/state_machine"
  }

  assert {
    condition     = aws_cloudwatch_log_group.this.name == "/aws/vendedlogs/states/machine"
    error_message = aws_cloudwatch_log_group.this.name
  }
}

run "a_documented_name_of_its_log_is_kept" {
  command = plan

  module {
    source = "./modules/state_machine"
  }

  variables {
    log_group_name = "/aws/stepfunctions/machine"
  }

  assert {
    condition     = aws_cloudwatch_log_group.this.name == "/aws/stepfunctions/machine"
    error_message = aws_cloudwatch_log_group.this.name
  }
}
