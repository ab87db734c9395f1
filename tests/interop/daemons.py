"""The real daemons: started as route-server clients on loopback addresses, asked what they hold, stopped by pid."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

import attrs
import pytest

T = TypeVar("T")

RS_AS = 65000
RS_ADDRESS = "127.0.0.1"
PATIENCE = 60.0


def need(program: str) -> str:
    """The program's path; its absence fails in CI and skips elsewhere."""
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/lib/frr")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{program} is not installed: .ci/install-daemons")
        pytest.skip(f"{program} is not installed: .ci/install-daemons")
    return found


def wait_for(what: Callable[[], T], good: Callable[[T], bool], seconds: float = PATIENCE) -> T:
    """Ask until the answer is good; the last answer is what a failure shows."""
    deadline = time.monotonic() + seconds
    while True:
        answer = what()
        if good(answer):
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds} s still: {str(answer)[:2000]}")
        time.sleep(0.2)


@attrs.frozen
class Route:
    """A route as a daemon shows it; what it does not show is None."""

    as_path: str
    next_hop: str
    med: int | None = None
    communities: tuple[str, ...] | None = None
    large_communities: tuple[str, ...] | None = None


class Daemon:
    """One running daemon with its own address 127.0.NUMBER.1, AS 65000 + NUMBER, and folder.

    Args:
        number: from 1.
        folder: for its files.
        port: where the route server listens.
        asn: its AS number, if not the usual one.
    """

    program = ""

    def __init__(self, number: int, folder: Path, port: int, *, asn: int = 0) -> None:
        self.number = number
        self.address = f"127.0.{number}.1"
        self.asn = asn or RS_AS + number
        self.port = port
        self.folder = folder / f"{type(self).__name__.lower()}{number}"
        self.folder.mkdir()
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.path = need(self.program)
        try:
            self.start()
        except BaseException:
            if self.process is not None:
                self.process.kill()
                self.process.wait()
                self.process = None
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """Write the configuration and start."""
        raise NotImplementedError

    def spawn(self, *arguments: str, **environment: str) -> None:
        """Start the process; its output goes to a file in the folder."""
        with (self.folder / "output").open("wb") as output:
            self.process = subprocess.Popen(
                arguments,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                env={**os.environ, **environment},
            )

    def stop(self, sign: int = signal.SIGTERM) -> int | None:
        """End it; its exit status."""
        process, self.process = self.process, None
        if process is None:
            return None
        process.send_signal(sign)
        try:
            return process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def ended(self) -> str:
        """What it said, if it is there no more."""
        if self.process is None or self.process.poll() is None:
            return ""
        return f"ended: {(self.folder / 'output').read_text()}"

    def ask(self, *arguments: str) -> str:
        """What a control program prints; empty while the daemon is not there yet."""
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=30, check=False)
        return done.stdout if done.returncode == 0 else ""

    def routes(self, version: int) -> dict[str, Route]:
        """The routes it learned, by prefix, of IPv4 or IPv6."""
        raise NotImplementedError

    def announce(self, prefix: str, *, med: int = 7, communities: tuple[str, ...] = ()) -> None:
        """Originate a route."""
        raise NotImplementedError

    def withdraw(self, prefix: str) -> None:
        """Withdraw it again."""
        raise NotImplementedError

    def next_hop(self, prefix: str) -> str:
        """The next hop of its announcements: an address nobody minds."""
        return f"2001:db8:ffff::{self.number}" if ":" in prefix else f"192.0.2.{self.number}"


