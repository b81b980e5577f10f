"""Entry point of the `waypost` command."""
def main() -> None:
    raise SystemExit("not yet")
