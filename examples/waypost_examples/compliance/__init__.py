"""The compliance desk: reviews transactions with the help of three legacy systems that fail, and files one report for each case.

model      values: case, evidence, assessment, report
cases      from a CSV to cases
rules      the risk analyst's rules, pure
agents     the durable agents (a worker hosts this module)
tools      the tools (a gateway hosts this module)
wire       the tools' small HTTP client
legacy     the systems of other departments, each a process or a database of its own, with injected faults
"""
