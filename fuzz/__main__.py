"""`python -m fuzz TARGET [--seconds S]`: fuzz with atheris; `python -m fuzz TARGET --replay HEX`: one input again."""

import argparse
import sys
import traceback
from pathlib import Path

try:
    import atheris
except ImportError:
    atheris = None

if atheris is not None and "--replay" not in sys.argv:
    with atheris.instrument_imports(include=["trio_bgp"]):
        from fuzz.targets import TARGETS
else:
    from fuzz.targets import TARGETS

CORPUS = Path(__file__).resolve().parent / "corpus"
SEEDS = (
    "",
    "0000 001b 40010100 40020602010000fde9 400304c0000201 80040400000007 180a0000",
    "0004 180a0000 0000",
    "0000 0006 800f03000201",
    "0000 002a 800e1a0002011020010db8000000000000000000000001 00 2020010db8 40010100 40020602010000fde9",
    "04 fde9 005a 0a000001 10 020e 010400010001 0200 41040000fde9",
    "ffffffffffffffffffffffffffffffff 0013 04",
    "00000000 000d 0002 0000001a 00000000 080a 0001 0000 00000000 000b 40010100 40020402010007",
    "0102 00000000 080a 0001 0000 00000000 0012 40010100 40020602010000fde9 4003c0000201",
)


def main() -> int:
    """Fuzz until the time is over; 1 and the input in hex if something came out that must not."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--replay", metavar="HEX", help="run this input alone")
    arguments = parser.parse_args()
    target = TARGETS[arguments.target]
    if arguments.replay is not None:
        target(bytes.fromhex(arguments.replay))
        print("nothing came out")
        return 0
    if atheris is None:
        print("atheris is not installed (pip install 'trio-bgp[fuzz]')", file=sys.stderr)
        return 1

    def one(octets: bytes) -> None:
        try:
            target(octets)
        except BaseException:
            traceback.print_exc()
            print(
                f"FOUND: python -m fuzz {arguments.target} --replay {octets.hex() or '00'}", file=sys.stderr, flush=True
            )
            raise

    folder = CORPUS / arguments.target
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(SEEDS):
        (folder / f"seed{number}").write_bytes(bytes.fromhex(text))
    words = [sys.argv[0], f"-max_total_time={arguments.seconds}", "-max_len=600", "-print_final_stats=1", str(folder)]
    atheris.Setup(words, one)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
