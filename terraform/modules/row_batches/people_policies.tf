# The permissions of people and agents, by their role.

locals {
  # How a run goes, and its rows.
  follow_runs = [
    {
      Sid      = "FollowBatches"
      Effect   = "Allow"
      Action   = ["states:DescribeExecution", "states:ListMapRuns", "states:GetExecutionHistory"]
      Resource = [local.executions_arn]
    },
    {
      Sid      = "FollowMaps"
      Effect   = "Allow"
      Action   = ["states:DescribeMapRun"]
      Resource = [local.map_runs_arn]
    },
    {
      Sid      = "ReadResults"
      Effect   = "Allow"
      Action   = ["s3:GetObject"]
      Resource = [local.results, "${local.work}/plan.json"]
    },
    {
      # Finished rows, in S3 and in the table.
      Sid      = "ReadRows"
      Effect   = "Allow"
      Action   = ["s3:GetObject"]
      Resource = ["${local.work}/rows/*", "${local.work}/spilled/*"]
    },
    {
      # Rows that were not sent. The plan names the version.
      Sid      = "ReadSkipped"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:GetObjectVersion"]
      Resource = ["${local.work}/skipped.csv"]
    },
    {
      Sid      = "ReadItems"
      Effect   = "Allow"
      Action   = ["dynamodb:Query", "dynamodb:GetItem", "dynamodb:BatchGetItem"]
      Resource = [aws_dynamodb_table.results.arn, "${aws_dynamodb_table.results.arn}/index/failed-rows"]
    },
    {
      # State, counts and history of runs.
      Sid      = "ReadRuns"
      Effect   = "Allow"
      Action   = ["dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query"]
      Resource = [aws_dynamodb_table.runs.arn, "${aws_dynamodb_table.runs.arn}/index/*"]
    },
    {
      # Reads progress from the keys of rows objects, and distinguishes a missing object from a forbidden one.
      Sid       = "ReadProgress"
      Effect    = "Allow"
      Action    = ["s3:ListBucket"]
      Resource  = [local.results_arn]
      Condition = { StringLikeIfExists = { "s3:prefix" = ["work/*", "results/*"] } }
    },
  ]

  # Starts runs, changes and stops them.
  control_runs = [
    {
      Sid      = "StartBatches"
      Effect   = "Allow"
      Action   = ["states:StartExecution", "states:ListExecutions", "states:DescribeStateMachine"]
      Resource = [local.state_machine_arn]
    },
    {
      Sid      = "StopBatches"
      Effect   = "Allow"
      Action   = ["states:StopExecution"]
      Resource = [local.executions_arn]
    },
    {
      # Answers a run that waits after its trial. The token for it is in the table of runs.
      Sid      = "ApproveRuns"
      Effect   = "Allow"
      Action   = ["states:SendTaskSuccess"]
      Resource = [local.state_machine_arn]
    },
    {
      Sid      = "ThrottleMaps"
      Effect   = "Allow"
      Action   = ["states:UpdateMapRun"]
      Resource = [local.map_runs_arn]
    },
    {
      # The limits of a running batch. The leases in the same table stay inaccessible.
      Sid       = "ThrottleRuns"
      Effect    = "Allow"
      Action    = ["dynamodb:UpdateItem"]
      Resource  = [aws_dynamodb_table.runs.arn]
      Condition = { "ForAllValues:StringLike" = { "dynamodb:LeadingKeys" = ["RUN#*"] } }
    },
    {
      Sid      = "PutInput"
      Effect   = "Allow"
      Action   = ["s3:PutObject", "s3:AbortMultipartUpload"]
      Resource = ["arn:${var.deployment.partition}:s3:::${var.input_buckets[0]}/*"]
    },
    {
      # Stops a batch and keeps its finished rows.
      Sid      = "PullBrake"
      Effect   = "Allow"
      Action   = ["s3:PutObject"]
      Resource = ["${local.work}/brake.json"]
    },
    local.use_key,
  ]

  # Agents, schedules and state machines. The last statement is for a state machine that waits with startExecution.sync:2.
  caller_statements = concat(local.follow_runs, local.control_runs, [local.follow_nested_executions])

  # People who look. The input is read to verify an output, and to show how a file is read.
  reader_statements = concat(local.follow_runs, [
    {
      Sid      = "ReadInput"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:GetObjectVersion"]
      Resource = [for bucket in var.input_buckets : "arn:${var.deployment.partition}:s3:::${bucket}/*"]
    },
    {
      # The copy of an input that was changed or deleted since the run. The plan names the version.
      Sid      = "ReadStaged"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:GetObjectVersion"]
      Resource = ["${local.work}/input.csv"]
    },
    {
      Sid      = "FindInput"
      Effect   = "Allow"
      Action   = ["s3:ListBucket"]
      Resource = [for bucket in var.input_buckets : "arn:${var.deployment.partition}:s3:::${bucket}"]
    },
    {
      Sid      = "ReadRegistry"
      Effect   = "Allow"
      Action   = ["dynamodb:GetItem", "dynamodb:Scan"]
      Resource = [var.registry_table_arn]
    },
    {
      Sid      = "Decrypt"
      Effect   = "Allow"
      Action   = ["kms:Decrypt"]
      Resource = concat([var.kms_key_arn], var.input_kms_key_arns)
    },
  ])

  # People who operate runs. They have the reader's policy, too.
  operator_statements = concat(local.control_runs, local.deliver, [
    # The kept answers and the staged input, for outputs with other columns.
    local.read_work,
    {
      Sid      = "WriteRemapped"
      Effect   = "Allow"
      Action   = ["s3:PutObject", "s3:PutObjectTagging", "s3:AbortMultipartUpload"]
      Resource = ["${local.results_arn}/results/*/remapped/*"]
    },
  ])

  # People who delete all that a run left, old versions included. They have the reader's policy, too.
  purger_statements = [
    {
      Sid       = "FindVersions"
      Effect    = "Allow"
      Action    = ["s3:ListBucketVersions"]
      Resource  = [local.results_arn]
      Condition = { StringLike = { "s3:prefix" = ["work/*", "results/*", "dead-letters/*"] } }
    },
    {
      Sid       = "FindUploadedVersions"
      Effect    = "Allow"
      Action    = ["s3:ListBucketVersions"]
      Resource  = ["arn:${var.deployment.partition}:s3:::${var.input_buckets[0]}"]
      Condition = { StringLike = { "s3:prefix" = ["uploads/*"] } }
    },
    {
      # Both, also for versions alone (https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html).
      Sid    = "DeleteVersions"
      Effect = "Allow"
      Action = ["s3:DeleteObject", "s3:DeleteObjectVersion"]
      Resource = concat(
        [local.work, local.results, "${local.results_arn}/dead-letters/*"],
        ["arn:${var.deployment.partition}:s3:::${var.input_buckets[0]}/uploads/*"],
      )
    },
    {
      Sid      = "DeleteItems"
      Effect   = "Allow"
      Action   = ["dynamodb:BatchWriteItem"]
      Resource = [aws_dynamodb_table.results.arn, aws_dynamodb_table.runs.arn]
    },
  ]
}
