"""What the models share: a json column, and how a row is found."""

import json
from typing import Any, Self

from peewee import Model, TextField

from service.runtime.db import db
from service.runtime.errors import NotFound


class JSON(TextField):
    """A json column: psycopg2 gives it back parsed."""

    def db_value(self, value: object) -> str | None:
        return None if value is None else json.dumps(value)

    def python_value(self, value: Any) -> Any:
        return value


class Row(Model):
    """A table with an id of ours."""

    NOUN: str | None = None
    id: Any  # each table names its own column

    class Meta:
        database = db

    @classmethod
    def find(cls, row_id: str) -> Self:
        row = cls.get_or_none(cls.id == row_id)
        if row is None:
            raise NotFound(f'There is no such {cls.NOUN}.')
        return row
