"""The settings of every process, read once from the environment when it starts and passed down frozen.

    settings = load(CoordinatorSettings)          # raises Misconfigured with every problem

`repr` hides credentials. Units are in the names. Owns which settings exist; `environment` reads them.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec

from waypost_io import environment
from waypost_io.environment import Env
from waypost_io.redaction import redact
from waypost_proto.errors import BadInput, Misconfigured
from waypost_proto.ids import NAME_PATTERN, check_name
from waypost_proto.subjects import Subjects

DEFAULT_NATS_URL = "nats://127.0.0.1:4222"
DEFAULT_DATA_DIR = Path(".waypost")
DEFAULT_TRACES_SOURCE = "waypost-tempo"
"""The uid of the data source of traces in `k8s/grafana`."""
OTHER_VARIABLES = frozenset(
    {
        "WAYPOST_LOG_LEVEL",
        "WAYPOST_LOG_FORMAT",
        "WAYPOST_FAULTS",
        "WAYPOST_LISTEN_FD",
        "WAYPOST_HTTP_ALLOW",
        "WAYPOST_HTTP_CA",
        "WAYPOST_PRICES_FILE",
        "WAYPOST_CAPTURE",
        "WAYPOST_CAPTURE_REDACT",
    }
)
"""Read elsewhere, not by a settings class."""
SECRETS_PREFIX = "WAYPOST_SECRET_"
"""Variables that hold secrets of tools, by name: `WAYPOST_SECRET_BANK_TOKEN` is the secret `bank-token`."""

# -- checks (raise ValueError that says what to do)


def _nats_urls(text: str) -> None:
    for url in text.split(","):
        parts = urlsplit(url.strip())
        if parts.scheme not in ("nats", "tls", "ws", "wss") or not parts.hostname:
            raise ValueError("use nats://host:port (tls, ws and wss work too), several separated by commas")
        _ = parts.port  # raises for a port that is no number


def _postgres_url(text: str) -> None:
    parts = urlsplit(text)
    if parts.scheme not in ("postgres", "postgresql") or not (parts.hostname or "host=" in parts.query):
        raise ValueError("use postgresql://host:port/database")
    _ = parts.port


def _web_url(text: str) -> None:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("use https://host/path")
    _ = parts.port


def _origins(text: str) -> None:
    for origin in text.split(","):
        parts = urlsplit(origin.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query or parts.fragment or "*" in origin:
            raise ValueError("name each origin, as https://host or https://host:port, without a path; * is not possible")


def _prefix(text: str) -> None:
    try:
        Subjects(text)
    except Misconfigured as error:
        raise ValueError(str(error)) from None


def _name(text: str) -> None:
    try:
        check_name("build", text)
    except BadInput as error:
        raise ValueError(str(error)) from None


def _inbox(text: str) -> None:
    if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text) is None:
        raise ValueError("use 1 to 64 letters, digits, '_' and '-'")


def _uid(text: str) -> None:
    if re.fullmatch(r"[A-Za-z0-9_-]{1,40}", text) is None:
        raise ValueError("use the data source's uid, 1 to 40 letters, digits, '_' and '-'")


def _file(text: str) -> None:
    if not os.access(Path(text).expanduser(), os.R_OK):
        raise ValueError("there is no such file, or it cannot be read")


def _replicas(text: str) -> None:
    if text not in ("1", "3", "5"):
        raise ValueError("use 1, 3 or 5: JetStream needs an odd number of servers")


def _address(text: str) -> None:
    parse_address(text)


def parse_address(text: str) -> tuple[str, int]:
    """`host:port`, `[v6]:port` or `:port` (every interface); port 0 lets the system choose. Raises `ValueError`."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdecimal() or int(port) > 65_535:
        raise ValueError("use host:port, for example 127.0.0.1:8421")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - what an empty host means


