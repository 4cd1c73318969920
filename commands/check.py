"""`make check`: is this URL ready to be registered on Poe? One line per promise of a server bot.

The bot is asked as Poe would ask it: a few questions and reports, which it takes for a user's.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator, Sequence

import httpx

from commands.arguments import Parser, chosen_stack
from commands.bot_key import known_or_asked
from commands.command import exit_with
from commands.deployed_key import deployed_key
from infra.aws.client import AwsError
from infra.aws.outputs import outputs
from infra.aws.secret_store import SecretStore
from poe.check.finding import Finding, Verdict, failed
from poe.check.probe import QUESTION, Probe, Unreachable
from poe.check.promises import PROMISES, Promise
from poe.client.access import DEFAULT_URL, checked_url
from poe.client.conversation import one_line

FUNCTION_URL = ".lambda-url."  # in the host of every Function URL


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if no promise is broken, else 1. Raises UserError and BadMember."""
    options = _parser().parse_args(arguments)
    url = checked_url(options.url)
    return 0 if run(url, key_for(url, options), options.text) else 1


def _parser() -> Parser:
    parser = Parser(prog="make check", description=__doc__)
    parser.add_argument("--url", default=DEFAULT_URL, help="the bot (default: %(default)s)")
    parser.add_argument("--text", default=QUESTION, help="a question with an answer of some length")
    parser.add_folder()
    parser.add_stack()
    return parser


def run(url: str, key: str, text: str = QUESTION) -> bool:
    """Check the bot and print a line per promise; whether none is broken."""
    return asyncio.run(_run(url, key, text))


async def _run(url: str, key: str, text: str) -> bool:
    width = max(len(promise.name) for promise in PROMISES)
    findings: list[Finding] = []
    async for promise, finding in check(url, key, text):
        figure = one_line(finding.figure.replace(key, "<the key>"))  # a server may send it back
        print(f"{finding.verdict:<8}  {promise.name:<{width}}  {figure}")
        findings.append(finding)
    print(_summary(findings))
    return not any(finding.verdict is Verdict.FAIL for finding in findings)


async def check(url: str, key: str, text: str = QUESTION) -> AsyncIterator[tuple[Promise, Finding]]:
    """Each promise with what was found, as soon as it is. Ends where nothing answers."""
    async with Probe(url, key, text) as probe:
        for promise in PROMISES:
            try:
                yield promise, await promise.prove(probe)
            except Unreachable as error:
                yield promise, failed(str(error))
                return


def _summary(findings: Sequence[Finding]) -> str:
    verdicts = [finding.verdict for finding in findings]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in Verdict)
    if Verdict.FAIL in verdicts:
        return f"{counts}. Fix what failed before you register this URL."
    if Verdict.UNPROVED in verdicts:
        return f"{counts}. Nothing failed, but not everything could be proved."
    return f"{counts}. The URL is ready to be registered."


def key_for(url: str, options: argparse.Namespace) -> str:
    """The stack's key for the stack's own URL and no other, else POE_ACCESS_KEY, else what
    `make run` keeps for this machine's, else a prompt. Raises UserError, BadMember."""
    host = httpx.URL(url).host
    if FUNCTION_URL in host and (key := _key_of_stack(url, chosen_stack(options))):
        return key
    return known_or_asked(url, options)[0]


def _key_of_stack(url: str, stack: str) -> str | None:
    """None if the stack cannot be asked, or has another URL."""
    try:
        deployed = outputs(stack)
    except AwsError:
        return None
    if httpx.URL(deployed.function_url).host != httpx.URL(url).host:
        return None
    return deployed_key(url, SecretStore(deployed.secret_arn))


if __name__ == "__main__":
    exit_with(main)
