# A state machine with its log group and its role.

resource "aws_cloudwatch_log_group" "this" {
  # Each log group with another name takes space in the account's resource policy for log delivery, which holds 5,120 characters
  # (https://docs.aws.amazon.com/step-functions/latest/dg/bp-cwl.html).
  name              = coalesce(var.log_group_name, "/aws/vendedlogs/states/${var.name}")
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_iam_role" "this" {
  name = var.name
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "states.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  name = "state-machine"
  role = aws_iam_role.this.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid    = "LogDelivery"
        Effect = "Allow"
        Action = [
          "logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery", "logs:DeleteLogDelivery", "logs:ListLogDeliveries",
          "logs:PutResourcePolicy", "logs:DescribeResourcePolicies", "logs:DescribeLogGroups",
        ]
        # Log delivery has no resource-level permissions (https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html).
        Resource = "*"
      }],
      var.xray_tracing ? [{
        Sid    = "Traces"
        Effect = "Allow"
        Action = ["xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSamplingRules", "xray:GetSamplingTargets"]
        # X-Ray has no resource-level permissions (https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html).
        Resource = "*"
      }] : [],
      [for statement in var.statements : { for field, value in statement : field => value if value != null }],
    )
  })
}

resource "aws_iam_role_policy_attachment" "this" {
  for_each = var.policy_arns

  role       = aws_iam_role.this.name
  policy_arn = each.value
}

resource "aws_sfn_state_machine" "this" {
  # checkov:skip=CKV_AWS_284:Variable xray_tracing turns tracing on; by default it is off because it is billed per row.
  # checkov:skip=CKV_AWS_285:Execution data is left out on purpose, because it holds users' cell values.
  name       = var.name
  type       = var.type
  role_arn   = aws_iam_role.this.arn
  definition = var.definition

  logging_configuration {
    # Errors of executions. Level ERROR would also log errors of tasks. The cause of a failed agent's task contains the
    # agent's input, although Step Functions does not count it as execution data.
    level                  = "FATAL"
    include_execution_data = false
    log_destination        = "${aws_cloudwatch_log_group.this.arn}:*"
  }

  tracing_configuration {
    enabled = var.xray_tracing
  }

  depends_on = [aws_iam_role_policy.this, aws_iam_role_policy_attachment.this]
}