# -- settings


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What every process knows: where the servers are and how names are made."""

    nats_url: Annotated[str, Env("WAYPOST_NATS_URL", "the NATS servers", check=_nats_urls)] = DEFAULT_NATS_URL
    nats_creds: Annotated[Path | None, Env("WAYPOST_NATS_CREDS", "credentials file for NATS", check=_file)] = None
    nats_ca: Annotated[Path | None, Env("WAYPOST_NATS_CA", "certificates that vouch for the NATS servers", check=_file)] = None
    postgres_url: Annotated[str, Env("WAYPOST_POSTGRES_URL", "the Postgres database", check=_postgres_url)] = ""
    """"" for processes that need none (workers, clients)."""
    nats_inbox: Annotated[str, Env("WAYPOST_NATS_INBOX", "root of this process's reply subjects", check=_inbox)] = ""
    """"": `_INBOX`, which everybody shares."""
    nats_pool: Annotated[str, Env("WAYPOST_NATS_POOL", "the pool whose NATS account this is", check=_name)] = ""
    """"": no account of its own."""
    api_token: Annotated[str, Env("WAYPOST_API_TOKEN", "the key that signs requests to the API")] = ""
    api_token_file: Annotated[Path | None, Env("WAYPOST_API_TOKEN_FILE", "a file with it", check=_file)] = None
    prefix: Annotated[str, Env("WAYPOST_PREFIX", "prefix of subjects and streams", check=_prefix)] = "waypost"
    replicas: Annotated[int, Env("WAYPOST_REPLICAS", "replicas of each stream", low=1, high=5, check=_replicas)] = 1
    durability: Annotated[Literal["default", "strict"], Env("WAYPOST_DURABILITY", "how streams are synced")] = "default"
    build: Annotated[str, Env("WAYPOST_BUILD", "build of the hosted code", check=_name)] = ""
    """"": derived from the hosted modules, see `build_of`."""
    http_addr: Annotated[str, Env("WAYPOST_HTTP_ADDR", "HTTP API", check=_address)] = "127.0.0.1:8420"
    ops_addr: Annotated[str, Env("WAYPOST_OPS_ADDR", "/livez, /readyz, /metrics", check=_address)] = ""
    """"": not served."""
    data_dir: Annotated[Path, Env("WAYPOST_DATA_DIR", "files of the embedded servers")] = DEFAULT_DATA_DIR
    partitions: Annotated[int, Env("WAYPOST_PARTITIONS", "partitions of the runs, fixed at first start", low=1, high=256)] = 8
    allow_empty: Annotated[Literal["no", "yes"], Env("WAYPOST_ALLOW_EMPTY", "serve modules with nothing to host")] = "no"
    """For `waypost dev`, where each module goes to a worker and to a gateway, and what is missing may come with the next edit."""
    start_seconds: Annotated[float, Env("WAYPOST_START_SECONDS", "time to reach the servers; 0: no limit", low=0, high=86_400)] = 0.0
    drain_seconds: Annotated[float, Env("WAYPOST_DRAIN_SECONDS", "time to finish after SIGTERM", low=0, high=3_600)] = 20.0

    @property
    def subjects(self) -> Subjects:
        return Subjects(self.prefix)

    def __repr__(self) -> str:
        names = (name for name in self.__struct_fields__ if not name.endswith("_secret"))
        fields = ", ".join(f"{name}={redact(repr(getattr(self, name)))}" for name in names)
        return f"{type(self).__name__}({fields})"

    def build_of(self, modules: Sequence[ModuleType]) -> str:
        """`WAYPOST_BUILD` if set, else `build_id(modules)`."""
        return self.build or build_id(modules)


class _WithPostgres(Settings, frozen=True, kw_only=True):
    postgres_url: Annotated[
        str,
        Env(
            "WAYPOST_POSTGRES_URL",
            "this service keeps its state in Postgres; set postgresql://host:port/database, "
            "or use `waypost dev`, which starts servers of its own",
            check=_postgres_url,
            required=True,
        ),
    ] = ""
    postgres_pool: Annotated[int, Env("WAYPOST_POSTGRES_POOL", "connections at most", low=2, high=500)] = 8


class TraceContentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What of a run's contents its trace shows. Read by every process that makes spans."""

    content: Annotated[Literal["none", "intent", "all"], Env("WAYPOST_TRACES_CONTENT", "contents of runs in their traces")] = "none"
    """`intent`: what a model said it was about to do. `all`: arguments, results, inputs and outputs too."""
    max_bytes: Annotated[int, Env("WAYPOST_TRACES_CONTENT_BYTES", "longest text in a trace", low=16, high=65_536)] = 4_096
    messages: Annotated[
        Literal["yes", "no"], Env("WAYPOST_TRACES_MESSAGES", "whether the sending of a run's work has spans of its own")
    ] = "yes"
    redact: Annotated[str, Env("WAYPOST_TRACES_REDACT", "module:function that each text passes")] = ""
    hide_keys: Annotated[str, Env("WAYPOST_TRACES_HIDE_KEYS", "words: values under keys of JSON in which one is found are hidden")] = (
        "password,passwd,passphrase,secret,token,authorization,api-key,credential,private-key"
    )


