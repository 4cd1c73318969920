"""The same, with the key read from Secrets Manager by boto3: what most people deploy."""

import json
import os

import boto3
import fastapi_poe as fp
from bench_bot import bot
from mangum import Mangum

answer = boto3.client("secretsmanager").get_secret_value(
    SecretId=os.environ["ACCESS_KEY_SECRET_ARN"]
)
key = json.loads(answer["SecretString"])["POE_ACCESS_KEY"]
handler = Mangum(fp.make_app(bot, access_key=key), lifespan="off")
