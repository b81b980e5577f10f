"""The wire of Waypost: messages, events, commands, subjects, codec. Depends on msgspec and the standard library only.

Submodules are the public names; nothing is re-exported here, so that importing one message imports one module.

    errors      the one error tree
    ids         run ids, call ids, digests, partitions
    limits      what both ends agree on
    values      what several messages share
    task        what anyone may publish
    mailbox     what can change a run: advances, tool answers, control
    commands    what an advance holds
    events      the event log
    work        activations, confirmations, the journal
    tools       the tool call
    registry    definitions, announcements, heartbeats
    notices     supervisor notices, dead letters
    api         requests and answers of waypost.api.*
    subjects    every subject, stream and consumer name
    codec       JSON in and out
"""
