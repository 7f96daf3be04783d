"""Specs: read, checked against the schema, and completed with its defaults.

``spec.schema.json`` beside this module is the authority; here stand only the rules that bind one field to
another, and the words in which a schema error is told.
"""

from __future__ import annotations

import copy
import difflib
import functools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .errors import UserError

Spec = dict[str, Any]
Schema = dict[str, Any]

_PARTS = ("train", "dev", "test", "all")
_CONFIG_REPLACES = ("optimize", "hyperparameters")
_TRANSFORMER_REPLACES = ("optimize",)
_SIZES = ("width", "depth")
# What the schema's defaults, which are the CNN's, become with a transformer.
_TRANSFORMER_DEFAULTS = {
    "hyperparameters": {"learn_rate": 0.00005, "batch_words": [1000, 2000]},
    "resources": {"memory_mib": 8192},
}
_TYPE_WORDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping of fields",
}


def load(path: str | Path) -> Spec:
    """Read a spec from a YAML file and check it; what it leaves out stays out.

    Raises UserError naming the file and line of a syntax error, or the field that is wrong.
    """
    spec = _read_yaml(Path(path))
    if not isinstance(spec, dict):
        found = "the file is empty" if spec is None else f"a spec is a mapping of fields, not {_shown(spec)}"
        raise UserError(found, str(path), "Begin with name: and data:, as playbooks/specs/sample.yml does.")
    validate(spec)
    return spec


def validate(spec: Spec, submitted: bool = False) -> None:
    """Check a spec against the schema, and its fields against one another.

    Parameters
    ----------
    spec:
        The spec, with or without defaults.
    submitted:
        Whether it comes from a run's record, where a source names its key in the bucket too and ``config`` is
        the config's text.

    Raises UserError for the first thing wrong, unknown fields before all else, since they explain the rest.
    """
    errors = sorted(_validator(submitted).iter_errors(spec), key=_weight)
    if errors:
        raise _told(errors[0])
    _check_data(spec["data"])
    _check_device(spec)
    _check_transformer(spec)
    _check_config(spec)
    _check_gate(spec)


def with_defaults(spec: Spec) -> Spec:
    """A copy of a valid spec in which every field that has a default is filled in."""
    skip = _replaced(spec)
    if "transformer" in spec:
        others = {section: fields for section, fields in _TRANSFORMER_DEFAULTS.items() if section not in skip}
        spec = spec | {section: fields | spec.get(section, {}) for section, fields in others.items()}
    filled = _filled(spec, schema(), skip)
    filled["resources"].setdefault("gpus", 1 if filled["device"] == "gpu" else 0)
    return filled


def sources(spec: Spec) -> dict[str, dict[str, str]]:
    """The spec's sources by part (``train``, ``dev``, ``test``, ``all``), each as a mapping with ``from``."""
    return {
        part: {"from": source} if isinstance(source, str) else dict(source)
        for part in _PARTS
        if (source := spec["data"].get(part)) is not None
    }


def inputs(spec: Spec) -> dict[str, dict[str, str]]:
    """All files that the spec names, by field: its `sources`, and the transformer's archive."""
    found = {f"data.{part}": source for part, source in sources(spec).items()}
    if "transformer" in spec:
        archive = spec["transformer"]
        found["transformer"] = {"from": archive} if isinstance(archive, str) else dict(archive)
    return found


@functools.cache
def schema() -> Schema:
    """The schema of a spec. Shared: do not change it."""
    read: Schema = json.loads(Path(__file__).with_name("spec.schema.json").read_text(encoding="utf-8"))
    return read


# --- reading ---