class TrioBgp(Daemon):
    """The route server under test."""

    program = "python3"

    def __init__(
        self, folder: Path, port: int, peers: list[str], *, extra: str = "", listen: str = "", speaker: str = ""
    ) -> None:
        super().__init__(0, folder, port)
        self.peers = peers
        self.extra = extra
        self.speaker = speaker
        self.listen = listen or f'["{RS_ADDRESS}:{port}", "[::1]:{port}"]'

    def start(self) -> None:
        """Start, and wait until it listens."""
        text = f"""
[speaker]
local_as = {RS_AS}
bgp_identifier = "10.255.0.1"
listen = {self.listen}
{self.speaker}
[log]
level = "debug"
[groups.members]
role = "rs-client"
families = ["ipv4-unicast", "ipv6-unicast"]
passive = true
{self.extra}
"""
        for peer in self.peers:
            text += f"\n[[peers]]\n{peer}\n"
        config = self.folder / "config.toml"
        config.write_text(text)
        python = Path(__file__).resolve().parents[2] / ".venv/bin/python"
        self.spawn(str(python), "-m", "trio_bgp", "run", str(config))
        wait_for(self.log, lambda text: "speaker.started" in text or "speaker.failed" in text)
        assert "speaker.failed" not in self.log()

    def log(self) -> str:
        """What it logged."""
        return (self.folder / "output").read_text()

    def stop(self, sign: int = signal.SIGTERM) -> int | None:
        """End it gracefully; nothing may have gone wrong."""
        status = super().stop(sign)
        if status is not None:
            assert status == 0, self.log()
            assert "Traceback" not in self.log(), self.log()
        return status


def member(number: int, more: str = "") -> str:
    """The TOML of a peer of the group."""
    return f'name = "p{number}"\naddress = "127.0.{number}.1"\npeer_as = {RS_AS + number}\ngroup = "members"\n{more}'


def peer(number: int, role: str, more: str = "", *, asn: int = 0) -> str:
    """The TOML of a peer of any role; an external one passes routes."""
    internal = role in ("rr-client", "ibgp")
    policy = 'import = "accept"\nexport = "accept"\n' if role == "ebgp" else ""
    return (
        f'name = "p{number}"\naddress = "127.0.{number}.1"\ngroup = "members"\nrole = "{role}"\n'
        f"peer_as = {asn or (RS_AS if internal else RS_AS + number)}\n{policy}{more}"
    )


