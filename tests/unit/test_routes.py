"""Route templates and the order of routes, as ASP.NET Core has them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localhost.app.manifest import read_app
from localhost.declared import FunctionApp
from localhost.web.routes import Route, RouteTable, http_lines
from localhost.web.templates import split_path


def values_of(template: str, path: str) -> dict[str, str] | None:
    found = Route.from_template(template).match(split_path(path))
    return None if found is None else dict(found)


@pytest.fixture(name="app_of")
def _app_of(tmp_path: Path) -> Callable[..., FunctionApp]:
    """Makes an app of HTTP functions from triggers' properties by name."""

    def make(**triggers: dict[str, object]) -> FunctionApp:
        for name, properties in triggers.items():
            folder = tmp_path / name
            folder.mkdir()
            (folder / "__init__.py").write_text("def main(req): ...\n")
            trigger = {"name": "req", "type": "httpTrigger", "direction": "in"}
            bindings = [trigger | properties]
            config = {"bindings": bindings, "disabled": name.startswith("Disabled")}
            (folder / "function.json").write_text(json.dumps(config))
        return read_app(tmp_path, environ={})

    return make


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        (
            "orchestrators/{functionName}",
            "orchestrators/Hello",
            {"functionName": "Hello"},
        ),
        ("orchestrators/{functionName}", "orchestrators", None),
        ("orchestrators/{functionName}", "orchestrators/a/b", None),
        ("/echo/", "/ECHO/", {}),
        ("echo/{a}", "echo//", None),
        ("echo/{a}", "echo//x", None),
        ("echo/{a}/{b?}", "echo/1", {"a": "1"}),
        ("echo/{a}/{b:int?}", "echo/1/2", {"a": "1", "b": "2"}),
        ("echo/{a}/{b:int?}", "echo/1/x", None),
        ("page/{number=1}", "page", {"number": "1"}),
        ("page/{number=1}", "page/7", {"number": "7"}),
        ("page/{number:int=1}", "page", {"number": "1"}),
        ("{a?}/end", "end", None),
        ("files/{*rest}", "files/a//b", {"rest": "a//b"}),
        ("files/{*rest}", "files", {}),
        ("files/{**rest}", "files/a/b", {"rest": "a/b"}),
        ("files/{*rest=index}", "files", {"rest": "index"}),
        ("files/{*rest:int}", "files", None),
        ("{name}.{extension}", "a.tar.gz", {"name": "a.tar", "extension": "gz"}),
        ("{name}.{extension?}", "readme", {"name": "readme"}),
        ("{name}.{extension?}", "readme.", None),
        ("v{major:int}-{minor:int}", "V1-2", {"major": "1", "minor": "2"}),
        ("v{major:int}-{minor:int}", "v1-x", None),
        ("{{literal}}/{a}", "{literal}/1", {"a": "1"}),
        ("", "", {}),
        ("", "x", None),
    ],
)
def test_template_matches_path(
    template: str, path: str, expected: dict[str, str] | None
) -> None:
    """A template gives the route values of a path, or None when it does not fit."""
    assert expected == values_of(template, path)


@pytest.mark.parametrize(
    ("raw", "decoded"),
    [
        ("%E6%9D%B1", "東"),
        ("a%20b", "a b"),
        ("a+b", "a+b"),
        ("a%2Fb", "a%2Fb"),
        ("a%2fb", "a%2fb"),
        ("a%252Fb", "a%2Fb"),
        ("%40%23%3F", "@#?"),
        ("%FF", "%FF"),
        ("50%", "50%"),
        ("%zz", "%zz"),
    ],
)
def test_value_is_percent_decoded(raw: str, decoded: str) -> None:
    """Everything is decoded but a slash and what is no UTF-8."""
    assert {"a": decoded} == values_of("echo/{a}", f"echo/{raw}")


