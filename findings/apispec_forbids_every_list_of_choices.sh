#!/bin/sh
# apispec 6.10.1 with marshmallow 4.4.0, OpenAPI 3.1: a list of choices is described so that no list fits.
#
# fields.List(fields.Str(), validate=ContainsOnly(choices)), say of the kinds of events that an endpoint wants to hear,
# takes each list that is made of the choices. apispec puts them beside `type: array` as the `enum` of the whole, for it
# knows the validator by its attribute `choices` alone, like OneOf: a value would have to be a list and one of the words
# at once. Who goes by the document (a gateway that validates, a generated client, tests made of it) then refuses what
# the service takes. OneOf for the list's items checks the same, and is described rightly.
# Of the same kind, the other way about: Range(min=0, min_inclusive=False) becomes `minimum: 0`, and 0 is refused.
#
# Prints what each side says. Exits with 1 when apispec describes them otherwise.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check apispec==6.10.1 marshmallow==4.4.0 jsonschema==4.25.1
"$folder/venv/bin/python" - <<'END'
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from jsonschema import Draft202012Validator
from marshmallow import Schema, fields
from marshmallow.validate import ContainsOnly, OneOf, Range

KINDS = ['message.received', 'message.status']


class Endpoint(Schema):
    events = fields.List(fields.Str(), validate=ContainsOnly(KINDS))
    events_by_item = fields.List(fields.Str(validate=OneOf(KINDS)))
    seconds = fields.Int(validate=Range(min=0, min_inclusive=False))


spec = APISpec('Endpoints', '1', '3.1.0', plugins=[MarshmallowPlugin()])
spec.components.schema('Endpoint', schema=Endpoint)
properties = spec.to_dict()['components']['schemas']['Endpoint']['properties']
found = set()
for name, value in [(name, list(events)) for name in ('events', 'events_by_item')
                    for events in ((), KINDS[:1], KINDS, ['order.paid'])] + [('seconds', 0), ('seconds', 1)]:
    taken = not Endpoint().validate({name: value})
    described = Draft202012Validator(properties[name]).is_valid(value)
    print(f'{name:15}{value!s:40} marshmallow: {taken!s:6} the document: {described}')
    if taken != described:
        found.add((name, str(value)))
print('the document:', properties['events'], properties['seconds'])
raise SystemExit(found != {('events', '[]'), ('events', str(KINDS[:1])), ('events', str(KINDS)), ('seconds', '0')})
END
