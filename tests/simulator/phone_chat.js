// The conversation as it is drawn: bubbles, quotes, reactions, changes, and the ticks of both directions.

const $ = (selector) => document.querySelector(selector);
const [scroll, list, calls] = [$('#scroll'), $('#messages'), $('#calls')];
const STATUSES = ['sent', 'delivered', 'read'];
const EMOJIS = ['👍', '❤️', '😂', '😮', '😢', '🙏'];
const CALLS = 100, TYPING = 25_000;
// What is shown at the message that it is about, and on its own only when that is not here.
const ABOUT = {
  __proto__: null,
  reaction: (body) => [body.message_id, body.emoji ? `Reaction ${body.emoji}` : 'Reaction taken back'],
  edit: (body) => [body.original_message_id, 'An earlier message was edited'],
  revoke: (body) => [body.original_message_id, 'An earlier message was deleted'],
};

const entries = new Map(); // wamid -> entry, in the order they came
let me = remembered(), business = {}, stream = null, typingTimer = 0, lastDay = '';

function remembered() {
  const asked = new URLSearchParams(location.search);
  const kept = JSON.parse(localStorage.getItem('me') || '{}');
  const usual = {wa_id: '12025550143', name: 'Ines Okafor', username: '', hide_phone: false, stopped: []};
  return {...usual, ...kept, ...Object.fromEntries([...asked].filter(([key]) => typeof usual[key] === 'string'))};
}

// --- Drawing ---------------------------------------------------------------------------------------------------------

const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], {hour: '2-digit', minute: '2-digit'});
const day = (seconds) => new Date(seconds * 1000).toLocaleDateString([], {weekday: 'long', day: 'numeric', month: 'long'});

function redraw() {
  list.replaceChildren();
  lastDay = '';
  for (const entry of entries.values()) append(entry);
  $('#empty').hidden = entries.size > 0;
}

function append(entry) {
  if (day(entry.at) !== lastDay) list.append(element('li', {className: 'day'}, lastDay = day(entry.at)));
  list.append(bubble(entry));
  $('#empty').hidden = true;
}

// Only what can change is drawn anew: a film goes on playing, and the focus stays where it is.
function refresh(item, entry) {
  item.querySelector('.reported')?.replaceWith(reported(entry));
  item.querySelector('.tick')?.replaceWith(myTick(entry));
  item.querySelector('.trouble')?.remove();
  item.append(...[hasTick(entry) && trouble(entry)].filter(Boolean));
}

const hasTick = (entry) => entry.direction === 'inbound' || entry.echo;

function bubble(entry) {
  if (entry.refused) return note(entry, `Meta refused to send this: ${entry.refused.code} ${entry.refused.title}`, summary(entry));
  if (ABOUT[entry.type]) return aside(entry);
  if (entry.type === 'system') return note(entry, text(entry.message.system?.body));
  const mine = entry.direction === 'inbound', now = changed(entry);
  const box = element('div', {className: now.revoked ? 'bubble revoked' : 'bubble'}, entry.echo ? label("From the business's own phone") : null,
    quote(entry), ...now.revoked ? [paragraph(mine ? 'You deleted this message' : 'This message was deleted')] : bodyOf(now, act),
    element('span', {className: 'meta'}, now.edited && !now.revoked ? 'edited' : '',
      element('time', {dateTime: new Date(entry.at * 1000).toISOString()}, clock(entry.at)), hasTick(entry) ? myTick(entry) : null));
  const item = element('li', {className: mine ? 'mine' : 'theirs', id: entry.id},
    element('div', {className: 'line'}, box, now.revoked ? null : tools(entry)), reactions(entry),
    hasTick(entry) ? trouble(entry) : reported(entry));
  item.setAttribute('aria-label', `${mine ? 'You' : 'The business'}, ${clock(entry.at)}`);
  return item;
}

// The message as it is after the edits and the deletion of whoever wrote it.
function changed(entry) {
  const now = {...entry, edited: false, revoked: false};
  for (const other of entries.values()) {
    const about = ABOUT[other.type] && other.message[other.type]?.original_message_id === entry.id;
    if (!about || other.direction !== entry.direction || other.refused) continue;
    if (other.type === 'revoke') now.revoked = true;
    const newer = other.type === 'edit' && other.message.edit.message;
    if (newer?.type) Object.assign(now, {edited: true, type: newer.type, message: newer});
  }
  return now;
}

function note(entry, title, quoted) {
  return element('li', {className: 'note', id: entry.id}, icon('warning'), element('span', {}, title),
    element('small', {}, `${quoted ? `“${quoted.slice(0, 60)}” · ` : ''}${clock(entry.at)}`));
}

function aside(entry) {
  const [id, says] = ABOUT[entry.type](entry.message[entry.type] || {});
  return element('li', {className: 'note', id: entry.id, hidden: entries.has(id)}, element('span', {}, says));
}

