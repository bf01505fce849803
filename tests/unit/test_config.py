"""Settings files: what is accepted, what is refused, and what the message says."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import config
from core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Attack:
    eps: float = 8 / 255
    steps: int = 10


@dataclass(frozen=True, kw_only=True)
class Plain:
    method: Literal["plain"] = "plain"


@dataclass(frozen=True, kw_only=True)
class Strong:
    method: Literal["strong"] = "strong"
    attack: Attack = field(default_factory=Attack)


@dataclass(frozen=True, kw_only=True)
class Settings:
    seed: int
    name: str = "run"
    path: Path | None = None
    quick: bool = False
    eps: tuple[int, ...] = (1, 2)
    objective: Plain | Strong = field(default_factory=Plain)

    def __post_init__(self):
        if self.seed < 0:
            raise ConfigError(f"seed: expected 0 or more, got {self.seed}")


def written(tmp_path, text):
    path = tmp_path / "settings.toml"
    path.write_text(text)
    return path


def test_tables_fractions_and_overrides(tmp_path):
    path = written(tmp_path, 'seed = 3\n[objective]\nmethod = "strong"\nattack = { eps = "4/255" }\n')
    settings = config.load(Settings, path, ["objective.attack.steps=7", "name=other", "eps=[4, 8]"])
    assert settings.objective == Strong(attack=Attack(eps=4 / 255, steps=7))
    assert (settings.name, settings.eps) == ("other", (4, 8))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "missing key 'seed'; add it"),
        ("seed = 1\nnane = 'x'", r"settings.toml: unknown key 'nane'; did you mean 'name'\?"),
        ("seed = 1\nzzz = 1", "unknown key 'zzz'; known keys: seed, name"),
        ("seed = 'x'", "seed: expected int, got 'x'"),
        ("seed = true", "seed: expected int, got True"),
        ("seed = -1", "settings.toml: seed: expected 0 or more, got -1"),
        ("seed = 1\nquick = 1", "quick: expected bool, got 1"),
        ("seed = 1\neps = 4", "eps: expected a list, got 4"),
        ("seed = 1\neps = [1, 'x']", r"eps\[1\]: expected int, got 'x'"),
        ("seed = 1\nobjective = 'strong'", "objective: expected a table with method = one of 'plain', 'strong'"),
        ("seed = 1\n[objective]\nmethod = 'strnog'", "objective: method: expected one of .* did you mean 'strong'"),
        ("seed = 1\n[objective]\nmethod = 'plain'\nattack = {}", "objective: unknown key 'attack'"),
        ("seed = 1\n[objective]\nmethod = 'strong'\nattack = { eps = '8/0' }", "eps: '8/0' divides by zero"),
        ("seed = 1\n[objective]\nmethod = 'strong'\nattack = { eps = 'big' }", "eps: expected a number or a fraction"),
        ("seed = 1\n[objective]\nmethod = 'strong'\nattack = 3", "attack: expected a table, got 3"),
        ("seed = = 1", "settings.toml: not valid TOML"),
    ],
)
def test_refusals_say_where_and_what(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        config.load(Settings, written(tmp_path, text))


@pytest.mark.parametrize(
    ("override", "message"),
    [("seed", "expected KEY=VALUE"), ("seed.x=1", "'seed' is a value, not a table"), ("sed=1", "did you mean 'seed'")],
)
def test_overrides_are_checked_like_the_file(tmp_path, override, message):
    with pytest.raises(ConfigError, match=message):
        config.load(Settings, written(tmp_path, "seed = 1"), [override])


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="none.toml: no such file; give the path of a settings file"):
        config.load(Settings, tmp_path / "none.toml")


@given(
    st.builds(
        Settings,
        seed=st.integers(0, 2**40),
        name=st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])),
        path=st.none() | st.just(Path("data/x")),
        quick=st.booleans(),
        eps=st.lists(st.integers(0, 255)).map(tuple),
        objective=st.builds(Plain)
        | st.builds(Strong, attack=st.builds(Attack, eps=st.floats(0, 1), steps=st.integers(1, 99))),
    )
)
def test_what_is_written_reads_back_equal(tmp_path_factory, settings):
    path = tmp_path_factory.mktemp("config") / "settings.toml"
    path.write_text(config.dumps(settings), encoding="utf-8")
    assert config.load(Settings, path) == settings
