"""The optional compiled build: `TRIO_BGP_COMPILE=1 pip install .` compiles the hot modules, unchanged, with mypyc."""

import os

from setuptools import setup

HOT = (
    "wire/header",
    "wire/as_path",
    "wire/attributes",
    "wire/attribute_block",
    "wire/nlri",
    "wire/update",
    "rib/path",
    "rib/table",
    "rib/export",
    "passthrough/mask",
    "passthrough/repack",
    "passthrough/rewrite",
    "policy/audience",
    "routing/ingress",
    "routing/egress",
    "routing/forward",
)

if os.environ.get("TRIO_BGP_COMPILE") == "1":
    from mypyc.build import mypycify

    setup(ext_modules=mypycify([f"trio_bgp/{name}.py" for name in HOT]))
else:
    setup()
