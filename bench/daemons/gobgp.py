"""GoBGP."""

import subprocess

from bench.daemons.base import ADDRESS, AS, Daemon, program

__all__ = ["GoBgp"]


class GoBgp(Daemon):
    """GoBGP with `route-server-client` for each peer."""

    name = "GoBGP"
    variants = frozenset({"plain", "as2"})
    to_source = "runner-up"
    hold_time = 3600  # it takes the hold time for the time that a write may take: with 0 it cannot write
    pace = (2e-5, 5.5e-5)
    lacks = {
        "mixed add-path": "its route-server clients have no ADD-PATH",
        "mixed internal": "it is a route server or a route reflector, not both",
    }

    @classmethod
    def version(cls) -> str:
        """What `gobgpd --version` says."""
        path = program("gobgpd")
        if not path:
            return ""
        return subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout.strip()

    def command(self) -> list[str]:
        """See `Daemon.command`."""
        text = (
            f'[global.config]\nas = {AS}\nrouter-id = "10.255.0.1"\nport = {self.port}\n'
            f'local-address-list = ["{ADDRESS}"]\n'
        )
        for peer in self.peers:
            text += (
                f'[[neighbors]]\n[neighbors.config]\nneighbor-address = "{peer.address}"\npeer-as = {peer.asn}\n'
                f'[neighbors.transport.config]\npassive-mode = true\nlocal-address = "{ADDRESS}"\n'
                "[neighbors.ebgp-multihop.config]\nenabled = true\nmultihop-ttl = 5\n"
                f"[neighbors.timers.config]\nhold-time = {self.hold_time}\nkeepalive-interval = {self.hold_time // 3}\n"
                "[neighbors.route-server.config]\nroute-server-client = true\n"
                '[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = "ipv4-unicast"\n'
            )
        path = self.folder / "gobgpd.toml"
        path.write_text(text)
        return [
            *(program("gobgpd"), "-f", str(path), "--api-hosts", f"unix://{self.folder}/api"),
            *("--pprof-disable", "-l", "error"),
        ]
