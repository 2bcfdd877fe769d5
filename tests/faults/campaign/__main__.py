"""Rounds of three faults at once, drawn by a seed; see scripts/faults-check."""

from __future__ import annotations

import argparse
import signal
import sys


def main() -> int:
    """Exit status 1 if anything was lost, doubled, wrong, silent or stuck."""
    parser = argparse.ArgumentParser(prog="scripts/faults-check", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=1, help="begin with this round (with the first of its ten)")
    parser.add_argument("--door", choices=("http", "kafka"), default="http")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended then, too
    if options.door == "http":
        from tests.faults.campaign.http import run
    else:
        from tests.faults.campaign.kafka import run
    return run(options.rounds, options.seed, options.first)


if __name__ == "__main__":
    sys.exit(main())
