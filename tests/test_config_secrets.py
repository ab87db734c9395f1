"""Secrets come from files that only their owner can read, and are in no message."""

from pathlib import Path

import attrs
import pytest

from trio_bgp.config import ConfigError, load_settings
from trio_bgp.settings import TcpAo

PEER = """[speaker]
local_as = 65000
bgp_identifier = "10.0.0.1"
[[peers]]
name = "p"
address = "127.0.1.1"
peer_as = 65001
"""
AO = 'tcp_ao = { key_id = 7, algorithm = "hmac-sha1-96", password_file = "key" }\n'


def written(folder: Path, more: str, *, key: bytes = b"s3cret\nnot this\n", mode: int = 0o600) -> Path:
    """A configuration beside a file with a key."""
    (folder / "key").write_bytes(key)
    (folder / "key").chmod(mode)
    (folder / "config.toml").write_text(PEER + more)
    return folder / "config.toml"


def test_the_first_line_of_a_file_is_the_key(tmp_path: Path) -> None:
    """Relative to the configuration's folder; for TCP-AO too; and in no repr."""
    settings = load_settings(written(tmp_path, 'md5_password_file = "key"\n'))
    assert settings.peers[0].md5_password == "s3cret"
    assert "s3cret" not in repr(settings)
    settings = load_settings(written(tmp_path, AO))
    assert settings.peers[0].tcp_ao == TcpAo(7, "hmac-sha1-96", "s3cret")
    assert "s3cret" not in repr(settings)
    absolute = f'md5_password_file = "{tmp_path}/key"\n'
    assert load_settings(written(tmp_path, absolute)).peers[0].md5_password == "s3cret"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_can_read_is_refused(mode: int, tmp_path: Path) -> None:
    """With its mode, what is accepted, and without its content."""
    with pytest.raises(ConfigError) as caught:
        load_settings(written(tmp_path, 'md5_password_file = "key"\n', mode=mode))
    assert f"config.toml:8: peers[0].md5_password_file: found key with mode {mode:04o}" in str(caught.value)
    assert "chmod 600" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("more", "key", "found"),
    [
        ('md5_password_file = "other"\n', b"x", "other: No such file or directory"),
        ('md5_password_file = "."\n', b"x", ".: Is a directory"),
        ('md5_password_file = "key"\n', b"\nx\n", "key with a password of 0 octets"),
        ('md5_password_file = "key"\n', b"x" * 81, "key with a password of 81 octets"),
        ('md5_password_file = "key"\n', b"\xff\n", "key: not UTF-8"),
        ('md5_password_file = "key"\nmd5_password = "x"\n', b"x", "a file beside md5_password"),
        (AO + 'md5_password = "x"\n', b"x", "TCP-AO beside TCP-MD5"),
        (AO.replace("7", "256"), b"x", "a table"),
        (AO.replace("hmac-sha1-96", "md5"), b"x", "a table"),
        ("md5_password_file = 3\n", b"x", "3"),
    ],
)
def test_what_is_no_secret_is_said(more: str, key: bytes, found: str, tmp_path: Path) -> None:
    """One problem, with what was found."""
    with pytest.raises(ConfigError) as caught:
        load_settings(written(tmp_path, more, key=key))
    assert f"found {found}; accepted:" in str(caught.value)


def test_ao_keys_are_laid_out_as_linux_has_them() -> None:
    """`struct tcp_ao_add`: address, algorithm, interface, flags, prefix, identifiers, MAC length, key: 288 octets."""
    from ipaddress import ip_address, ip_network

    from trio_bgp.runtime.session.sockets import ao_key

    value = ao_key(ip_address("192.0.2.1"), TcpAo(7, "aes-128-cmac-96", "pass"))
    assert len(value) == 288
    assert value[:8] == b"\2\0" + b"\0\0" + bytes((192, 0, 2, 1))
    assert value[128:140] == b"cmac(aes128)"
    assert value[192:202] == bytes(10)
    assert value[202:208] == bytes((32, 7, 7, 12, 0, 4))
    assert value[208:] == b"pass" + bytes(76)
    value = ao_key(ip_network("2001:db8::/32"), TcpAo(1, "hmac-sha1-96", "x"))
    assert value[:2] == b"\x0a\0"
    assert value[8:12] == bytes.fromhex("20010db8")
    assert value[128:138] == b"hmac(sha1)"
    assert value[202] == 32


async def test_without_tcp_ao_in_the_kernel_that_is_said() -> None:
    """A listener with such a peer cannot be opened, and says why; where the kernel has it, two ends connect."""
    from ipaddress import ip_address

    from trio_bgp.runtime.session import sockets
    from trio_bgp.settings import Endpoint, PeerSettings

    here = ip_address("127.0.0.1")
    peer = PeerSettings(name="p", address=here, peer_as=1, tcp_ao=TcpAo(1, "hmac-sha1-96", "secret"))
    refused: OSError | None = None
    try:
        listener = sockets.listen(Endpoint(here, 0), [peer])
    except OSError as error:
        refused = error
    if refused is not None:
        assert "this kernel has no TCP-AO" in str(refused)
        assert "secret" not in str(refused)
        return
    with listener:
        transport = await sockets.connect(attrs.evolve(peer, port=listener.getsockname()[1]))
        transport.abort()
