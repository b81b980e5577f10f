"""How the site is made of `docs/`: `mkdocs build --strict` calls `hooks`, which asks `reference` for what is generated from the code."""
