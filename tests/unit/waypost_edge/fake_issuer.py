"""An OIDC issuer on loopback with real keys: discovery, key set, and an endpoint that exchanges codes. It signs whatever a test says."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

NOW = 1_800_000_000.0


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """A key by a name; making one takes a while."""
    del name
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


class FakeIssuer:
    """`keys` by id: those that it publishes. `down`: it answers 503 to everything. `asked` counts reads of the key set."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {"k1": rsa_key("k1")}
        self.declared: dict[str, str] = {}
        self.down = False
        self.asked = 0
        self.codes: dict[str, tuple[str, str]] = {}
        """Code → (PKCE challenge, id token)."""
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(*issuer.get(self.path))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                self._answer(*issuer.post(self.path, {name: values[0] for name, values in parse_qs(body).items()}))

            def _answer(self, status: int, body: Any) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def get(self, path: str) -> tuple[int, Any]:
        if self.down:
            return 503, {}
        if path == "/.well-known/openid-configuration":
            ends = {"authorization_endpoint": f"{self.url}/authorize", "token_endpoint": f"{self.url}/token"}
            return 200, {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **ends}
        if path == "/keys":
            self.asked += 1
            return 200, {"keys": [self._public(key_id) for key_id in self.keys]}
        return 404, {}

    def post(self, path: str, form: dict[str, str]) -> tuple[int, Any]:
        if self.down:
            return 503, {}
        challenge, token = self.codes.pop(form.get("code", ""), ("", ""))
        proof = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest()).rstrip(b"=").decode()
        if path != "/token" or not token or proof != challenge or form.get("client_secret") != "s3cret":
            return 400, {"error": "invalid_grant"}
        return 200, {"id_token": token, "access_token": "x", "token_type": "Bearer"}

    def token(self, key_id: str = "k1", algorithm: str = "RS256", *, key: Any = None, headers: Any = None, **claims: Any) -> str:
        """A token that is good, but for what a test changes; a claim of None is left out."""
        whole = {"iss": self.url, "aud": "waypost", "sub": "u-1", "email": "dan@bank.example", "iat": NOW, "exp": NOW + 300, **claims}
        kept = {name: value for name, value in whole.items() if value is not None}
        return jwt.encode(kept, key if key is not None else self.keys[key_id], algorithm, headers={"kid": key_id, **(headers or {})})

    def public_pem(self, key_id: str = "k1") -> bytes:
        public = self.keys[key_id].public_key()
        return bytes(public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))

    def add_elliptic(self, key_id: str) -> None:
        self.keys[key_id] = ec.generate_private_key(ec.SECP256R1())

    def _public(self, key_id: str) -> dict[str, Any]:
        public = self.keys[key_id].public_key()
        kind: Any = jwt.algorithms.RSAAlgorithm if isinstance(public, rsa.RSAPublicKey) else jwt.algorithms.ECAlgorithm
        found: dict[str, Any] = json.loads(kind.to_jwk(public))
        found.update({"kid": key_id, "use": "sig"})
        if key_id in self.declared:
            found["alg"] = self.declared[key_id]
        return found
