"""A business number as Meta shows it."""

from aiohttp import web

from .media import refusal
from .simulator import Simulator

USUAL = (
    'verified_name',
    'display_phone_number',
    'quality_rating',
    'platform_type',
    'throughput',
    'id',
)


def show(simulator: Simulator, phone_number_id: str, asked: str | None) -> web.Response:
    """The fields of a number that are asked for; one that is not known spoils them all."""
    known = facts(simulator, phone_number_id)
    wanted = [*asked.split(','), 'id'] if asked else USUAL
    for name in wanted:
        if name not in known or name in simulator.config.unknown_fields:
            return refusal(100, f'Tried accessing nonexisting field ({name})')
    return web.json_response({name: known[name] for name in wanted})


def facts(simulator: Simulator, phone_number_id: str) -> dict:
    """All that there is to say; `number_facts` say otherwise."""
    number = simulator.number(phone_number_id)
    usual = {
        'verified_name': 'Simulated business',
        'display_phone_number': number.display_phone_number,
        'quality_rating': 'GREEN',
        'platform_type': 'CLOUD_API',
        'throughput': {'level': 'STANDARD'},
        'status': 'CONNECTED',
        'name_status': 'APPROVED',
        'code_verification_status': 'VERIFIED',
        'account_mode': 'LIVE',
        'whatsapp_business_manager_messaging_limit': 'TIER_2K',
        'health_status': {'can_send_message': 'AVAILABLE', 'entities': []},
        'webhook_configuration': {'application': number.webhook_url},
        'id': phone_number_id,
    }
    return usual | simulator.config.number_facts
