"""Reads Flink SQL.

sqlglot has no Flink dialect, and none of its dialects knows window table functions. Every function stays the name and the
arguments that were written (`exp.Anonymous`), so that the allow-list alone decides what they mean.
"""

from functools import lru_cache
from typing import Any, ClassVar

import sqlglot
from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError
from sqlglot.expressions.core import Expression
from sqlglot.parser import Parser as BaseParser
from sqlglot.tokenizer_core import TokenType
from sqlglot.tokens import Tokenizer as BaseTokenizer

from headrace.foundation.errors import InvalidQueryError
from headrace.streams.query_error import place_at, refuse

WINDOW_FUNCTIONS = ("TUMBLE", "HOP", "CUMULATE", "SESSION")
_PARAMETERS = {
    "TUMBLE": ("DATA", "TIMECOL", "SIZE", "OFFSET"),
    "HOP": ("DATA", "TIMECOL", "SLIDE", "SIZE", "OFFSET"),
    "CUMULATE": ("DATA", "TIMECOL", "STEP", "SIZE", "OFFSET"),
    "SESSION": ("DATA", "TIMECOL", "GAP"),
}
MAX_QUERY_LENGTH = 100_000


class WindowTable(Expression):
    """`HOP(TABLE t, DESCRIPTOR(ts), INTERVAL …, INTERVAL …)`; expressions: the arguments by Flink's parameter name."""

    arg_types: ClassVar[dict[str, bool]] = {"kind": True, "arguments": True, "partition": False}


