"""What `cdk diff` reports about resources that a deployment would remove."""

from infra.toolchain.cdk_diff import Loss, losses

# As release 2.1148.1 prints it.
PRINTED = """\
Stack MyBot (aws://123456789012/us-east-1)
IAM Statement Changes
│ - │ ${Alarms} │ Deny   │ sns:Publish │ *  │ "Bool": {  │
Resources
[-] AWS::SNS::Topic Alarms Alarms04B5A0BF destroy
[-] AWS::SNS::TopicPolicy Alarms/Policy AlarmsPolicy5C860CFE destroy
[-] AWS::Lambda::Version Function/CurrentVersion FunctionCurrentVersion4E2B orphan
[-] Custom::Thing::Of::Mine a path with spaces Thing1 orphan
[+] AWS::Lambda::Version Function/CurrentVersion FunctionCurrentVersion5A3C
[~] AWS::Lambda::Function Function Function76856677
 └─ [~] Code
[~] AWS::DynamoDB::Table Counts Counts7F28E4F7 replace
 ├─ [~] AttributeDefinitions
 │   └─ @@ -1,6 +1,6 @@
 │      [-]     "AttributeName": "user_id",
 └─ [~] KeySchema (requires replacement)
[~] AWS::S3::Bucket Files Files3B21 may be replaced
"""


def test_what_goes_or_begins_empty_is_found_and_what_nobody_misses_is_not() -> None:
    assert losses(PRINTED.splitlines()) == [
        Loss("AWS::SNS::Topic", "Alarms", "destroy"),
        Loss("Custom::Thing::Of::Mine", "a path with spaces", "orphan"),
        Loss("AWS::DynamoDB::Table", "Counts", "replace"),
        Loss("AWS::S3::Bucket", "Files", "may be replaced"),
    ]
