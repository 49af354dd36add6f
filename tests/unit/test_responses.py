"""What an HTTP function may return, and what the caller then gets."""

from __future__ import annotations

import azure.functions as func
import pytest

from localhost.worker.responses import no_response, to_response


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello", "hello"),
        ("", ""),
        (
            '{"a": [1, {}], "ä": 1.0}',
            '{\n  "a": [\n    1,\n    {}\n  ],\n  "ä": 1.0\n}',
        ),
        ("true", "True"),
        ("null", ""),
        ('"abc"', "abc"),
        ("1.0", "1"),
        ("1.5", "1.5"),
        ("12", "12"),
    ],
)
def test_text_is_written_again_when_it_is_json(text: str, expected: str) -> None:
    """JSON goes through .NET's ToString, other text as it is."""
    response = to_response(text)

    assert (200, "text/plain", expected) == (
        response.status_code,
        response.mimetype,
        response.get_body().decode(),
    )


@pytest.mark.parametrize(
    ("text", "status", "body"),
    [
        ('{"status": 201, "body": "x"}', 201, "x"),
        ('{"Body": null, "statusCode": "404", "status": 500}', 404, ""),
        ('{"body": {"a": 1}}', 200, '{\n  "a": 1\n}'),
    ],
)
def test_an_object_with_body_describes_the_response(
    text: str, status: int, body: str
) -> None:
    """Keys ignore case, and statusCode goes before status."""
    response = to_response(text)

    assert (status, body) == (response.status_code, response.get_body().decode())


def test_an_object_with_body_names_headers() -> None:
    """Headers of a described response are taken over."""
    response = to_response('{"body": "<p>", "headers": {"Content-Type": "text/html"}}')

    assert "text/html" == response.headers["content-type"]


def test_a_response_is_passed_on() -> None:
    """An HttpResponse is the answer itself."""
    response = func.HttpResponse("x", status_code=418)

    assert response is to_response(response)


@pytest.mark.parametrize("value", [None, {}, b"x", 1, ("x", 200)])
def test_other_values_are_refused(value: object) -> None:
    """Azure's worker takes str and HttpResponse only."""
    with pytest.raises(TypeError, match="unable to encode outgoing TypedData"):
        to_response(value)


def test_no_response_is_a_204() -> None:
    """A function may succeed without an answer."""
    assert (204, b"") == (no_response().status_code, no_response().get_body())
