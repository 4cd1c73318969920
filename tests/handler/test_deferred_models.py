"""Models that are built late behave as models that were built at once: in the whole package, in
processes of their own."""

import json
import subprocess
from pathlib import Path

import pytest

REPORT = r"""
import json, re, sys
from contextlib import nullcontext
from handler.runtime.deferred_models import deferred_models

with deferred_models() if sys.argv[1] == "late" else nullcontext():
    from handler.app import answer, dispatch, guard
    import fastapi_poe as fp
    from fastapi import FastAPI
    from pydantic import BaseModel, ValidationError


def subclasses(model):
    for subclass in model.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


models = {f"{model.__module__}.{model.__qualname__}": model for model in subclasses(BaseModel)}
complete = sum(model.__pydantic_complete__ for model in models.values())


def attempt(act):
    try:
        return repr(act())
    except ValidationError as error:
        return error.json(include_url=False)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


message = {"role": "user", "content": "hello", "content_type": "text/markdown"}
query = {"version": "1.2", "type": "query", "query": [message], "user_id": "u",
         "conversation_id": "c", "message_id": "m"}
documents = [
    {}, query, {**query, "query": [{**message, "role": "alien"}]}, {**query, "query": [7]},
    {**query, "temperature": "warm"}, {**query, "stop_sequences": [1]}, {**query, "x": 1},
    {**query, "query": [{**message, "attachments": [{"url": "u", "name": 1}]}]},
    {"text": 1}, {"text": "x", "is_suggested_reply": "maybe"}, {"rate_card": 1},
    {"server_bot_dependencies": {"b": 1}}, {"type": "settings", "version": "1.2"}, {"unknown": 1},
]


class Own(fp.QueryRequest):
    extra: int = 1


class Nested(BaseModel):
    request: Own
    answers: list[fp.PartialResponse] = []


def wrong():
    class Wrong(fp.PartialResponse):
        a: object()
    return Wrong


bot = fp.PoeBot(access_key="k" * 32)
found = {
    "validation": {
        f"{name} {number}": attempt(lambda: model.model_validate(document))
        for name, model in models.items() if name.startswith("fastapi_poe")
        for number, document in enumerate([*documents, 7])
    },
    "schemas": {
        f"{name} {mode}": attempt(lambda: model.model_json_schema(mode=mode))
        for name, model in models.items() for mode in ("validation", "serialization")
    },
    "dumps": attempt(lambda: fp.QueryRequest.model_validate(query).model_dump_json()),
    "fields": {name: repr(model.model_fields) for name, model in models.items()},
    "configs": {name: repr(model.model_config) for name, model in models.items()},
    "openapi": fp.make_app(bot, app=FastAPI()).openapi(),
    "own": [attempt(lambda: Own.model_validate({**query, "extra": value})) for value in (2, "x")],
    "nested": attempt(lambda: Nested(request={**query, "extra": "3"}, answers=[{"text": "x"}])),
    "own models are built where they are written": (
        Own.__pydantic_complete__, Nested.__pydantic_complete__, attempt(wrong),
    ),
}
addresses = re.compile(" at 0x[0-9a-f]+")
print(addresses.sub("", json.dumps({"found": found, "complete": complete})))
"""


@pytest.fixture(scope="module")
def reports(package: Path, runtime_python: Path) -> dict[str, dict]:
    def report(when: str) -> dict:
        done = subprocess.run(
            [runtime_python, "-W", "ignore", "-c", REPORT, when],
            cwd=package,
            env={},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return {when: report(when) for when in ("late", "at once")}


@pytest.mark.parametrize(
    "aspect",
    [
        "validation",
        "schemas",
        "dumps",
        "fields",
        "configs",
        "openapi",
        "own",
        "nested",
        "own models are built where they are written",
    ],
)
def test_models_built_late_are_the_same(reports: dict[str, dict], aspect: str) -> None:
    late, at_once = reports["late"]["found"][aspect], reports["at once"]["found"][aspect]
    assert late == at_once
    assert late


def test_most_models_are_not_built_at_the_start(reports: dict[str, dict]) -> None:
    assert reports["late"]["complete"] < reports["at once"]["complete"] / 2
