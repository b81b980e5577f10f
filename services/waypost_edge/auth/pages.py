"""The pages of sign-in, which need nothing but themselves: no script, and a style of their own."""

from __future__ import annotations

SIGNIN_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Sign in · Waypost</title>
<link rel="stylesheet" href="/signin.css">
</head>
<body>
<main>
<h1>Waypost</h1>
{problem}
<form method="post" action="/signin" autocomplete="off">
<label for="token">API token</label>
<input id="token" name="token" type="password" required autofocus spellcheck="false" placeholder="SU…" aria-describedby="hint">
<p id="hint">It begins with SU. <code>waypost tokens create</code> makes one. It is kept in this browser's cookie, encrypted, until you sign
out or the session ends.</p>
<input type="hidden" name="next" value="{next}">
<button type="submit">Sign in</button>
</form>
{ways}
</main>
</body>
</html>
"""
ONWARD_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="color-scheme" content="light dark">
<title>Signed in · Waypost</title>
<meta http-equiv="refresh" content="0;url={next}">
<link rel="stylesheet" href="/signin.css">
</head>
<body><main><p>You are signed in. <a href="{next}">Go on</a></p></main></body>
</html>
"""
"""A page and not a redirect: a cookie for our own pages alone (`SameSite=Strict`) is not sent along a redirect that began elsewhere."""
SIGNIN_CSS = """:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; background: light-dark(#f6f7f9, #14171c); color: light-dark(#1b1f24, #e6e9ee); }
main { max-width: 26rem; margin: 12vh auto; padding: 2rem; border-radius: .75rem; background: light-dark(#fff, #1d2128); }
h1 { font-size: 1.4rem; margin-top: 0; }
label { display: block; font-weight: 600; }
input[type=password] { box-sizing: border-box; width: 100%; padding: .6rem; margin: .3rem 0; font: inherit;
  font-family: ui-monospace, monospace; border: 1px solid light-dark(#6b7480, #8b95a3); border-radius: .4rem;
  background: transparent; color: inherit; }
#hint { font-size: .875rem; color: light-dark(#4b5563, #aab4c0); }
button, .way { display: inline-block; padding: .6rem 1.1rem; border: 0; border-radius: .4rem; font: inherit; font-weight: 600;
  cursor: pointer; background: #1d4ed8; color: #fff; text-decoration: none; }
:focus-visible { outline: 3px solid #60a5fa; outline-offset: 2px; }
.problem { padding: .6rem .8rem; border-radius: .4rem; background: light-dark(#fde8e8, #4a1d1f); color: light-dark(#8a1c1c, #ffc9c9); }
"""