class Bird(Daemon):
    """BIRD 2."""

    program = "bird"

    def __init__(
        self,
        number: int,
        folder: Path,
        port: int,
        *,
        options: str = "",
        hops: str = "multihop",
        imports: str = "import all",
        ipv4: str = "",
        exports: str = "",
        extra: str = "",
        address: str = "",
        server: str = RS_ADDRESS,
        asn: int = 0,
    ) -> None:
        """Besides a daemon's own.

        Args:
            number: see `Daemon`.
            folder: see `Daemon`.
            port: see `Daemon`.
            options: of the session, as in `passive yes;`.
            hops: how far the route server is.
            imports: of each channel.
            ipv4: more of the IPv4 channel.
            exports: statements of the export filter, before it rejects what is not static.
            extra: further protocols and tables.
            address: its own, if not the usual one.
            server: the route server's address.
            asn: see `Daemon`.
        """
        super().__init__(number, folder, port, asn=asn)
        self.options = options
        self.hops = hops
        self.imports = imports
        self.ipv4 = ipv4
        self.exports = exports
        self.extra = extra
        self.address = address or self.address
        self.server = server

    def start(self) -> None:
        """Start, and wait for its control socket."""
        self.static: dict[str, tuple[int, tuple[str, ...]]] = {}
        self.write()
        self.spawn(
            self.path,
            "-f",
            "-c",
            str(self.folder / "conf"),
            "-s",
            str(self.folder / "ctl"),
            "-P",
            str(self.folder / "pid"),
        )
        wait_for(lambda: self.birdc("show status") + self.ended(), lambda text: "is up" in text or "ended" in text)
        assert not self.ended(), self.ended()

    def birdc(self, command: str) -> str:
        """Ask."""
        return self.ask(need("birdc"), "-s", str(self.folder / "ctl"), *command.split())

    def write(self) -> None:
        """Write the configuration with the present static routes."""
        blocks = {4: "", 6: ""}
        for prefix, (_, communities) in self.static.items():
            adds = "".join(f" bgp_community.add(({each.replace(':', ',')}));" for each in communities)
            hop = f" bgp_next_hop = {self.next_hop(prefix)};"
            block = f"route {prefix} blackhole {{{hop}{adds} }};\n"
            blocks[6 if ":" in prefix else 4] += block
        statics = "".join(
            f"protocol static s{version} {{ ipv{version}; {block} }}\n" for version, block in blocks.items()
        )
        (self.folder / "conf").write_text(f"""
router id 10.0.0.{self.number};
log "{self.folder}/log" all;
protocol device {{}}
{statics}
{self.extra}
filter out_ {{ {self.exports} if source != RTS_STATIC then reject; bgp_med = 7; accept; }}
protocol bgp up {{
  local {self.address} port {self.port + 1} as {self.asn};
  neighbor {self.server} port {self.port} as {RS_AS};
  {self.hops}; strict bind yes; enforce first as off; connect retry time 1; connect delay time 1; error wait time 1,3;
  {self.options}
  ipv4 {{ {self.imports}; {self.ipv4} export filter out_; next hop keep; }};
  ipv6 {{ {self.imports}; export filter out_; next hop keep; }};
}}
""")

    def announce(self, prefix: str, *, med: int = 7, communities: tuple[str, ...] = ()) -> None:
        """Originate a route."""
        self.static[prefix] = (med, communities)
        self.write()
        assert "Reconfigured" in self.birdc("configure") or wait_for(
            lambda: self.birdc("show status"), lambda text: "is up" in text
        )

    def withdraw(self, prefix: str) -> None:
        """Withdraw it again."""
        del self.static[prefix]
        self.write()
        self.birdc("configure")

    def configure(self) -> None:
        """Write the configuration with changed options, and read it again."""
        self.write()
        assert "Reconfigur" in self.birdc("configure")

    def count(self, version: int = 4) -> int:
        """How many routes it learned by BGP."""
        found = re.search(r"^(\d+) of", self.birdc(f"show route table master{version} protocol up count"), re.MULTILINE)
        return int(found[1]) if found else -1

    def established(self) -> bool:
        """Whether its session with the route server is up."""
        return "Established" in self.birdc("show protocols up")

    def routes(self, version: int) -> dict[str, Route]:
        """What it learned by BGP."""
        found: dict[str, Route] = {}
        for block in re.split(r"\n(?=\S)", self.birdc(f"show route table master{version} protocol up all")):
            head = re.match(r"(\S+/\d+) ", block)
            if not head:
                continue
            fields = dict(re.findall(r"^\s*BGP\.(\w+): (.*)$", block, re.MULTILINE))
            communities = re.findall(r"\((\d+),(\d+)\)", fields.get("community", ""))
            large = re.findall(r"\((\d+), (\d+), (\d+)\)", fields.get("large_community", ""))
            found[head[1]] = Route(
                as_path=fields.get("as_path", ""),
                next_hop=fields.get("next_hop", "").split(" ")[0],
                med=int(fields["med"]) if "med" in fields else None,
                communities=tuple(f"{high}:{low}" for high, low in communities),
                large_communities=tuple(":".join(each) for each in large),
            )
        return found

    def paths(self, prefix: str) -> list[dict[str, str]]:
        """Each path to a prefix that it learned by BGP: what is behind `BGP.`, by name."""
        version = 6 if ":" in prefix else 4
        text = self.birdc(f"show route {prefix} table master{version} protocol up all")
        blocks = re.split(r"^(?=.*\[up )", text, flags=re.MULTILINE)[1:]
        return [dict(re.findall(r"^\s*BGP\.(\w+): ?(.*?) *$", block, re.MULTILINE)) for block in blocks]


