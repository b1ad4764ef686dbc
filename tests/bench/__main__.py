"""`python -m tests.bench [NAME …]`: run benchmarks, print tables, write `var/bench/<name>.json`."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
import traceback
from pathlib import Path

from tests import bench
from tests.bench.figures import table, write


def main(names: list[str]) -> int:
    known = sorted(m.name for m in pkgutil.iter_modules(bench.__path__) if m.name not in ("__main__", "figures"))
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"No benchmark is called {', '.join(unknown)}. There are: {', '.join(known)}.", file=sys.stderr)
        return 1
    folder = Path(os.environ.get("MEETVIZ_HOME") or "var") / "bench"
    failed = []
    for name in names or known:
        try:
            figures = importlib.import_module(f"tests.bench.{name}").run()
        except Exception:  # the others are still worth their time
            traceback.print_exc()
            failed.append(name)
            continue
        print("\n" + table(name, figures) + f"\n-> {write(name, figures, folder)}", flush=True)
    if failed:
        print(f"Not measured, for the reasons above: {', '.join(failed)}.", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
