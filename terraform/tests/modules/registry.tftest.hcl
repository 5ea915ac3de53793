# The registry: what is listed can be called, and nothing else.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name        = "registry"
  policy_name = "invoke"
  kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"
  protected   = false
}

run "each_kind_of_target_gets_its_own_permission" {
  command = plan

  module {
    source = "./modules/registry"
  }

  variables {
    targets = {
      echo    = { type = "tool", arn = "arn:aws:lambda:us-east-1:123456789012:function:echo:live" }
      express = { type = "agent", invocation = "express", arn = "arn:aws:states:us-east-1:123456789012:stateMachine:express" }
      agent   = { type = "agent", arn = "arn:aws:states:us-east-1:123456789012:stateMachine:agent:live", cost_per_call_usd = 0.002, prices = { input_usd_per_million_tokens = 0.33, output_usd_per_million_tokens = 2 } }
      limited = {
        type            = "tool", arn = "arn:aws:lambda:us-east-1:123456789012:function:limited"
        max_concurrency = 5, rate = { rows_per_minute = 120.5 }
        output          = [{ name = "label" }, { name = "score", source = "$.rating", type = "number" }]
      }
    }
  }

  assert {
    condition = { for name, value in jsondecode(aws_dynamodb_table_item.target["limited"].item) : name => value if contains(["max_concurrency", "rate"], name) } == {
      max_concurrency = { N = "5" }
      rate            = { M = { rows_per_minute = { N = "120.5" } } }
    }
    error_message = aws_dynamodb_table_item.target["limited"].item
  }

  assert {
    condition = jsondecode(aws_dynamodb_table_item.target["limited"].item).output == { L = [
      { M = { name = { S = "label" }, type = { S = "string" } } },
      { M = { name = { S = "score" }, source = { S = "$.rating" }, type = { S = "number" } } },
    ] }
    error_message = aws_dynamodb_table_item.target["limited"].item
  }

  assert {
    condition = jsondecode(aws_iam_policy.synchronous[0].policy).Statement == [
      { Effect = "Allow", Action = ["lambda:InvokeFunction"], Resource = ["arn:aws:lambda:us-east-1:123456789012:function:echo:live", "arn:aws:lambda:us-east-1:123456789012:function:limited"] },
      { Effect = "Allow", Action = ["states:StartSyncExecution"], Resource = ["arn:aws:states:us-east-1:123456789012:stateMachine:express"] },
    ]
    error_message = aws_iam_policy.synchronous[0].policy
  }

  assert {
    condition = jsondecode(aws_iam_policy.standard[0].policy).Statement == [
      { Effect = "Allow", Action = ["states:StartExecution"], Resource = ["arn:aws:states:us-east-1:123456789012:stateMachine:agent:live"] },
      { Effect = "Allow", Action = ["states:DescribeExecution", "states:StopExecution"], Resource = ["arn:aws:states:us-east-1:123456789012:execution:agent:*"] },
    ]
    error_message = aws_iam_policy.standard[0].policy
  }

  assert {
    condition = jsondecode(aws_iam_policy.inspect[0].policy).Statement == [
      { Effect = "Allow", Action = ["states:DescribeStateMachine", "states:DescribeStateMachineAlias"], Resource = ["arn:aws:states:us-east-1:123456789012:stateMachine:agent:live", "arn:aws:states:us-east-1:123456789012:stateMachine:express"] },
      { Effect = "Allow", Action = ["lambda:GetFunctionConfiguration"], Resource = ["arn:aws:lambda:us-east-1:123456789012:function:echo:live", "arn:aws:lambda:us-east-1:123456789012:function:limited"] },
    ]
    error_message = aws_iam_policy.inspect[0].policy
  }

  assert {
    condition = jsondecode(aws_dynamodb_table_item.target["agent"].item) == {
      name              = { S = "agent" }
      type              = { S = "agent" }
      arn               = { S = "arn:aws:states:us-east-1:123456789012:stateMachine:agent:live" }
      invocation        = { S = "standard" }
      version           = { S = "1" }
      enabled           = { BOOL = true }
      cost_per_call_usd = { N = "0.002" }
      prices            = { M = { input_usd_per_million_tokens = { N = "0.33" }, output_usd_per_million_tokens = { N = "2" } } }
    }
    error_message = aws_dynamodb_table_item.target["agent"].item
  }
}