class Frr(Daemon):
    """FRR's bgpd alone, without zebra.

    Args:
        rules: more of the route-map of its announcements.
        more: more of the configuration.
    """

    program = "bgpd"

    def __init__(self, number: int, folder: Path, port: int, *, asn: int = 0, rules: str = "", more: str = "") -> None:
        super().__init__(number, folder, port, asn=asn)
        self.rules = rules
        self.more = more

    def start(self) -> None:
        """Start, and wait for its vty."""
        self.path = "/usr/lib/frr/bgpd"
        if not Path(self.path).exists():
            need("/usr/lib/frr/bgpd")
        need("vtysh")
        self.vty = self.folder / "vty"
        self.vty.mkdir()
        (self.folder / "conf").write_text(f"""
hostname frr{self.number}
log file {self.folder}/log
bgp as-path access-list LOCAL permit ^$
route-map OUT permit 10
 match as-path LOCAL
 set metric 7
 set ip next-hop 192.0.2.{self.number}
 set ipv6 next-hop global 2001:db8:ffff::{self.number}
 set community {self.asn}:100
{self.rules}
!
router bgp {self.asn}
 bgp router-id 10.0.0.{self.number}
 no bgp ebgp-requires-policy
 no bgp enforce-first-as
 no bgp network import-check
 no bgp default ipv4-unicast
 neighbor {RS_ADDRESS} remote-as {RS_AS}
 neighbor {RS_ADDRESS} port {self.port}
 neighbor {RS_ADDRESS} update-source {self.address}
 neighbor {RS_ADDRESS} ebgp-multihop 5
 neighbor {RS_ADDRESS} timers connect 1
 address-family ipv4 unicast
  neighbor {RS_ADDRESS} activate
  neighbor {RS_ADDRESS} route-map OUT out
 exit-address-family
 address-family ipv6 unicast
  neighbor {RS_ADDRESS} activate
  neighbor {RS_ADDRESS} route-map OUT out
 exit-address-family
{self.more}
""")
        self.spawn(
            self.path, "-f", str(self.folder / "conf"), "-Z", "-S", "-p", str(self.port + 1), "-l", self.address,
            "-i", str(self.folder / "pid"), "--vty_socket", str(self.vty), "-P", "0",
        )  # fmt: skip
        wait_for(lambda: self.vtysh("show version"), bool)

    def vtysh(self, *commands: str) -> str:
        """Ask."""
        arguments = [item for command in commands for item in ("-c", command)]
        return self.ask(need("vtysh"), "--vty_socket", str(self.vty), *arguments)

    def _network(self, prefix: str, no: str) -> None:
        family = "ipv6" if ":" in prefix else "ipv4"
        self.vtysh(
            "configure terminal", f"router bgp {self.asn}", f"address-family {family} unicast", f"{no}network {prefix}"
        )

    def announce(self, prefix: str, *, med: int = 7, communities: tuple[str, ...] = ()) -> None:
        """Originate a route; MED 7 and community ASN:100 come from the route-map."""
        self._network(prefix, "")

    def withdraw(self, prefix: str) -> None:
        """Withdraw it again."""
        self._network(prefix, "no ")

    def routes(self, version: int) -> dict[str, Route]:
        """What it learned by BGP."""
        text = self.vtysh(f"show bgp ipv{version} unicast json detail") or "{}"
        try:
            table = json.loads(text).get("routes", {})
        except ValueError:
            return {}
        found = {}
        for prefix, entry in table.items():
            paths = entry["paths"] if isinstance(entry, dict) else entry
            for path in paths:
                if path.get("sourced") or path.get("local") or not path.get("aspath", {}).get("string", "").strip():
                    continue
                if path["aspath"]["string"] == "Local":
                    continue
                hops = [hop["ip"] for hop in path["nexthops"] if hop.get("scope") != "link-local"]
                communities = path.get("community", {}).get("string", "").split()
                found[prefix] = Route(path["aspath"]["string"], hops[0], path.get("metric"), tuple(communities))
        return found

    def paths(self, prefix: str) -> list[dict[str, Any]]:
        """Each path to a prefix that it learned by BGP, as it shows it."""
        version = 6 if ":" in prefix else 4
        text = self.vtysh(f"show bgp ipv{version} unicast {prefix} json")
        found: list[dict[str, Any]] = (json.loads(text) if text.strip().startswith("{") else {}).get("paths", [])
        return [path for path in found if not path.get("sourced")]


