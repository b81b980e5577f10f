"""Whose word is taken: JWTs of a real issuer on loopback, good ones and every way in which one is not."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.unit.waypost_edge.fake_issuer import NOW, FakeIssuer, rsa_key
from waypost_edge.app import application
from waypost_edge.auth import Authenticator
from waypost_edge.auth.authenticating import Trust
from waypost_edge.auth.issuers import read_issuers
from waypost_edge.auth.oidc import AGAIN_SECONDS, STALE_SECONDS, Issuers
from waypost_edge.auth.oidc_signin import IssuerSignIn
from waypost_edge.auth.sessions import Sessions
from waypost_edge.metrics import Metrics
from waypost_io.identities import Identities
from waypost_io.identity import Signer, new_token
from waypost_proto.errors import Misconfigured, NotAuthenticated, Unreachable

PUBLIC = "http://127.0.0.1:8420"
CONFIG = """
[[issuer]]
issuer = "{url}"
audience = ["waypost"]
subject = "email"
tenant_claim = "org"
client_id = "console"
client_secret_file = "{secret}"
name = "The Bank"
[issuer.tenants]
"bank-gmbh" = "bank"
[issuer.roles]
"officers" = ["officer"]
"platform" = ["operator", "auditor"]
"""
GOOD: dict[str, Any] = {"org": "bank-gmbh", "groups": ["officers", "others"]}


class World:
    """An edge that takes one issuer's word."""

    def __init__(self, issuer: FakeIssuer, path: Path) -> None:
        self.issuer = issuer
        self.now, self.monotonic = NOW, 0.0
        (path / "secret").write_text("s3cret")
        (path / "oidc.toml").write_text(CONFIG.format(url=issuer.url, secret=path / "secret"))
        token, key = new_token()
        (path / "identities.toml").write_text(
            f'[[identity]]\nsubject = "edge"\nkey = "{key}"\nroles = ["delegate"]\nbehalf_roles = ["officer", "operator"]\n'
        )
        self.issuers = Issuers(read_issuers(path / "oidc.toml"), lambda: self.now, monotonic=lambda: self.monotonic)
        self.sessions = Sessions("", seconds=3_600, secure=False, clock=lambda: self.now)
        self.auth = Authenticator(
            Identities(path / "identities.toml"),
            "auto",
            "127.0.0.1:0",
            lambda: self.now,
            sessions=self.sessions,
            trust=Trust(issuers=self.issuers, own=Signer(token)),
        )
        self.signin = IssuerSignIn(self.auth, self.sessions, self.issuers, PUBLIC, lambda: self.now)
        self.app = application([Route("/who", self.who), *self.signin.routes()], Metrics())

    async def who(self, request: Request) -> Response:
        caller = await self.auth.authenticate(request)
        signed = caller.signer.headers("s", b"{}") if caller.signer is not None else {}
        return JSONResponse(
            {"subject": caller.subject, "tenant": caller.tenant, "roles": caller.roles, "behalf": "Waypost-Behalf" in signed}
        )

    def browser(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=PUBLIC)

    async def ask(self, token: str) -> tuple[int, Any]:
        async with self.browser() as browser:
            answer = await browser.get("/who", headers={"authorization": f"Bearer {token}"})
            return answer.status_code, answer.json()


@pytest.fixture
def issuer() -> Iterator[FakeIssuer]:
    with FakeIssuer() as issuer:
        yield issuer


@pytest.fixture
def world(issuer: FakeIssuer, tmp_path: Path) -> World:
    return World(issuer, tmp_path)


async def test_claims_become_subject_tenant_and_roles_and_the_edge_signs_for_them(world: World) -> None:
    answer = await world.ask(world.issuer.token(**GOOD))
    assert answer == (200, {"subject": "dan@bank.example", "tenant": "bank", "roles": ["officer"], "behalf": True})
    _, both = await world.ask(world.issuer.token(org="bank-gmbh", groups=["platform", "officers"]))
    assert both["roles"] == ["officer", "operator"]  # the delegate may not hand `auditor` on


