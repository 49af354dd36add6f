"""Requests to the management API that nobody should send, as hypothesis makes them."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote, quote_from_bytes

from hypothesis import strategies as st

from tests.acceptance.raw_http import RawRequest

BASE = b"/runtime/webhooks/durabletask/"
KNOWN_IDS = tuple(f"known-{n}" for n in range(8))  # of instances that wait
CODE = "THE-KEY"  # stands for the host's key, which no strategy can know
ORCHESTRATORS = ("HelloOrchestrator", "Waiter")
ENTITY = "Counter"
OPERATIONS = ("terminate", "suspend", "resume", "rewind", "restart", "raiseEvent")
QUICK_TYPE = (b"Content-Type", b"application/json")

_percent_bytes = st.binary(min_size=1, max_size=12).map(quote_from_bytes)
_percent_text = st.text(min_size=1, max_size=20).map(
    lambda text: quote(text.encode("utf-8", "surrogatepass"), safe="")
)
_odd_ids = st.sampled_from(
    [
        "@x", "%40x", "@counter@k", "@@", "@", "a/b", "a%2Fb", "a%2fb", "%252F",
        "x" * 256, "x" * 257, "x" * 6_000, "é" * 256, "%C3%A9" * 256, "é", "%E9",
        "%00", "a%00b", "%0A", "%0D%0A", "%1F", "%7F", "%C2%80", "%ED%A0%80",
        "%F0%9F%98%80", "..", ".", "%2E%2E", "..%2F..", "%5C", "%23", "%3F", "%", "%zz",
        "%2", "+", "'", "%27%20or%20%271%27%20eq%20%271", "%22", "$", "*", "{id}",
        "<x>", "|", ";", "~", "%EF%BB%BF", "%E2%80%AE", "",
    ]
)  # fmt: skip
_known_ids = st.sampled_from(KNOWN_IDS)
ids = st.one_of(_known_ids, _known_ids, _odd_ids, _percent_bytes, _percent_text)
_orchestrators = st.one_of(st.sampled_from([*ORCHESTRATORS, "Hello", "nope"]), ids)
_entities = st.one_of(st.sampled_from([ENTITY, ENTITY.upper(), "nope"]), ids)
_operations = st.one_of(st.sampled_from(OPERATIONS), st.sampled_from(OPERATIONS), ids)

# Methods and paths as the API has them: what is wrong is elsewhere.
_routes = st.one_of(
    st.tuples(st.just(b"POST"), st.just("orchestrators"), _orchestrators),
    st.tuples(st.just(b"POST"), st.just("orchestrators"), _orchestrators, ids),
    st.tuples(st.sampled_from([b"GET", b"DELETE"]), st.just("instances")),
    st.tuples(st.sampled_from([b"GET", b"DELETE"]), st.just("instances"), ids),
    st.tuples(st.just(b"POST"), st.just("instances"), ids, _operations),
    st.tuples(st.just(b"POST"), st.just("instances"), ids, st.just("raiseEvent"), ids),
    st.tuples(st.just(b"GET"), st.just("entities")),
    st.tuples(st.just(b"GET"), st.just("entities"), _entities),
    st.tuples(
        st.sampled_from([b"GET", b"POST", b"DELETE"]),
        st.just("entities"),
        _entities,
        ids,
    ),
)
_roots = st.sampled_from(["orchestrators", "instances", "entities", "makeprimary", "x"])
_odd_routes = st.tuples(
    st.sampled_from(
        b"GET POST DELETE PUT PATCH HEAD OPTIONS TRACE PROPFIND get FOO".split()
    ),
    _roots,
    st.lists(st.one_of(ids, _operations), max_size=5).map("/".join),
)

_absurd = st.one_of(
    st.sampled_from(
        [
            "",
            "-1",
            "0",
            "1",
            "9" * 30,
            "-" + "9" * 30,
            "1e3",
            "0x10",
            "1_0",
            "%20",
            "%D9%A3",
            "true",
            "maybe",
            "null",
            "nan",
            "inf",
            "1e308",
            "0.01",
            "2020-01-01",
            "2020-13-45",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59-14:00",
            "0001-01-01T00:00:00%2B14:00",
            "10000-01-01",
            "2020-01-01T00:00:00%2B99:99",
            "12345678901234567890",
            "1e999999",
            "10am",
            "Running,Failed",
            "running",
            "Nope",
            ",,,",
            "7,%20-1",
            "%00",
            "%FF",
            "%ED%A0%80",
            "%27",
            "x" * 3_000,
            "é",
        ]
    ),
    _percent_text,
)  # fmt: skip
_parameters = st.tuples(
    st.sampled_from(
        [
            "top", "createdTimeFrom", "createdTimeTo", "runtimeStatus",
            "instanceIdPrefix", "showInput", "showHistory", "showHistoryOutput",
            "returnInternalServerErrorOnFailure", "reason", "op", "fetchState",
            "lastOperationTimeFrom", "lastOperationTimeTo", "restartWithNewInstanceId",
            "timeout", "pollingInterval", "%00", "&", "",
        ]
    ),
    _absurd,
).map("=".join)  # fmt: skip
_hubs = st.sampled_from(
    [""] * 20
    + ["taskHub=", "taskHub=Other", "taskHub=a%20b", "taskHub=%00", "taskHub=%FF"]
    + ["connection=Storage", "connection=Missing", "connection=%00", "connection=%27"]
)


# Most show the right key, else hardly anything but 401 would come.
_keys = st.sampled_from(
    [f"code={CODE}"] * 20
    + ["", "code=", "code=wrong", "code=é", f"code={CODE}&code={CODE}"]
)
_queries = st.tuples(
    _keys,
    _hubs,
    st.lists(_parameters, max_size=4).map("&".join),
).map(lambda parts: "&".join(part for part in parts if part))


_tokens = st.one_of(
    st.sampled_from(
        [
            None, [], {}, 1, "x", {"NextPartitionKey": "x"},
            {"NextPartitionKey": 1, "NextRowKey": {}}, {"NextPartitionKey": None},
            {"NextPartitionKey": "a\ud800", "NextRowKey": "'"},
            {"NextPartitionKey": "é" * 2_000, "NextRowKey": "\x00"},
        ]
    ).map(lambda value: base64.b64encode(json.dumps(value).encode())),
    st.sampled_from([b"", b"!", b"\xff", b"eyJ", b"[[[[", b"W1tb" * 3_000]),
)  # fmt: skip
_headers = st.one_of(
    st.just(QUICK_TYPE),
    st.tuples(st.just(b"x-ms-continuation-token"), _tokens),
    st.tuples(
        st.just(b"Content-Type"),
        st.sampled_from(
            [
                b"", b"text/plain", b"application/xml", b"application/json; charset=x",
                b"application/json;charset=utf-16", b"multipart/form-data", b";;;",
                b"application/x-www-form-urlencoded", b"\xff/\xff", b"a" * 9_000,
            ]
        ),
    ),
    st.sampled_from(
        [
            (b"Content-Encoding", b"gzip"), (b"Content-Encoding", b"nope"),
            (b"x-functions-key", b"wrong"), (b"x-functions-key", b"\xff"),
            (b"Origin", b"null"), (b"Host", b"\xff"), (b"Host", b"a b"),
            (b"Upgrade", b"websocket"), (b"Expect", b"100-continue"),
            (b"Accept", b"\x80"), (b"Cookie", b"=;=;\xff"), (b"Range", b"bytes=-1"),
        ]
    ),
)  # fmt: skip

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner)
    ),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode())
_bodies = st.one_of(
    st.just(b""),
    _json,
    st.binary(max_size=40),
    st.sampled_from(
        [
            b"{", b"nul", b"{'a':1}", b'{"a":1}x', b'{"a":1,}', b"[1,]", b'"open',
            b"+1",
            b"NaN", b"-Infinity", b"1e999", b"7" * 5_000, b"\x00", b"\xff\xfe", b"   ",
            b"\xef\xbb\xbf1", '{"é":"é"}'.encode("utf-16"), b'"\xff"', b'"\x00"',
            b'"\\ud800"', b'{"\\udfff":1}', b'{"a":1,"a":2}', b'"\\u0000"', b"// 1",
            b"[" * 100_000, b'{"a":' * 3_000, b"[" * 3_000 + b"]" * 3_000,
            b"[" * 65 + b"]" * 65, b"[" * 980 + b"]" * 980,
            b'"' + b"x" * 70_000 + b'"', b'{"$type":"System.Object"}',
        ]
    ),
)  # fmt: skip


def _request(
    route: tuple[Any, ...],
    query: str,
    headers: list[tuple[bytes, bytes]],
    **content: Any,
) -> RawRequest:
    method, *segments = route
    target = f"{'/'.join(segments)}?{query}".encode("utf-8", "surrogatepass")
    return RawRequest(
        method=method, target=BASE + target, headers=tuple(headers), **content
    )


REQUESTS = st.builds(
    _request,
    route=st.one_of(_routes, _routes, _routes, _odd_routes),
    query=_queries,
    headers=st.lists(_headers, max_size=3, unique_by=lambda header: header[0]),
    body=_bodies,
    is_chunked=st.booleans(),
)
