"""FRR: bgpd alone, without zebra."""

import subprocess

from bench.daemons.base import ADDRESS, AS, Daemon, program

__all__ = ["Frr"]


class Frr(Daemon):
    """FRR's bgpd with `route-server-client` for each peer.

    Peers of one update group get the same messages, the source of a route among them.
    """

    name = "FRR"
    to_source = "echo"
    pace = (4e-6, 3e-7)

    @classmethod
    def version(cls) -> str:
        """What `bgpd --version` says first."""
        path = program("/usr/lib/frr/bgpd")
        if not path:
            return ""
        found = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
        return f"FRR {found.splitlines()[0]}" if found else ""

    def command(self) -> list[str]:
        """See `Daemon.command`. What it waits before it announces (coalescing, advertisement interval) is set to 0."""
        lines = [
            "hostname bench",
            f"log file {self.folder}/log errors",
            f"router bgp {AS}",
            " bgp router-id 10.255.0.1",
            " no bgp ebgp-requires-policy",
            " no bgp enforce-first-as",
            " no bgp default ipv4-unicast",
            " coalesce-time 0",
        ]
        for peer in self.peers:
            lines += [f" neighbor {peer.address} remote-as {peer.asn}", f" neighbor {peer.address} passive"]
            lines.append(f" neighbor {peer.address} update-source {ADDRESS}")
            lines.append(f" neighbor {peer.address} advertisement-interval 0")
            lines.append(f" neighbor {peer.address} timers 0 0")
            if peer.variant != "internal":
                lines.append(f" neighbor {peer.address} ebgp-multihop 5")
        lines.append(" address-family ipv4 unicast")
        for peer in self.peers:
            lines.append(f"  neighbor {peer.address} activate")
            client = "route-reflector-client" if peer.variant == "internal" else "route-server-client"
            lines.append(f"  neighbor {peer.address} {client}")
            if peer.variant == "add-path":
                lines.append(f"  neighbor {peer.address} addpath-tx-all-paths")
        lines.append(" exit-address-family")
        path = self.folder / "bgpd.conf"
        path.write_text("\n".join(lines) + "\n")
        vty = self.folder / "vty"
        vty.mkdir(exist_ok=True)
        return [
            *(program("/usr/lib/frr/bgpd"), "-f", str(path), "-Z", "-S", "-p", str(self.port), "-l", ADDRESS),
            *("-i", str(self.folder / "pid"), "--vty_socket", str(vty), "-P", "0"),
        ]
