# The permissions of functions: one list of statements for each, and the statements that several share, also with machines and people.

locals {
  results_arn = "arn:${var.deployment.partition}:s3:::${var.results_bucket}"
  work        = "${local.results_arn}/work/*"
  results     = "${local.results_arn}/results/*"
  # For runs that the previous release started, which keep using the function versions that they name.
  dead_letters = ["${local.results_arn}/dead-letters/*", "${local.work}/dead-letters/*"]

  # Every function gets it, after its own statements.
  use_key = {
    Sid      = "Key"
    Effect   = "Allow"
    Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
    Resource = [var.kms_key_arn]
  }

  read_work = {
    Sid      = "ReadWork"
    Effect   = "Allow"
    Action   = ["s3:GetObject", "s3:GetObjectVersion"]
    Resource = [local.work]
  }

  # Without it, S3 answers 403 instead of 404 for a missing object. IfExists, because a GetObject request has no prefix.
  list_work = {
    Sid       = "ListWork"
    Effect    = "Allow"
    Action    = ["s3:ListBucket"]
    Resource  = [local.results_arn]
    Condition = { StringLikeIfExists = { "s3:prefix" = ["work/*"] } }
  }

  # What a worker leaves: finished rows, those too large for the table, markers of failures and of letters sent, failed inputs too large for the queue, the brake.
  write_rows = {
    Sid      = "WriteRows"
    Effect   = "Allow"
    Action   = ["s3:PutObject"]
    Resource = concat([for name in ["rows/*", "spilled/*", "failed/*", "letters/*", "brake.json"] : "${local.work}/${name}"], local.dead_letters)
  }

  # Writes the rows of batches with storage_mode dynamodb, and reads the rows that resume_from takes over.
  write_items = {
    Sid      = "WriteItems"
    Effect   = "Allow"
    Action   = ["dynamodb:BatchWriteItem", "dynamodb:BatchGetItem", "dynamodb:Query"]
    Resource = [aws_dynamodb_table.results.arn]
  }

  # Of other batches to the same inputs.
  take_answers = {
    Sid      = "TakeAnswers"
    Effect   = "Allow"
    Action   = ["dynamodb:BatchGetItem"]
    Resource = [aws_dynamodb_table.answers.arn]
  }

  # For later batches.
  keep_answers = {
    Sid      = "KeepAnswers"
    Effect   = "Allow"
    Action   = ["dynamodb:BatchWriteItem"]
    Resource = [aws_dynamodb_table.answers.arn]
  }

  send_dead_letters = {
    Sid      = "SendDeadLetters"
    Effect   = "Allow"
    Action   = ["sqs:SendMessage", "sqs:GetQueueUrl"]
    Resource = ["${local.queues_arn}:${local.dead_letters_name}"]
  }

  # Keeps the inputs that are too large for the queue, for failed rows whose letters no worker sent.
  keep_oversized_inputs = {
    Sid      = "KeepOversizedInputs"
    Effect   = "Allow"
    Action   = ["s3:PutObject"]
    Resource = local.dead_letters
  }

  # Output, failed rows and summary; the list of missing rows, and the position to continue from.
  write_results = [
    {
      Sid      = "WriteResults"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:PutObject", "s3:PutObjectTagging", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
      Resource = [local.results]
    },
    {
      Sid      = "WriteProgress"
      Effect   = "Allow"
      Action   = ["s3:PutObject", "s3:AbortMultipartUpload"]
      Resource = [for name in ["missing.csv", "trial.csv", "aggregate.json", "aggregate.json.stopped"] : "${local.work}/${name}"]
    },
  ]

  count_rows = {
    Sid      = "CountRows"
    Effect   = "Allow"
    Action   = ["dynamodb:UpdateItem"]
    Resource = [aws_dynamodb_table.runs.arn]
  }

  # Leases of rows and of the aggregation.
  own_rows = {
    Sid      = "OwnRows"
    Effect   = "Allow"
    Action   = ["dynamodb:PutItem", "dynamodb:DeleteItem", "dynamodb:Query"]
    Resource = [aws_dynamodb_table.runs.arn]
  }

  # Of targets whose registry entry has limits.
  hold_permits = {
    Sid       = "HoldPermits"
    Effect    = "Allow"
    Action    = ["dynamodb:PutItem", "dynamodb:DeleteItem"]
    Resource  = [aws_dynamodb_table.runs.arn]
    Condition = { "ForAllValues:StringLike" = { "dynamodb:LeadingKeys" = ["LEASE#target#*"] } }
  }

  # Who holds permits; what the run may use by now, and the pace that it has.
  read_permits_and_pace = {
    Sid       = "ReadPermitsAndPace"
    Effect    = "Allow"
    Action    = ["dynamodb:Query"]
    Resource  = [aws_dynamodb_table.runs.arn]
    Condition = { "ForAllValues:StringLike" = { "dynamodb:LeadingKeys" = ["LEASE#target#*", "RUN#*"] } }
  }

  # Of batches with enable_xray.
  write_traces = {
    Sid    = "WriteTraces"
    Effect = "Allow"
    Action = ["xray:PutTraceSegments"]
    # X-Ray has no resource-level permissions (https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html).
    Resource = ["*"]
  }

  announce = {
    Sid      = "Announce"
    Effect   = "Allow"
    Action   = ["sns:Publish"]
    Resource = [aws_sns_topic.notifications.arn]
  }

  # Results in buckets of users. Without such buckets there are no statements, because a statement needs a resource.
  # KMS: https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html#mpuAndPermissions
  deliver = concat(
    length(var.output_buckets) == 0 ? [] : [{
      Sid      = "Deliver"
      Effect   = "Allow"
      Action   = ["s3:PutObject", "s3:AbortMultipartUpload"]
      Resource = [for bucket in var.output_buckets : "arn:${var.deployment.partition}:s3:::${bucket}/*"]
    }],
    length(var.output_kms_key_arns) == 0 ? [] : [{
      Sid      = "EncryptDelivered"
      Effect   = "Allow"
      Action   = ["kms:GenerateDataKey", "kms:Decrypt"]
      Resource = var.output_kms_key_arns
    }],
  )

  function_statements = {
    validate_input = concat(local.deliver, [
      {
        # An earlier output, or its failed rows, can be the next input.
        Sid      = "ReadInput"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = concat([for bucket in var.input_buckets : "arn:${var.deployment.partition}:s3:::${bucket}/*"], [local.results])
      },
      {
        # To distinguish a missing object from a forbidden one.
        Sid      = "FindInput"
        Effect   = "Allow"
        Action   = ["s3:ListBucket"]
        Resource = [for bucket in var.input_buckets : "arn:${var.deployment.partition}:s3:::${bucket}"]
      },
      {
        Sid      = "DecryptInput"
        Effect   = "Allow"
        Action   = ["kms:Decrypt"]
        Resource = concat([var.kms_key_arn], var.input_kms_key_arns)
      },
      {
        Sid      = "Stage"
        Effect   = "Allow"
        Action   = ["s3:PutObject", "s3:AbortMultipartUpload"]
        Resource = [for name in ["input.csv", "skipped.csv", "staging.json", "distinct.csv", "duplicates.bin", "plan.json"] : "${local.work}/${name}"]
      },
      {
        # By name, and all entries to suggest the closest name and to find an ARN.
        Sid      = "ReadRegistry"
        Effect   = "Allow"
        Action   = ["dynamodb:GetItem", "dynamodb:Scan"]
        Resource = [var.registry_table_arn]
      },
      {
        # Deletes the counts of an earlier run with the same name, and looks up a run to resume.
        Sid      = "StartRun"
        Effect   = "Allow"
        Action   = ["dynamodb:PutItem", "dynamodb:DeleteItem", "dynamodb:Query"]
        Resource = [aws_dynamodb_table.runs.arn]
      },
      {
        # A run that has not ended cannot be resumed.
        Sid      = "FollowRuns"
        Effect   = "Allow"
        Action   = ["states:DescribeExecution"]
        Resource = [local.executions_arn]
      },
      {
        Sid      = "ReadConfig"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = ["${local.results_arn}/deployment/batch-processor-config.json"]
      },
      local.read_work,
      local.list_work,
    ])

    process_tool_rows = [
      local.read_work,
      local.list_work,
      local.write_rows,
      local.write_items,
      local.take_answers,
      local.keep_answers,
      local.own_rows,
      local.count_rows,
      {
        # Function versions of the previous release, which running batches still call, mark their batches with objects.
        Sid      = "MarkActive"
        Effect   = "Allow"
        Action   = ["s3:PutObject", "s3:DeleteObject"]
        Resource = ["${local.work}/active/*"]
      },
      local.send_dead_letters,
      local.write_traces,
    ]

    map_input = [
      local.read_work, local.list_work, local.write_rows, local.write_items, local.send_dead_letters, local.count_rows,
      local.hold_permits, local.read_permits_and_pace, local.take_answers,
      local.write_traces,
    ]

    map_output = [
      local.read_work, local.list_work, local.write_rows, local.write_items, local.send_dead_letters, local.count_rows,
      local.hold_permits, local.keep_answers, local.write_traces,
    ]

    aggregate_results = concat(local.write_results, local.deliver, [
      {
        # Parts of Parquet that an earlier ending of the same execution wrote.
        Sid       = "ListParts"
        Effect    = "Allow"
        Action    = ["s3:ListBucket"]
        Resource  = [local.results_arn]
        Condition = { StringLike = { "s3:prefix" = ["results/*/output/"] } }
      },
      local.read_work,
      local.list_work,
      local.send_dead_letters,
      local.keep_oversized_inputs,
      {
        # Finished rows. Those of duplicates are written when their originals are finished.
        Sid      = "FinishDuplicates"
        Effect   = "Allow"
        Action   = ["s3:PutObject"]
        Resource = [for name in ["rows/*", "spilled/*"] : "${local.work}/${name}"]
      },
      {
        Sid      = "KeepItems"
        Effect   = "Allow"
        Action   = ["dynamodb:Query", "dynamodb:BatchWriteItem"]
        Resource = [aws_dynamodb_table.results.arn]
      },
      local.own_rows,
      local.count_rows,
      # That a run waits for an approval.
      local.announce,
      {
        # Pulls the brake while it finishes a stopped run, then releases it.
        Sid      = "PullBrake"
        Effect   = "Allow"
        Action   = ["s3:PutObject", "s3:DeleteObject"]
        Resource = ["${local.work}/brake.json"]
      },
      {
        # Checks whether a run was redriven while it is finished.
        Sid      = "FindRedrives"
        Effect   = "Allow"
        Action   = ["states:DescribeExecution"]
        Resource = [local.executions_arn]
      },
    ])

    notify = [
      local.announce,
      {
        # The summary.
        Sid      = "ReadResults"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = [local.results]
      },
      local.read_work,
      local.list_work,
    ]

    finish_run = [
      {
        Sid      = "StartFinishing"
        Effect   = "Allow"
        Action   = ["states:StartExecution"]
        Resource = [local.finish_machine_arn]
      },
      {
        Sid      = "FollowRuns"
        Effect   = "Allow"
        Action   = ["states:DescribeExecution"]
        Resource = [local.executions_arn, "${local.states_arn}:execution:${local.finish_machine_name}:*"]
      },
      {
        Sid      = "ListRunning"
        Effect   = "Allow"
        Action   = ["states:ListExecutions"]
        Resource = [local.state_machine_arn]
      },
      {
        Sid      = "FindRuns"
        Effect   = "Allow"
        Action   = ["dynamodb:Query", "dynamodb:BatchGetItem"]
        Resource = [aws_dynamodb_table.runs.arn, "${aws_dynamodb_table.runs.arn}/index/running-by-start"]
      },
      {
        # Runs that were redriven, and runs that the previous release started. Deletes the counts of an earlier run with the same name.
        Sid      = "KeepRuns"
        Effect   = "Allow"
        Action   = ["dynamodb:UpdateItem", "dynamodb:PutItem", "dynamodb:DeleteItem"]
        Resource = [aws_dynamodb_table.runs.arn]
      },
      {
        # Releases a brake that the finishing of a stopped run pulled, if the run was redriven since.
        Sid      = "ReleaseBrake"
        Effect   = "Allow"
        Action   = ["s3:DeleteObject"]
        Resource = ["${local.work}/brake.json"]
      },
      local.read_work,
      local.list_work,
    ]
  }

  function_policy_arns = {
    validate_input    = var.inspect_policy_arns
    process_tool_rows = var.synchronous_policy_arns
  }
}
