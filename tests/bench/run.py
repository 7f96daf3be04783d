"""Run every benchmark of this folder, print one table, and write .nerforge/bench.json.

A benchmark is a file bench_<part>.py with a function ``measure()`` that returns a list of measures: each a
mapping with ``name``, ``ratio``, ``bar`` and ``ok``, and what else it has to say. Exits 1 if one misses its
bar.
"""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULT = HERE.parent.parent / ".nerforge" / "bench.json"


def main() -> int:
    measures: list[dict[str, Any]] = []
    for path in sorted(HERE.glob("bench_*.py")):
        print(f"{path.name} ...", flush=True)
        measures += _load(path).measure()
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(measures, indent=2) + "\n", encoding="utf-8")
    print(table(measures))
    print(f"Written to {RESULT}")
    return 0 if all(measure["ok"] for measure in measures) else 1


def table(measures: list[dict[str, Any]]) -> str:
    """The measures, a line each, under a heading."""
    width = max([len("measure"), *(len(measure["name"]) for measure in measures)])
    lines = [f"{'measure':{width}}  {'ratio':>7}  {'bar':>7}  ok"]
    for measure in measures:
        ok = "yes" if measure["ok"] else "NO"
        lines.append(f"{measure['name']:{width}}  {measure['ratio']:7.3f}  {measure['bar']:7.3f}  {ok}")
    return "\n".join(lines)


def _load(path: Path) -> Any:
    specification = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(specification)
    sys.modules[path.stem] = module
    specification.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(main())
