"""Who asks, by HTTP. One way in for the API, the console and `/tempo`: `Authenticator.authenticate(request)` gives a `Caller`.

caller          who asks, what they may, and what signs their requests to the coordinator
authenticating  a request → a caller: API token, JWT of an issuer, session cookie, or nobody where nobody is authenticated
sessions        what a browser's cookie holds, encrypted
signin          the form that makes a session, and its end
oidc            JWTs of OIDC issuers, and their keys
oidc_signin     sign-in with an issuer (authorization code with PKCE)
origins         which page a browser's request came from, under which host, from which address
rates           token buckets, for callers and for failures
headers         security headers of every answer
"""

from waypost_edge.auth.authenticating import Authenticator
from waypost_edge.auth.caller import Caller
from waypost_edge.auth.headers import SecurityHeaders

__all__ = ["Authenticator", "Caller", "SecurityHeaders"]
