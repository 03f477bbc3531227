'use strict';
// From a message to the elements that show it. Data only ever becomes text nodes, attributes of ours, or checked links.

const SVG = 'http://www.w3.org/2000/svg';

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ''));
  return made;
}

function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  const use = document.createElementNS(SVG, 'use');
  svg.setAttribute('aria-hidden', 'true');
  svg.classList.add(`i-${name}`);
  use.setAttribute('href', `#${name}`);
  svg.append(use);
  return svg;
}

const text = (value) => (value === null || value === undefined ? '' : String(value));
const isWeb = (address) => /^https?:\/\//i.test(text(address));

function link(address, ...children) {
  if (!isWeb(address)) return element('span', {}, ...children);
  return element('a', {href: address, target: '_blank', rel: 'noopener noreferrer'}, ...children);
}

// WhatsApp's own marks: *bold*, _italic_, ~struck~, ```code```, and addresses become links.
const MARKS = /```([^`]+)```|(?<![\w*])\*([^*\n]+)\*(?![\w*])|(?<![\w_])_([^_\n]+)_(?![\w_])|(?<![\w~])~([^~\n]+)~(?![\w~])|(https?:\/\/[^\s<>"']+)/g;
const TAGS = [null, 'code', 'b', 'i', 's'];

function rich(value) {
  const whole = text(value), parts = [];
  let from = 0;
  for (const match of whole.matchAll(MARKS)) {
    parts.push(whole.slice(from, match.index), match[5] ? link(match[5], match[5]) : marked(match));
    from = match.index + match[0].length;
  }
  return [...parts, whole.slice(from)];
}

function marked(match) {
  const which = match.findIndex((group, at) => at > 0 && group !== undefined);
  return element(TAGS[which], {}, match[which]);
}

const paragraph = (value, className = 'text') => (text(value) ? element('p', {className}, ...rich(value)) : null);
const label = (value) => element('span', {className: 'kind'}, text(value));

// How each type looks; `act` is called with the inbound message that a button stands for.
const BODIES = {
  text: (body) => [paragraph(body.body)],
  image: (body) => [picture(body, 'Picture'), paragraph(body.caption)],
  sticker: (body) => [picture(body, 'Sticker')],
  video: (body) => [player('video', body), paragraph(body.caption)],
  audio: (body) => [player('audio', body)],
  document: (body) => [file('Document', body), paragraph(body.caption)],
  location: (body) => [place(body)],
  contacts: (cards) => cards.map(card),
  button: (body) => [paragraph(body.text)],
  interactive: interactive,
  template: template,
  order: (body) => [label('Order'), ...(body.product_items || []).map(product), paragraph(body.text)],
};

function bodyOf(entry, act) {
  const body = entry.message[entry.type];
  try {
    if (BODIES[entry.type] && body) return BODIES[entry.type](body, act, entry).filter(Boolean);
  } catch (error) {
    console.warn('shown as JSON:', error); // the gateway may send anything; the page has to survive it
  }
  return [unknown(entry.type, body)];
}

function unknown(type, body) {
  const json = element('pre', {}, JSON.stringify(body, null, 2) ?? '');
  return element('details', {className: 'raw'}, element('summary', {}, label(type)), json);
}

const source = (body) => (body.id ? `/phone/media/${encodeURIComponent(body.id)}` : isWeb(body.link) ? body.link : null);

function picture(body, name) {
  const address = source(body);
  if (!address) return file(name, body);
  const image = element('img', {src: address, alt: text(body.caption) || name, referrerPolicy: 'no-referrer'});
  const frame = element('div', {className: 'picture'}, image);
  image.onerror = () => frame.replaceWith(file(name, body));
  return frame;
}

function player(tag, body) {
  const address = source(body);
  return address ? element(tag, {src: address, controls: true, preload: 'metadata'}) : file(tag, body);
}

function file(name, body) {
  const shown = text(body.filename) || text(body.link) || (body.id ? `id ${body.id}` : '');
  const address = source(body);
  const content = [element('b', {}, name), element('small', {}, shown)];
  const box = {className: 'file'};
  return address ? element('a', {...box, href: address, target: '_blank', rel: 'noopener noreferrer'}, ...content)
    : element('span', box, ...content);
}

function place(body) {
  const where = `${text(body.latitude)}, ${text(body.longitude)}`;
  const map = element('span', {className: 'map', ariaHidden: 'true'}, element('i'));
  const address = `https://www.openstreetmap.org/?mlat=${encodeURIComponent(body.latitude)}&mlon=${encodeURIComponent(body.longitude)}`;
  return element('div', {className: 'place'}, map, element('b', {}, text(body.name) || 'Location'),
    element('small', {}, text(body.address)), link(address, where));
}