class CoordinatorSettings(_WithPostgres, frozen=True, kw_only=True):
    """The coordinator's."""

    lease_seconds: Annotated[float, Env("WAYPOST_COORDINATOR_LEASE_SECONDS", "partition lease", low=1, high=300)] = 3.0
    """A dead replica's partitions are taken over after this."""
    batch_max: Annotated[int, Env("WAYPOST_COORDINATOR_BATCH_MAX", "messages in one commit", low=1, high=10_000)] = 500
    cache_runs: Annotated[int, Env("WAYPOST_COORDINATOR_CACHE_RUNS", "runs kept in memory", low=1, high=10_000_000)] = 20_000
    heartbeat_seconds: Annotated[
        float, Env("WAYPOST_COORDINATOR_HEARTBEAT_SECONDS", "silence after which a worker or gateway is lost", low=1, high=600)
    ] = 3.5
    sweep_seconds: Annotated[float, Env("WAYPOST_COORDINATOR_SWEEP_SECONDS", "between looks for what is stuck", low=0.1, high=3_600)] = 5.0
    auth: Annotated[Literal["auto", "required", "off"], Env("WAYPOST_AUTH", "whether callers must be authenticated")] = "auto"
    """`auto`: if there are identities; without any, everybody's word is taken on loopback, and nobody can approve elsewhere."""
    auth_services: Annotated[Literal["open", "signed"], Env("WAYPOST_AUTH_SERVICES", "whether workers and gateways must sign")] = "open"
    """`open`: journals and payloads are read without a signature, and NATS permissions keep others from it."""
    pools_file: Annotated[Path | None, Env("WAYPOST_NATS_POOLS_FILE", "pools: which agents and tools each may host", check=_file)] = None
    api_tokens_file: Annotated[Path | None, Env("WAYPOST_API_TOKENS_FILE", "identities: who has which key and roles", check=_file)] = None
    supervisor_webhook_url: Annotated[str, Env("WAYPOST_SUPERVISOR_WEBHOOK_URL", "where notices are posted", check=_web_url)] = ""
    supervisor_webhook_secret: Annotated[str, Env("WAYPOST_SUPERVISOR_WEBHOOK_SECRET", "what notices are signed with")] = ""
    supervisor_apprise_urls_secret: Annotated[str, Env("WAYPOST_SUPERVISOR_APPRISE_URLS", "where notices go by Apprise")] = ""
    """Named so that it is not shown: such addresses hold tokens."""
    look_seconds: Annotated[float, Env("WAYPOST_COORDINATOR_LOOK_SECONDS", "between looks for gauges of the whole", low=0.1, high=600)] = (
        10.0
    )
    log_steps: Annotated[Literal["yes", "no"], Env("WAYPOST_LOG_STEPS", "a log line for each reasoning step")] = "yes"
    capture: Annotated[Literal["off", "prompts", "answers", "all"], Env("WAYPOST_CAPTURE", "what of model calls is shown")] = "off"
    """Whether those lines say what the model meant to do, in its own words: with `answers` or `all`."""
    capture_redact: Annotated[str, Env("WAYPOST_CAPTURE_REDACT", "what is shown of model calls is redacted by the workers")] = ""
    """If it is set, those lines do not say it: the function is the workers' to call."""
    api_concurrency: Annotated[int, Env("WAYPOST_COORDINATOR_API_CONCURRENCY", "API requests at once", low=1, high=10_000)] = 256


class WorkerSettings(Settings, frozen=True, kw_only=True):
    """The worker's."""

    name: Annotated[str, Env("WAYPOST_WORKER_NAME", "this worker's own name", check=_name)] = ""
    """"": made up. Two workers never share one."""

    service_token_file: Annotated[Path | None, Env("WAYPOST_SERVICE_TOKEN_FILE", "a token with the role `service`", check=_file)] = None
    """Signs what the worker asks of the API, for coordinators with `WAYPOST_AUTH_SERVICES=signed`."""
    concurrency: Annotated[int, Env("WAYPOST_WORKER_CONCURRENCY", "activations at once", low=1, high=100_000)] = 256
    cache_runs: Annotated[int, Env("WAYPOST_WORKER_CACHE_RUNS", "waiting coroutines kept in memory", low=0, high=10_000_000)] = 5_000
    ack_wait_seconds: Annotated[
        float, Env("WAYPOST_WORKER_ACK_WAIT_SECONDS", "silence after which work goes to another worker", low=1, high=600)
    ] = 4.0
    heartbeat_seconds: Annotated[float, Env("WAYPOST_WORKER_HEARTBEAT_SECONDS", "between heartbeats", low=0.1, high=60)] = 1.0
    resend_seconds: Annotated[
        float, Env("WAYPOST_WORKER_RESEND_SECONDS", "before an unconfirmed advance is sent again", low=0.5, high=300)
    ] = 5.0


