// Messages that want an answer: buttons, lists, forms, products, templates. Each button sends what WhatsApp would send.

function action(title, does, symbol) {
  const button = element('button', {type: 'button', className: 'action', onclick: does}, symbol ? icon(symbol) : null, text(title));
  button.disabled = !does;
  return button;
}

const webAction = (title, address) => Object.assign(link(address, icon('out'), text(title)), {className: 'action'});

function interactive(body, act, entry) {
  const reply = body[body.type];
  switch (body.type) {
    case 'button_reply':
    case 'list_reply':
      return [paragraph(reply.title), paragraph(reply.description, 'footer')];
    case 'nfm_reply':
      return [label(reply.name === 'address_message' ? 'Address' : 'Form'), answers(reply)];
    case 'call_permission_reply':
      return [paragraph(reply.response === 'accept' ? 'You may call me' : 'Please do not call me'),
        paragraph(reply.is_permanent ? 'always' : reply.expiration_timestamp ? `until ${day(reply.expiration_timestamp)}` : '', 'footer')];
    default:
      return [headed(body), ...choices(body, act, entry)];
  }
}

function answers(reply) {
  const given = JSON.parse(reply.response_json);
  const rows = Object.entries(given.values || given).filter(([name]) => name !== 'flow_token');
  return element('dl', {}, ...rows.flatMap(([name, value]) => [element('dt', {}, words(name)),
    element('dd', {}, typeof value === 'object' ? JSON.stringify(value) : text(value))]));
}

function headed(body) {
  return element('div', {}, ...heading(body.header), paragraph(body.body?.text), paragraph(body.footer?.text, 'footer'));
}

function heading(header) {
  if (!header) return [];
  if (header.type === 'text') return [element('p', {className: 'title'}, ...rich(header.text))];
  return BODIES[header.type] ? BODIES[header.type](header[header.type] || {}) : [];
}

// What can be chosen below the text.
function choices(body, act, entry) {
  const wanted = body.action || {}, parameters = wanted.parameters || {};
  const send = (type, one) => () => act({type: 'interactive', interactive: {type, [type]: one}}, entry.id);
  switch (body.type) {
    case 'button':
      return (wanted.buttons || []).map((one) => one.reply || one.quick_reply).map((reply) => action(reply.title, send('button_reply', reply)));
    case 'list':
      return [action(wanted.button || 'Choose', () => act.pick(wanted.button, wanted.sections || [],
        (row) => send('list_reply', {id: row.id, title: row.title, ...(row.description ? {description: row.description} : {})})()), 'list')];
    case 'cta_url':
      return [webAction(parameters.display_text || parameters.url, parameters.url)];
    case 'flow':
      return [action(parameters.flow_cta || 'Open', () => act.fill(parameters.flow_cta, parameters.flow_token, entry.id))];
    case 'product':
      return [goods([{product_retailer_id: wanted.product_retailer_id}]),
        action('View item', () => act.order('Order', wanted.catalog_id, [{product_items: [wanted]}], entry.id))];
    case 'product_list':
      return [goods((wanted.sections || []).flatMap((section) => section.product_items || [])),
        action('View items', () => act.order('Order', wanted.catalog_id, wanted.sections || [], entry.id))];
    case 'catalog_message':
      return [action('View catalog', () => act.order('Catalog', parameters.catalog_id || 'catalog', [{product_items: sample(parameters)}], entry.id))];
    case 'carousel':
      return [carousel((wanted.cards || []).map((one) => [headed(one), ...choices({...one, type: kindOf(one)}, act, entry)]))];
    case 'location_request_message':
      return [action('Send location', () => act.place(entry.id), 'pin')];
    case 'address_message':
      return [action('Provide address', () => act.address(parameters, entry.id), 'pin')];
    case 'call_permission_request':
      return [action('Allow calls', () => act.permit(entry.id), 'handset'),
        action('Do not allow', send('call_permission_reply', {response: 'reject', response_source: 'user_action'}))];
    case 'voice_call':
      return [action(parameters.display_text || 'Call', null, 'handset')]; // a call is no message
    case 'request_contact_info':
      return [action('Share my number', () => act(act.myCard(), entry.id), 'person')];
    default:
      return [unknown(body.type, wanted)];
  }
}

