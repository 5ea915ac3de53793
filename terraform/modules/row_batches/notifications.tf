# The end of every execution of the machine, aborts included, reaches function notify. Children of its maps have another ARN.

resource "aws_cloudwatch_event_rule" "execution_ended" {
  name        = "batch-processor-execution-ended${var.deployment.suffix}"
  description = "An execution of ${local.state_machine_name} has ended"
  event_pattern = jsonencode({
    source      = ["aws.states"]
    detail-type = ["Step Functions Execution Status Change"]
    detail = {
      stateMachineArn = [local.state_machine_arn]
      status          = ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]
    }
  })
}

resource "aws_cloudwatch_event_target" "notify" {
  rule      = aws_cloudwatch_event_rule.execution_ended.name
  target_id = "notify"
  arn       = module.function["notify"].arn

  retry_policy {
    maximum_event_age_in_seconds = 3600
    maximum_retry_attempts       = 20
  }

  dead_letter_config {
    arn = aws_sqs_queue.undelivered_events.arn
  }
}

resource "aws_lambda_permission" "execution_ended" {
  statement_id   = "execution-ended"
  action         = "lambda:InvokeFunction"
  function_name  = module.function["notify"].name
  principal      = "events.amazonaws.com"
  source_arn     = aws_cloudwatch_event_rule.execution_ended.arn
  source_account = var.deployment.account_id
}
