"""The gate at the connection, on real sockets: rebinding, redirects, names that resolve to several addresses, TLS names, proxies."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.unit.waypost.http.provider import Asked, Provider, Reply, as_json
from waypost.http import Egress, EgressRefused
from waypost.http.connections import Connections
from waypost.http.errors import NotConnected
from waypost.http.hosts import read_url
from waypost.http.request import Outgoing
from waypost.http.sending import Answer, Limits, send
from waypost_proto.errors import Misconfigured

LIMITS = Limits(seconds=5, connect_seconds=2, max_bytes=10_000)


class Names:
    """A resolver that answers from a list, each look-up the next; the last one stays."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def get(url: str, egress: Egress, names: Names | None = None, **headers: str) -> Answer:
    connections = Connections(egress, names) if names is not None else Connections(egress)
    limits = Limits(LIMITS.seconds, LIMITS.connect_seconds, LIMITS.max_bytes, egress.redirects)
    async with connections, connections.transport() as transport:
        return await send(transport, Outgoing("GET", read_url(url), tuple(headers.items())), limits)


async def test_loopback_is_closed_by_default_and_nothing_arrives(provider: Provider) -> None:
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
        with pytest.raises(EgressRefused, match=r"loopback"):
            await get(f"http://{host}:{provider.port}/", Egress(ports=[provider.port]))
    assert provider.connections == 0


async def test_a_closed_port_is_told(provider: Provider) -> None:
    with pytest.raises(EgressRefused, match=rf"port {provider.port} of 127.0.0.1 is not open"):
        await get(provider.url, Egress(allow=["127.0.0.1:1"]))


async def test_one_look_up_and_the_connection_goes_where_it_said(provider: Provider) -> None:
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    answer = await get(f"http://bank.internal:{provider.port}/x", Egress(allow=[f"bank.internal:{provider.port}"]), names)
    assert answer.status == 200
    assert names.asked == [("bank.internal", provider.port)], "resolved once: the judged address is the one that was connected to"
    assert provider.asked[0].headers["host"] == f"bank.internal:{provider.port}"


async def test_a_name_that_rebinds_is_judged_at_every_connection(provider: Provider) -> None:
    """The second connection of an open pool, as of a tool's second call: the answer has changed to a private address."""

    def close(asked: Asked) -> Reply:
        return Reply(200, b"{}", {"Content-Type": "application/json", "Connection": "close"}, drop=True)

    provider.handle = close
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    connections = Connections(Egress(allow=[f"rebind.example:{provider.port}"]), names)
    request = Outgoing("GET", read_url(f"http://rebind.example:{provider.port}/"))
    async with connections, connections.transport() as transport:
        await send(transport, request, LIMITS)
        with pytest.raises(EgressRefused, match=r"rebind.example resolves to 169.254.169.254"):
            await send(transport, request, LIMITS)
    assert provider.connections == 1


async def test_one_private_address_among_public_ones_closes_the_name(provider: Provider) -> None:
    names = Names(["93.184.216.34", "127.0.0.1"])
    with pytest.raises(EgressRefused, match="loopback"):
        await get(f"http://mixed.example:{provider.port}/", Egress(ports=[provider.port]), names)
    assert provider.connections == 0


async def test_the_next_address_is_tried_when_one_refuses(provider: Provider) -> None:
    names = Names(["127.0.0.9", "127.0.0.1"])
    assert (await get(f"http://two.example:{provider.port}/", Egress(allow=[f"two.example:{provider.port}"]), names)).status == 200


@pytest.mark.parametrize("answer", [["not an address"], [""]])
async def test_odd_answers_of_a_resolver(answer: list[str]) -> None:
    with pytest.raises(EgressRefused, match="no address"):
        await get("http://odd.example/", Egress(), Names(answer))


async def test_a_name_without_address_is_no_connection() -> None:
    with pytest.raises(NotConnected, match="nothing was sent"):
        await get("http://empty.example/", Egress(), Names([]))


async def test_a_closed_door_is_no_connection(free_port: int) -> None:
    with pytest.raises(NotConnected, match="nothing was sent"):
        await get(f"http://127.0.0.1:{free_port}/", Egress(allow=[f"127.0.0.1:{free_port}"]))


METADATA = [
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/",
    "http://169.254.43518/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[2002:a9fe:a9fe::]/",
    "http://[fd00:ec2::254]/",
    "http://169.254.169.254./",
    "http://metadata.example/",
    "http://public.example@169.254.169.254/",
    "//169.254.169.254/",
    "http:\\\\169.254.169.254/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/",
]


@pytest.mark.parametrize("location", METADATA)
async def test_no_redirect_leads_to_metadata(provider: Provider, location: str) -> None:
    provider.handle = lambda asked: Reply(302, b"", {"Location": location})
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    egress = Egress(allow=[f"start.example:{provider.port}"], redirects=3)
    with pytest.raises(EgressRefused):
        await get(f"http://start.example:{provider.port}/", egress, names)
    assert len(provider.asked) == 1


async def test_redirects_are_off_by_default(provider: Provider) -> None:
    provider.handle = lambda asked: Reply(302, b"", {"Location": "/elsewhere"})
    answer = await get(provider.url, Egress(allow=[f"127.0.0.1:{provider.port}"]))
    assert (answer.status, len(provider.asked)) == (302, 1)


