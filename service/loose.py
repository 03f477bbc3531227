"""Pure: looking into JSON that may have any shape, without ever raising."""

from service.webhook_events import as_dict


def as_text(value):
    """Text, or a number as text; '' for everything else."""
    if isinstance(value, str):
        return value if value.strip() else ''
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ''


def text_at(content, *path):
    """The text at a path of keys, '' where there is none."""
    return as_text(inside(content, *path))


def inside(content, *path):
    for name in path:
        content = as_dict(content).get(name)
    return content


def objects(value):
    """The objects in what should be a list of them."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def joined(separator, *parts):
    return separator.join(part for part in parts if part)