def _read_yaml(path: Path) -> Any:
    import yaml  # not at import: the dispatcher has none

    class Loader(yaml.SafeLoader):
        """YAML's safe types; a field given twice is an error, where YAML would quietly take the last."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen: set[str] = set()
            for key in (key for key, __ in node.value if isinstance(key, yaml.ScalarNode)):
                if key.value in seen:
                    problem = f"the field {key.value} stands here a second time"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader)
    except OSError as error:
        fix = "Give the path of a spec; playbooks/specs/ holds samples."
        raise UserError(f"cannot read the spec ({error.strerror})", str(path), fix) from error
    except UnicodeDecodeError as error:
        raise UserError("the spec is not UTF-8 text", str(path), "Save it as UTF-8.") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        what = f"not valid YAML: {error.problem or error.context}"
        raise UserError(what, where, "Mend this line, or the one above it.") from error
    except yaml.YAMLError as error:
        raise UserError(f"not valid YAML: {error}", str(path), "Save it as plain text.") from error


# --- defaults ---


def _filled(value: dict[str, Any], part: Schema, skip: Sequence[str] = ()) -> dict[str, Any]:
    filled = copy.deepcopy(value)
    for field, field_schema in part["properties"].items():
        if field in skip:
            continue
        if "properties" in field_schema:
            if inner := _filled(filled.get(field, {}), field_schema):
                filled[field] = inner
        elif "default" in field_schema:
            filled.setdefault(field, copy.deepcopy(field_schema["default"]))
    return filled


# --- rules between fields ---


def _check_data(data: dict[str, Any]) -> None:
    for part, source in sources({"data": data}).items():
        _check_location(f"data.{part}", source)
    split = data.get("split")
    if split and sum(split) != 100:
        fix = "Give three percentages that add up to 100."
        raise UserError(f"the parts add up to {sum(split)}", "data.split", fix)


def _check_location(field: str, source: dict[str, str]) -> None:
    location = source["from"]
    scheme, separator, rest = location.partition("://")
    if not separator:
        return
    if scheme == "https":
        if "sha256" not in source:
            fix = "Write it as a mapping with from: and sha256:, the file's checksum."
            raise UserError(f"{location} has no sha256", field, fix)
    elif scheme == "s3":
        bucket, __, key = rest.partition("/")
        if not bucket or not key:
            raise UserError(f"{location} names no object", field, "Write it as s3://BUCKET/KEY.")
    else:
        fix = "Use https:// with a sha256, s3:// or a path."
        raise UserError(f"data is not fetched by {scheme}://", field, fix)


def _check_device(spec: Spec) -> None:
    device, gpus = spec.get("device", "cpu"), spec.get("resources", {}).get("gpus")
    if device == "gpu" and gpus == 0:
        fix = "Set it to 1 or more, leave it out, or set device: cpu."
        raise UserError("device gpu needs at least one", "resources.gpus", fix)
    if device == "cpu" and gpus:
        fix = "Set device: gpu, or leave resources.gpus out."
        raise UserError(f"device cpu has no use for {gpus}", "resources.gpus", fix)


def _check_transformer(spec: Spec) -> None:
    if "transformer" not in spec:
        return
    _check_location("transformer", inputs(spec)["transformer"])
    for field in _TRANSFORMER_REPLACES:
        if field in spec:
            fix = f"Leave out {field} or transformer."
            raise UserError("it chooses between CNNs, and the transformer stands in their place", field, fix)
    for field in _SIZES:
        if field in spec.get("hyperparameters", {}):
            fix = "Leave it out: the transformer's own config.json says its size."
            raise UserError("it is the CNN's, and a transformer has none", f"hyperparameters.{field}", fix)


def _check_config(spec: Spec) -> None:
    for field in _CONFIG_REPLACES:
        if "config" in spec and field in spec:
            raise UserError("the full config stands in its place", field, f"Leave out {field} or config.")


def _replaced(spec: Spec) -> tuple[str, ...]:
    """The fields that have no default here, as another stands in their place."""
    if "config" in spec:
        return _CONFIG_REPLACES
    return _TRANSFORMER_REPLACES if "transformer" in spec else ()


def _check_gate(spec: Spec) -> None:
    labels = spec.get("labels") or ()
    for label in spec.get("gate", {}).get("labels", {}):
        if labels and label not in labels:
            fix = _did_you_mean(label, labels) or "Add it there, or leave it out here."
            raise UserError("not one of labels", f"gate.labels.{label}", fix)


# --- schema errors in words ---


@functools.cache
def _validator(submitted: bool) -> Any:
    import jsonschema  # not at import: the dispatcher has none

    # JSON Schema takes 2.0 for an integer and YAML's .nan for a number; what uses a spec takes neither.
    types = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda _checker, value: isinstance(value, int) and not isinstance(value, bool),
            "number": lambda _checker, value: (
                isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            ),
        }
    )
    authority = schema()
    if submitted:
        definitions = authority["$defs"]
        forms = {form: definitions[f"submitted_{form}"] for form in ("source", "archive")}
        authority = authority | {"$defs": definitions | forms}
    extend: Any = jsonschema.validators.extend  # of which the types say nothing
    return extend(jsonschema.Draft202012Validator, type_checker=types)(authority)


def _weight(error: Any) -> tuple[bool, bool]:
    chosen = _innermost(error)
    return chosen.validator != "additionalProperties", chosen.validator == "required"


def _innermost(error: Any) -> Any:
    """The error that says most: where a field may take several forms, that of the form that was meant."""
    while error.validator == "oneOf":
        forms = [_resolved(form) for form in error.validator_value]
        meant = max(range(len(forms)), key=lambda index: _likeness(error.instance, forms[index]))
        if _likeness(error.instance, forms[meant]) < (1, 0):
            return error
        error = min((inner for inner in error.context if inner.schema_path[0] == meant), key=_weight)
    return error


def _likeness(value: Any, form: Schema) -> tuple[int, int]:
    if not isinstance(value, {"string": str, "object": dict}[form["type"]]):
        return 0, 0
    return 1, sum(field in value for field in form.get("properties", ()))


def _resolved(form: Schema) -> Schema:
    return schema()["$defs"][form["$ref"].rpartition("/")[2]] if "$ref" in form else form


def _told(error: Any) -> UserError:
    error = _innermost(error)
    path, value, rule = _dotted(error.absolute_path), error.instance, error.validator_value
    about = error.schema.get("description", "")
    if error.validator == "additionalProperties":
        return _told_unknown(path, error)
    if error.validator == "required":
        missing = next(field for field in rule if field not in value)
        about = _resolved(error.schema["properties"][missing])["description"]
        return UserError("missing", _dotted([*error.absolute_path, missing]), about)
    if error.validator in ("type", "oneOf"):
        forms = [rule] if error.validator == "type" else [_resolved(form)["type"] for form in rule]
        wanted = " or ".join(_TYPE_WORDS[form] for form in dict.fromkeys(forms))
        quote = "string" in forms and value is not None and not isinstance(value, dict | list)
        fix = "Put it in quotes, so that YAML reads it as text." if quote else about
        return UserError(f"must be {wanted}, not {_shown(value)}", path, fix)
    if error.validator == "enum":
        fix = _did_you_mean(str(value), rule) or about
        return UserError(f"must be {_listed(rule, 'or')}, not {_shown(value)}", path, fix)
    what = {
        "pattern": "{value} is not allowed",
        "minimum": "must be at least {rule}, not {value}",
        "maximum": "must be at most {rule}, not {value}",
        "exclusiveMinimum": "must be more than {rule}, not {value}",
        "minLength": "must not be empty",
        "minItems": "must have at least {rule} of them, not {size}",
        "maxItems": "must have at most {rule} of them, not {size}",
        "uniqueItems": "has something twice",
    }[error.validator]
    size = len(value) if isinstance(value, list) else 0
    return UserError(what.format(value=_shown(value), rule=rule, size=size), path, about)


def _told_unknown(path: str, error: Any) -> UserError:
    known = list(error.schema["properties"])
    unknown = next(field for field in error.instance if field not in known)
    where = f"{path}.{unknown}" if path else str(unknown)
    forms = [_resolved(form) for form in (error.parent.validator_value if error.parent else ())]
    if any(unknown in form.get("properties", ()) for form in forms):
        beside = _listed([field for field in error.instance if field in known], "and")
        either = ", or ".join(_listed(_wanted(form), "and") for form in forms)
        return UserError(f"does not go with {beside}", where, f"Give either {either}.")
    elsewhere = [place for place in _places(schema()) if place.rpartition(".")[2] == unknown]
    fix = f"Did you mean {elsewhere[0]}?" if elsewhere else _did_you_mean(str(unknown), known)
    return UserError("unknown field", where, fix or f"The fields here are {_listed(known, 'and')}.")


def _wanted(form: Schema) -> list[str]:
    return [field if field in form["required"] else f"perhaps {field}" for field in form["properties"]]


def _places(part: Schema, path: str = "") -> Iterator[str]:
    for field, field_schema in part.get("properties", {}).items():
        yield f"{path}{field}"
        yield from _places(field_schema, f"{path}{field}.")


def _did_you_mean(word: str, known: Iterable[Any]) -> str:
    by_lower = {str(name).lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), by_lower, 1)
    return f"Did you mean {by_lower[close[0]]}?" if close else ""


def _dotted(path: Iterable[Any]) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def _listed(words: Sequence[Any], last: str) -> str:
    *first, final = map(str, words)
    return f"{', '.join(first)} {last} {final}" if first else final


def _shown(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
