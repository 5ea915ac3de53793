# Permissions: one list of statements for each function, one for Bedrock's jobs, one for callers of the API.

locals {
  data_arn         = "arn:${var.deployment.partition}:s3:::${var.data_bucket_name}"
  files            = "${local.data_arn}/${local.prefix}"
  jobs_arn         = "arn:${var.deployment.partition}:dynamodb:${var.deployment.region}:${var.deployment.account_id}:table/${local.jobs_table}"
  violations_arn   = "arn:${var.deployment.partition}:dynamodb:${var.deployment.region}:${var.deployment.account_id}:table/${local.violations_table}"
  tables_of_bucket = "${var.table_bucket_arn}/table/*"

  # Every function gets it, after its own statements.
  use_key = {
    Sid      = "Key"
    Effect   = "Allow"
    Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
    Resource = [var.kms_key_arn]
  }

  # Without it, S3 answers 403 instead of 404 for a missing object. IfExists, because a GetObject request has no prefix.
  list_files = {
    Sid       = "ListFiles"
    Effect    = "Allow"
    Action    = ["s3:ListBucket"]
    Resource  = [local.data_arn]
    Condition = { StringLikeIfExists = { "s3:prefix" = ["${local.prefix}/*"] } }
  }

  # Results, failed records, and the ids and agencies of a job's records.
  read_output = {
    Sid      = "ReadFiles"
    Effect   = "Allow"
    Action   = ["s3:GetObject"]
    Resource = ["${local.files}/output/*", "${local.files}/input/*/records-*", "${local.files}/errors/*"]
  }

  write_errors = {
    Sid      = "WriteErrors"
    Effect   = "Allow"
    Action   = ["s3:PutObject", "s3:DeleteObject"]
    Resource = ["${local.files}/errors/*"]
  }

  list_jobs = {
    Sid      = "ListJobs"
    Effect   = "Allow"
    Action   = ["dynamodb:Query"]
    Resource = ["${local.jobs_arn}/index/*"]
  }

  use_leases = {
    Sid       = "Leases"
    Effect    = "Allow"
    Action    = ["dynamodb:PutItem", "dynamodb:DeleteItem"]
    Resource  = [local.jobs_arn]
    Condition = { "ForAllValues:StringLike" = { "dynamodb:LeadingKeys" = ["LEASE#*"] } }
  }

  # `make seed-lake` creates the tables, with ids that S3 Tables chooses. Hence table/*, in this bucket only.
  read_lake = {
    Sid    = "ReadLake"
    Effect = "Allow"
    Action = [
      "s3tables:GetTableBucket", "s3tables:GetNamespace", "s3tables:ListNamespaces", "s3tables:ListTables",
      "s3tables:GetTable", "s3tables:GetTableMetadataLocation", "s3tables:GetTableData",
    ]
    Resource = [var.table_bucket_arn, local.tables_of_bucket]
  }

  # A commit is a new metadata file, and the table's pointer to it
  # (https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-tables-integrating-open-source.html).
  write_lake = merge(local.read_lake, {
    Sid    = "WriteLake"
    Action = concat(local.read_lake.Action, ["s3tables:PutTableData", "s3tables:UpdateTableMetadataLocation"])
  })

  follow_jobs = {
    Sid      = "FollowBatchInference"
    Effect   = "Allow"
    Action   = ["bedrock:GetModelInvocationJob"]
    Resource = ["${local.bedrock_arn}:model-invocation-job/*"]
  }

  stop_jobs = merge(local.follow_jobs, { Sid = "StopBatchInference", Action = ["bedrock:StopModelInvocationJob"] })

  # Submitting a job needs permission for the model and for the job
  # (https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-prereq.html).
  submit_jobs = {
    Sid      = "SubmitBatchInference"
    Effect   = "Allow"
    Action   = ["bedrock:CreateModelInvocationJob"]
    Resource = concat(local.model_arns, ["${local.bedrock_arn}:model-invocation-job/*"])
  }

  count_jobs = {
    Sid    = "CountBatchInference"
    Effect = "Allow"
    Action = ["bedrock:ListModelInvocationJobs"]
    # Listing has no resource (https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonbedrock.html).
    Resource = ["*"]
  }

  pass_job_role = {
    Sid       = "GiveJobItsRole"
    Effect    = "Allow"
    Action    = ["iam:PassRole"]
    Resource  = [local.job_role_arn]
    Condition = { StringEquals = { "iam:PassedToService" = ["bedrock.amazonaws.com"] } }
  }

  function_statements = {
    bedrock_batch_processor = [
      local.submit_jobs,
      local.count_jobs,
      local.pass_job_role,
      local.read_lake,
      # Stops a job that is stopped while it is submitted.
      local.stop_jobs,
      {
        # Queries use a job's key. Creating a job in a transaction needs the permissions of its actions.
        Sid      = "Jobs"
        Effect   = "Allow"
        Action   = ["dynamodb:GetItem", "dynamodb:Query", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:BatchWriteItem"]
        Resource = [local.jobs_arn]
      },
      {
        # A retry leaves out records that have content by now.
        Sid      = "LookForContent"
        Effect   = "Allow"
        Action   = ["dynamodb:BatchGetItem"]
        Resource = [local.violations_arn]
      },
      {
        # Its own input; input and failed records of earlier jobs, for records in flight and for retries.
        Sid      = "ReadFiles"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = [for folder in ["input", "output", "errors", "sync-failed", "on-demand"] : "${local.files}/${folder}/*"]
      },
      {
        # Output and single answers, only of on-demand records. Content that the lake lacks is left to the sync.
        Sid      = "WriteFiles"
        Effect   = "Allow"
        Action   = ["s3:PutObject", "s3:AbortMultipartUpload"]
        Resource = [for folder in ["input", "output", "sync-failed", "on-demand"] : "${local.files}/${folder}/*"]
      },
      local.list_files,
      {
        Sid      = "RunAtOnce"
        Effect   = "Allow"
        Action   = ["bedrock:InvokeModel"]
        Resource = local.model_arns
      },
      {
        # Calls itself to continue when its time is over.
        Sid      = "GoOn"
        Effect   = "Allow"
        Action   = ["lambda:InvokeFunction"]
        Resource = [local.function_arns["bedrock_batch_processor"]]
      },
    ]

    bedrock_batch_result = [
      local.read_output,
      local.write_errors,
      local.list_files,
      {
        Sid      = "Claims"
        Effect   = "Allow"
        Action   = ["dynamodb:GetItem", "dynamodb:Query", "dynamodb:PutItem", "dynamodb:UpdateItem"]
        Resource = [local.jobs_arn]
      },
      {
        Sid      = "WriteContent"
        Effect   = "Allow"
        Action   = ["dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:PutItem"]
        Resource = [local.violations_arn]
      },
      {
        # Calls itself to continue when its time is over, and the function that settles the job.
        Sid      = "GoOn"
        Effect   = "Allow"
        Action   = ["lambda:InvokeFunction"]
        Resource = [local.function_arns["bedrock_batch_result"], local.function_arns["bedrock_job_events"]]
      },
    ]

    bedrock_job_events = [
      local.submit_jobs,
      local.count_jobs,
      local.pass_job_role,
      local.follow_jobs,
      local.stop_jobs,
      {
        Sid      = "Jobs"
        Effect   = "Allow"
        Action   = ["dynamodb:GetItem", "dynamodb:Query", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"]
        Resource = [local.jobs_arn]
      },
      local.list_jobs,
      local.read_output,
      # Lists records without an answer.
      local.write_errors,
      local.list_files,
      {
        Sid      = "TakeResults"
        Effect   = "Allow"
        Action   = ["lambda:InvokeFunction"]
        Resource = [local.function_arns["bedrock_batch_result"]]
      },
      {
        # Restarts on-demand jobs with a call that died.
        Sid      = "AskOn"
        Effect   = "Allow"
        Action   = ["lambda:InvokeFunction"]
        Resource = [local.function_arns["bedrock_batch_processor"]]
      },
      {
        Sid      = "Announce"
        Effect   = "Allow"
        Action   = ["sns:Publish"]
        Resource = [var.notification_topic_arn]
      },
    ]

    bedrock_sync = [
      local.write_lake,
      {
        Sid      = "ReadStream"
        Effect   = "Allow"
        Action   = ["dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:DescribeStream"]
        Resource = ["${local.violations_arn}/stream/*"]
      },
      {
        Sid    = "FindStreams"
        Effect = "Allow"
        Action = ["dynamodb:ListStreams"]
        # Lambda requires it, and listing has no other resource
        # (https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-eventsourcemapping.html).
        Resource = ["*"]
      },
      {
        Sid      = "Undelivered"
        Effect   = "Allow"
        Action   = ["sqs:SendMessage"]
        Resource = [local.undelivered_arn]
      },
      local.use_leases,
      {
        # Settles jobs with all content in the lake.
        Sid      = "SettleJobs"
        Effect   = "Allow"
        Action   = ["dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem", "dynamodb:DeleteItem"]
        Resource = [local.jobs_arn]
      },
      {
        Sid      = "ReadRecords"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = ["${local.files}/input/*/records-*"]
      },
      {
        # Items that are merged late, and all items for `make resync`.
        Sid      = "ReadContent"
        Effect   = "Allow"
        Action   = ["dynamodb:BatchGetItem", "dynamodb:Scan"]
        Resource = [local.violations_arn]
      },
      {
        # Content that could not be merged yet.
        Sid      = "KeepFailed"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
        Resource = ["${local.files}/sync-failed/*"]
      },
      local.list_files,
    ]

    # One statement for each resource in the permissions of a route.
    bedrock_admin_api = [for resource, grant in local.route_resources : merge(grant, {
      Sid    = replace(title(replace(resource, "_", " ")), " ", "")
      Effect = "Allow"
      Action = sort(distinct([for permission in flatten(var.routes[*].permissions) : permission.action if permission.resource == resource]))
    }) if contains(flatten(var.routes[*].permissions)[*].resource, resource)]
  }

  # Resources in the permissions of the routes: see bedrock_batches/api/routes.py.
  route_resources = merge(
    {
      jobs_table   = { Resource = [local.jobs_arn] }
      jobs_indexes = { Resource = ["${local.jobs_arn}/index/*"] }
      bedrock_jobs = { Resource = ["${local.bedrock_arn}:model-invocation-job/*"] }
      # Ids and agencies of a job's records, and the reasons of failed ones.
      job_inputs  = { Resource = ["${local.files}/input/*/records-*"] }
      job_errors  = { Resource = ["${local.files}/errors/*"] }
      data_bucket = { Resource = local.list_files.Resource, Condition = local.list_files.Condition }
    },
    { for name, arn in local.function_arns : name => { Resource = [arn] } },
  )

  job_role_statements = concat(
    [
      {
        Sid       = "ReadInput"
        Effect    = "Allow"
        Action    = ["s3:GetObject"]
        Resource  = ["${local.files}/input/*"]
        Condition = { StringEquals = { "aws:ResourceAccount" = [var.deployment.account_id] } }
      },
      {
        Sid       = "WriteOutput"
        Effect    = "Allow"
        Action    = ["s3:PutObject"]
        Resource  = ["${local.files}/output/*"]
        Condition = { StringEquals = { "aws:ResourceAccount" = [var.deployment.account_id] } }
      },
      {
        Sid       = "ListFiles"
        Effect    = "Allow"
        Action    = ["s3:ListBucket"]
        Resource  = [local.data_arn]
        Condition = { StringLikeIfExists = { "s3:prefix" = ["${local.prefix}/*"] } }
      },
      local.use_key,
    ],
    length(local.profiles) == 0 ? [] : [{
      Sid      = "InvokeBehindProfiles"
      Effect   = "Allow"
      Action   = ["bedrock:InvokeModel"]
      Resource = local.profile_arns
    }],
  )

  # `make seed-lake` and `make resync`.
  lake_operator_statements = [
    merge(local.write_lake, {
      Sid    = "SeedLake"
      Action = concat(local.write_lake.Action, ["s3tables:CreateTable"])
    }),
    {
      # Merges content that could not be merged before; reads stored answers again.
      Sid      = "ResyncAndReparse"
      Effect   = "Allow"
      Action   = ["lambda:InvokeFunction"]
      Resource = [local.function_arns["bedrock_sync"], local.function_arns["bedrock_batch_result"]]
    },
    {
      Sid       = "ListFailed"
      Effect    = "Allow"
      Action    = ["s3:ListBucket"]
      Resource  = [local.data_arn]
      Condition = { StringLike = { "s3:prefix" = ["${local.prefix}/sync-failed/*"] } }
    },
    {
      # The reasons.
      Sid      = "ReadFailed"
      Effect   = "Allow"
      Action   = ["s3:GetObject"]
      Resource = ["${local.files}/sync-failed/*"]
    },
    local.use_key,
  ]

  caller_statements = [{
    Sid      = "CallAdminApi"
    Effect   = "Allow"
    Action   = ["execute-api:Invoke"]
    Resource = ["${module.admin_api.execution_arn}/*"]
  }]

  # People who look. The deployment's key is in the reader's statements of row batches.
  reader_statements = [
    {
      # An estimate creates nothing.
      Sid      = "ReadJobs"
      Effect   = "Allow"
      Action   = ["execute-api:Invoke"]
      Resource = ["${module.admin_api.execution_arn}/*/GET/*", "${module.admin_api.execution_arn}/*/POST/admin/bedrock/batch/estimate"]
    },
    {
      Sid      = "ReadContent"
      Effect   = "Allow"
      Action   = ["dynamodb:GetItem", "dynamodb:BatchGetItem"]
      Resource = [aws_dynamodb_table.violations.arn]
    },
  ]

  # People who create, stop and retry jobs, and who edit and verify content. They have the reader's policy, too.
  operator_statements = concat(local.caller_statements, [
    {
      Sid      = "EditContent"
      Effect   = "Allow"
      Action   = ["dynamodb:UpdateItem"]
      Resource = [aws_dynamodb_table.violations.arn]
    },
    {
      Sid      = "Reparse"
      Effect   = "Allow"
      Action   = ["lambda:InvokeFunction"]
      Resource = [local.function_arns["bedrock_batch_result"]]
    },
  ])
}
