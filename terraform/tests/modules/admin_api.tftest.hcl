# The admin API: IAM authorises, unless an issuer of tokens is named.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name               = "admin-api"
  account_id         = "123456789012"
  function_name      = "admin-api"
  function_arn       = "arn:aws:lambda:us-east-1:123456789012:function:admin-api"
  routes             = ["GET /jobs", "POST /jobs"]
  jwt_issuer         = null
  jwt_audience       = []
  kms_key_arn        = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"
  log_retention_days = 30
}

run "every_route_asks_for_a_signature" {
  command = plan

  module {
    source = "./modules/admin_api"
  }

  assert {
    condition     = length(output.authorization_types) == 2 && distinct(values(output.authorization_types)) == tolist(["AWS_IAM"])
    error_message = jsonencode(output.authorization_types)
  }

  assert {
    condition     = length(aws_apigatewayv2_authorizer.tokens) == 0
    error_message = "No tokens are taken."
  }

  assert {
    condition     = startswith(aws_cloudwatch_log_group.access.name, "/aws/vendedlogs/")
    error_message = "The log takes no room in the account's resource policy: ${aws_cloudwatch_log_group.access.name}"
  }

  assert {
    condition     = length(aws_apigatewayv2_stage.this.access_log_settings) == 1 && aws_apigatewayv2_stage.this.default_route_settings[0].throttling_rate_limit > 0
    error_message = "Calls are logged and throttled."
  }
}

run "with_an_issuer_every_route_asks_for_a_token" {
  command = plan

  module {
    source = "./modules/admin_api"
  }

  variables {
    jwt_issuer   = "https://issuer.example"
    jwt_audience = ["admin"]
  }

  assert {
    condition     = distinct(values(output.authorization_types)) == tolist(["JWT"])
    error_message = jsonencode(output.authorization_types)
  }

  assert {
    condition     = one(aws_apigatewayv2_authorizer.tokens[0].jwt_configuration).issuer == "https://issuer.example"
    error_message = "The issuer is the configured one."
  }
}
