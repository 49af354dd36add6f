"""What is measured, what the recorded real host needs for it, what is to be reached.

Recorded real host: Azure Functions host 4.1037 with the Durable extension 2.13.7 and
Python worker 4.34, Azurite 3.35 in memory, 2 cores, quickstart, a client that polls
every 5 ms. One ``send_message`` took 1.2 to 1.7 ms there; the figures are in units of
it (a time in ms / 1.3), rates in instances per 1,000 units.
"""

from __future__ import annotations

from benchmarks.figures import Kind, Row, at_least_per_1000_units, at_most, units

START = Row(name="start to ready", real_host=2_100, target=at_most(1_000))
FIRST = Row(
    name="first instance on a fresh hub, from ready",
    real_host=4_000,
    target=at_most(500),
    aim=units(200),
)
ACCEPT = Row(name="POST to 202, p50", real_host=4.7)
CHAIN_P50 = Row(
    name="chain of three, p50", real_host=45, target=units(20), aim=units(10)
)
CHAIN_P95 = Row(name="chain of three, p95", real_host=65, aim=units(18))
CHAIN_MEMORY = Row(
    name="memory of the host after 200 chains",
    kind=Kind.MEMORY,
    real_host=290,
    target=at_most(90),
)
AZURITE_MEMORY = Row(name="memory of Azurite after 200 chains", kind=Kind.MEMORY)
REQUESTS = Row(
    name="storage requests of the worker per chain",
    kind=Kind.COUNT,
    real_host=33,
    aim=at_most(20),
)
BURSTS = {
    100: Row(name="burst of 100", kind=Kind.RATE, real_host=44),
    500: Row(
        name="burst of 500",
        kind=Kind.RATE,
        real_host=39,
        aim=at_least_per_1000_units(150),
    ),
    2_000: Row(name="burst of 2,000", kind=Kind.RATE),
}
FAN_OUTS = {
    100: Row(name="fan-out of 100", real_host=470),
    1_000: Row(name="fan-out of 1,000", real_host=6_900, aim=units(1_500)),
    5_000: Row(name="fan-out of 5,000"),
}
UNTIL_DELETED = {
    FAN_OUTS[1_000]: Row(name="fan-out of 1,000, until its queue is empty"),
}
EARLY_STEP = Row(name="sequence of 500: a step around step 10")
LATE_STEP = Row(name="sequence of 500: a step around step 500")
STEP_GROWTH = Row(
    name="sequence of 500: step 500 against step 10", kind=Kind.RATIO, aim=at_most(2)
)
REPLAY_GROWTH = Row(
    name="replay by the SDK alone at step 500, in steps around step 10", kind=Kind.RATIO
)
EVENT = Row(name="event: raise to Completed, p50")
ENTITY = Row(name="entity: 500 signals, until a read shows them all")
IDLE = Row(name="chain of three after 60 s idle", real_host=100, aim=units(15))
BURST_MEMORY = Row(
    name="memory of the host after a burst of 2,000",
    kind=Kind.MEMORY,
    real_host=290,
    aim=at_most(100),
)
FULL_START = Row(
    name="hub of 20,000 against an empty one: start to ready",
    kind=Kind.RATIO,
    target=at_most(1.5),
)
FULL_CHAIN = Row(
    name="hub of 20,000 against an empty one: chain of three",
    kind=Kind.RATIO,
    target=at_most(1.5),
)
FULL_STATUS = Row(
    name="hub of 20,000 against an empty one: status",
    kind=Kind.RATIO,
    target=at_most(1.5),
)
FULL_LIST = Row(name="hub of 20,000: list against bare reads", kind=Kind.RATIO)
FULL_PURGE = Row(
    name="hub of 20,000: purge by filter against bare deletes", kind=Kind.RATIO
)
FEW_MEMORY = Row(name="memory of a host after 500 chains", kind=Kind.MEMORY)
MANY_MEMORY = Row(
    name="memory of that host after 5,000 chains",
    kind=Kind.MEMORY,
    real_host=290,
    aim=at_most(100),
)
GROWTH = Row(
    name="memory after 5,000 chains against 500", kind=Kind.RATIO, target=at_most(1.1)
)

# In the order of the table.
ROWS = (
    START,
    FIRST,
    ACCEPT,
    CHAIN_P50,
    CHAIN_P95,
    IDLE,
    REQUESTS,
    *BURSTS.values(),
    *FAN_OUTS.values(),
    *UNTIL_DELETED.values(),
    EARLY_STEP,
    LATE_STEP,
    STEP_GROWTH,
    REPLAY_GROWTH,
    EVENT,
    ENTITY,
    CHAIN_MEMORY,
    BURST_MEMORY,
    AZURITE_MEMORY,
    FULL_START,
    FULL_CHAIN,
    FULL_STATUS,
    FULL_LIST,
    FULL_PURGE,
    FEW_MEMORY,
    MANY_MEMORY,
    GROWTH,
)
