"""Names that the stack and the commands agree on."""

DEFAULT_STACK = "PoeBot"
ALIAS = "live"

# The stack's outputs.
FUNCTION_URL = "FunctionUrl"
SECRET_ARN = "SecretArn"
LOG_GROUP = "LogGroup"
DASHBOARD = "DashboardUrl"  # with a dashboard alone
ALARM_TOPIC = "AlarmTopic"  # with alarms alone
