"""Keeps passwords and tokens out of logs and error messages."""

from __future__ import annotations

import re

MASK = "***"

# everything between `scheme://` and the last `@` of that URL: a NATS token stands where a user name would
_USER_INFO = re.compile(r"([a-zA-Z][\w+.-]*://)(?:(?!://)\S)*@")
_SECRET_PARAMETER = re.compile(r"([?&](?:password|sslpassword|token|passfile)=)[^&\s]*", re.IGNORECASE)


def redact(text: str) -> str:
    """`text` with the user information and secret parameters of every URL in it replaced by `***`."""
    if "://" not in text:
        return text
    return _SECRET_PARAMETER.sub(rf"\1{MASK}", _USER_INFO.sub(rf"\1{MASK}@", text))