class TimeUnit(Expression):
    """`MINUTE` in `FLOOR(ts TO MINUTE)`."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True}


class FlinkTokenizer(BaseTokenizer):
    """Back-ticks quote names; double quotes quote nothing."""

    IDENTIFIERS: ClassVar[list[Any]] = ["`"]
    QUOTES: ClassVar[list[Any]] = ["'"]
    STRING_ESCAPES: ClassVar[list[str]] = ["'"]
    KEYWORDS: ClassVar[dict[str, TokenType]] = {**BaseTokenizer.KEYWORDS, "BYTES": TokenType.VARBINARY}


class FlinkParser(BaseParser):
    """Adds window table functions; knows no function by meaning."""

    FUNCTIONS: ClassVar[dict[str, Any]] = {}
    FUNC_TOKENS: ClassVar[Any] = BaseParser.FUNC_TOKENS | {TokenType.SESSION}
    NO_PAREN_FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
        "CASE": lambda self: self._parse_case(),
    }
    FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
        "CAST": lambda self: self._parse_cast(True),
        "TRY_CAST": lambda self: self._parse_cast(False, safe=True),
        "EXTRACT": lambda self: self._parse_extract(),
        "POSITION": lambda self: self._parse_position(),
        "TRIM": lambda self: self._parse_trim(),
        "SUBSTRING": lambda self: self._parse_flink_substring(),
        "CEIL": lambda self: self._parse_to_unit("CEIL"),
        "FLOOR": lambda self: self._parse_to_unit("FLOOR"),
        **{name: (lambda self, name=name: self._parse_window_table(name)) for name in WINDOW_FUNCTIONS},
    }

    def _parse_flink_substring(self) -> exp.Expr:
        """SUBSTRING(x, 2, 3) and SUBSTRING(x FROM 2 FOR 3)."""
        arguments = self._parse_csv(self._parse_disjunction)
        if self._match(TokenType.FROM):
            arguments.append(self._required(self._parse_disjunction(), "a number"))
        if self._match(TokenType.FOR):
            arguments.append(self._required(self._parse_disjunction(), "a number"))
        return self.expression(exp.Anonymous(this="SUBSTRING", expressions=arguments))

    def _parse_to_unit(self, name: str) -> exp.Expr:
        """FLOOR(x) and FLOOR(ts TO MINUTE)."""
        arguments = self._parse_csv(self._parse_disjunction)
        if self._match_text_seq("TO"):
            arguments.append(TimeUnit(this=(self._parse_var(any_token=True) or exp.Var(this="")).name.upper()))
        return self.expression(exp.Anonymous(this=name, expressions=arguments))

    def _parse_window_table(self, kind: str) -> exp.Expr:
        arguments: dict[str, exp.Expr] = {}
        partition: list[exp.Expr] = []
        names = iter(_PARAMETERS[kind])
        while True:
            name = self._parameter_name() or next((one for one in names if one not in arguments), "")
            if name not in _PARAMETERS[kind] or name in arguments:
                self.raise_error(f"{kind} takes {', '.join(_PARAMETERS[kind])}, each once")
            arguments[name] = self._window_argument(name)
            if name == "DATA":
                partition = self._partition_columns()
            if not self._match(TokenType.COMMA):
                break
        missing = [name for name in _PARAMETERS[kind] if name not in arguments and name != "OFFSET"]
        if missing:
            self.raise_error(f"{kind} lacks {', '.join(missing)}")
        listed = [exp.PropertyEQ(this=exp.to_identifier(name), expression=value) for name, value in arguments.items()]
        return self.expression(WindowTable(kind=kind, arguments=listed, partition=partition))

    def _partition_columns(self) -> list[exp.Expr]:
        """`PARTITION BY a, b`, which ends where the next argument begins."""
        columns: list[exp.Expr] = []
        if not self._match(TokenType.PARTITION_BY):
            return columns
        while True:
            columns.append(self._required(self._parse_column(), "a column"))
            index = self._index
            if not self._match(TokenType.COMMA):
                return columns
            if self._curr.text.upper() == "DESCRIPTOR" or (self._next and self._next.token_type == TokenType.FARROW):
                self._retreat(index)
                return columns

    def _parameter_name(self) -> str:
        """`SIZE =>`; nothing where the argument stands by place."""
        if self._next and self._next.token_type == TokenType.FARROW:
            name = self._curr.text.upper()
            self._advance(2)
            return name
        return ""

    def _window_argument(self, name: str) -> exp.Expr:
        if name == "DATA":
            if not self._match(TokenType.TABLE):
                self.raise_error("expected TABLE and the name of an input")
            return self._required(self._parse_table_parts(), "the name of an input")
        if name == "TIMECOL":
            if not self._match_text_seq("DESCRIPTOR"):
                self.raise_error("expected DESCRIPTOR(event time column)")
            columns: list[exp.Expr] = self._parse_wrapped_csv(self._parse_column)
            if len(columns) != 1:
                self.raise_error("DESCRIPTOR takes one column")
            return columns[0]
        return self._required(self._parse_interval(), "an INTERVAL such as INTERVAL '1' MINUTE")

    def _required(self, node: exp.Expr | None, what: str) -> exp.Expr:
        if node is None:
            self.raise_error(f"expected {what}")
        assert node is not None
        return node


class Flink(Dialect):
    """Flink SQL, as far as it is read here."""

    NULL_ORDERING = "nulls_are_small"
    Tokenizer = FlinkTokenizer
    Parser = FlinkParser


@lru_cache(maxsize=64)
def parse_query(sql: str) -> exp.Select:
    """The one SELECT of a query; a trailing `;` may stand. InvalidQueryError says the place.

    A declaration's query is read many times, by its checks, by planning and at each start: all share one tree and change nothing in it.
    """
    if len(sql) > MAX_QUERY_LENGTH:
        raise InvalidQueryError(f"the query is longer than {MAX_QUERY_LENGTH:,} characters", next_step="shorten it")
    _must_be_a_query(sql)
    try:
        statements = [
            one for one in sqlglot.parse(sql, dialect=Flink) if one is not None and not isinstance(one, exp.Semicolon)
        ]
    except (SqlglotError, RecursionError) as error:
        raise _syntax_error(sql, error) from error
    if len(statements) > 1:
        raise refuse(sql, statements[1], "more than one statement", "write one SELECT")
    return _one_select(sql, statements[0])


def _must_be_a_query(sql: str) -> None:
    try:
        tokens = Flink().tokenize(sql)
    except SqlglotError as error:
        raise _syntax_error(sql, error) from error
    if not tokens or all(one.token_type == TokenType.SEMICOLON for one in tokens):
        raise InvalidQueryError("the query is empty", where="line 1, column 1", next_step="write one SELECT")
    if tokens[0].token_type not in (TokenType.SELECT, TokenType.WITH, TokenType.L_PAREN):
        reason = f"{tokens[0].text.upper()} is not a query"
        where = place_at(sql, tokens[0].start)
        raise InvalidQueryError(reason, where=where, next_step="write one SELECT over declared inputs")


def normalised(sql: str) -> str:
    """The query's words: comments, lay-out, the trailing `;` and the case of keywords make no difference."""
    words = [
        token.text
        if token.token_type in (TokenType.VAR, TokenType.IDENTIFIER)
        else f"'{token.text}'"
        if token.token_type == TokenType.STRING
        else token.text.upper()
        for token in Flink().tokenize(sql)
        if token.token_type != TokenType.SEMICOLON
    ]
    return " ".join(words)


def _one_select(sql: str, statement: exp.Expr) -> exp.Select:
    while isinstance(statement, exp.Subquery) and not statement.args.get("joins"):
        statement = statement.this
    if isinstance(statement, exp.SetOperation):
        name = type(statement).__name__.upper()
        raise refuse(sql, statement, f"{name} of queries is not supported", "give each SELECT a finetuner of its own")
    if not isinstance(statement, exp.Select):
        raise refuse(sql, statement, "not a SELECT", "write one SELECT over declared inputs")
    return statement


def _syntax_error(sql: str, error: Exception) -> InvalidQueryError:
    details: list[dict[str, Any]] = getattr(error, "errors", [])
    if details and details[0].get("line"):
        first = details[0]
        line, end, width = int(first["line"]), int(first["col"]), len(str(first["highlight"] or ""))
        description = str(first["description"]).rstrip(".")
        if not description[:2].isupper():
            description = description[:1].lower() + description[1:]
        reason = f"{description}, near {str(first['highlight'])!r}"
        return InvalidQueryError(
            reason, where=f"line {line}, column {max(1, end - width + 1)}", next_step="correct the syntax"
        )
    if isinstance(error, RecursionError):
        return InvalidQueryError("the query is nested too deeply", where="line 1, column 1", next_step="simplify it")
    return InvalidQueryError(str(error).splitlines()[0], where=place_at(sql, 0), next_step="correct the syntax")