@pytest.mark.parametrize(
    ("constraint", "value", "is_allowed"),
    [
        ("int", "-2147483648", True),
        ("int", "2147483648", False),
        ("int", "1.5", False),
        ("long", "9223372036854775807", True),
        ("long", "9223372036854775808", False),
        ("bool", "TRUE", True),
        ("bool", "1", False),
        ("alpha", "abcXYZ", True),
        ("alpha", "a1", False),
        ("guid", "b1429558-59ce-42d3-8118-d9874028f7cf", True),
        ("guid", "B142955859CE42D38118D9874028F7CF", True),
        ("guid", "b1429558", False),
        ("decimal", "1,234.5", True),
        ("decimal", "1e5", False),
        ("double", "1e5", True),
        ("float", "-.5", True),
        ("float", "x", False),
        ("datetime", "2026-11-22T04:00:10Z", True),
        ("datetime", "11-22-2026", True),
        ("datetime", "2026-13-01", False),
        ("length(3)", "abc", True),
        ("length(3)", "ab", False),
        ("length(2,3)", "ab", True),
        ("length(2,3)", "abcd", False),
        ("minlength(2)", "a", False),
        ("maxlength(2)", "ab", True),
        ("min(18)", "18", True),
        ("min(18)", "17", False),
        ("max(18)", "19", False),
        ("range(1,10)", "10", True),
        ("range(1,10)", "11", False),
        (r"regex(^\d{{2}}$)", "12", True),
        (r"regex(^\d{{2}}$)", "123", False),
        ("regex(^(a|b)$)", "B", True),
        ("required", "x", True),
        ("int:min(5)", "4", False),
        ("INT", "4", True),
    ],
)
def test_constraint_allows_value(constraint: str, value: str, is_allowed: bool) -> None:
    """An inline constraint accepts what .NET accepts."""
    assert is_allowed == (values_of(f"{{x:{constraint}}}", value) is not None)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{a", "the braces in '{a' do not pair"),
        ("a}", "the braces in '}' do not pair"),
        ("{}", "'{}' has no valid parameter name"),
        ("{a}{b}", "'{a}' and '{b}' need a text between them"),
        ("{a?}-x", "'{a?}' must be the end of its segment"),
        ("x-{a?}", "only a '.' may stand before '{a?}'"),
        ("{*rest}/x", "'{*rest}' must be the last segment"),
        ("x{*rest}", "a parameter that takes all must be alone in its segment"),
        ("{*rest?}", "'{*rest?}' takes all and cannot be optional"),
        ("{a=1?}", "'{a=1?}' cannot have a default and be optional"),
        ("{a}/{A}", "'{a}' stands in it twice"),
        ("a//b", "there is nothing between two of its slashes"),
        ("a?b", "'?' is not allowed in 'a?b'"),
        ("{a:integer}", "there is no constraint 'integer'; there are int, long"),
        ("{a:min(x)}", "'x' is no argument for the constraint 'min'"),
        ("{a:regex(()}", "'(' is no argument for the constraint 'regex'"),
    ],
)
def test_wrong_template_says_why(template: str, reason: str) -> None:
    """A template that cannot be is refused with the place and the reason."""
    with pytest.raises(ValueError) as caught:
        Route.from_template(template)

    assert reason in str(caught.value)


@given(st.text(max_size=30))
def test_any_template_is_parsed_or_refused(template: str) -> None:
    """No template, however odd, ends in anything but a route or a ValueError."""
    try:
        route = Route.from_template(template)
    except ValueError:
        return

    assert len(route.ranks) == len(route.segments)


@given(st.text(min_size=1, max_size=30).filter(lambda text: "/" not in text))
def test_any_text_survives_as_route_value(text: str) -> None:
    """What a client percent-encodes into a segment is what the function gets."""
    try:
        encoded = "".join(f"%{byte:02X}" for byte in text.encode())
    except UnicodeEncodeError:
        return

    assert {"a": text} == values_of("{a}", encoded)


