"""The web console, served by the edge at `/`: no build step, nothing from elsewhere, no inline script or style.

site           its routes, and what of the edge it stands on
pages          templates to answers, with the headers that keep hostile output harmless
assets         static files, under an address that changes with them
shown          times, amounts and JSON as people read them
listing        the list of runs: filters, pages
run_page       one run: header, tabs, its children
timeline       the projection of a run's log as rows that a browser can draw
stepping       what the log says of one step, and a run's state at any event
waterfall      a trace as rows of a waterfall
trace_page     the trace of a run on its page
grafana        addresses of traces in Grafana
comparing      two runs side by side
schema_forms   JSON Schemas to forms, and back
inbox          approvals and questions
watch_desk     what needs attention, agents, tools, dead letters
acting         everything that changes something
live           server-sent events: "look again"
"""

from waypost_edge.console.grafana import Grafana
from waypost_edge.console.site import Console, Who

__all__ = ["Console", "Grafana", "Who"]