def _none(issuer: FakeIssuer) -> str:
    head = base64.urlsafe_b64encode(b'{"alg":"none","kid":"k1"}').rstrip(b"=").decode()
    return f"{head}.{issuer.token(**GOOD).split('.')[1]}."


def _confused(issuer: FakeIssuer) -> str:
    """HMAC by the public key, which everybody knows (CVE-2015-9235); by hand, because PyJWT refuses to make one."""
    import hashlib
    import hmac

    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"k1","typ":"JWT"}').rstrip(b"=").decode()
    body = f"{head}.{issuer.token(**GOOD).split('.')[1]}"
    mac = hmac.new(issuer.public_pem(), body.encode(), hashlib.sha256).digest()
    return f"{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def _altered(issuer: FakeIssuer) -> str:
    head, body, signature = issuer.token(**GOOD).split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["groups"] = ["platform"]
    return f"{head}.{base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b'=').decode()}.{signature}"


BAD: dict[str, Any] = {
    "expired": lambda i: i.token(**GOOD, exp=NOW - 31),
    "from the future": lambda i: i.token(**GOOD, iat=NOW + 31),
    "not yet": lambda i: i.token(**GOOD, nbf=NOW + 31),
    "without an end": lambda i: i.token(**GOOD, exp=None),
    "with an odd end": lambda i: i.token(**GOOD, exp=True),
    "without a beginning": lambda i: i.token(**GOOD, iat=None),
    "wrong audience": lambda i: i.token(**GOOD, aud="another"),
    "no audience": lambda i: i.token(**GOOD, aud=None),
    "wrong issuer": lambda i: i.token(**GOOD, iss="https://evil.example"),
    "no issuer": lambda i: i.token(**GOOD, iss=None),
    "almost the issuer": lambda i: i.token(**GOOD, iss=i.url + "/"),
    "unknown key": lambda i: i.token("k1", key=rsa_key("other"), headers={"kid": "k9"}, **GOOD),
    "another key": lambda i: i.token("k1", key=rsa_key("other"), **GOOD),
    "none": _none,
    "confused": _confused,
    "altered": _altered,
    "not allowed": lambda i: i.token("k1", "PS256", **GOOD),
    "no subject": lambda i: i.token(**GOOD, email=None),
    "empty subject": lambda i: i.token(**GOOD, email=" "),
    "number as subject": lambda i: i.token(**GOOD, email=7),
    "address not verified": lambda i: i.token(**GOOD, email_verified=False),
    "unknown tenant": lambda i: i.token(org="other", groups=["officers"]),
    "no tenant": lambda i: i.token(groups=["officers"]),
    "tenant by its name here": lambda i: i.token(org="bank", groups=["officers"]),
    "unknown critical header": lambda i: i.token(headers={"crit": ["x"], "x": 1}, **GOOD),
    "too long": lambda i: i.token(**GOOD, more="x" * 9_000),
    "three parts": lambda i: "a.b.c",
    "nothing": lambda i: "..",
}


@pytest.mark.parametrize("name", sorted(BAD))
async def test_a_token_that_is_not_good(world: World, name: str) -> None:
    status, body = await world.ask(BAD[name](world.issuer))
    assert (status, body["status"]) == (401, 401), body
    assert (await world.ask(world.issuer.token(**GOOD)))[0] == 200


async def test_clocks_may_differ_by_the_leeway_and_no_more(world: World) -> None:
    assert (await world.ask(world.issuer.token(**GOOD, exp=NOW - 29)))[0] == 200
    assert (await world.ask(world.issuer.token(**GOOD, iat=NOW + 29)))[0] == 200