function card(contact) {
  const phones = (contact.phones || []).map((phone) => text(phone.phone || phone.wa_id)).join(', ');
  return element('div', {className: 'file'}, element('b', {}, text(contact.name?.formatted_name) || 'Contact'),
    element('small', {}, phones));
}

const product = (item) =>
  element('p', {className: 'text'}, `${text(item.quantity)} × ${text(item.product_retailer_id)} · ${text(item.item_price)} ${text(item.currency)}`);

function action(title, does) {
  return element('button', {type: 'button', className: 'action', onclick: does}, text(title));
}

function interactive(body, act, entry) {
  const reply = body[body.type];
  if (body.type === 'button_reply' || body.type === 'list_reply') {
    return [paragraph(reply.title), paragraph(reply.description, 'footer')];
  }
  if (body.type === 'nfm_reply') return [label('Form'), paragraph(reply.body), unknown('answers', reply.response_json)];
  return [headed(body), ...choices(body, act, entry)];
}

function headed(body) {
  const header = body.header || {};
  const top = header.type === 'text' ? [element('p', {className: 'title'}, ...rich(header.text))]
    : BODIES[header.type] ? BODIES[header.type](header[header.type] || {}) : [];
  return element('div', {}, ...top, paragraph(body.body?.text), paragraph(body.footer?.text, 'footer'));
}

function choices(body, act, entry) {
  const wanted = body.action || {};
  const send = (type, one) => () => act({type: 'interactive', interactive: {type, [type]: one}}, entry.id);
  switch (body.type) {
    case 'button':
      return (wanted.buttons || []).map(({reply}) => action(reply.title, send('button_reply', reply)));
    case 'list':
      return [action(wanted.button || 'Choose', () => act.pick(wanted.button, wanted.sections || [],
        (row) => send('list_reply', {id: row.id, title: row.title, ...(row.description ? {description: row.description} : {})})()))];
    case 'cta_url':
      return [Object.assign(link(wanted.parameters?.url, text(wanted.parameters?.display_text)), {className: 'action'})];
    case 'location_request_message':
      return [action('Send location', () => act({type: 'location', location: {latitude: 38.7223, longitude: -9.1393}}, entry.id))];
    case 'request_contact_info':
      return [action('Share my number', () => act(act.myCard(), entry.id))];
    default:
      return [unknown(body.type, wanted)];
  }
}

function template(body, act, entry) {
  const parts = body.components || [];
  const given = parts.filter((part) => text(part.type).toLowerCase() !== 'button')
    .flatMap((part) => part.parameters || []).map((one) => text(one.text ?? one.payload ?? one.type)).join(' · ');
  const shown = entry.message.rendered || given;
  const buttons = parts.filter((part) => text(part.sub_type).toLowerCase() === 'quick_reply').map((part) => {
    const payload = text(part.parameters?.[0]?.payload) || `button ${text(part.index)}`;
    return action(payload, () => act({type: 'button', button: {payload, text: payload}}, entry.id));
  });
  return [label(`Template ${text(body.name)} · ${text(body.language?.code)}`), paragraph(shown), ...buttons];
}

// One line for a quote: the text, or what kind of thing it was.
function summary(entry) {
  const body = entry.message[entry.type] || {};
  const said = text(body.body?.text ?? body.body ?? body.caption ?? body.text ?? body[body.type]?.title) || entry.type;
  return said.replace(MARKS, (whole, ...groups) => groups.slice(0, 4).find(Boolean) || whole);
}
