"""Examples of requests for the OpenAPI document; the suite sends each of them."""

CUSTOMER = '+12025550143'
MESSAGES = {
    'text': {
        'chatbot_id': 'acme',
        'to': CUSTOMER,
        'type': 'text',
        'text': {'body': 'Your order is ready'},
        'client_reference': 'order-17',
    },
    'image': {
        'chatbot_id': 'acme',
        'to': CUSTOMER,
        'type': 'image',
        'image': {'link': 'https://example.com/kayak.jpg', 'caption': 'The blue one'},
    },
    'buttons': {
        'chatbot_id': 'acme',
        'to': CUSTOMER,
        'type': 'interactive',
        'interactive': {
            'type': 'button',
            'body': {'text': 'Shall we deliver it?'},
            'action': {
                'buttons': [
                    {'type': 'reply', 'reply': {'id': 'yes', 'title': 'Yes'}},
                    {'type': 'reply', 'reply': {'id': 'no', 'title': 'I collect it'}},
                ]
            },
        },
    },
    'template': {
        'chatbot_id': 'acme',
        'to': CUSTOMER,
        'type': 'template',
        'template': {
            'name': 'order_ready',
            'language': {'code': 'en_US'},
            'components': [
                {
                    'type': 'body',
                    'parameters': [
                        {'type': 'text', 'text': 'Ines'},
                        {'type': 'text', 'text': 'A-17'},
                    ],
                }
            ],
        },
    },
}
BULK = {
    'a text to two': {
        'chatbot_id': 'acme',
        'message': {'text': {'body': 'Hello {{name}}, your order is ready'}},
        'recipients': [
            {'to': CUSTOMER, 'parameters': {'name': 'Ines'}},
            {'to': '+12025550144', 'parameters': {'name': 'Ben'}, 'client_reference': 'order-18'},
        ],
    }
}
ACCOUNTS = {
    'a new account': {
        'chatbot_id': 'acme',
        'phone_number_id': '300155500044477',
        'waba_id': '880011223344557',
        'access_token': 'EAAB',
        'name': 'Acme support',
        'responder': {'kind': 'none'},
    },
    'slower from now on': {'chatbot_id': 'acme', 'max_mps': 20},
}
TEMPLATES = {
    'a template with two variables': {
        'chatbot_id': 'acme',
        'name': 'order_ready',
        'language': 'en_US',
        'category': 'UTILITY',
        'components': [
            {
                'type': 'BODY',
                'text': 'Hello {{1}}, your order {{2}} is ready.',
                'example': {'body_text': [['Ines', 'A-17']]},
            }
        ],
    }
}
SYNC = {'those of an account': {'chatbot_id': 'acme'}}
READ = {'and show that we write': {'typing': True}}
PAUSE = {'for half an hour': {'minutes': 30, 'assignee': 'maria'}, 'until resumed': {}}
RESUME = {'and answer what was written meanwhile': {'answer': True}}
KEYS = {
    'a shop that sends and reads': {
        'name': 'Shop',
        'chatbot_ids': ['acme'],
        'scopes': ['send', 'read'],
    },
}
ENDPOINTS = {
    'events of a chatbot': {
        'url': 'https://platform.example/hook',
        'chatbot_id': 'acme',
        'types': ['message.received', 'message.status'],
        'description': 'the shop',
    },
    'what Meta posts': {
        'url': 'https://platform.example/meta',
        'kind': 'relay',
        'chatbot_id': 'acme',
        'secret': '0123456789abcdef0123456789abcdef',
    },
}
ENDPOINT_CHANGES = {'all types from now on': {'types': None}}
REPLAY = {'since noon': {'since': '2026-11-22T12:00:00Z'}}
GRAPH_MESSAGES = {
    'text': {
        'messaging_product': 'whatsapp',
        'to': CUSTOMER,
        'type': 'text',
        'text': {'body': 'Your order is ready'},
    }
}
