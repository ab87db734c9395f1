"""OpenBGPD, the portable version."""

import os
import subprocess
from pathlib import Path

from bench.daemons.base import ADDRESS, AS, Daemon, program

__all__ = ["OpenBgpd"]


class OpenBgpd(Daemon):
    """OpenBGPD with `transparent-as yes`; it has several processes."""

    name = "OpenBGPD"
    pace = (5e-6, 2e-6)

    @classmethod
    def version(cls) -> str:
        """What `bgpd -V` says; it starts as root only."""
        path = program("/usr/sbin/bgpd")
        if not path or os.geteuid():
            return ""
        found = subprocess.run([path, "-V"], capture_output=True, text=True, check=False)
        return (found.stdout + found.stderr).strip()

    def command(self) -> list[str]:
        """See `Daemon.command`."""
        # Debian's init script makes the home of its user, in which it locks itself up.
        for line in Path("/etc/passwd").read_text().splitlines():
            if line.startswith("_openbgpd:"):
                Path(line.split(":")[5]).mkdir(parents=True, exist_ok=True)
        text = (
            f"AS {AS}\nrouter-id 10.255.0.1\nfib-update no\ntransparent-as yes\n"
            f'nexthop qualify via default\nlisten on {ADDRESS} port {self.port}\nsocket "{self.folder}/sock"\n'
        )
        for peer in self.peers:
            text += (
                f"neighbor {peer.address} {{\n remote-as {peer.asn}\n passive\n local-address {ADDRESS}\n"
                " enforce neighbor-as no\n holdtime min 3\n"
            )
            text += " route-reflector\n" if peer.variant == "internal" else " multihop 5\n"
            text += " announce add-path send all\n" if peer.variant == "add-path" else ""
            text += "}\n"
        text += "allow from any\nallow to any\nmatch to any set { nexthop no-modify }\n"
        path = self.folder / "bgpd.conf"
        path.write_text(text)
        path.chmod(0o600)
        return [program("/usr/sbin/bgpd"), "-d", "-f", str(path)]
