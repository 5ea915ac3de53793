variable "region" {
  type        = string
  description = "Region of the metrics."
}

variable "topic_arn" {
  type        = string
  description = "Topic that alarms notify."
}

variable "alarms" {
  type = map(object({
    description = string
    namespace   = string
    metric      = string
    dimensions  = optional(map(string))
    statistic   = optional(string, "Sum")
    period      = optional(number, 300)
    periods     = optional(number, 1)
    threshold   = optional(number, 0)
  }))
  description = "Alarms by name. The description says what happened and what to do; the period is in seconds; the metric must be above the threshold in each of the periods."
}

variable "dashboard_name" {
  type        = string
  description = "Name of the dashboard."
}

variable "widgets" {
  type = list(object({
    title    = string
    stat     = string
    metrics  = optional(list(list(string)), [])
    searches = optional(list(object({ expression = string, label = optional(string) })), [])
  }))
  description = "Graphs of the dashboard, two in a row: metrics, each as namespace, name, dimension and its value, and search expressions."
}