class GoBgp(Daemon):
    """GoBGP.

    Args:
        families: names of its own, as in `l2vpn-evpn`.
        receive: offers to receive several paths to a prefix.
    """

    program = "gobgpd"

    def __init__(
        self,
        number: int,
        folder: Path,
        port: int,
        *,
        passive: bool = False,
        asn: int = 0,
        families: tuple[str, ...] = ("ipv4-unicast", "ipv6-unicast"),
        receive: bool = False,
    ) -> None:
        super().__init__(number, folder, port, asn=asn)
        self.passive = "true" if passive else "false"
        self.families = families
        self.receive = "true" if receive else "false"

    def start(self) -> None:
        """Start, and wait for its API."""
        families = "".join(
            f"""[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = "{family}"
[neighbors.afi-safis.add-paths.config]
receive = {self.receive}
"""
            for family in self.families
        )
        (self.folder / "conf.toml").write_text(f"""
[global.config]
as = {self.asn}
router-id = "10.0.0.{self.number}"
port = {self.port + 1}
local-address-list = ["{self.address}"]
[[neighbors]]
[neighbors.config]
neighbor-address = "{RS_ADDRESS}"
peer-as = {RS_AS}
[neighbors.transport.config]
remote-port = {self.port}
local-address = "{self.address}"
passive-mode = {self.passive}
[neighbors.ebgp-multihop.config]
enabled = true
multihop-ttl = 5
[neighbors.timers.config]
connect-retry = 5
idle-hold-time-after-reset = 1
{families}""")
        self.spawn(
            self.path, "-f", str(self.folder / "conf.toml"), "--api-hosts", f"{self.address}:50051", "--pprof-disable"
        )
        wait_for(lambda: self.gobgp("global"), bool)

    def gobgp(self, *arguments: str) -> str:
        """Ask."""
        return self.ask(need("gobgp"), "-u", self.address, "-p", "50051", *arguments)

    def adjacent(self, direction: str, family: str) -> dict[str, Any]:
        """What it told the route server (`adj-out`) or heard from it (`adj-in`): its paths by prefix.

        A path that it is about to send or has just withdrawn is shown without attributes: it does not count.
        """
        text = self.gobgp("neighbor", RS_ADDRESS, direction, "-a", family, "-j")
        found: dict[str, Any] = {}
        for prefix, paths in (json.loads(text) if text.strip().startswith("{") else {}).items():
            if whole := [path for path in paths if path["attrs"]]:
                found[prefix] = whole
        return found

    def announce(self, prefix: str, *, med: int = 7, communities: tuple[str, ...] = ()) -> None:
        """Originate a route."""
        arguments = ["global", "rib", "add", prefix, "nexthop", self.next_hop(prefix), "origin", "igp", "med", str(med)]
        if communities:
            arguments += ["community", ",".join(communities)]
        self.gobgp(*arguments, "-a", "ipv6" if ":" in prefix else "ipv4")

    def withdraw(self, prefix: str) -> None:
        """Withdraw it again."""
        self.gobgp("global", "rib", "del", prefix, "-a", "ipv6" if ":" in prefix else "ipv4")

    def routes(self, version: int) -> dict[str, Route]:
        """What it learned by BGP."""
        found = {}
        for prefix, paths in self.adjacent("adj-in", f"ipv{version}").items():
            by_type: dict[int, Any] = {each["type"]: each for each in paths[0]["attrs"]}
            segments = by_type[2].get("as_paths", [])
            hop = by_type[3]["nexthop"] if 3 in by_type else by_type[14]["nexthop"]
            communities = tuple(f"{each >> 16}:{each & 0xFFFF}" for each in by_type.get(8, {}).get("communities", []))
            found[prefix] = Route(
                " ".join(str(number) for segment in segments for number in segment["asns"]),
                hop,
                by_type[4]["metric"] if 4 in by_type else None,
                communities,
            )
        return found


