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
  __proto__: null,
  text: (body) => [paragraph(body.body)],
  image: (body) => [picture(body, 'Picture'), paragraph(body.caption)],
  sticker: (body) => [picture(body, 'Sticker', 'sticker')],
  video: (body) => [player('video', body), paragraph(body.caption)],
  audio: (body) => [body.voice ? voice(body) : player('audio', body)],
  document: (body) => [file('Document', body), paragraph(body.caption)],
  location: (body) => [place(body)],
  contacts: (cards) => cards.map(card),
  button: (body) => [paragraph(body.text)],
  interactive: interactive,
  template: template,
  order: order,
  unsupported: (body) => [paragraph(`The business only learns that there was something: ${words(body.type)}`, 'footer')],
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

const words = (value) => text(value).replaceAll('_', ' ');

// `blob` is a file of this page's own that is not sent yet: shown, and not linked to, for it would be trusted like the page.
const isBlob = (body) => text(body.blob).startsWith('blob:');
const source = (body) => isBlob(body) ? body.blob : (body.id ? `/phone/media/${encodeURIComponent(body.id)}` : isWeb(body.link) ? body.link : null);

function picture(body, name, className = 'picture') {
  const address = source(body);
  if (!address) return file(name, body);
  const image = element('img', {src: address, alt: text(body.caption) || name, referrerPolicy: 'no-referrer'});
  const frame = element('div', {className}, image);
  image.onerror = () => frame.replaceWith(file(name, body));
  return frame;
}

function player(tag, body) {
  const address = source(body);
  if (!address) return file(tag === 'video' ? 'Video' : 'Audio', body);
  const made = element(tag, {src: address, controls: true, preload: 'metadata'});
  made.onerror = () => made.replaceWith(file(tag === 'video' ? 'Video' : 'Audio', body));
  return made;
}

const voice = (body) => element('div', {className: 'voice', title: 'Voice message'}, icon('microphone'), player('audio', body));

function file(name, body) {
  const shown = text(body.filename) || text(body.link) || (body.id ? `id ${text(body.id)}` : '');
  const address = source(body), box = {className: 'file'};
  const content = [icon('page'), element('span', {}, element('b', {}, shown || name), element('small', {}, shown ? name : ''))];
  return address && !isBlob(body) ? element('a', {...box, href: address, target: '_blank', rel: 'noopener noreferrer'}, ...content)
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
  const name = text(contact.name?.formatted_name) || 'Contact';
  const lines = [...(contact.phones || []).map((one) => one.phone || one.wa_id), ...(contact.emails || []).map((one) => one.email),
    contact.org?.company].map(text).filter(Boolean);
  return element('div', {className: 'file'}, element('span', {className: 'avatar small', ariaHidden: 'true'}, initial(name)),
    element('span', {}, element('b', {}, name), element('small', {}, lines.join(', '))));
}

const initial = (name) => [...text(name).trim().toUpperCase()][0] || '?';

// One line for a quote: the text, or what kind of thing it was.
function summary(entry) {
  const body = entry.message[entry.type] || {};
  const said = text(body.body?.text ?? body.body ?? (body.caption || body.filename) ?? body.text ?? body[body.type]?.title
    ?? entry.message.rendered?.body) || words(entry.type);
  return said.replace(MARKS, (whole, ...groups) => groups.slice(0, 4).find(Boolean) || whole);
}
