"""Run the benchmarks of this folder, print one table, and write .nerforge/bench.json.

A benchmark is a file bench_<part>.py with a function ``measure()`` that returns rows: mappings with ``name``,
``ratio``, ``bar``, ``ok``, perhaps ``direction`` (``at least`` or, which is meant without it, ``at most``),
and what else they have to say; see `rows.row`. One that cannot be measured does not keep the others from it.
Exits 1 if a bar is missed or a benchmark failed.
"""

import argparse
import importlib.util
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULT = HERE.parent.parent / ".nerforge" / "bench.json"


def main() -> int:
    parts = [path.stem.removeprefix("bench_") for path in sorted(HERE.glob("bench_*.py"))]
    wanted = _arguments(parts)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no server is left behind
    os.environ.update(
        {
            f"NERFORGE_BENCH_{name.upper()}": str(value)
            for name, value in (("rounds", wanted.rounds), ("seconds", wanted.seconds))
            if value
        }
    )
    rows: list[dict[str, Any]] = []
    for part in wanted.only or parts:
        print(f"== {part}", flush=True)
        began = time.monotonic()
        rows += [{"part": part} | row for row in _measured(part)]
        print(f"   {time.monotonic() - began:.0f} s", flush=True)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(table(rows))
    print(f"Written to {RESULT}")
    return 0 if all(row["ok"] for row in rows) else 1


def table(rows: list[dict[str, Any]]) -> str:
    """The rows, a line each, under a heading; below a row what makes it worthless."""
    width = max([len("measure"), *(len(row["name"]) for row in rows)])
    lines = [f"{'measure':{width}}  {'ratio':>7}  {'bar':>14}  ok"]
    for row in rows:
        ratio = f"{row['ratio']:7.3f}" if "ratio" in row else f"{'-':>7}"
        threshold = f"{row.get('direction', 'at most')} {row['bar']:g}" if "bar" in row else "-"
        lines.append(f"{row['name']:{width}}  {ratio}  {threshold:>14}  {'yes' if row['ok'] else 'NO'}")
        lines += [f"  {fault}" for fault in dict.fromkeys(row.get("faults", ()))]
    return "\n".join(lines)


def _arguments(parts: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measure ratios side by side, and print them beside their bars."
    )
    parser.add_argument("--only", nargs="+", choices=parts, metavar="PART", help=f"of {', '.join(parts)}")
    parser.add_argument("--rounds", type=int, help="of the servers' loads; fewer than 5 say little")
    parser.add_argument("--seconds", type=float, help="of a load; whole ones")
    return parser.parse_args()


def _measured(part: str) -> list[dict[str, Any]]:
    try:
        return _load(HERE / f"bench_{part}.py").measure()
    except (Exception, SystemExit) as error:
        if isinstance(error, Exception):
            traceback.print_exc()
        return [
            {"name": f"{part}: could not be measured", "ok": False, "faults": [str(error) or repr(error)]}
        ]


def _load(path: Path) -> Any:
    specification = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(specification)
    sys.modules[path.stem] = module
    specification.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(main())
