"""A pipeline's flags and what a template adds to them -> what Dataflow reads."""

import argparse
from typing import Any

from templates.kinds import Kind
from templates.parameters import Template


def metadata_of(template: Template) -> dict[str, Any]:
    """Gives a template's ``metadata.json``.

    Raises:
        ValueError: The pipeline has a flag that the template neither has nor leaves out, or
            the other way round.
    """
    flags = template.flags
    told = {*template.parameters, *template.left_out}
    if told != flags.keys():
        msg = (
            f"{template.name}: flags that its template.py, or parameters.py, does not know: "
            f"{sorted(flags.keys() - told)}; that are there and no flags: "
            f"{sorted(told - flags.keys())}"
        )
        raise ValueError(msg)
    required = template.options_class.REQUIRED
    names = [name for name in flags if name in template.parameters]
    found: dict[str, Any] = {
        "name": template.title,
        "description": template.description,
        "streaming": template.streaming,
    }
    if template.streaming:
        found |= {"supportsAtLeastOnce": True, "supportsExactlyOnce": True,
                  "defaultStreamingMode": "EXACTLY_ONCE"}  # fmt: skip
    # A form asks for what it must have first.
    names.sort(key=lambda name: name not in required)
    found["parameters"] = [
        _parameter(template, flags[name], is_optional=name not in required) for name in names
    ]
    return found


def spec_of(template: Template, image: str) -> dict[str, Any]:
    """Gives the file that a launch names, as ``gcloud dataflow flex-template build`` writes it.

    Args:
        template: The template.
        image: Name of its image, with a tag.
    """
    return {
        "defaultEnvironment": {},
        "image": image,
        "metadata": metadata_of(template),
        "sdkInfo": {"language": "PYTHON"},
    }


def default_text(default: object) -> str:
    """Gives a flag's default as a launcher would pass it; "" where there is none."""
    if default is None:
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)


def _parameter(
    template: Template, flag: argparse.Action, *, is_optional: bool,
) -> dict[str, Any]:
    more = template.parameters[flag.dest]
    found: dict[str, Any] = {
        "name": flag.dest,
        "groupName": more.group,
        "label": more.label,
        "helpText": _help(flag),
        "isOptional": is_optional,
        "regexes": [more.kind.regex],
        "paramType": more.kind.param_type,
    }
    found |= _choices(more.kind)
    default = default_text(flag.default)
    if default:
        found["defaultValue"] = default
    return found


def _choices(kind: Kind) -> dict[str, Any]:
    if not kind.choices:
        return {}
    return {"enumOptions": [{"value": value, "label": value} for value in kind.choices]}


def _help(flag: argparse.Action) -> str:
    # argparse doubles a percent sign that is meant.
    return (flag.help or "").replace("%%", "%")
