"""What the models share: a json column, and how a row is found."""

import json
from typing import Any, Self

import peewee

from service.runtime.db import db
from service.runtime.errors import NotFound


def columns_of(model: type[peewee.Model], alias: str) -> str:
    """The columns that a model knows, in SQL: of its table under an alias."""
    return ', '.join(f'{alias}.{name}' for name in model._meta.sorted_field_names)


class JSON(peewee.TextField):
    """A json column; psycopg2 reads it as parsed JSON."""

    def db_value(self, value: object) -> str | None:
        return None if value is None else json.dumps(value)

    def python_value(self, value: Any) -> Any:
        return value


class Model(peewee.Model):
    """A table whose rows have an id."""

    NOUN: str | None = None  # what an answer calls such a row
    id: Any  # each table names its own column

    class Meta:
        database = db

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> Self:
        """The row of a query with columns_of(): Peewee would set one field after the other."""
        self = cls(__no_default__=True)
        self.__data__.update(row)
        return self

    @classmethod
    def find(cls, row_id: str) -> Self:
        """The row with this id. Raises NotFound."""
        row = cls.get_or_none(cls.id == row_id)
        if row is None:
            raise NotFound(cls.missing())
        return row

    @classmethod
    def missing(cls) -> str:
        """What an answer says of an id that no row has."""
        return f'There is no such {cls.NOUN}.'
