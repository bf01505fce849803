"""Settings: TOML files into frozen dataclasses, with messages that name the file, the key and the remedy.

A settings class is a frozen, keyword-only dataclass beside its owner; nested dataclasses are TOML tables. Defaults live
in the dataclass alone. Values are checked in ``__post_init__`` by raising ``ConfigError``. Where a float is due, a
fraction such as ``"8/255"`` is accepted.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, TypeVar

import tomli_w

from core.errors import ConfigError

Settings = TypeVar("Settings")


def load(settings: type[Settings], path: Path, overrides: Sequence[str] = ()) -> Settings:
    """Returns the settings in the TOML file at ``path``, after ``overrides`` such as ``"objective.eps=4/255"``.

    Raises:
        ConfigError: no such file, not TOML, an unknown key, a wrong type, or a value that the class refuses.
    """
    table = read_toml(path)
    for override in overrides:
        _override(table, override)
    return build(settings, table, where=path.name)


def read_toml(path: Path) -> dict[str, Any]:
    """Returns the tables of a TOML file.

    Raises:
        ConfigError: no such file, or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give the path of a settings file (TOML)") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def build(settings: type[Settings], table: Mapping[str, Any], where: str) -> Settings:
    """Returns ``settings(**table)`` with every value checked and converted to the type of its field."""
    assert dataclasses.is_dataclass(settings)
    fields = {field.name: field for field in dataclasses.fields(settings)}
    _refuse_unknown(table, fields, where)
    hints = _hints(settings)
    values = {key: _convert(hints[key], value, f"{where}: {key}") for key, value in table.items()}
    missing = [name for name, field in fields.items() if name not in values and _required(field)]
    if missing:
        raise ConfigError(f"{where}: missing key {missing[0]!r}; add it (needed: {', '.join(missing)})")
    try:
        return settings(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


@functools.cache  # tables of many rows are built of one class
def _hints(settings: type) -> dict[str, Any]:
    return typing.get_type_hints(settings)


def dumps(settings: Any) -> str:
    """Returns the resolved settings as TOML; ``load`` reads it back to an equal value. ``None`` is left out."""
    return tomli_w.dumps(_plain(settings))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        pairs = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {name: _plain(item) for name, item in pairs if item is not None}
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value.as_posix() if isinstance(value, Path) else value


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _refuse_unknown(table: Mapping[str, Any], fields: Mapping[str, Any], where: str) -> None:
    for key in table:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(fields)}"
            raise ConfigError(f"{where}: unknown key {key!r}; {hint}")


def _override(table: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"--set {override}: expected KEY=VALUE, such as --set objective.eps=4/255")
    *tables, key = name.split(".")
    for part in tables:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {override}: {part!r} is a value, not a table")
    table[key] = _literal(text)


def _literal(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _convert(expected: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if dataclasses.is_dataclass(expected) and isinstance(expected, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: expected a table, got {value!r}")
        return build(expected, value, where)
    if origin is Literal:
        return _choice(arguments, value, where)
    if origin in (typing.Union, types.UnionType):
        return _union(arguments, value, where)
    if origin in (tuple, list):
        return _sequence(arguments[0], value, where)
    if origin is dict:
        return dict(_scalar(dict, value, where))
    return _scalar(expected, value, where)


def _union(kinds: Sequence[Any], value: Any, where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    kinds = [kind for kind in kinds if kind is not type(None)]
    return _convert(kinds[0] if len(kinds) == 1 else _tagged(kinds, value, where), value, where)


def _tagged(kinds: Sequence[Any], value: Any, where: str) -> Any:
    """Returns the dataclass whose first field, a ``Literal``, has the value that the table gives it."""
    tag = dataclasses.fields(kinds[0])[0].name
    by_name = {typing.get_args(typing.get_type_hints(kind)[tag])[0]: kind for kind in kinds}
    if not isinstance(value, Mapping) or tag not in value:
        raise ConfigError(
            f"{where}: expected a table with {tag} = one of {', '.join(map(repr, by_name))}, got {value!r}"
        )
    return by_name[_choice(tuple(by_name), value[tag], f"{where}: {tag}")]


def _choice(allowed: tuple[Any, ...], value: Any, where: str) -> Any:
    if value in allowed:
        return value
    near = difflib.get_close_matches(str(value), [str(choice) for choice in allowed], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"{where}: expected one of {', '.join(map(repr, allowed))}, got {value!r}{hint}")


def _sequence(item: Any, value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{where}: expected a list, got {value!r}")
    return tuple(_convert(item, entry, f"{where}[{index}]") for index, entry in enumerate(value))


def _scalar(expected: type, value: Any, where: str) -> Any:
    if expected is float and isinstance(value, str):
        return _fraction(value, where)
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if expected is Path and isinstance(value, str):
        return Path(value)
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        raise ConfigError(f"{where}: expected {expected.__name__}, got {value!r}")
    return value


def _fraction(text: str, where: str) -> float:
    if not re.fullmatch(r"\s*\d+(\.\d+)?\s*(/\s*\d+\s*)?", text):
        raise ConfigError(f"{where}: expected a number or a fraction such as '8/255', got {text!r}")
    try:
        numerator, _, denominator = text.partition("/")
        return float(Fraction(numerator.strip()) / Fraction(denominator.strip() or "1"))
    except ZeroDivisionError:
        raise ConfigError(f"{where}: {text!r} divides by zero") from None
