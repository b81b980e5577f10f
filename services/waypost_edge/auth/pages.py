"""The pages of sign-in. They look as the console does, by its stylesheet, and run nothing but the few lines that choose its colours.

Static files have the address of no version (`/static/-/…`), which the console answers too: who signs in needs no copy that is kept.
"""

from __future__ import annotations

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>{title} · Waypost</title>
<link rel="icon" href="/static/-/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/-/console.css">
<script src="/static/-/theme.js"></script>
"""
_MARK = (
    '<p class="brand"><svg class="mark" viewBox="0 0 24 24" aria-hidden="true"><path d="M12 2v20" /><path class="arm" d="M12 4h7l2.5 2.5L19'
    ' 9h-7z" /><path class="arm two" d="M12 10.5H5.5L3 13l2.5 2.5H12z" /></svg>Waypost</p>'
)
SIGNIN_PAGE = (
    _HEAD.replace("{title}", "Sign in")
    + """</head>
<body class="door">
<main>
"""
    + _MARK
    + """
<div class="card">
<h1>Sign in</h1>
{problem}
{ways}
<form method="post" action="/signin" autocomplete="off">
<div class="field">
<label for="token">API token</label>
<input id="token" class="code" name="token" type="password" required autofocus spellcheck="false" placeholder="SU…" aria-describedby="hint">
</div>
<input type="hidden" name="next" value="{next}">
<button class="button primary" type="submit">Sign in</button>
</form>
<p id="hint" class="muted">A token begins with SU; <code>waypost tokens create</code> makes one. This browser keeps it in a cookie,
encrypted, until you sign out or the session ends.</p>
</div>
</main>
</body>
</html>
"""
)
WAY = '<p><a class="button" href="{address}">Sign in with {name}</a></p>'
"""A button for an issuer."""
OR = '<p class="or"><span>or with a token</span></p>'
"""Between issuers and the form."""
PROBLEM = '<div class="banner banner-failed" role="alert"><p>{text}</p></div>'
ONWARD_PAGE = (
    _HEAD.replace("{title}", "Signed in")
    + """<meta http-equiv="refresh" content="0;url={next}">
</head>
<body class="door"><main>"""
    + _MARK
    + """<div class="card"><h1>You are signed in</h1><p><a href="{next}">Go on</a></p></div></main></body>
</html>
"""
)
"""A page and not a redirect: a cookie for our own pages alone (`SameSite=Strict`) is not sent along a redirect that began elsewhere."""
