"""Teams of agents, each a short example: `waypost dev waypost_examples.teams`, then `waypost run AGENT --input JSON`.

research    a lead with researchers in parallel          research-lead
pipeline    one agent after another                      article
handoff     a desk that hands over to a specialist       front-desk
vote        several judge, the majority decides          jury
debate      two argue, a third decides                   debate
fan_out     a thousand children                          census

They run offline on scripted models, and on a provider's where a key is set (`waypost_examples.chosen_model`).
"""

from waypost_examples.teams.debate import advocate, debate, judge, skeptic
from waypost_examples.teams.fan_out import census, counter
from waypost_examples.teams.handoff import accounts, front_desk, invoices, technician
from waypost_examples.teams.pipeline import article, editor, outliner, writer
from waypost_examples.teams.research import library, research_lead, researcher
from waypost_examples.teams.vote import juror, jury

__all__ = [
    "accounts",
    "advocate",
    "article",
    "census",
    "counter",
    "debate",
    "editor",
    "front_desk",
    "invoices",
    "judge",
    "juror",
    "jury",
    "library",
    "outliner",
    "research_lead",
    "researcher",
    "skeptic",
    "technician",
    "writer",
]