class GatewaySettings(_WithPostgres, frozen=True, kw_only=True):
    """The tool gateway's."""

    concurrency: Annotated[int, Env("WAYPOST_GATEWAY_CONCURRENCY", "tool calls at once", low=1, high=100_000)] = 128
    ack_wait_seconds: Annotated[
        float, Env("WAYPOST_GATEWAY_ACK_WAIT_SECONDS", "silence after which a call goes to another gateway", low=1, high=600)
    ] = 4.0
    lease_seconds: Annotated[float, Env("WAYPOST_GATEWAY_LEASE_SECONDS", "ledger lease of a started call", low=1, high=600)] = 3.0
    """Below the ack wait, so that the lease is over when another gateway gets the call of one that died."""
    settle_seconds: Annotated[
        float, Env("WAYPOST_GATEWAY_SETTLE_SECONDS", "wait after lease and deadline before a call is reconciled", low=0, high=600)
    ] = 2.0
    heartbeat_seconds: Annotated[float, Env("WAYPOST_GATEWAY_HEARTBEAT_SECONDS", "between heartbeats", low=0.1, high=60)] = 1.0
    policy_file: Annotated[Path | None, Env("WAYPOST_POLICY_FILE", "rules about tool calls, TOML", check=_file)] = None
    secrets_file: Annotated[Path | None, Env("WAYPOST_SECRETS_FILE", 'secrets of tools, TOML: name = "value"', check=_file)] = None


class AuditSettings(_WithPostgres, frozen=True, kw_only=True):
    """The audit logger's."""

    batch_max: Annotated[int, Env("WAYPOST_AUDIT_BATCH_MAX", "events of each partition in one append", low=1, high=10_000)] = 1_000
    poll_seconds: Annotated[float, Env("WAYPOST_AUDIT_POLL_SECONDS", "longest time without a look at the log", low=0.05, high=60)] = 1.0
    key_file: Annotated[Path | None, Env("WAYPOST_AUDIT_KEY_FILE", "keys that sign the heads of the audit log", check=_file)] = None
    """None: no head is signed, and the log proves nothing to anybody outside."""
    anchors_file: Annotated[Path | None, Env("WAYPOST_AUDIT_ANCHORS_FILE", "where heads are kept outside, TOML", check=_file)] = None
    head_seconds: Annotated[float, Env("WAYPOST_AUDIT_HEAD_SECONDS", "between signed heads", low=0.05, high=86_400)] = 10.0
    lease_seconds: Annotated[float, Env("WAYPOST_AUDIT_LEASE_SECONDS", "lease of the active audit logger", low=0.5, high=300)] = 5.0
    """Another one takes over this long after a crash."""
    traces_from: Annotated[Literal["beginning", "now"], Env("WAYPOST_TRACES_FROM", "where the first export of traces begins")] = "beginning"
    """Of a log that was exported before, where it stopped."""
    traces_batch_max: Annotated[int, Env("WAYPOST_TRACES_BATCH_MAX", "events of each partition in one export", low=1, high=10_000)] = 500
    traces_keep_runs: Annotated[
        int, Env("WAYPOST_TRACES_KEEP_RUNS", "open runs whose traces are kept in memory", low=0, high=10_000_000)
    ] = 10_000
    """The trace of another one is made again from its history when it goes on."""


