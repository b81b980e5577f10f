"""`waypost demo`: the compliance desk at work, live, and under chaos.

code = await demo(DemoOptions(chaos=True))

run            from start to verdict
departments    the legacy systems beside the platform
intake         hands cases in and follows their runs
officer        the officers, who approve
chaos          the strikes; platform is what they hit
board          what is known of every case: rows, folded from events by folding
screen, words  how it looks; display owns the terminal
supervisor     is told what needs a person, and acts on it
record         the check of the audit log
verdict        the final table against the regulator's count
"""

from waypost_cli.demo.options import DemoOptions
from waypost_cli.demo.run import demo, run_demo

__all__ = ["DemoOptions", "demo", "run_demo"]