// A catalog is Meta's to know: the stand-in has three things in it.
const sample = (parameters) => [parameters.thumbnail_product_retailer_id, 'item-1', 'item-2', 'item-3'].filter(Boolean)
  .map((id) => ({product_retailer_id: id})).slice(0, 3);

const kindOf = (one) => (one.action?.buttons ? 'button' : one.action?.product_retailer_id ? 'product' : one.type || one.action?.name);

const carousel = (cards) => element('div', {className: 'cards', tabIndex: 0, role: 'group', ariaLabel: 'Cards'},
  ...cards.map((parts) => element('div', {className: 'card'}, ...parts.filter(Boolean))));

// --- Products --------------------------------------------------------------------------------------------------------

// The price of a thing that only a catalog knows: made up, but always the same.
const price = (id) => [...text(id)].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 9000, 7) / 100 + 5;
const money = (amount, currency) => `${Number(amount).toFixed(2)} ${text(currency)}`;

const thing = (id, ...more) => element('div', {className: 'thing'}, element('span', {className: 'thumb', ariaHidden: 'true'}, initial(id)),
  element('span', {}, element('b', {}, text(id)), ...more));

function goods(items) {
  const shown = items.slice(0, 3).map((one) => thing(one.product_retailer_id, element('small', {}, money(price(one.product_retailer_id), 'USD'))));
  const rest = items.length - shown.length;
  return element('div', {className: 'goods'}, ...shown, rest > 0 ? element('small', {}, `and ${rest} more`) : null);
}

function order(body) {
  const items = body.product_items || [];
  const total = items.reduce((sum, one) => sum + Number(one.quantity) * Number(one.item_price), 0);
  return [label('Order'), element('div', {className: 'goods'}, ...items.map((one) =>
    thing(one.product_retailer_id, element('small', {}, `${text(one.quantity)} × ${money(one.item_price, one.currency)}`)))),
  paragraph(`Total ${money(total, items[0]?.currency)}`, 'title'), paragraph(body.text)];
}

// --- Templates -------------------------------------------------------------------------------------------------------

// Filled in by the stand-in if it knows the template; else its parameters are all that there is to show.
function template(body, act, entry) {
  const name = label(`Template ${text(body.name)} · ${text(body.language?.code)}`);
  const rendered = entry.message.rendered;
  return rendered ? [name, ...parts(rendered, act, entry)] : [name, ...given(body, act, entry)];
}

function parts(one, act, entry) {
  return [...heading(one.header), paragraph(one.body), paragraph(one.footer, 'footer'),
    ...(one.buttons || []).map((button) => templateButton(button, act, entry)),
    one.cards?.length ? carousel(one.cards.map((inner) => parts(inner, act, entry))) : null];
}

function templateButton(button, act, entry) {
  switch (button.type) {
    case 'quick_reply':
      return action(button.text, () => act({type: 'button', button: {payload: button.payload, text: button.text}}, entry.id), 'reply');
    case 'url':
      return webAction(button.text, button.url);
    case 'copy_code':
    case 'otp':
      return action(`${button.text}${button.code ? ` · ${button.code}` : ''}`, () => navigator.clipboard?.writeText(text(button.code)), 'page');
    case 'flow':
      return action(button.text, () => act.fill(button.text, button.flow_token, entry.id));
    case 'catalog':
    case 'mpm':
    case 'spm':
      return action(button.text, () => act.order('Catalog', 'catalog', [{product_items: sample({})}], entry.id));
    case 'request_contact_info':
      return action(button.text, () => act(act.myCard(), entry.id), 'person');
    default: // a phone number to call, and what Meta may add
      return action(button.text, null, 'handset');
  }
}

function given(body, act, entry) {
  const components = body.components || [];
  const said = components.filter((part) => text(part.type).toLowerCase() !== 'button')
    .flatMap((part) => part.parameters || []).map((one) => text(one.text ?? one.payload ?? one.type)).join(' · ');
  const buttons = components.filter((part) => text(part.sub_type).toLowerCase() === 'quick_reply').map((part) => {
    const payload = text(part.parameters?.[0]?.payload) || `button ${text(part.index)}`;
    return templateButton({type: 'quick_reply', text: payload, payload}, act, entry);
  });
  return [paragraph(said), ...buttons];
}
