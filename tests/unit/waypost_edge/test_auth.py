"""Who asks, by HTTP: tokens, sessions of browsers, other sites, limits, headers."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from waypost_edge.app import application
from waypost_edge.auth import Authenticator
from waypost_edge.auth.authenticating import Limits
from waypost_edge.auth.rates import Buckets
from waypost_edge.auth.sessions import MAX_COOKIE_CHARS, Sessions, session_secret
from waypost_edge.auth.signin import SignIn, local_path
from waypost_edge.metrics import Metrics
from waypost_io.identities import Identities
from waypost_io.identity import new_token
from waypost_proto.errors import Misconfigured, NotAuthenticated
from waypost_proto.signing import Behalf

NOW = 1_800_000_000.0
SECRET = "0123456789abcdef0123456789abcdef"


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Site:
    """An application whose one route says who asked, and may also be posted to."""

    def __init__(self, path: Path, identities: str = "", **how: Any) -> None:
        self.clock = Clock()
        self.file = path / "identities.toml"
        self.file.write_text(identities)
        self.looked = 0.0
        self.identities = Identities(self.file, monotonic=self._monotonic)
        self.sessions = Sessions(how.pop("secret", SECRET), seconds=3_600, secure=how.pop("secure", False), clock=self.clock)
        self.auth = Authenticator(
            self.identities, how.pop("mode", "auto"), "127.0.0.1:0", self.clock, sessions=self.sessions, limits=how.pop("limits", None)
        )
        routes = [Route("/who", self.who, methods=["GET", "POST"]), *SignIn(self.auth, self.sessions).routes()]
        self.app = application(routes, Metrics())

    def _monotonic(self) -> float:
        self.looked += 10.0
        return self.looked

    async def who(self, request: Request) -> Response:
        caller = await self.auth.authenticate(request)
        assert caller is await self.auth.authenticate(request)
        caller.check("runs.list")
        return JSONResponse(
            {"subject": caller.subject, "tenant": caller.tenant, "session": caller.session, "pause": caller.may("runs.pause")}
        )

    def browser(self, base: str = "http://127.0.0.1:8420") -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=base, follow_redirects=False)


def identity(subject: str, *roles: str, **more: str) -> tuple[str, str]:
    """(entry of the file, token)."""
    token, key = new_token()
    lines = [
        f"{name} = {value}" for name, value in {"subject": f'"{subject}"', "key": f'"{key}"', "roles": repr(list(roles)), **more}.items()
    ]
    return "[[identity]]\n" + "\n".join(lines) + "\n", token


async def signed_in(browser: httpx.AsyncClient, token: str, next_: str = "/who") -> httpx.Response:
    return await browser.post("/signin", data={"token": token, "next": next_}, headers={"sec-fetch-site": "same-origin"})


async def test_a_token_by_bearer_or_basic_and_what_is_none(tmp_path: Path) -> None:
    entry, token = identity("ann", "officer", tenant='"bank"')
    async with Site(tmp_path, entry).browser() as browser:
        basic = base64.b64encode(f"any:{token}".encode()).decode()
        for header in (f"Bearer {token}", f"bearer  {token}", f"Basic {basic}"):
            answer = await browser.get("/who", headers={"authorization": header})
            assert answer.json() == {"subject": "ann", "tenant": "bank", "session": False, "pause": False}
        for header in ("", "Bearer", "Bearer SUX", f"Bearer {new_token()[0]}", "Basic !!!", "Digest x", "Bearer a.b.c", f"Bearer {token}x"):
            answer = await browser.get("/who", headers={"authorization": header})
            assert answer.status_code == 401, header
            assert "Bearer" in answer.headers["www-authenticate"]
            assert token not in answer.text
        assert (await browser.get("/who")).status_code == 401


async def test_a_token_that_is_removed_or_has_expired_is_nobodys(tmp_path: Path) -> None:
    entry, token = identity("ann", "officer")
    late, old = identity("bob", "officer", expires="2027-01-14T00:00:00Z")
    site = Site(tmp_path, entry + late)
    async with site.browser() as browser:
        assert (await browser.get("/who", headers={"authorization": f"Bearer {old}"})).status_code == 401
        assert (await browser.get("/who", headers={"authorization": f"Bearer {token}"})).status_code == 200
        site.file.write_text(late)
        assert (await browser.get("/who", headers={"authorization": f"Bearer {token}"})).status_code == 401


async def test_a_browser_signs_in_with_a_token_and_out_again(tmp_path: Path) -> None:
    entry, token = identity("ann", "officer", "operator")
    site = Site(tmp_path, entry)
    async with site.browser() as browser:
        page = await browser.get("/who?x=1", headers={"accept": "text/html"})
        assert (page.status_code, page.headers["location"]) == (303, "/signin?next=%2Fwho%3Fx%3D1")
        form = await browser.get(page.headers["location"])
        assert form.status_code == 200
        assert 'value="/who?x=1"' in form.text
        entered = await signed_in(browser, token, "/who?x=1")
        assert (entered.status_code, entered.headers["location"]) == (303, "/who?x=1")
        cookie = entered.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
        assert token not in cookie
        assert (await browser.get("/who")).json() == {"subject": "ann", "tenant": "default", "session": True, "pause": True}
        stolen = dict(browser.cookies)
        left = await browser.post("/signout", headers={"origin": "http://127.0.0.1:8420"})
        assert (left.status_code, left.headers["location"]) == (303, "/signin")
        assert (await browser.get("/who")).status_code == 401
        browser.cookies.update(stolen)
        assert (await browser.get("/who")).status_code == 401  # a copy of an ended session


async def test_a_session_ends_with_its_time_its_token_or_its_key(tmp_path: Path) -> None:
    entry, token = identity("ann", "officer")
    site = Site(tmp_path, entry)
    async with site.browser() as browser:
        await signed_in(browser, token)
        assert (await browser.get("/who")).status_code == 200
        site.clock.now += 3_601
        assert (await browser.get("/who")).status_code == 401
        site.clock.now -= 3_601
        site.file.write_text(identity("bob", "officer")[0])
        assert (await browser.get("/who")).status_code == 401
        site.file.write_text(entry)
        assert (await browser.get("/who")).status_code == 200
        other = Site(tmp_path, entry, secret="another secret, which has to be long enough")
        async with other.browser() as elsewhere:
            elsewhere.cookies.update(browser.cookies)
            assert (await elsewhere.get("/who")).status_code == 401
        same = Site(tmp_path, entry)
        async with same.browser() as elsewhere:
            elsewhere.cookies.update(browser.cookies)
            assert (await elsewhere.get("/who")).status_code == 200
        for forged in ("x", "AAAA" * 50, "A" * 5_000):
            browser.cookies.clear()
            browser.cookies.set(site.sessions.cookie, forged)
            assert (await browser.get("/who")).status_code == 401


async def test_bad_tokens_at_the_form(tmp_path: Path) -> None:
    entry, token = identity("ann", "officer")
    async with Site(tmp_path, entry).browser() as browser:
        for bad in ("", "nonsense", new_token()[0], "<script>alert(1)</script>"):
            answer = await signed_in(browser, bad)
            assert answer.status_code == 401
            assert "<script>" not in answer.text
            assert "set-cookie" not in answer.headers
        same = {"sec-fetch-site": "same-origin"}
        assert (await browser.post("/signin", json={"token": token}, headers=same)).status_code == 400
        assert (await browser.post("/signin", data={"token": "x" * 20_000}, headers=same)).status_code == 413
        many = {f"f{n}": "" for n in range(40)}
        assert (await browser.post("/signin", data=many, headers=same)).status_code == 400


@pytest.mark.parametrize(
    "headers",
    [{}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "https://evil.example"}, {"origin": "null"}],
)
async def test_pages_of_other_sites_change_nothing_with_the_cookie(tmp_path: Path, headers: dict[str, str]) -> None:
    entry, token = identity("ann", "officer")
    async with Site(tmp_path, entry).browser() as browser:
        await signed_in(browser, token)
        for path in ("/who", "/signout", "/signin"):
            assert (await browser.post(path, headers=headers)).status_code == 403
        assert (await browser.post("/who", headers={"sec-fetch-site": "same-origin"})).status_code == 200
        assert (await browser.post("/who", headers={"origin": "http://127.0.0.1:8420"})).status_code == 200
        assert (await browser.get("/who", headers=headers)).status_code == 200
        with_token = {**headers, "authorization": f"Bearer {token}"}
        assert (await browser.post("/who", headers=with_token)).status_code == 200  # no page of another site has it


async def test_where_nobody_is_authenticated_only_this_machine_asks(tmp_path: Path) -> None:
    site = Site(tmp_path)
    async with site.browser() as browser:
        assert (await browser.get("/who")).json() == {"subject": "", "tenant": None, "session": False, "pause": True}
        assert (await browser.post("/who")).status_code == 200
        assert (await browser.post("/who", headers={"origin": "https://evil.example"})).status_code == 403
        assert (await browser.post("/who", headers={"sec-fetch-site": "cross-site"})).status_code == 403
        assert (await browser.get("/signin?next=/who")).headers["location"] == "/who"
    for host in ("http://localhost:8420", "http://[::1]:8420"):
        async with site.browser(host) as browser:
            assert (await browser.get("/who")).status_code == 200
    for host in ("http://rebound.example:8420", "http://169.254.169.254"):
        async with site.browser(host) as browser:
            assert (await browser.get("/who")).status_code == 403


async def test_limits_answer_429_with_when_to_come_back(tmp_path: Path) -> None:
    time = [0.0]
    limits = Limits(
        callers=Buckets(1, 3, monotonic=lambda: time[0]), failures=Buckets(0.1, 2, monotonic=lambda: time[0]), proxies=["127.0.0.1"]
    )
    (ann, token), (bob, other) = identity("ann", "officer"), identity("bob", "officer")
    async with Site(tmp_path, ann + bob, limits=limits).browser() as browser:
        me = {"authorization": f"Bearer {token}"}
        assert [(await browser.get("/who", headers=me)).status_code for _ in range(4)] == [200, 200, 200, 429]
        answer = await browser.get("/who", headers=me)
        assert (answer.headers["retry-after"], answer.headers["content-type"]) == ("1", "application/problem+json")
        assert (await browser.get("/who", headers={"authorization": f"Bearer {other}"})).status_code == 200
        time[0] += 1
        assert (await browser.get("/who", headers=me)).status_code == 200
        bad = {"authorization": "Bearer no", "x-forwarded-for": "198.51.100.7, 192.0.2.1"}
        assert [(await browser.get("/who", headers=bad)).status_code for _ in range(3)] == [401, 401, 429]
        assert (await browser.get("/who", headers={**bad, **me})).status_code == 429  # the address waits, whatever it sends
        assert (await browser.get("/who", headers={**bad, "x-forwarded-for": "192.0.2.2"})).status_code == 401


def test_buckets_fill_again_and_are_bounded() -> None:
    time = [0.0]
    buckets = Buckets(2, 4, most=3, monotonic=lambda: time[0])
    assert [buckets.take("a") for _ in range(6)] == [0, 0, 0, 0, 1, 1]
    time[0] += 1
    assert [buckets.take("a") for _ in range(3)] == [0, 0, 1]
    time[0] += 100
    assert [buckets.take("a") for _ in range(5)] == [0, 0, 0, 0, 1]
    for key in "bcdefg":
        buckets.take(key)
    assert len(buckets) == 3
    assert all(Buckets(0, 1).take("x") == 0 for _ in range(100))


async def test_every_answer_has_security_headers(tmp_path: Path) -> None:
    async with Site(tmp_path, identity("ann", "x")[0]).browser() as browser:
        for path in ("/who", "/signin", "/nothing"):
            headers = (await browser.get(path)).headers
            policy = headers["content-security-policy"]
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"
        page = (await browser.get("/signin")).text
        assert page.count("<script") == page.count('<script src="/static/-/') == 1
        assert "style=" not in page


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/runs?x=1", "/runs?x=1"),
        ("", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/a\nSet-Cookie: x", "/"),
        ("/signin", "/"),
        ("/" + "a" * 3_000, "/"),
    ],
)
def test_a_sign_in_goes_on_within_the_site(text: str, path: str) -> None:
    assert local_path(text) == path


def test_a_secure_cookie_and_one_that_is_too_large(tmp_path: Path) -> None:
    sessions = Sessions(SECRET, seconds=60, secure=True, clock=lambda: NOW)
    response = Response()
    sessions.begin(response, token="SU")
    cookie = response.headers["set-cookie"]
    assert cookie.startswith("__Host-waypost_session=")
    assert "Secure" in cookie
    with pytest.raises(NotAuthenticated, match="cookie"):
        sessions.begin(response, behalf=Behalf(subject="x", roles=["r" * 100] * 100))
    sealed = sessions.seal(b"one", b"data")
    assert len(sealed) < MAX_COOKIE_CHARS
    assert (sessions.open(b"one", sealed), sessions.open(b"two", sealed)) == (b"data", None)
    path = tmp_path / "key"
    path.write_text("short")
    with pytest.raises(Misconfigured, match="32"):
        session_secret(path)
