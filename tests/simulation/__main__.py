"""`python -m tests.simulation [SEED] [--seconds S]`: one schedule, or new ones for as long as one likes."""

import argparse
import random
import sys
import time

from tests.simulation.test_simulation import run_schedule


def main() -> int:
    """Run until something fails, or the time is over."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", help="this schedule alone")
    parser.add_argument("--seconds", type=float, default=0.0, help="stop after so long; 0: never")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        run_schedule(arguments.seed)
        return 0
    begun = time.monotonic()
    count = 0
    while not arguments.seconds or time.monotonic() - begun < arguments.seconds:
        seed = random.randrange(1 << 40)
        try:
            run_schedule(seed)
        except BaseException:
            print(f"FAILED: python -m tests.simulation {seed}", file=sys.stderr, flush=True)
            raise
        count += 1
        if count % 500 == 0:
            print(f"{count} schedules, {time.monotonic() - begun:.0f} s", flush=True)
    print(f"{count} schedules without a failure")
    return 0


if __name__ == "__main__":
    sys.exit(main())
