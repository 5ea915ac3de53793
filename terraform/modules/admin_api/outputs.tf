output "id" {
  description = "Id of the API."
  value       = aws_apigatewayv2_api.this.id
}

output "url" {
  description = "Address of the API, without a trailing slash."
  value       = aws_apigatewayv2_api.this.api_endpoint
}

output "execution_arn" {
  description = "ARN for execute-api:Invoke, to be followed by /<stage>/<method>/<path>."
  value       = aws_apigatewayv2_api.this.execution_arn
}

output "authorization_types" {
  description = "How each route authorises its callers."
  value       = { for route in aws_apigatewayv2_route.this : route.route_key => route.authorization_type }
}