async def test_a_key_for_one_algorithm_or_kind_is_none_for_another(world: World) -> None:
    world.issuer.add_elliptic("e1")
    assert (await world.ask(world.issuer.token("e1", "ES256", **GOOD)))[0] == 200
    assert (await world.ask(world.issuer.token("e1", "ES256", headers={"kid": "k1"}, **GOOD)))[0] == 401
    world.issuer.declared["k1"] = "RS512"
    world.monotonic += 4_000
    assert (await world.ask(world.issuer.token(**GOOD)))[0] == 401


async def test_keys_are_kept_and_read_again_for_an_unknown_one_but_not_for_each(world: World) -> None:
    for _ in range(5):
        assert (await world.ask(world.issuer.token(**GOOD)))[0] == 200
    assert world.issuer.asked == 1
    world.issuer.keys["k2"] = rsa_key("other")
    del world.issuer.keys["k1"]
    assert (await world.ask(world.issuer.token("k2", **GOOD)))[0] == 401  # it was read a moment ago
    world.monotonic += AGAIN_SECONDS
    assert (await world.ask(world.issuer.token("k2", **GOOD)))[0] == 200
    assert world.issuer.asked == 2
    other = rsa_key("other")
    for number in range(20):
        assert (await world.ask(world.issuer.token("k2", key=other, headers={"kid": f"x{number}"}, **GOOD)))[0] == 401
    assert world.issuer.asked == 2


async def test_while_the_issuer_is_down_known_keys_hold_for_a_day(world: World) -> None:
    token = world.issuer.token(**GOOD)
    world.issuer.down = True
    assert (await world.ask(token))[0] == 503
    world.issuer.down = False
    assert (await world.ask(token))[0] == 503  # asked a moment ago
    world.monotonic += AGAIN_SECONDS
    assert (await world.ask(token))[0] == 200
    world.issuer.down = True
    world.monotonic += 7_200
    assert (await world.ask(token))[0] == 200
    world.monotonic += STALE_SECONDS
    assert (await world.ask(token))[0] == 503


# -- sign-in of browsers


async def begun(world: World, browser: httpx.AsyncClient) -> tuple[str, dict[str, str]]:
    answer = await browser.get("/signin/issuer/0?next=/runs")
    assert answer.status_code == 303
    to = urlsplit(answer.headers["location"])
    assert f"{to.scheme}://{to.netloc}{to.path}" == f"{world.issuer.url}/authorize"
    assert "SameSite=lax" in answer.headers["set-cookie"]
    return answer.headers["location"], {name: values[0] for name, values in parse_qs(to.query).items()}


async def test_a_browser_signs_in_with_the_issuer(world: World) -> None:
    assert world.signin.ways() == [("/signin/issuer/0", "The Bank")]
    async with world.browser() as browser:
        _, asked = await begun(world, browser)
        assert (asked["code_challenge_method"], asked["redirect_uri"]) == ("S256", f"{PUBLIC}/signin/callback")
        token = world.issuer.token(**GOOD, aud="console", nonce=asked["nonce"])
        world.issuer.codes["c0de"] = (asked["code_challenge"], token)
        answer = await browser.get("/signin/callback", params={"code": "c0de", "state": asked["state"]})
        assert answer.status_code == 200
        assert 'content="0;url=/runs"' in answer.text
        assert (await browser.get("/who")).json()["subject"] == "dan@bank.example"
        world.now += 1_800  # longer than the id token was good: it is a session now
        assert (await browser.get("/who")).status_code == 200
        world.now += 1_801
        assert (await browser.get("/who")).status_code == 401


