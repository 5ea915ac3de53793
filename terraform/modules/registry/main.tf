# The targets that batches can call, and the permissions to call them. Both come from the same list, so they cannot differ.

resource "aws_dynamodb_table" "this" {
  name                        = var.name
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "name"
  deletion_protection_enabled = var.protected

  attribute {
    name = "name"
    type = "S"
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = var.kms_key_arn
  }

  lifecycle {
    precondition {
      condition     = length(local.standard_chunks) <= local.policies_per_role
      error_message = "${length(local.standard)} Standard agents need ${length(local.standard_chunks)} policies of ${local.standard_per_policy}, and IAM attaches at most ${local.policies_per_role} managed policies to a role: register at most ${local.policies_per_role * local.standard_per_policy} Standard agents, or make some of them Express."
    }

    precondition {
      condition     = length(local.inspected_chunks) <= local.policies_per_role
      error_message = "${length(var.targets)} targets need ${length(local.inspected_chunks)} policies of ${local.synchronous_per_policy} to read their versions, and IAM attaches at most ${local.policies_per_role} managed policies to a role: register at most ${local.policies_per_role * local.synchronous_per_policy} targets."
    }

    precondition {
      condition     = length(local.synchronous_chunks) <= local.policies_per_role
      error_message = "${length(local.synchronous)} tools and Express agents need ${length(local.synchronous_chunks)} policies of ${local.synchronous_per_policy}, and IAM attaches at most ${local.policies_per_role} managed policies to a role: register at most ${local.policies_per_role * local.synchronous_per_policy} of them."
    }
  }
}

resource "aws_dynamodb_table_item" "target" {
  for_each = var.targets

  table_name = aws_dynamodb_table.this.name
  hash_key   = aws_dynamodb_table.this.hash_key
  item = jsonencode(merge(
    {
      name       = { S = each.key }
      type       = { S = each.value.type }
      arn        = { S = each.value.arn }
      invocation = { S = local.invocations[each.key] }
      version    = { S = each.value.version }
      enabled    = { BOOL = each.value.enabled }
    },
    local.target_schemas[each.key] == null ? {} : {
      output_schema          = { S = local.target_schemas[each.key] }
      output_schema_document = { S = try(var.schemas[local.target_schemas[each.key]].document, "") }
    },
    length(each.value.input) == 0 ? {} : { input = { M = { for field, declared in each.value.input : field => { M = {
      description = { S = declared.description }
      required    = { BOOL = declared.required }
    } } } } },
    length(each.value.output) == 0 ? {} : { output = { L = [for column in each.value.output : { M = merge(
      { name = { S = column.name }, type = { S = column.type } },
      column.source == null ? {} : { source = { S = column.source } },
    ) }] } },
    each.value.cost_per_call_usd == null ? {} : { cost_per_call_usd = { N = tostring(each.value.cost_per_call_usd) } },
    each.value.expected_seconds == null ? {} : { expected_seconds = { N = tostring(each.value.expected_seconds) } },
    each.value.max_concurrency == null ? {} : { max_concurrency = { N = tostring(each.value.max_concurrency) } },
    each.value.prices == null ? {} : { prices = { M = { for name, number in each.value.prices : name => { N = tostring(number) } } } },
    each.value.rate == null ? {} : { rate = { M = { for name, number in each.value.rate : name => { N = tostring(number) } if number != null } } },
  ))

  lifecycle {
    precondition {
      condition     = local.target_schemas[each.key] == null ? true : contains(keys(var.schemas), local.target_schemas[each.key])
      error_message = "The target ${each.key} has output_schema ${coalesce(local.target_schemas[each.key], "-")}, and there is no such file in schemas/: write it, or name one of ${join(", ", keys(var.schemas))}."
    }
  }
}

