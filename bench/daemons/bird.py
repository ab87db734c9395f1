"""BIRD 2."""

import subprocess

from bench.daemons.base import ADDRESS, AS, Daemon, program

__all__ = ["Bird"]


class Bird(Daemon):
    """BIRD with `rs client` for each peer and one table for all: the source of a best path gets no other.

    Its `secondary` would give it the second best; that needs a sorted table, which BIRD refuses to sessions over more
    than one hop, and those on the loopback are.
    """

    name = "BIRD"
    pace = (2e-6, 6e-7)

    @classmethod
    def version(cls) -> str:
        """What `bird --version` says."""
        path = program("bird")
        if not path:
            return ""
        return subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stderr.strip()

    def command(self) -> list[str]:
        """See `Daemon.command`. Next hops have a table of their own: else BIRD re-announces when a route covers one."""
        text = f'log "{self.folder}/log" {{ warning, error, fatal }};\nrouter id 10.255.0.1;\nprotocol device {{}}\n'
        text += "ipv4 table hops;\nipv4 table rib;\n"
        text += "protocol static up { ipv4 { table hops; }; route 0.0.0.0/0 blackhole; }\n"
        for peer in self.peers:
            client = "rr client" if peer.variant == "internal" else "rs client"
            paths = "add paths tx; " if peer.variant == "add-path" else ""
            text += (
                f"protocol bgp c{peer.index} {{ local {ADDRESS} port {self.port} as {AS};"
                f" neighbor {peer.address} as {peer.asn}; strict bind yes; passive yes; multihop;"
                f" {client}; ipv4 {{ table rib; igp table hops; {paths}import all; export all;"
                f" next hop keep; }}; }}\n"
            )
        path = self.folder / "bird.conf"
        path.write_text(text)
        return [program("bird"), "-f", "-c", str(path), "-s", str(self.folder / "ctl"), "-P", str(self.folder / "pid")]
