"""`waypost doctor`: is everything there that Waypost needs, does it work, and what to do where it does not."""

from waypost_cli.doctor.command import doctor

__all__ = ["doctor"]
