// What the business may say, as commands to copy: one of each kind that the customer can answer here.

const reply = (id, title) => ({type: 'reply', reply: {id, title}});
const asks = (type, words, action) => ({type: 'interactive', interactive: {type, body: {text: words}, action}});
const EXAMPLES = {
  'Text': {type: 'text', text: {body: 'Hello'}},
  'Buttons': asks('button', 'Shall we keep it for you?', {buttons: [reply('yes', 'Yes, please'), reply('no', 'No, thanks')]}),
  'List': asks('list', 'When will you come?', {button: 'Pick a day', sections: [{title: 'This week',
    rows: [{id: 'sat', title: 'Saturday', description: '9 to 18'}, {id: 'sun', title: 'Sunday'}]}]}),
  'Link': asks('cta_url', 'All our boats', {name: 'cta_url', parameters: {display_text: 'Open the shop', url: 'https://example.com'}}),
  'Location': {type: 'location', location: {latitude: 38.7077, longitude: -9.1366, name: 'Our dock', address: 'Rua do Cais 7'}},
  'Ask for a location': asks('location_request_message', 'Where are you?', {name: 'send_location'}),
  'Ask for the number': asks('request_contact_info', 'May we call you?', {name: 'request_contact_info'}),
  'Product': asks('product', 'This one?', {catalog_id: '9', product_retailer_id: 'kayak-blue'}),
  'Template': {type: 'template', template: {name: 'order_ready', language: {code: 'en_US'},
    components: [{type: 'body', parameters: [{type: 'text', text: 'Ines'}, {type: 'text', text: 'A17'}]}]}},
};

$('#curl select').append(...Object.keys(EXAMPLES).map((name) => element('option', {}, name)));

function drawCurl() {
  const gateway = business.gateway_url || text(business.webhook_url).replace(/\/whatsapp-cloud\/.*$/, '') || 'http://127.0.0.1:8000';
  const to = me.hide_phone ? `"recipient": "${business.user_id}"` : `"to": "+${me.wa_id}"`;
  const message = JSON.stringify(EXAMPLES[$('#curl select').value]).slice(1).replaceAll('":', '": ').replaceAll(',"', ', "').replaceAll('},{', '}, {');
  $('#curl pre').textContent = `curl ${gateway}/whatsapp-cloud/send \\\n  -H 'Authorization: Bearer ${business.api_key || '$API_KEY'}' \\\n`
    + `  -H 'Content-Type: application/json' \\\n  -d '{"chatbot_id": "demo", ${to},\n       ${message}'`;
}

$('#curl select').onchange = drawCurl;
$('#curl > .choice button').onclick = () => navigator.clipboard?.writeText($('#curl pre').textContent);
