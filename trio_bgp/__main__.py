"""`python -m trio_bgp` is `trio-bgp`."""

import sys

from trio_bgp.cli import main

if __name__ == "__main__":
    sys.exit(main())
