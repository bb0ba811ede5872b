"""What is said of a value that the schema forbids: which key, what it must be, what to do."""

import difflib
import json
import math
import re
from collections.abc import Iterator

import jsonschema
import yaml

_WORDS = {
    "object": "a mapping such as {}",
    "array": "a list",
    "string": "text",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "null": "null",
}

_RULES = {
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be above {}",
    "exclusiveMaximum": "must be below {}",
    "minLength": "must not be empty",
    "minItems": "must have {} or more entries",
    "minProperties": "must have {} or more entries",
    "uniqueItems": "must not name anything twice",
    "not": "must be odd",
}


def known_keys(schema: dict, value: dict) -> dict:
    """The keys that the schema has for this value, conditional ones included."""
    keys = dict(schema.get("properties", {}))
    for branch in schema.get("allOf", ()):
        if jsonschema.Draft202012Validator(branch["if"]).is_valid(value):
            keys |= branch["then"]["properties"]
    return keys


def explain(error: jsonschema.ValidationError) -> Iterator[tuple[tuple, str]]:
    """(path of a key, the rest of the line) for each thing that is wrong."""
    path, value, schema = tuple(error.absolute_path), error.instance, error.schema
    if error.validator in ("additionalProperties", "unevaluatedProperties"):
        known = known_keys(schema, value)
        for key in (key for key in value if key not in known):
            yield (
                (*path, key),
                f": unknown key{did_you_mean(key, known)}; the keys known here are "
                f"{', '.join(known)}",
            )
    elif error.validator == "required":
        key = error.message.split("'")[1]
        yield (*path, key), f": missing; add it. {known_keys(schema, value)[key]['description']}"
    elif error.validator in ("pattern", "maxLength"):
        yield (
            (*path, value),
            ": the name becomes that of a folder, so it may have at most 100 letters, digits, '_' "
            "and '-', the first a letter or digit; rename it",
        )
    else:
        rule = _rule(error)
        yield path, f" = {short(value)}: {rule}. {_repair(schema)}".rstrip()


def _rule(error: jsonschema.ValidationError) -> str:
    """What a value must be."""
    value, limit = error.instance, error.validator_value
    if error.validator == "type":
        types = [limit] if isinstance(limit, str) else limit
        rule = f"must be {' or '.join(_WORDS[name] for name in types)}"
        if isinstance(value, str) and {"integer", "number"} & set(types) and _is_number(value):
            rule += f" (YAML reads {value.strip()} as text; write {_yaml(float(value))})"
        elif "string" in types and not isinstance(value, dict | list | None):
            rule += f" (YAML reads it as {type(value).__name__}; put it in quotes)"
        return rule
    if error.validator == "enum":
        names = [str(name) for name in limit]
        return f"must be one of {', '.join(names)}{did_you_mean(str(value), names)}"
    return _RULES[error.validator].format(limit)


def _repair(schema: dict) -> str:
    text = schema.get("description", "")
    if "default" in schema:
        text += f" Remove the key for its default, {_yaml(schema['default'])}."
    return text


def dotted(path: tuple) -> str:
    text = ""
    for part in path:
        plain = isinstance(part, str) and re.fullmatch(r"[\w-]+", part)
        text += f".{part}" if plain else f"[{short(part)}]"
    return text.removeprefix(".") or "the configuration"


def _yaml(value) -> str:
    return yaml.safe_dump(value, default_flow_style=True).split("\n")[0]


def short(value) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def did_you_mean(word: str, known) -> str:
    close = difflib.get_close_matches(word, known, 1)
    return f" (did you mean {close[0]}?)" if close else ""


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