async def test_redirects_within_an_origin_keep_the_headers_and_are_bounded(provider: Provider) -> None:
    provider.handle = lambda asked: Reply(307, b"", {"Location": f"{asked.path}x"}) if len(asked.path) < 4 else as_json("there")
    egress = Egress(allow=[f"127.0.0.1:{provider.port}"], redirects=3)
    answer = await get(provider.url + "/a", egress, Authorization="Bearer s3cret")
    assert answer.body == b'"there"'
    assert [asked.headers.get("authorization") for asked in provider.asked] == ["Bearer s3cret"] * 3
    with pytest.raises(Exception, match="more than 1 redirects"):
        await get(provider.url + "/a", Egress(allow=[f"127.0.0.1:{provider.port}"], redirects=1))


async def test_credentials_do_not_go_to_another_origin_nor_back(provider: Provider) -> None:
    async with Provider() as other:
        provider.handle = lambda asked: as_json(1) if asked.path == "/end" else Reply(302, b"", {"Location": f"{other.url}/there"})
        other.handle = lambda asked: Reply(302, b"", {"Location": f"{provider.url}/end"})
        egress = Egress(allow=["127.0.0.0/8"], ports=[provider.port, other.port], redirects=5)
        headers = {"Authorization": "Bearer s3cret", "X-Api-Key": "k", "Idempotency-Key": "i", "Cookie": "c=1", "Accept": "text/plain"}
        answer = await get(provider.url + "/begin", egress, **headers)
    assert answer.status == 200
    assert provider.asked[0].headers["authorization"] == "Bearer s3cret"
    for asked in (other.asked[0], provider.asked[1]):
        assert not {"authorization", "x-api-key", "idempotency-key", "cookie"} & set(asked.headers)
        assert asked.headers["accept"] == "text/plain"


def certificate(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate for `name`, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    ca, pem = folder / "ca.pem", folder / "server.pem"
    ca.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem.write_bytes(private + ca.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return ca, context


async def test_tls_asks_for_and_checks_the_name_though_the_address_is_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ca, context = certificate(tmp_path, "bank.internal")
    async with Provider(tls=context) as server:
        egress = Egress(allow=[f"bank.internal:{server.port}", f"other.internal:{server.port}"])
        with pytest.raises(NotConnected, match="CERTIFICATE_VERIFY_FAILED"):
            await get(f"https://bank.internal:{server.port}/", egress, Names(["127.0.0.1"]))
        monkeypatch.setenv("WAYPOST_HTTP_CA", str(ca))
        assert (await get(f"https://bank.internal:{server.port}/", egress, Names(["127.0.0.1"]))).status == 200
        assert server.server_names[-1] == "bank.internal"
        with pytest.raises(NotConnected, match=r"Hostname mismatch"):
            await get(f"https://other.internal:{server.port}/", egress, Names(["127.0.0.1"]))
        downgrade = Reply(302, b"", {"Location": f"http://bank.internal:{server.port}/"})
        server.handle = lambda asked: downgrade
        with pytest.raises(EgressRefused, match="from https to http"):
            await get(f"https://bank.internal:{server.port}/", Egress(allow=egress.allow, redirects=2), Names(["127.0.0.1"]))


async def test_the_operators_list_and_its_errors(provider: Provider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WAYPOST_HTTP_ALLOW", f"10.0.0.0/8, 127.0.0.1:{provider.port}")
    assert (await get(provider.url, Egress())).status == 200
    monkeypatch.setenv("WAYPOST_HTTP_ALLOW", "10.0.0.0/8,127.1")
    with pytest.raises(Misconfigured, match=r"WAYPOST_HTTP_ALLOW.*127\.1"):
        await get(provider.url, Egress())
    monkeypatch.delenv("WAYPOST_HTTP_ALLOW")
    monkeypatch.setenv("WAYPOST_HTTP_CA", str(tmp_path / "none.pem"))
    with pytest.raises(Misconfigured, match="WAYPOST_HTTP_CA"):
        await get(provider.url, Egress())


async def test_proxies_of_the_environment_are_not_asked(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Provider() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert (await get(provider.url, Egress(allow=[f"127.0.0.1:{provider.port}"]))).status == 200
        assert not proxy.asked


async def test_no_cookies_are_kept_between_calls(provider: Provider) -> None:
    provider.handle = lambda asked: as_json(1, **{"Set-Cookie": "session=of-another-run"})
    connections = Connections(Egress(allow=[f"127.0.0.1:{provider.port}"]))
    async with connections, connections.transport() as transport:
        for _ in range(2):
            await send(transport, Outgoing("GET", read_url(provider.url)), LIMITS)
    assert "cookie" not in provider.asked[1].headers


async def test_what_the_library_would_connect_to_is_judged_whoever_asks(provider: Provider) -> None:
    """Any httpx2 client on the transport passes the same gate, also with redirects of its own."""
    provider.handle = lambda asked: Reply(302, b"", {"Location": "http://169.254.169.254/"})
    connections = Connections(Egress(allow=[f"127.0.0.1:{provider.port}"]))
    async with connections, connections.transport() as transport, httpx2.AsyncClient(transport=transport, follow_redirects=True) as client:
        with pytest.raises(EgressRefused, match="link-local"):
            await client.get(provider.url)


def test_hosts_that_are_addresses_have_one_text() -> None:
    assert str(read_url("http://[0:0:0:0:0:FFFF:127.0.0.1]/").host.address) == str(ip_address("::ffff:127.0.0.1"))