class OpenBgpd(Daemon):
    """OpenBGPD's portable version.

    Args:
        options: of the neighbor.
    """

    program = "bgpd"

    def __init__(self, number: int, folder: Path, port: int, *, asn: int = 0, options: str = "") -> None:
        super().__init__(number, folder, port, asn=asn)
        self.options = options

    def start(self) -> None:
        """Start, and wait for its control socket."""
        self.path = "/usr/sbin/bgpd"
        if not Path(self.path).exists():
            need("/usr/sbin/bgpd")
        # Debian's init script makes the home of its user, in which it locks itself up.
        for line in Path("/etc/passwd").read_text().splitlines():
            if line.startswith("_openbgpd:"):
                Path(line.split(":")[5]).mkdir(parents=True, exist_ok=True)
        self.networks: dict[str, tuple[int, tuple[str, ...]]] = {}
        self.socket = self.folder / "sock"
        self.write()
        self.spawn(self.path, "-d", "-f", str(self.folder / "conf"))
        wait_for(lambda: self.bgpctl("show"), bool)

    def bgpctl(self, *arguments: str) -> str:
        """Ask."""
        return self.ask(need("bgpctl"), "-s", str(self.socket), *arguments)

    def write(self) -> None:
        """Write the configuration with the present networks."""
        networks = ""
        for prefix, (med, communities) in self.networks.items():
            sets = "".join(f" community {each}" for each in communities)
            networks += f"network {prefix} set {{ med {med}{sets} }}\n"
        path = self.folder / "conf"
        path.write_text(f"""
AS {self.asn}
router-id 10.0.0.{self.number}
fib-update no
nexthop qualify via default
listen on {self.address} port {self.port + 1}
socket "{self.socket}"
{networks}
neighbor {RS_ADDRESS} {{
  remote-as {RS_AS}
  port {self.port}
  local-address {self.address}
  multihop 5
  enforce neighbor-as no
  announce IPv4 unicast
  announce IPv6 unicast
  {self.options}
}}
allow from any
allow to any
match to any prefix 0.0.0.0/0 prefixlen >= 0 set {{ nexthop 192.0.2.{self.number} }}
match to any prefix ::/0 prefixlen >= 0 set {{ nexthop 2001:db8:ffff::{self.number} }}
match to any set {{ nexthop no-modify }}
""")
        path.chmod(0o600)

    def announce(self, prefix: str, *, med: int = 7, communities: tuple[str, ...] = ()) -> None:
        """Originate a route."""
        self.networks[prefix] = (med, communities)
        self.reload()

    def withdraw(self, prefix: str) -> None:
        """Withdraw it again."""
        del self.networks[prefix]
        self.reload()

    def reload(self) -> None:
        """Have it read the configuration; it refuses, with exit status 0, while the last reload is still running."""
        self.write()
        wait_for(lambda: self.bgpctl("reload"), lambda text: "request processed" in text)

    def routes(self, version: int) -> dict[str, Route]:
        """What it learned by BGP."""
        text = self.bgpctl("-j", "show", "rib", "detail", "in", "neighbor", RS_ADDRESS)
        found = {}
        for entry in (json.loads(text) if text.strip().startswith("{") else {}).get("rib", []):
            if (":" in entry["prefix"]) != (version == 6):
                continue
            hop = entry.get("exit_nexthop") or entry.get("nexthop", "")
            communities = tuple(entry.get("communities", ()))
            found[entry["prefix"]] = Route(entry.get("aspath", ""), hop, entry.get("metric"), communities)
        return found


class ExaBgp(Daemon):
    """ExaBGP, which only announces."""

    program = "exabgp"

    def __init__(self, number: int, folder: Path, port: int, routes: list[str]) -> None:
        super().__init__(number, folder, port)
        self.lines = routes

    def start(self) -> None:
        """Start; it announces its routes as soon as it is connected."""
        routes = "".join(f"{line};\n" for line in self.lines)
        (self.folder / "conf").write_text(f"""
neighbor {RS_ADDRESS} {{
  router-id 10.0.0.{self.number}; local-address {self.address}; local-as {self.asn}; peer-as {RS_AS};
  connect {self.port};
  family {{ ipv4 unicast; ipv6 unicast; }}
  static {{ {routes} }}
}}
""")
        settings = {
            "exabgp.daemon.user": "root",
            "exabgp.daemon.daemonize": "false",
            "exabgp.tcp.bind": "",
            "exabgp.api.cli": "false",
        }
        self.spawn(self.path, str(self.folder / "conf"), **settings)
