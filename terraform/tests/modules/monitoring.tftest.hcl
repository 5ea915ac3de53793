# Monitoring: an alarm tells the topic, and a dashboard shows what it is given.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  region         = "us-east-1"
  topic_arn      = "arn:aws:sns:us-east-1:123456789012:topic"
  dashboard_name = "dashboard"
  alarms = {
    failures = { description = "It failed.", namespace = "AWS/Lambda", metric = "Errors", dimensions = { FunctionName = "function" } }
    cost     = { description = "It costs.", namespace = "Cost", metric = "USD", period = 86400, threshold = 50 }
  }
  widgets = [
    { title = "Errors", stat = "Sum", metrics = [["AWS/Lambda", "Errors", "FunctionName", "function"]] },
    { title = "Cost", stat = "Sum", searches = [{ expression = "SEARCH('{Cost} USD', 'Sum')" }] },
    { title = "Rows", stat = "Sum", searches = [{ expression = "SEARCH('{Rows} Rows', 'Sum')", label = "Rows" }] },
  ]
}

run "an_alarm_goes_off_at_the_first_event_unless_told_otherwise" {
  command = plan

  module {
    source = "./modules/monitoring"
  }

  assert {
    condition = { for name, alarm in aws_cloudwatch_metric_alarm.this : name => [alarm.statistic, alarm.period, alarm.threshold, alarm.comparison_operator] } == {
      failures = ["Sum", 300, 0, "GreaterThanThreshold"]
      cost     = ["Sum", 86400, 50, "GreaterThanThreshold"]
    }
    error_message = "Nothing is tolerated within five minutes; for the cost, 50 a day."
  }

  assert {
    condition = alltrue([
      for alarm in aws_cloudwatch_metric_alarm.this :
      alarm.alarm_actions == toset(["arn:aws:sns:us-east-1:123456789012:topic"]) && alarm.treat_missing_data == "notBreaching"
    ])
    error_message = "Each alarm tells the topic, and is quiet without data."
  }
}

run "graphs_stand_two_in_a_row" {
  command = plan

  module {
    source = "./modules/monitoring"
  }

  assert {
    condition     = [for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : [widget.x, widget.y]] == [[0, 0], [12, 0], [0, 6]]
    error_message = aws_cloudwatch_dashboard.this.dashboard_body
  }

  assert {
    condition = [for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : widget.properties.metrics] == [
      [["AWS/Lambda", "Errors", "FunctionName", "function"]],
      [[{ expression = "SEARCH('{Cost} USD', 'Sum')" }]],
      [[{ expression = "SEARCH('{Rows} Rows', 'Sum')", label = "Rows" }]],
    ]
    error_message = "CloudWatch refuses a null label: ${aws_cloudwatch_dashboard.this.dashboard_body}"
  }
}
