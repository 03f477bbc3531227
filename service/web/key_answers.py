"""What the API answers about API keys."""

from service.accounts.api_key import SCOPES
from service.web.answer_fields import Answer, identifier, many, moment, page_of, string, word


class ApiKey(Answer):
    """A key that sees some chatbots alone. The key itself never comes out again."""

    id = identifier()
    name = string(example='Shop')
    last4 = string('The last four characters of the key.', example='x7Qd')
    chatbot_ids = many(string(example='acme'))
    scopes = many(word(*SCOPES))
    expires_at = moment('null: never.', null=True)
    last_used_at = moment('To the hour.', null=True)
    created_at = moment()


class NewApiKey(ApiKey):
    """A key that was just made."""

    key = string('The key, which is shown this once.', example='wak_…')


ApiKeyPage = page_of(ApiKey)
