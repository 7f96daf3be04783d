"""DynamoDB's expressions, as far as this project uses them, and as strict as DynamoDB is.

A condition is parsed to a function of the item, an update to a function from item to item. Items are as on
the wire: attribute name to ``{"S": …}`` and so on.
"""

import functools
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from aws_in_memory.wire import Rejected
from moto.dynamodb.parsing.reserved_keywords import ReservedKeywords

Value = dict[str, Any]
Item = dict[str, Value]
Operand = Callable[[Item], Value | None]

_TOKEN = re.compile(r"\s*(#\w+|:\w+|[A-Za-z_]\w*|<>|<=|>=|[=<>(),+\-])")
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def invalid(message: str) -> Rejected:
    """DynamoDB's answer to a request that is wrong in itself."""
    return Rejected("ValidationException", message)


class Names:
    """What the expressions of one request may refer to; all of it must be used."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._names = request.get("ExpressionAttributeNames")
        self._values = request.get("ExpressionAttributeValues")
        for given, what in ((self._names, "Names"), (self._values, "Values")):
            if given is not None and not given:
                raise invalid(f"ExpressionAttribute{what} must not be empty")
        for value in (self._values or {}).values():
            check_value(value)
        self._used: set[str] = set()

    def attribute(self, token: str) -> str:
        if token.startswith("#"):
            if token not in (self._names or {}):
                raise invalid(
                    f"An expression attribute name used in the document path is not defined: {token}"
                )
            self._used.add(token)
            return self._names[token]
        if token.upper() in _reserved():
            raise invalid(f"Attribute name is a reserved keyword; reserved keyword: {token}")
        return token

    def value(self, token: str) -> Value:
        if token not in (self._values or {}):
            raise invalid(f"An expression attribute value used in expression is not defined: {token}")
        self._used.add(token)
        return self._values[token]

    def check_all_used(self) -> None:
        unused = {*(self._names or {}), *(self._values or {})} - self._used
        if unused:
            raise invalid(f"Value provided in ExpressionAttributes unused in expressions: {sorted(unused)}")


class _Parser:
    def __init__(self, text: str, names: Names) -> None:
        self._tokens = _tokens(text)
        self._at = 0
        self.names = names

    def peek(self, ahead: int = 0) -> str:
        place = self._at + ahead
        return self._tokens[place] if place < len(self._tokens) else ""

    def take(self, *expected: str) -> str:
        token = self.peek()
        if not token or (expected and token.upper() not in expected):
            raise invalid(f"Syntax error; token: {token!r}, expected one of {expected}")
        self._at += 1
        return token

    def path(self) -> str:
        token = self.take()
        if not re.match(r"[#A-Za-z_]", token):
            raise invalid(f"Syntax error; token: {token!r}, expected a path")
        return self.names.attribute(token)

    def operand(self) -> Operand:
        if self.peek().startswith(":"):
            value = self.names.value(self.take())
            return lambda item: value
        if self.peek(1) == "(":
            return self.function()
        path = self.path()
        return lambda item: item.get(path)

    def function(self) -> Operand:
        name = self.take("SIZE", "IF_NOT_EXISTS", "LIST_APPEND")
        self.take("(")
        if name == "size":
            of = self.path()
            self.take(")")
            return lambda item: {"N": str(_size(item[of]))} if of in item else None
        first_path = self.path() if name == "if_not_exists" else None
        first = (lambda item: item.get(first_path)) if first_path else self.operand()
        self.take(",")
        second = self.operand()
        self.take(")")
        if first_path:
            return lambda item: first(item) or second(item)
        return lambda item: {"L": [*_list(first(item)), *_list(second(item))]}


@functools.cache
def _tokens(text: str) -> list[str]:
    if not text.strip():
        raise invalid("The expression can not be empty")
    found = []
    position = 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if not match:
            raise invalid(f"Syntax error in {text!r} at {text[position : position + 10]!r}")
        found.append(match[1])
        position = match.end()
    return found


def condition(text: str, names: Names) -> Callable[[Item], bool]:
    """Parse a condition."""
    parser = _Parser(text, names)
    parsed = _either(parser)
    if parser.peek():
        raise invalid(f"Syntax error; token: {parser.peek()!r}")
    return parsed


def _either(parser: _Parser) -> Callable[[Item], bool]:
    parts = [_both(parser)]
    while parser.peek().upper() == "OR":
        parser.take("OR")
        parts.append(_both(parser))
    return lambda item: any(part(item) for part in parts)


def _both(parser: _Parser) -> Callable[[Item], bool]:
    parts = [_test(parser)]
    while parser.peek().upper() == "AND":
        parser.take("AND")
        parts.append(_test(parser))
    return lambda item: all(part(item) for part in parts)


def _test(parser: _Parser) -> Callable[[Item], bool]:
    if parser.peek() == "(":
        parser.take("(")
        inner = _either(parser)
        parser.take(")")
        return inner
    if parser.peek() in ("attribute_exists", "attribute_not_exists"):
        wanted = parser.take() == "attribute_exists"
        parser.take("(")
        path = parser.path()
        parser.take(")")
        return lambda item: (path in item) is wanted
    if parser.peek() == "begins_with":
        parser.take()
        parser.take("(")
        left = parser.operand()
        parser.take(",")
        prefix = parser.operand()
        parser.take(")")
        return lambda item: ((left(item) or {}).get("S") or "").startswith(prefix(item)["S"])
    left = parser.operand()
    if parser.peek().upper() == "IN":
        parser.take("IN")
        parser.take("(")
        among = [parser.operand()]
        while parser.peek() == ",":
            parser.take(",")
            among.append(parser.operand())
        parser.take(")")
        return lambda item: any(_compare("=", left(item), each(item)) for each in among)
    comparison = parser.take(*_COMPARISONS)
    right = parser.operand()
    return lambda item: _compare(comparison, left(item), right(item))


def update(text: str, names: Names, keys: tuple[str, ...]) -> Callable[[Item], Item]:
    """Parse an update; it leaves the item it is given as it is."""
    parser = _Parser(text, names)
    touched: list[str] = []
    clauses: dict[str, list[Callable[[Item, Item], None]]] = {}
    while parser.peek():
        clause = parser.take("SET", "REMOVE", "ADD", "DELETE").upper()
        if clause in clauses:
            raise invalid(f'The "{clause}" section can only be used once in an update expression')
        clauses[clause] = []
        while True:
            path = parser.path()
            touched.append(path)
            clauses[clause].append(_ACTIONS[clause](parser, path))
            if parser.peek() != ",":
                break
            parser.take(",")
    if len(touched) != len(set(touched)):
        raise invalid(f"Two document paths overlap with each other: {sorted(touched)}")
    if set(touched) & set(keys):
        raise invalid("Cannot update attribute. This attribute is part of the key")

    def apply(item: Item) -> Item:
        changed = dict(item)
        for actions in clauses.values():
            for act in actions:
                act(item, changed)
        return changed

    return apply


def _set(parser: _Parser, path: str) -> Callable[[Item, Item], None]:
    parser.take("=")
    source = parser.operand()

    def act(before: Item, after: Item) -> None:
        value = source(before)
        if value is None:
            raise invalid("The provided expression refers to an attribute that does not exist in the item")
        after[path] = value

    return act


def _remove(parser: _Parser, path: str) -> Callable[[Item, Item], None]:
    return lambda before, after: after.pop(path, None) and None


def _add(parser: _Parser, path: str) -> Callable[[Item, Item], None]:
    more = parser.names.value(parser.take())

    def act(before: Item, after: Item) -> None:
        ((kind, added),) = more.items()
        there = before.get(path, {kind: "0" if kind == "N" else []})
        if kind not in ("N", "SS") or kind not in there:
            raise invalid("An operand in the update expression has an incorrect data type")
        if kind == "N":
            after[path] = {"N": str(Decimal(there["N"]) + Decimal(added))}
        else:
            after[path] = {"SS": sorted({*there["SS"], *added})}

    return act


def _delete(parser: _Parser, path: str) -> Callable[[Item, Item], None]:
    less = parser.names.value(parser.take())

    def act(before: Item, after: Item) -> None:
        if "SS" not in less or "SS" not in before.get(path, {"SS": []}):
            raise invalid("An operand in the update expression has an incorrect data type")
        left = sorted({*before.get(path, {"SS": []})["SS"]} - {*less["SS"]})
        after.pop(path, None)
        if left:  # DynamoDB knows no empty set
            after[path] = {"SS": left}

    return act


_ACTIONS = {"SET": _set, "REMOVE": _remove, "ADD": _add, "DELETE": _delete}


# --- values ---


def check_value(value: Value) -> None:
    """Raise what DynamoDB raises for a value that it cannot hold."""
    if len(value) != 1:
        raise invalid("Supplied AttributeValue must contain exactly one of the supported datatypes")
    ((kind, content),) = value.items()
    if kind in ("SS", "NS", "BS"):
        if not content:
            raise invalid("One or more parameter values were invalid: An string set  may not be empty")
        if len(set(content)) != len(content):
            raise invalid("One or more parameter values were invalid: Input collection contains duplicates.")
    if kind == "N":
        Decimal(content)
    for inner in content if kind == "L" else content.values() if kind == "M" else ():
        check_value(inner)


def size_of(value: Value) -> int:
    """The bytes that DynamoDB counts for a value."""
    ((kind, content),) = value.items()
    if kind == "S":
        return len(content.encode())
    if kind == "N":
        return len(content) // 2 + 2
    if kind == "SS":
        return sum(len(each.encode()) for each in content)
    if kind == "L":
        return 3 + sum(1 + size_of(each) for each in content)
    if kind == "M":
        return 3 + sum(1 + len(key.encode()) + size_of(each) for key, each in content.items())
    return 1


def _compare(comparison: str, left: Value | None, right: Value | None) -> bool:
    if left is None or right is None:
        return False
    ((kind, a),), ((other, b),) = left.items(), right.items()
    if kind != other:
        return comparison == "<>"
    return _COMPARISONS[comparison](*((Decimal(a), Decimal(b)) if kind == "N" else (a, b)))


def _size(value: Value) -> int:
    ((kind, content),) = value.items()
    if kind in ("N", "BOOL", "NULL"):
        raise invalid("Invalid operand type for operator or function; function: size")
    return len(content.encode()) if kind == "S" else len(content)


def _list(value: Value | None) -> list[Value]:
    if value is None or "L" not in value:
        raise invalid("Incorrect operand type for operator or function; operator or function: list_append")
    return value["L"]


@functools.cache
def _reserved() -> frozenset[str]:
    return frozenset(ReservedKeywords.get_reserved_keywords())
