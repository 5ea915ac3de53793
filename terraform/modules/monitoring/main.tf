# Alarms and the dashboard of a capability. An alarm goes off when a metric rises above its threshold. Missing data counts as good.

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = var.alarms

  alarm_name          = each.key
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = each.value.period
  evaluation_periods  = each.value.periods
  threshold           = each.value.threshold
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.topic_arn]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.dashboard_name
  dashboard_body = jsonencode({
    widgets = [
      for number, widget in var.widgets : {
        type   = "metric"
        x      = number % 2 * 12
        y      = floor(number / 2) * 6
        width  = 12
        height = 6
        properties = {
          title   = widget.title
          region  = var.region
          period  = 300
          stat    = widget.stat
          metrics = concat(widget.metrics, [for search in widget.searches : [{ for field, value in search : field => value if value != null }]])
        }
      }
    ]
  })
}
