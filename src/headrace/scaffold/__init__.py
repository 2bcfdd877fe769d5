"""The folder of a new system: a declaration that runs as it is, its configuration, a test and a page."""

from __future__ import annotations

import re
from pathlib import Path

from headrace.errors import NotFoundError, UsageError
from headrace.loading import folder_of, installed
from headrace.scaffold.data import Declaration, declaration_of
from headrace.scaffold.outline import Look, Observation

__all__ = ["Declaration", "Look", "Observation", "declaration_of", "make"]

_FILES = {
    "system.py": '''"""{name}: what is forecast, from what, and how often."""

from headrace import Column, Contract, Forecaster, Monitoring, Schedule, Source, System
from headrace.features import seasonal_features
from headrace.sources import simulated

SEASONS = ("24h", "168h")

system = System(
    name="{name}",
    source=Source(
        simulate=simulated.consumption,  # until there are real records: --source file:PATH
        columns={{"time": "HourUTC", "area": "PriceArea", "industry": "ConsumerType_DE35", "value": "TotalCon"}},
        lag="1h",
    ),
    contract=Contract(
        columns=(
            Column("time", "time", zone="UTC"),
            Column("area", "category"),
            Column("industry", "category"),
            Column("value", "float", minimum=0),
        ),
        max_invalid_fraction=0.05,
    ),
    keys=("area", "industry"),
    time="time",
    step="1h",
    target="value",
    features=seasonal_features("value", seasons=SEASONS),
    model=Forecaster(seasons=SEASONS),
    horizon="24h",
    schedule=Schedule(predict="1h", train="7d"),
    monitoring=Monitoring(baselines=SEASONS),
)
''',
    "config.yaml": "# Overrides of system.py by path; --set goes over it.\nschedule:\n  train: 7d\n",
    "README.md": """# {name}

Forecasts `value` of every area and industry, a day ahead, every hour. `system.py` says so; `config.yaml` goes over it.

    headrace run {name}                             # simulated records, until there are real ones
    headrace run {name} --source file:records.csv   # columns as in `source.columns`
    headrace predictions {name}
    headrace report {name}
    headrace serve {name}
    python -m pytest systems/{name}
""",
    "test_{name}.py": '''"""The declaration loads, and predicts what it says."""

from pathlib import Path

from headrace.loading import load_system


def test_the_declaration_is_sound() -> None:
    system = load_system(str(Path(__file__).parent))
    assert system.name == "{name}"
    assert system.steps == 24
''',
}


_ABOUT = """# {name}

Made from a look at a file; `system.py` says how its rows are read and what is predicted. `config.yaml` goes over it.

    headrace run {name}
    headrace predictions {name}
    headrace report {name}
    python -m pytest systems/{name}
"""
_OVERRIDES = "# Overrides of system.py by path, such as `schedule: {{train: 1d}}`; --set goes over it.\n"
_TEST = '''"""The declaration loads."""

from pathlib import Path

from headrace.loading import load_system


def test_the_declaration_is_sound() -> None:
    assert load_system(str(Path(__file__).parent)).name == "{name}"
'''


def make(name: str, like: str | None, folder: Path, declaration: Declaration | None = None) -> list[Path]:
    """Write the files of a new system; nothing that exists is touched.

    Args:
        name: Lower-case letters, digits and underscores.
        like: A system to copy: its folder, its name below `folder`, or an installed one's. None: a small one that runs.
        folder: Where systems live.
        declaration: What a look at a file gave.

    Raises:
        UsageError: The name is no good, or taken.
        NotFoundError: There is no system like that.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UsageError(f"{name!r} is not a good name", hint="use lower-case letters, digits and _")
    target = folder / name
    if target.exists():
        raise UsageError("is there already", where=str(target), hint="choose another name, or remove it")
    files = {file.format(name=name): text.format(name=name).encode() for file, text in _FILES.items()}
    if like is not None:
        files = _copied(like, name, folder)
    elif declaration is not None:
        texts = {"README.md": _ABOUT, "config.yaml": _OVERRIDES, "test_{name}.py": _TEST}
        files |= {file.format(name=name): text.format(name=name).encode() for file, text in texts.items()}
        files["system.py"] = declaration.text.encode()
    target.mkdir(parents=True)
    for file, content in files.items():
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        (target / file).write_bytes(content)
    return [target / file for file in files]


def _copied(like: str, name: str, folder: Path) -> dict[str, bytes]:
    """Its files and folders, the old name in names and texts replaced; hidden ones and caches stay behind."""
    source = next((p for p in (Path(like), folder / like) if (p / "system.py").is_file()), None)
    source = folder_of(like) if source is None else source
    if source is None:
        names = sorted({*(path.parent.name for path in folder.glob("*/system.py")), *installed()})
        hint = f"systems here: {', '.join(names)}" if names else "name its folder"
        raise NotFoundError(f"no system {like!r}", where="--like", hint=hint)
    source = source.resolve()
    return {
        path.relative_to(source).as_posix().replace(source.name, name): _renamed(path.read_bytes(), source.name, name)
        for path in sorted(source.rglob("*"))
        if path.is_file() and not any(p[0] == "." or p == "__pycache__" for p in path.relative_to(source).parts)
    }


def _renamed(content: bytes, old: str, name: str) -> bytes:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return content  # a picture or a table that lies in the folder
    # Not within a longer word; but `test_NAME` and `NAME_id` are the name and something else.
    return re.sub(rf"(?<![A-Za-z0-9]){re.escape(old)}(?![A-Za-z0-9])", name, text).encode()
