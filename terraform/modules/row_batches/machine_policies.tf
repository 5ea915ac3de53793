# The permissions of the state machines.

locals {
  # Step Functions learns of the end of nested executions through this rule, which it creates itself
  # (https://docs.aws.amazon.com/step-functions/latest/dg/connect-stepfunctions.html).
  follow_nested_executions = {
    Sid      = "FollowNestedExecutions"
    Effect   = "Allow"
    Action   = ["events:PutTargets", "events:PutRule", "events:DescribeRule"]
    Resource = ["arn:${var.deployment.partition}:events:${var.deployment.region}:${var.deployment.account_id}:rule/StepFunctionsGetEventsForStepFunctionsExecutionRule"]
  }

  # Read from the definition, so that a map added there has its permissions here.
  map_labels = [for state in jsondecode(local.composed.batch_processor).States : state.Label if can(state.Label)]

  state_machine_statements = [
    {
      # Every version, because a running batch keeps the versions that it started with.
      Sid      = "InvokeFunctions"
      Effect   = "Allow"
      Action   = ["lambda:InvokeFunction"]
      Resource = [for name in ["validate_input", "process_tool_rows", "map_input", "map_output", "aggregate_results"] : "${module.function[name].arn}:*"]
    },
    {
      # The children of its distributed maps (https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html).
      Sid      = "StartChildren"
      Effect   = "Allow"
      Action   = ["states:StartExecution"]
      Resource = [local.state_machine_arn]
    },
    {
      Sid      = "FollowChildren"
      Effect   = "Allow"
      Action   = ["states:DescribeExecution", "states:StopExecution", "states:RedriveExecution"]
      Resource = [for label in local.map_labels : "${local.states_arn}:execution:${local.state_machine_name}/${label}:*"]
    },
    local.read_work,
    {
      # Results of the maps, and the brake if a child finds a fault of the deployment.
      Sid      = "WriteWork"
      Effect   = "Allow"
      Action   = ["s3:PutObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"]
      Resource = ["${local.work}/map/*", "${local.work}/brake.json"]
    },
    merge(local.use_key, { Action = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"] }),
    local.follow_nested_executions,
  ]

  finish_machine_statements = [
    {
      Sid      = "FinishRuns"
      Effect   = "Allow"
      Action   = ["lambda:InvokeFunction"]
      Resource = [for name in ["aggregate_results", "notify"] : "${module.function[name].arn}:*"]
    },
  ]
}