run "a_target_gets_the_schema_that_it_names_or_that_has_its_name" {
  command = plan

  module {
    source = "./modules/registry"
  }

  variables {
    targets = {
      classifier = { type = "tool", arn = "arn:aws:lambda:us-east-1:123456789012:function:classifier" }
      other      = { type = "tool", arn = "arn:aws:lambda:us-east-1:123456789012:function:other", output_schema = "classifier" }
      plain      = { type = "tool", arn = "arn:aws:lambda:us-east-1:123456789012:function:plain" }
    }
    schemas = {
      classifier = { agent = "classifier", version = "1", document = "{}", locked_sha256 = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" }
    }
  }

  assert {
    condition = alltrue([for name in ["classifier", "other"] :
      jsondecode(aws_dynamodb_table_item.target[name].item).output_schema == { S = "classifier" } &&
      jsondecode(aws_dynamodb_table_item.target[name].item).output_schema_document == { S = "{}" }
    ])
    error_message = aws_dynamodb_table_item.target["other"].item
  }

  assert {
    condition     = !can(jsondecode(aws_dynamodb_table_item.target["plain"].item).output_schema)
    error_message = aws_dynamodb_table_item.target["plain"].item
  }
}

run "a_schema_that_does_not_exist_is_refused" {
  command = plan

  module {
    source = "./modules/registry"
  }

  variables {
    targets = { echo = { type = "tool", arn = "arn:aws:lambda:us-east-1:123456789012:function:echo", output_schema = "none" } }
  }

  expect_failures = [aws_dynamodb_table_item.target["echo"]]
}

run "a_schema_that_changed_under_its_version_is_refused" {
  command = plan

  module {
    source = "./modules/registry"
  }

  variables {
    targets = {}
    schemas = {
      classifier = { agent = "classifier", version = "1", document = "[]", locked_sha256 = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" }
    }
  }

  expect_failures = [var.schemas]
}

run "a_schema_of_a_version_that_is_not_locked_is_refused" {
  command = plan

  module {
    source = "./modules/registry"
  }

  variables {
    targets = {}
    schemas = { classifier = { agent = "classifier", version = "1", document = "{}" } }
  }

  expect_failures = [var.schemas]
}

run "many_targets_with_the_longest_names_fit_into_policies" {
  command = plan

  module {
    source = "./modules/registry"
  }

  variables {
    targets = merge(
      { for n in range(70) : "tool-${n}" => {
        type = "tool"
        arn  = format("arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:%064d:%0128d", n, n)
      } },
      { for n in range(70) : "agent-${n}" => {
        type = "agent"
        arn  = format("arn:aws-us-gov:states:us-gov-west-1:123456789012:stateMachine:%080d:%080d", n, n)
      } },
    )
  }

  assert {
    condition     = alltrue([for policy in concat(aws_iam_policy.synchronous, aws_iam_policy.standard, aws_iam_policy.inspect) : length(policy.policy) <= 6144])
    error_message = jsonencode([for policy in concat(aws_iam_policy.synchronous, aws_iam_policy.standard, aws_iam_policy.inspect) : length(policy.policy)])
  }

  assert {
    condition     = length(aws_iam_policy.synchronous) <= 10 && length(aws_iam_policy.standard) <= 10
    error_message = "A role takes 10 managed policies."
  }
}

run "as_many_targets_as_a_role_takes_policies_for_are_registered" {
  command = plan

  module {
    source = "./modules/registry"
  }

  variables {
    targets = merge(
      { for n in range(80) : "tool-${n}" => { type = "tool", arn = "arn:aws:lambda:us-east-1:123456789012:function:tool-${n}" } },
      { for n in range(150) : "agent-${n}" => { type = "agent", arn = "arn:aws:states:us-east-1:123456789012:stateMachine:agent-${n}" } },
    )
  }

  assert {
    condition     = [for policies in [aws_iam_policy.synchronous, aws_iam_policy.standard, aws_iam_policy.inspect] : length(policies)] == [4, 10, 10]
    error_message = "A role takes 10 managed policies, and each kind of policy has a role of its own."
  }
}

run "more_standard_agents_than_a_role_takes_policies_for_are_refused" {
  command = plan

  module {
    source = "./modules/registry"
  }

  variables {
    targets = { for n in range(151) : "agent-${n}" => { type = "agent", arn = "arn:aws:states:us-east-1:123456789012:stateMachine:agent-${n}" } }
  }

  expect_failures = [aws_dynamodb_table.this]
}

run "more_targets_than_a_role_takes_policies_for_are_refused" {
  command = plan

  module {
    source = "./modules/registry"
  }

  variables {
    targets = merge(
      { for n in range(131) : "tool-${n}" => { type = "tool", arn = "arn:aws:lambda:us-east-1:123456789012:function:tool-${n}" } },
      { for n in range(100) : "agent-${n}" => { type = "agent", arn = "arn:aws:states:us-east-1:123456789012:stateMachine:agent-${n}" } },
    )
  }

  expect_failures = [aws_dynamodb_table.this]
}

run "more_tools_than_a_role_takes_policies_for_are_refused" {
  command = plan

  module {
    source = "./modules/registry"
  }

  variables {
    targets = { for n in range(231) : "tool-${n}" => { type = "tool", arn = "arn:aws:lambda:us-east-1:123456789012:function:tool-${n}" } }
  }

  expect_failures = [aws_dynamodb_table.this]
}

run "no_target_needs_no_policy" {
  command = plan

  module {
    source = "./modules/registry"
  }

  variables {
    targets = {}
  }

  assert {
    condition     = length(concat(aws_iam_policy.synchronous, aws_iam_policy.standard, aws_iam_policy.inspect)) == 0
    error_message = "IAM refuses a policy without statements."
  }
}
