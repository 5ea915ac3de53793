# The HTTP API in front of the function bedrock_admin_api. IAM authorises callers, or the tokens of an issuer do.

locals {
  with_tokens = var.jwt_issuer != null

  # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-logging-variables.html
  logged = {
    requestId = "$context.requestId"
    time      = "$context.requestTime"
    sourceIp  = "$context.identity.sourceIp"
    caller    = local.with_tokens ? "$context.authorizer.claims.sub" : "$context.identity.userArn"
    route     = "$context.routeKey"
    path      = "$context.path"
    status    = "$context.status"
    latencyMs = "$context.responseLatency"
    error     = "$context.error.message"
    denied    = "$context.authorizer.error"
    failed    = "$context.integrationErrorMessage"
  }
}

resource "aws_apigatewayv2_api" "this" {
  name          = var.name
  description   = "Creates, estimates, lists, follows, stops and retries Bedrock batch jobs"
  protocol_type = "HTTP"
}

resource "aws_apigatewayv2_integration" "this" {
  api_id                 = aws_apigatewayv2_api.this.id
  integration_type       = "AWS_PROXY"
  integration_uri        = var.function_arn
  payload_format_version = "2.0"
  # The maximum (https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html).
  timeout_milliseconds = 30000
}

resource "aws_apigatewayv2_authorizer" "tokens" {
  count = local.with_tokens ? 1 : 0

  api_id           = aws_apigatewayv2_api.this.id
  name             = "tokens"
  authorizer_type  = "JWT"
  identity_sources = ["$request.header.Authorization"]

  jwt_configuration {
    issuer   = var.jwt_issuer
    audience = var.jwt_audience
  }
}

# The most specific route wins, so `jobs` is not a {jobId}.
resource "aws_apigatewayv2_route" "this" {
  for_each = toset(var.routes)

  api_id             = aws_apigatewayv2_api.this.id
  route_key          = each.key
  target             = "integrations/${aws_apigatewayv2_integration.this.id}"
  authorization_type = local.with_tokens ? "JWT" : "AWS_IAM"
  authorizer_id      = one(aws_apigatewayv2_authorizer.tokens[*].id)
}

resource "aws_cloudwatch_log_group" "access" {
  # Each log group with another name takes space in the account's resource policy for log delivery, which holds 5,120 characters
  # (https://docs.aws.amazon.com/step-functions/latest/dg/bp-cwl.html).
  name              = "/aws/vendedlogs/apigateway/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_apigatewayv2_stage" "this" {
  api_id      = aws_apigatewayv2_api.this.id
  name        = "$default"
  auto_deploy = true

  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.access.arn
    format          = jsonencode(local.logged)
  }

  # Enough for people, and for scripts that follow jobs. Creations wait for each other anyway.
  default_route_settings {
    throttling_rate_limit  = var.requests_per_second
    throttling_burst_limit = 2 * var.requests_per_second
  }

  # API Gateway refuses a deployment without routes.
  depends_on = [aws_apigatewayv2_route.this]
}

resource "aws_lambda_permission" "this" {
  statement_id   = "admin-api"
  action         = "lambda:InvokeFunction"
  function_name  = var.function_name
  principal      = "apigateway.amazonaws.com"
  source_arn     = "${aws_apigatewayv2_api.this.execution_arn}/*/*"
  source_account = var.account_id
}
