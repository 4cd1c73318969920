"""Names that the stack and the commands agree on."""

DEFAULT_STACK = "PoeBot"
ALIAS = "live"
INSTANCES = "Instances"  # the construct that Managed Instances and their network are in

# The stack's outputs.
FUNCTION_URL = "FunctionUrl"
SECRET_ARN = "SecretArn"
LOG_GROUP = "LogGroup"
DASHBOARD = "DashboardUrl"  # with a dashboard alone
ALARM_TOPIC = "AlarmTopic"  # with alarms alone
