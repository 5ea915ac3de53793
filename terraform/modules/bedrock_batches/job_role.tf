# The role that Bedrock runs batch inference jobs with
# (https://docs.aws.amazon.com/bedrock/latest/userguide/batch-iam-sr.html).

resource "aws_iam_role" "job" {
  name        = local.job_role_name
  description = "Lets Bedrock read and write the files of batch inference jobs"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "bedrock.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceAccount" = var.deployment.account_id }
        ArnEquals    = { "aws:SourceArn" = "${local.bedrock_arn}:model-invocation-job/*" }
      }
    }]
  })
}

resource "aws_iam_role_policy" "job" {
  name = "files"
  role = aws_iam_role.job.id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = local.job_role_statements
  })
}
