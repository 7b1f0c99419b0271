"""The report of `check-upstream`: one line a check, a verdict, and what to type next."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from upstream.finding import FAIL, Finding


def report(name: str, weights: Path | None, findings: Iterator[Finding], as_json: bool) -> int:
    """Print what is found as it is found; 1 if the contract is broken, else 0."""
    every = []
    for finding in findings:
        every.append(finding)
        if not as_json:
            print(f"{finding.verdict:4}  {finding.check:13}  {finding.text}", flush=True)
    broken = list(dict.fromkeys(finding.clause for finding in every if finding.verdict == FAIL))
    if as_json:
        whole = {"upstream": name, "holds": not broken, "broken": broken, "findings": [asdict(f) for f in every]}
        print(json.dumps(whole, indent=1))
    else:
        print(f"\n{_verdict(name, weights, broken)}")
    return 1 if broken else 0


def _verdict(name: str, weights: Path | None, broken: list[str | None]) -> str:
    command = f"--upstream {name}" + (f" --weights {weights}" if weights else "")
    if not broken:
        return f"The contract holds. Next: python -m benchmark run {command} --task ks --mini"
    clauses = ", ".join(f"'{clause}'" for clause in broken if clause) or "that its loading needs"
    return f"The contract is broken: {clauses}. Correct what the lines marked FAIL say, and run the same command again."
