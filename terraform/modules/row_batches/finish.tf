# The state machine that finishes ended runs, and the events that start it.

locals {
  finish_machine_name = "batch-processor-finish${var.deployment.suffix}"

  # Built from the name, because the function that starts the machine and the functions that it calls are created together.
  finish_machine_arn = "${local.states_arn}:stateMachine:${local.finish_machine_name}"

  finish_definition = templatestring(local.composed.batch_processor_finish, {
    aggregate_results_arn = module.function["aggregate_results"].qualified_arn
    notify_arn            = module.function["notify"].qualified_arn
    partition             = var.deployment.partition
  })

  rules_arn         = "arn:${var.deployment.partition}:events:${var.deployment.region}:${var.deployment.account_id}:rule"
  finish_rule_names = { for name in keys(local.finish_rules) : name => "batch-processor-${name}${var.deployment.suffix}" }

  finish_rules = {
    # The end of every execution of the machine, including aborted ones. Children of its maps have another ARN.
    execution-ended = {
      description = "An execution of ${local.state_machine_name} has ended"
      schedule    = null
      pattern = jsonencode({
        source      = ["aws.states"]
        detail-type = ["Step Functions Execution Status Change"]
        detail = {
          stateMachineArn = [local.state_machine_arn]
          status          = ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]
        }
      })
    }
    # A redrive makes an execution RUNNING again, with a redriveCount
    # (https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html). A start has the count 0.
    execution-redriven = {
      description = "An execution of ${local.state_machine_name} was redriven"
      schedule    = null
      pattern = jsonencode({
        source      = ["aws.states"]
        detail-type = ["Step Functions Execution Status Change"]
        detail = {
          stateMachineArn = [local.state_machine_arn]
          status          = ["RUNNING"]
          redriveCount    = [{ numeric = [">", 0] }]
        }
      })
    }
    # Step Functions' events are best effort: the sweep finds what they missed.
    sweep = {
      description = "Finds runs with an end or redrive that was not noticed"
      schedule    = "rate(15 minutes)"
      pattern     = null
    }
  }
}

module "finish_machine" {
  source = "../state_machine"

  name               = local.finish_machine_name
  account_id         = var.deployment.account_id
  definition         = local.finish_definition
  statements         = local.finish_machine_statements
  kms_key_arn        = var.kms_key_arn
  log_retention_days = var.deployment.log_retention_days
  xray_tracing       = var.deployment.xray_tracing
}

moved {
  from = aws_cloudwatch_event_rule.execution_ended
  to   = aws_cloudwatch_event_rule.finish["execution-ended"]
}

resource "aws_cloudwatch_event_rule" "finish" {
  for_each = local.finish_rules

  name                = local.finish_rule_names[each.key]
  description         = each.value.description
  event_pattern       = each.value.pattern
  schedule_expression = each.value.schedule
}

resource "aws_cloudwatch_event_target" "finish" {
  for_each = local.finish_rules

  rule      = aws_cloudwatch_event_rule.finish[each.key].name
  target_id = "finish-run"
  arn       = module.function["finish_run"].arn

  retry_policy {
    maximum_event_age_in_seconds = 3600
    maximum_retry_attempts       = 20
  }

  dead_letter_config {
    arn = aws_sqs_queue.undelivered_events.arn
  }
}

resource "aws_lambda_permission" "finish" {
  for_each = local.finish_rules

  statement_id   = each.key
  action         = "lambda:InvokeFunction"
  function_name  = module.function["finish_run"].name
  principal      = "events.amazonaws.com"
  source_arn     = aws_cloudwatch_event_rule.finish[each.key].arn
  source_account = var.deployment.account_id
}

# The queue is a destination and not the function's dead-letter queue: it also gets the error, and the function is created
# while Terraform waits for the queue. The age is Lambda's default: without it, a plan would remove the age that Lambda shows.
resource "aws_lambda_function_event_invoke_config" "finish" {
  function_name                = module.function["finish_run"].name
  maximum_event_age_in_seconds = 21600

  destination_config {
    on_failure {
      destination = aws_sqs_queue.undelivered_events.arn
    }
  }
}