class EdgeSettings(_WithPostgres, frozen=True, kw_only=True):
    """The edge's."""

    api_tokens_file: Annotated[Path | None, Env("WAYPOST_API_TOKENS_FILE", "identities: who has which key and roles", check=_file)] = None
    auth: Annotated[Literal["auto", "required", "off"], Env("WAYPOST_AUTH", "whether callers must be authenticated")] = "auto"
    """`auto`: if there are identities; without any, everybody may read, on loopback."""
    public_url: Annotated[str, Env("WAYPOST_EDGE_URL", "the address under which people reach the edge", check=_web_url)] = ""
    """"": that of each request. With https, cookies are for https alone."""
    oidc_file: Annotated[Path | None, Env("WAYPOST_OIDC_FILE", "OIDC issuers whose word is taken, TOML", check=_file)] = None
    webhooks_file: Annotated[Path | None, Env("WAYPOST_WEBHOOKS_FILE", "endpoints that get events, TOML", check=_file)] = None
    proxies: Annotated[str, Env("WAYPOST_EDGE_PROXIES", "addresses whose X-Forwarded-For is believed, separated by commas")] = ""
    session_key_file: Annotated[Path | None, Env("WAYPOST_EDGE_SESSION_KEY_FILE", "what encrypts sessions of browsers", check=_file)] = None
    """None: a key of this process's own; sessions end with it, and several edges do not share them."""
    session_seconds: Annotated[float, Env("WAYPOST_EDGE_SESSION_SECONDS", "a browser's session", low=60, high=2_592_000)] = 43_200.0
    rate: Annotated[float, Env("WAYPOST_EDGE_RATE", "requests per second of each caller; 0: no limit", low=0, high=1_000_000)] = 100.0
    burst: Annotated[int, Env("WAYPOST_EDGE_BURST", "requests of each caller at once", low=1, high=1_000_000)] = 200
    failures: Annotated[float, Env("WAYPOST_EDGE_FAILURES", "bad tokens a minute from an address; 0: no limit", low=0, high=100_000)] = 30.0
    patience_seconds: Annotated[
        float, Env("WAYPOST_EDGE_PATIENCE_SECONDS", "how long a request waits for a coordinator", low=0.5, high=300)
    ] = 10.0
    """A replica that takes over needs some seconds; past it the answer is 503."""
    origins: Annotated[str, Env("WAYPOST_EDGE_ORIGINS", "origins of pages that may call the API, with commas", check=_origins)] = ""
    """"": none but the edge's own."""
    grafana_url: Annotated[str, Env("WAYPOST_GRAFANA_URL", "the Grafana that people use", check=_web_url)] = ""
    """"": the console shows traces itself, and leads nowhere else."""
    grafana_traces_uid: Annotated[str, Env("WAYPOST_GRAFANA_TRACES_UID", "Grafana's data source of traces", check=_uid)] = (
        DEFAULT_TRACES_SOURCE
    )
    watchers: Annotated[int, Env("WAYPOST_EDGE_WATCHERS", "who may watch live events at once", low=1, high=100_000)] = 2_000
    traces_look_at: Annotated[int, Env("WAYPOST_TRACES_LOOK_AT", "runs that one search reads the log of", low=1, high=100_000)] = 500
    traces_max_events: Annotated[int, Env("WAYPOST_TRACES_MAX_EVENTS", "events that one answer is made of", low=100, high=10_000_000)] = (
        50_000
    )


T = TypeVar("T", bound=Settings)


def load(kind: type[T], env: Mapping[str, str] | None = None) -> T:
    """Read and validate the settings of one process. Raises `Misconfigured` with every problem, one line each."""
    return environment.read(kind, env)


def known_variables() -> set[str]:
    """Every variable named WAYPOST_… that something reads."""
    known = set(OTHER_VARIABLES)
    for kind in (Settings, CoordinatorSettings, WorkerSettings, GatewaySettings, AuditSettings, EdgeSettings, TraceContentSettings):
        known.update(setting.variable for _, setting, _ in environment.variables(kind))
    return known


def unknown_variables(env: Mapping[str, str] | None = None) -> list[str]:
    """Variables named WAYPOST_… that nothing reads: misspelt, or of another version (for `doctor`)."""
    known = known_variables()
    named = [name for name in (os.environ if env is None else env) if name.startswith("WAYPOST_") and not name.startswith(SECRETS_PREFIX)]
    return sorted(name for name in named if name not in known)


def build_id(modules: Sequence[ModuleType]) -> str:
    """A build id that changes with the source of the modules (every `.py` file of a package): `dev-` and 12 hex digits.

    The same files give the same id wherever they lie and in whatever order they are named. Raises `BadInput` for a module without source.
    """
    files: dict[str, Path] = {}
    for module in modules:
        source = getattr(module, "__file__", None)
        if source is None:
            raise BadInput(f"module {module.__name__!r} has no source file to derive a build from; set WAYPOST_BUILD")
        path = Path(source)
        if hasattr(module, "__path__"):
            files.update({f"{path.parent.name}/{file.relative_to(path.parent)}": file for file in path.parent.rglob("*.py")})
        else:
            files[path.name] = path
    digest = hashlib.sha256()
    for name, file in sorted(files.items()):
        content = file.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    build = f"dev-{digest.hexdigest()[:12]}"
    assert NAME_PATTERN.fullmatch(build)
    return build
