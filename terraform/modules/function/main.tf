# A Lambda function with its log group and its role. It is published, because long-running callers name a version.

resource "aws_cloudwatch_log_group" "this" {
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_iam_role" "this" {
  name = coalesce(var.role_name, var.name)
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  name = "function"
  role = aws_iam_role.this.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid      = "Logs"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.this.arn}:*"
      }],
      var.xray_tracing ? [{
        Sid    = "Traces"
        Effect = "Allow"
        Action = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
        # X-Ray has no resource-level permissions (https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html).
        Resource = "*"
      }] : [],
      # Lambda sends with the function's role, and refuses the destination without this permission
      # (https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html).
      var.failed_events_queue_arn == null ? [] : [{
        Sid      = "SendFailedEvents"
        Effect   = "Allow"
        Action   = ["sqs:SendMessage"]
        Resource = var.failed_events_queue_arn
      }],
      var.vpc == null ? [] : [{
        Sid    = "NetworkInterfaces"
        Effect = "Allow"
        Action = [
          "ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:DeleteNetworkInterface",
          "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses",
        ]
        # Lambda needs these on every resource (https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions).
        Resource = "*"
      }],
      [for statement in var.statements : { for field, value in statement : field => value if value != null }],
    )
  })
}

resource "aws_iam_role_policy_attachment" "this" {
  for_each = var.policy_arns

  role       = aws_iam_role.this.name
  policy_arn = each.value
}

resource "aws_lambda_function" "this" {
  # checkov:skip=CKV_AWS_117:Our functions talk to AWS APIs only, and IAM restricts them; a target that needs a VPC names it.
  # checkov:skip=CKV_AWS_115:Concurrency is bounded by max_concurrency of each batch, by leases or by the API's throttle; a reservation would take it from the account's other functions.
  # checkov:skip=CKV_AWS_272:The code comes from the artefacts that were built and hashed in the same run; only Terraform's role can update it.
  # checkov:skip=CKV_AWS_116:Called synchronously, so its errors reach the caller; those called by events have a queue as their destination.
  # checkov:skip=CKV_AWS_50:Variable xray_tracing turns tracing on; by default it is off because it is billed per row.
  function_name    = var.name
  description      = var.description
  role             = aws_iam_role.this.arn
  runtime          = var.runtime
  architectures    = [var.architecture]
  handler          = "handler.handler"
  s3_bucket        = var.artifact.bucket
  s3_key           = var.artifact.key
  source_code_hash = var.artifact.sha256
  layers           = var.layer_arns
  memory_size      = var.memory_mb
  timeout          = var.timeout_seconds
  # Lambda keeps no key for a function without environment variables. Setting one would show a difference in every plan.
  kms_key_arn = length(var.environment) > 0 ? var.kms_key_arn : null
  publish     = true

  dynamic "environment" {
    for_each = length(var.environment) > 0 ? [var.environment] : []

    content {
      variables = environment.value
    }
  }

  dynamic "vpc_config" {
    for_each = var.vpc == null ? [] : [var.vpc]

    content {
      subnet_ids         = vpc_config.value.subnet_ids
      security_group_ids = vpc_config.value.security_group_ids
    }
  }

  ephemeral_storage {
    size = var.temporary_mb
  }

  # The functions write their own JSON lines, at the level of the batch. With Lambda's JSON format, Lambda's log level
  # would filter them, and would also set the level of every library; at DEBUG, the SDK logs whole requests.
  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.this.name
  }

  tracing_config {
    mode = var.xray_tracing ? "Active" : "PassThrough"
  }

  depends_on = [aws_iam_role_policy.this, aws_iam_role_policy_attachment.this]
}