@pytest.mark.parametrize(
    ("path", "winner"),
    [
        ("items/new", "Z1"),
        ("items/7", "Y2"),
        ("items/x", "X3"),
        ("items/x/y", "A4"),
        ("items", "A4"),
    ],
)
def test_literals_win(
    app_of: Callable[..., FunctionApp], path: str, winner: str
) -> None:
    """A literal beats a constrained parameter, a parameter and one that takes all."""
    app = app_of(
        A4={"route": "items/{*rest}"},
        X3={"route": "items/{name}"},
        Y2={"route": "items/{id:int}"},
        Z1={"route": "items/new"},
    )

    found = RouteTable.from_functions(app.functions).find("GET", path)

    assert found is not None
    assert winner == found[0].name


def test_equal_routes_are_tried_by_function_name(
    app_of: Callable[..., FunctionApp],
) -> None:
    """Of two equal routes the first function's by name answers."""
    app = app_of(b={"route": "same/{x}"}, A={"route": "same/{y}"})

    found = RouteTable.from_functions(app.functions).find("GET", "same/1")

    assert found is not None
    assert ("A", {"y": "1"}) == (found[0].name, found[1])


@pytest.mark.parametrize(
    ("method", "winner"), [("GET", "Reads"), ("POST", "Writes"), ("HEAD", None)]
)
def test_method_chooses_between_equal_routes(
    app_of: Callable[..., FunctionApp], method: str, winner: str | None
) -> None:
    """A wrong method goes on to the next route; HEAD is not GET."""
    app = app_of(
        Reads={"route": "x", "methods": ["get"]},
        Writes={"route": "x", "methods": ["Post"]},
    )

    found = RouteTable.from_functions(app.functions).find(method, "x")

    assert winner == (found[0].name if found else None)


def test_no_methods_means_every_method(app_of: Callable[..., FunctionApp]) -> None:
    """A trigger that names no methods answers all of them."""
    table = RouteTable.from_functions(app_of(Any={"methods": None}).functions)

    assert all(table.find(method, "any") for method in ("GET", "HEAD", "OPTIONS", "X"))


@pytest.mark.parametrize("route", ["admin/x", "/Administrators/", "runtime"])
def test_reserved_route_is_a_fault(
    app_of: Callable[..., FunctionApp], route: str
) -> None:
    """A route that begins like a built-in one is refused as in Azure."""
    table = RouteTable.from_functions(app_of(F={"route": route}).functions)

    assert [
        ("F", "The specified route conflicts with one or more built in routes.")
    ] == [(fault.name, fault.message) for fault in table.faults]
    assert table.find("GET", route) is None


def test_wrong_route_is_a_fault_of_its_function_alone(
    app_of: Callable[..., FunctionApp],
) -> None:
    """A route that cannot be parsed names file and reason; the others still answer."""
    app = app_of(Bad={"route": "x/{y"}, Good={"route": "x/{y}"})

    table = RouteTable.from_functions(app.functions)

    message = "the route 'x/{y' is not valid: the braces in '{y' do not pair."
    expected = [f"Bad/function.json: {message}"]
    assert expected == [fault.message for fault in table.faults]
    assert ["Good"] == [function.name for function in table.functions]


def test_lines_are_those_of_core_tools(app_of: Callable[..., FunctionApp]) -> None:
    """Methods stand in upper case and function.json's order, before the address."""
    app = app_of(
        Start={"route": "orchestrators/{functionName}", "methods": ["post", "get"]},
        Any={},
    )

    assert [
        "\tAny: http://localhost:7071/api/Any",
        "\tStart: [POST,GET] http://localhost:7071/api/orchestrators/{functionName}",
    ] == http_lines(app, port=7071, prefix="api")


def test_lines_without_prefix(app_of: Callable[..., FunctionApp]) -> None:
    """An empty routePrefix leaves no second slash."""
    lines = http_lines(app_of(F={"route": "/f/"}), port=80, prefix="")

    assert ["\tF: http://localhost:80/f"] == lines


def test_disabled_function_has_no_route(app_of: Callable[..., FunctionApp]) -> None:
    """A disabled function is not found, so that the next one may answer."""
    app = app_of(Disabled={"route": "x"}, On={"route": "{any}"})

    found = RouteTable.from_functions(app.functions).find("GET", "x")

    assert found is not None
    assert "On" == found[0].name
