"""Names that the stack and the commands agree on."""

DEFAULT_STACK = "PoeBot"
ALIAS = "live"
# Constructs. Lambda neither puts a function on instances later nor takes it off: it is another one.
FUNCTION, FUNCTION_ON_INSTANCES = "Function", "ManyAtOnce"
INSTANCES = "Instances"  # Managed Instances and their network

# The stack's outputs.
FUNCTION_URL = "FunctionUrl"
SECRET_ARN = "SecretArn"
LOG_GROUP = "LogGroup"
DASHBOARD = "DashboardUrl"  # with a dashboard alone
ALARM_TOPIC = "AlarmTopic"  # with alarms alone