locals {
  # The schema that a target names, else the one of its own name, if there is one.
  target_schemas = {
    for name, target in var.targets : name => target.output_schema != null ? target.output_schema : contains(keys(var.schemas), name) ? name : null
  }

  invocations = {
    for name, target in var.targets : name => coalesce(target.invocation, target.type == "tool" ? "lambda" : "standard")
  }

  # process_tool_rows calls functions and Express state machines synchronously. The state machine follows Standard ones.
  synchronous = sort([for name, invocation in local.invocations : name if invocation != "standard"])
  standard    = sort([for name, invocation in local.invocations : name if invocation == "standard"])

  # A managed policy holds 6,144 characters (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html). ARNs are not
  # known when the number of policies must be, so the chunks are counted with the longest ARNs that there can be: 243 characters
  # for a function with its alias; 226 for a state machine with its alias, and 149 for its executions.
  synchronous_per_policy = 23
  standard_per_policy    = 15
  synchronous_chunks     = chunklist(local.synchronous, local.synchronous_per_policy)
  standard_chunks        = chunklist(local.standard, local.standard_per_policy)
  inspected_chunks       = chunklist(sort(keys(local.invocations)), local.synchronous_per_policy)

  # Managed policies that IAM attaches to a role by default (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html). All
  # policies of a kind go to one role.
  policies_per_role = 10

  synchronous_documents = [for chunk in local.synchronous_chunks : jsonencode({
    Version = "2012-10-17"
    Statement = [for action, invocation in { "lambda:InvokeFunction" = "lambda", "states:StartSyncExecution" = "express" } : {
      Effect   = "Allow"
      Action   = [action]
      Resource = [for name in chunk : var.targets[name].arn if local.invocations[name] == invocation]
    } if contains([for name in chunk : local.invocations[name]], invocation)]
  })]

  inspect_documents = [for chunk in local.inspected_chunks : jsonencode({
    Version = "2012-10-17"
    Statement = [for type, actions in {
      agent = ["states:DescribeStateMachine", "states:DescribeStateMachineAlias"]
      tool  = ["lambda:GetFunctionConfiguration"]
      } : {
      Effect   = "Allow"
      Action   = actions
      Resource = [for name in chunk : var.targets[name].arn if var.targets[name].type == type]
    } if contains([for name in chunk : var.targets[name].type], type)]
  })]

  standard_documents = [for chunk in local.standard_chunks : jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["states:StartExecution"]
        Resource = [for name in chunk : var.targets[name].arn]
      },
      {
        # Waiting for an execution looks it up and stops it when the row's time is over. Looking up is also what finds
        # an execution again that was started before.
        Effect   = "Allow"
        Action   = ["states:DescribeExecution", "states:StopExecution"]
        Resource = [for name in chunk : "${local.execution_prefixes[name]}:*"]
      },
    ]
  })]

  # arn:<partition>:states:<region>:<account>:stateMachine:<name>[:<alias or version>] -> …:execution:<name>
  execution_prefixes = {
    for name in local.standard : name => join(":", concat(
      slice(split(":", var.targets[name].arn), 0, 5), ["execution", element(split(":", var.targets[name].arn), 6)]
    ))
  }
}

resource "aws_iam_policy" "synchronous" {
  count = length(local.synchronous_chunks)

  name        = "${var.policy_name}-synchronous-${count.index}"
  description = "Call the registered tools and Express agents"
  policy      = local.synchronous_documents[count.index]

  lifecycle {
    precondition {
      condition     = length(local.synchronous_documents[count.index]) <= 6144
      error_message = "The policy for the targets ${join(", ", local.synchronous_chunks[count.index])} is longer than IAM allows: shorten their aliases."
    }
  }
}

# ValidateInput warns if a function can run longer than its row's time, and stores the code version with each answer.
resource "aws_iam_policy" "inspect" {
  count = length(local.inspected_chunks)

  name        = "${var.policy_name}-inspect-${count.index}"
  description = "Read the time-outs and the code versions of the registered targets"
  policy      = local.inspect_documents[count.index]

  lifecycle {
    precondition {
      condition     = length(local.inspect_documents[count.index]) <= 6144
      error_message = "The policy for the targets ${join(", ", local.inspected_chunks[count.index])} is longer than IAM allows: shorten their aliases."
    }
  }
}

resource "aws_iam_policy" "standard" {
  count = length(local.standard_chunks)

  name        = "${var.policy_name}-standard-${count.index}"
  description = "Start and follow the registered Standard agents"
  policy      = local.standard_documents[count.index]

  lifecycle {
    precondition {
      condition     = length(local.standard_documents[count.index]) <= 6144
      error_message = "The policy for the targets ${join(", ", local.standard_chunks[count.index])} is longer than IAM allows: shorten their aliases."
    }
  }
}
