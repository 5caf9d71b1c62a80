"""The JSON Schema of the settings: for editors, and for the words of our own messages.

Descriptions stand in one place, the comments of ``config/marketprism.yaml``; ``make published``
carries them into the file beside this one, which ``marketprism config schema`` prints.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from .amounts import TIMES, duration, told_bytes, told_seconds
from .keys import Path

__all__ = ["SCHEMA_FILE", "node_at", "published", "schema"]

SCHEMA_FILE = "marketprism.schema.json"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Generator(GenerateJsonSchema):
    """Times and sizes may be written with a unit."""

    def function_before_schema(
        self, schema: core_schema.BeforeValidatorFunctionSchema
    ) -> JsonSchemaValue:
        said = super().function_before_schema(schema)
        if schema["function"]["function"] is not duration:
            return said
        bounds = {k: v for k, v in said.items() if k.endswith("imum")}
        kinds = [{"type": "number"}, {"type": "string", "pattern": TIMES}]
        return {"anyOf": kinds, "x-kind": "seconds", **bounds}


@lru_cache(4)
def schema(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of the model, every reference resolved, without descriptions of keys. Made once:
    it is to be read only."""
    raw = model.model_json_schema(schema_generator=_Generator, mode="validation")
    whole = _resolved(raw, raw.get("$defs", {}))
    whole.pop("$defs", None)
    whole = _tidied(whole)
    return {"$schema": _DIALECT, **whole, "title": "MarketPrism"}


def node_at(whole: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What the schema says of the key at this path; empty where there is none."""
    node: Mapping[str, Any] = whole
    for part in path:
        branches = [node, *node.get("anyOf", ())]
        if isinstance(part, int):
            node = next((b["items"] for b in branches if "items" in b), {})
        else:
            found = (b["properties"].get(part) for b in branches if "properties" in b)
            node = next((n for n in found if n is not None), {})
    return dict(node)


def published() -> dict[str, Any]:
    """The schema as it is published, with a description of every key."""
    text = resources.files(__package__).joinpath(SCHEMA_FILE).read_text(encoding="utf-8")
    said: dict[str, Any] = json.loads(text)
    return said


def _resolved(node: Any, definitions: Mapping[str, Any]) -> Any:
    """Each ``$ref`` replaced by what it refers to: a key's description differs by its place."""
    if isinstance(node, list):
        return [_resolved(each, definitions) for each in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        rest = {k: v for k, v in node.items() if k not in ("$ref", "default")}
        return {**_resolved(definitions[name], definitions), **rest}
    return {k: _resolved(v, definitions) for k, v in node.items() if k != "$defs"}


def _tidied(node: dict[str, Any]) -> dict[str, Any]:
    """Bounds under their proper names, defaults as people write them, no titles or class texts."""
    node = copy.copy(node)
    node.pop("title", None)
    if node.get("type") == "object":
        node.pop("description", None)
    for ours, proper in (("ge", "minimum"), ("gt", "exclusiveMinimum"), ("le", "maximum")):
        if ours in node:
            node.setdefault(proper, node.pop(ours)) if proper not in node else node.pop(ours)
    if any(b.get("pattern", "").startswith(r"^\s*(\d*\.?\d+)") for b in node.get("anyOf", ())):
        node["x-kind"] = "bytes"
        node["anyOf"] = [{"type": "integer", "minimum": 0}, {"type": "string"}]
    nested = [b for b in node.get("anyOf", ()) if "x-kind" in b or "anyOf" in b]
    if nested and len(nested) == 1:
        inner = _tidied(nested[0])
        others = [b for b in node["anyOf"] if b is not nested[0]]
        node = {**inner, **{k: v for k, v in node.items() if k != "anyOf"}}
        node["anyOf"] = [*inner["anyOf"], *others]
    elif "anyOf" in node:
        node["anyOf"] = [_tidied(each) for each in node["anyOf"]]
    if "items" in node:
        node["items"] = _tidied(node["items"])
    if "properties" in node:
        node["properties"] = {k: _tidied(v) for k, v in node["properties"].items()}
    kind, default = node.get("x-kind"), node.get("default")
    if kind == "seconds" and isinstance(default, int | float):
        node["default"] = told_seconds(default)
    elif kind == "bytes" and isinstance(default, int):
        node["default"] = told_bytes(default)
    elif default is None or isinstance(default, dict) or _of_sections(default):
        node.pop("default", None)
    return node


def _of_sections(default: Any) -> bool:
    return isinstance(default, list) and any(isinstance(each, dict) for each in default)