@pytest.mark.parametrize("wrong", ["state", "code", "nonce", "audience", "no cookie", "late", "verifier", "refused"])
async def test_an_answer_that_nobody_here_asked_for_signs_nobody_in(world: World, wrong: str) -> None:
    async with world.browser() as browser:
        _, asked = await begun(world, browser)
        audience = "waypost" if wrong == "audience" else "console"
        token = world.issuer.token(**GOOD, aud=audience, nonce="x" if wrong == "nonce" else asked["nonce"])
        world.issuer.codes["c0de"] = ("x" if wrong == "verifier" else asked["code_challenge"], token)
        if wrong == "no cookie":
            browser.cookies.clear()
        if wrong == "late":
            world.now += 601
        query = {"code": "other" if wrong == "code" else "c0de", "state": "x" if wrong == "state" else asked["state"]}
        if wrong == "refused":
            query = {"error": "<script>", "state": asked["state"]}
        answer = await browser.get("/signin/callback", params=query)
        assert answer.status_code == 401
        assert world.sessions.cookie not in browser.cookies
        assert "<script>" not in answer.text or answer.headers["content-type"] == "application/problem+json"


async def test_an_issuer_that_is_down_is_said(world: World) -> None:
    world.issuer.down = True
    async with world.browser() as browser:
        assert (await browser.get("/signin/issuer/0")).status_code == 503
        assert (await browser.get("/signin/issuer/7")).status_code == 404


# -- configuration


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "names no"),
        ('[[issuer]]\nissuer = "http://login.example"\naudience = ["x"]', "https"),
        ('[[issuer]]\nissuer = "https://login.example"', "audience"),
        ('[[issuer]]\nissuer = "https://login.example"\naudience = ["x"]\nalgorithms = ["HS256"]', "HS256"),
        ('[[issuer]]\nissuer = "https://login.example"\naudience = ["x"]\nalgorithms = ["none"]', "none"),
        ('[[issuer]]\nissuer = "https://login.example"\naudience = ["x"]\nalgorithms = []', "algorithms"),
        ('[[issuer]]\nissuer = "https://login.example"\naudience = ["x"]\nleeway_seconds = 3600', "leeway"),
        ('[[issuer]]\nissuer = "https://login.example"\naudience = ["x"]\ntenant = "*"', "tenant"),
        ('[[issuer]]\nissuer = "https://login.example"\naudience = ["x"]\n[issuer.roles]\n"g" = ["delegate"]', "delegate"),
        ('[[issuer]]\nissuer = "https://login.example"\naudience = ["x"]\nsecret = "x"', "secret"),
        ('[[issuer]]\nissuer = "https://a"\naudience = ["x"]\n[[issuer]]\nissuer = "https://a"\naudience = ["x"]', "twice"),
        ("not toml", "oidc"),
    ],
)
def test_what_cannot_be_a_configuration(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "oidc.toml"
    file.write_text(text)
    with pytest.raises(Misconfigured, match=why):
        read_issuers(file)


def test_an_edge_that_is_no_delegate_lets_nobody_of_an_issuer_in(world: World, tmp_path: Path) -> None:
    token, key = new_token()
    file = tmp_path / "other.toml"
    file.write_text(f'[[identity]]\nsubject = "edge"\nkey = "{key}"\nroles = ["admin"]\n')
    for own in (None, Signer(token), Signer(new_token()[0])):
        with pytest.raises(Misconfigured, match="delegate"):
            Authenticator(Identities(file), "auto", "127.0.0.1:0", lambda: NOW, trust=Trust(issuers=world.issuers, own=own))
    with pytest.raises(Misconfigured, match="WAYPOST_EDGE_URL"):
        IssuerSignIn(world.auth, world.sessions, world.issuers, "", lambda: NOW)


async def test_a_key_set_that_lies_elsewhere_or_is_none(issuer: FakeIssuer, tmp_path: Path) -> None:
    (tmp_path / "o.toml").write_text(f'[[issuer]]\nissuer = "{issuer.url}"\naudience = ["waypost"]\n')
    for body in (b"{}", b'{"keys": 1}', b"not json", b'{"keys": []}', b'{"issuer": "https://evil", "jwks_uri": "https://evil/keys"}'):
        found = Issuers(read_issuers(tmp_path / "o.toml"), lambda: NOW, fetch=lambda _url, body=body: body)  # type: ignore[misc]
        with pytest.raises((Unreachable, NotAuthenticated)):
            await found.verify(issuer.token())
    assert jwt.__version__