// The last reaction of each side, by direction.
function reactionsTo(entry) {
  const last = new Map();
  for (const other of entries.values()) {
    const reaction = other.type === 'reaction' && !other.refused && other.message.reaction;
    if (reaction && reaction.message_id === entry.id) last.set(other.direction, reaction.emoji);
  }
  return last;
}

function reactions(entry) {
  const shown = [...reactionsTo(entry).values()].filter(Boolean);
  return shown.length ? element('span', {className: 'reactions', title: 'Reactions'}, shown.join(' ')) : null;
}

function quote(entry) {
  const id = entry.message.context?.message_id;
  if (!id) return null;
  const original = entries.get(id);
  const who = original ? (original.direction === 'inbound' ? 'You' : 'The business') : 'An earlier message';
  return element('blockquote', {}, element('b', {}, who), element('span', {}, original ? summary(changed(original)) : ''));
}

function myTick(entry) {
  const [name, title] = entry.gateway_status === null ? ['clock', 'on its way']
    : entry.gateway_status !== 200 ? ['warning', 'the gateway did not take it']
      : entry.read ? ['ticks', 'read by the business'] : ['tick', 'the gateway took it'];
  const mark = element('span', {className: `tick ${entry.read ? 'seen' : ''}`, title}, icon(name));
  mark.setAttribute('role', 'img');
  mark.setAttribute('aria-label', title);
  return mark;
}

function trouble(entry) {
  if (entry.gateway_status === null || entry.gateway_status === 200) return null;
  if (entry.refusal) return element('p', {className: 'trouble'}, icon('warning'), `Not sent: ${text(entry.refusal)}`);
  if (entry.unsent) return element('p', {className: 'trouble'}, icon('warning'), 'The simulator is away. This is sent when it is back.');
  const what = entry.gateway_status ? `answered ${entry.gateway_status}` : 'did not answer';
  return element('p', {className: 'trouble'}, icon('warning'), `The gateway ${what}. Like Meta, I go on trying.`);
}

// What Meta reported back; all three places are there from the start, so nothing moves when they light up.
function reported(entry) {
  const line = element('p', {className: 'reported'});
  const failed = entry.statuses.filter((status) => status.status === 'failed');
  const names = failed.length ? ['failed'] : [...new Set([...STATUSES, ...entry.statuses.map((status) => status.status)])];
  line.append(...names.map((name) => reportedOne(name, entry.statuses.filter((status) => status.status === name))));
  return line;
}

function reportedOne(name, reports) {
  const refused = reports.some((report) => report.gateway_status !== 200 && report.gateway_status !== 0);
  const shape = refused ? 'warning' : name === 'failed' ? 'cross' : name === 'sent' ? 'tick' : 'ticks';
  const more = name === 'failed' ? ` ${reports[0].code}` : reports.length > 1 ? ` ×${reports.length}` : '';
  const state = reports.length ? (refused ? 'refused' : 'on') : 'off';
  const made = element('span', {className: `${state} ${name}`}, icon(shape), name + more);
  made.title = !reports.length ? `${name}: not reported` : refused ? `${name}: the gateway did not take it` : `${name}: reported`;
  return made;
}

// --- What can be done with a message ---------------------------------------------------------------------------------

function tools(entry) {
  const reply = element('button', {type: 'button', className: 'icon', title: 'Reply', onclick: () => draft({quote: entry})}, icon('reply'));
  const more = element('button', {type: 'button', className: 'icon', title: 'More', onclick: ({currentTarget}) => about(entry, currentTarget)}, icon('more'));
  reply.setAttribute('aria-label', 'Reply to this message');
  more.setAttribute('aria-label', 'React and more');
  more.setAttribute('aria-haspopup', 'menu');
  return element('span', {className: 'tools'}, reply, more);
}

function about(entry, anchor) {
  const given = reactionsTo(entry).get('inbound');
  const react = (emoji) => act({type: 'reaction', reaction: {message_id: entry.id, ...(emoji === given ? {} : {emoji})}});
  const row = emojiRow(EMOJIS, (emoji) => [emoji === given ? `Take back ${emoji}` : `React with ${emoji}`, () => react(emoji)]);
  for (const button of row.children) {
    button.setAttribute('role', 'menuitemcheckbox');
    button.setAttribute('aria-checked', String(button.textContent === given));
  }
  const items = [['reply', 'Reply', () => draft({quote: entry})]];
  if (entry.direction === 'inbound' || entry.echo) {
    const now = changed(entry), as = {echo: entry.echo};
    if (now.type === 'text') items.push(['pen', 'Edit', () => draft({edit: now})]);
    items.push(['bin', 'Delete for everyone', () => act({type: 'revoke', revoke: {original_message_id: entry.id}}, null, as)]);
  }
  openMenu(anchor, 'This message', items, row);
}
