"""Lines and branches must each reach the floor: `fail_under` weighs them together, and many lines would hide few branches."""

import json
import sys
import tomllib
from pathlib import Path

import coverage

floor = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["coverage"]["report"]["fail_under"]
measured = coverage.Coverage()
measured.load()
report = Path(".coverage.json")
measured.json_report(outfile=str(report))
totals = json.loads(report.read_text())["totals"]
report.unlink()

reached = {"lines": totals["percent_statements_covered"], "branches": totals["percent_branches_covered"]}
print("coverage:", ", ".join(f"{percent:.1f} % of {kind}" for kind, percent in reached.items()), f"(at least {floor} % of each)")
sys.exit(any(percent < floor for percent in reached.values()))
