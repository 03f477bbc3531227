// What I write: the draft, the one menu, the dialogs that ask for what a message needs.

// --- The draft: beside its text, what it answers, changes or carries, and whose phone it is written on ----------------

const NOTHING = {quote: null, edit: null, file: null, echo: false};
let drafted = {...NOTHING};

// Editing stands alone; the rest goes together.
function draft(changes) {
  if (drafted.file && 'file' in changes) URL.revokeObjectURL(drafted.file.blob);
  drafted = changes.edit ? {...NOTHING, ...changes} : {...drafted, edit: null, ...changes};
  if (changes.edit) $('#text').value = text(changes.edit.message.text?.body);
  const {quote, edit, file: carried, echo} = drafted;
  $('#draft').replaceChildren(...[
    echo && draftLine('Written on the business’s own phone', 'Write as the customer again', {echo: false}, icon('handset')),
    edit && draftLine(`Edit: ${summary(edit)}`, 'Do not edit', {edit: null}, icon('pen')),
    quote && draftLine(summary(changed(quote)), 'Do not quote', {quote: null}, icon('reply')),
    carried && draftLine(carried.name, 'Do not send the file', {file: null}, preview(carried)),
  ].filter(Boolean));
  $('#draft').hidden = !$('#draft').children.length;
  $('#text').placeholder = carried ? 'Add a caption' : echo ? 'Message from the business' : 'Message';
  $('#composer').classList.toggle('echo', echo);
  grow();
  $('#text').focus();
}

function draftLine(shown, title, undo, symbol) {
  const cancel = element('button', {type: 'button', className: 'icon', title, onclick: () => { if (undo.edit === null) $('#text').value = ''; draft(undo); }}, icon('cross'));
  cancel.setAttribute('aria-label', title);
  return element('div', {className: 'carried'}, symbol, element('p', {}, text(shown)), cancel);
}

const preview = ({kind, blob}) => (kind === 'image' ? element('img', {src: blob, alt: ''}) : icon(kind === 'document' ? 'page' : 'picture'));

function send() {
  const body = $('#text').value.trim(), {quote, edit, file: carried, echo} = drafted;
  if (!body && !carried) return;
  $('#text').value = '';
  drafted = {...drafted, file: null}; // its address is needed until the message is shown
  draft({quote: null, edit: null});
  const as = {echo};
  if (carried) carry(carried, body, quote?.id, as);
  else if (edit) act({type: 'edit', edit: {original_message_id: edit.id, message: {type: 'text', text: {body}}}}, null, {echo: edit.echo});
  else act({type: 'text', text: {body}}, quote?.id, as);
}

function grow() {
  const field = $('#text');
  field.style.height = 'auto';
  field.style.height = `${Math.min(field.scrollHeight + 2, 140)}px`;
}

// --- Files -----------------------------------------------------------------------------------------------------------

const base64 = (blob) => new Promise((resolve) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result.split(',')[1]);
  reader.readAsDataURL(blob);
});

// Sound has no caption, so it goes at once.
function attach(chosen, kind) {
  const found = kind || ['image', 'video', 'audio'].find((one) => chosen.type.startsWith(`${one}/`)) || 'document';
  const carried = {kind: found, name: chosen.name, mime_type: chosen.type || 'application/octet-stream', data: chosen, blob: URL.createObjectURL(chosen)};
  if (found === 'audio') carry(carried, '', drafted.quote?.id, {echo: drafted.echo});
  else draft({file: carried});
}

async function carry({kind, name, mime_type, data, blob}, caption, contextId, as) {
  const shown = {...(caption ? {caption} : {}), ...(kind === 'document' ? {filename: name} : {}), ...(kind === 'audio' ? {voice: false} : {})};
  const body = {...shown, mime_type, data_base64: await base64(data)};
  act({type: kind, [kind]: body}, contextId, {...as, shown: {type: kind, [kind]: {...shown, blob}}});
}

function sticker(emoji) {
  const canvas = Object.assign(document.createElement('canvas'), {width: 512, height: 512}), brush = canvas.getContext('2d');
  Object.assign(brush, {font: '380px serif', textAlign: 'center', textBaseline: 'middle'});
  brush.fillText(emoji, 256, 276);
  const as = {echo: drafted.echo};
  canvas.toBlob((data) => carry({kind: 'sticker', mime_type: 'image/webp', data, blob: URL.createObjectURL(data)}, '', null, as), 'image/webp', 0.8);
}

// --- The menu --------------------------------------------------------------------------------------------------------

function menuButton(title, does, ...children) {
  const button = element('button', {type: 'button', title, onclick: () => { $('#menu').hidePopover(); does(); }}, ...children);
  button.setAttribute('aria-label', title);
  button.setAttribute('role', 'menuitem');
  return button;
}

// `choice`: emoji → its title and what it does.
function emojiRow(emojis, choice) {
  const row = element('div', {className: 'emojis'}, ...emojis.map((emoji) => menuButton(...choice(emoji), emoji)));
  row.setAttribute('role', 'group');
  row.setAttribute('aria-label', 'Emojis');
  return row;
}

function openMenu(anchor, title, items, first) {
  const menu = $('#menu');
  const rows = items.map(([symbol, name, does]) => {
    const row = menuButton(name, does, icon(symbol), element('span', {}, name));
    row.removeAttribute('title');
    return row;
  });
  menu.setAttribute('aria-label', title);
  menu.replaceChildren(...[first, ...rows].filter(Boolean));
  menu.showPopover({source: anchor});
  const {left, top, bottom} = anchor.getBoundingClientRect(), {width, height} = menu.getBoundingClientRect();
  const within = (value, most) => Math.max(8, Math.min(value, most - 8));
  menu.style.left = `${within(left, innerWidth - width)}px`;
  menu.style.top = `${within(top > height + 16 ? top - height - 6 : bottom + 6, innerHeight - height)}px`;
  menu.querySelector('button').focus();
}

$('#menu').onkeydown = (event) => {
  const buttons = [...$('#menu').querySelectorAll('button')], at = buttons.indexOf(document.activeElement);
  const step = {ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1}[event.key];
  const next = event.key === 'Home' ? 0 : event.key === 'End' ? buttons.length - 1 : step && (at + step + buttons.length) % buttons.length;
  if (next === undefined) return;
  event.preventDefault();
  buttons[next].focus();
};

const STICKERS = ['🛶', '🎉', '👋', '🐢', '🌞', '☕'];
const ATTACH = () => [
  ['picture', 'Photo, video or audio', () => choose('image/*,video/*,audio/*')],
  ['page', 'Document', () => choose('', 'document')],
  ['microphone', 'Voice message', () => act({type: 'audio', audio: {}}, null, {echo: drafted.echo})],
  ['smile', 'Sticker', () => openMenu($('#attach'), 'Sticker', [], emojiRow(STICKERS, (emoji) => [emoji, () => sticker(emoji)]))],
  ['pin', 'Location', () => act.place(null)],
  ['person', 'Contact', () => act.contact()],
  ['poll', 'Something unsupported', () => act({type: 'unsupported'}, null)],
  drafted.echo ? ['person', 'Write as the customer again', () => draft({echo: false})]
    : ['handset', 'Write on the business’s phone', () => draft({echo: true, edit: null})],
];

function choose(accept, kind) {
  const field = $('#file');
  field.accept = accept;
  field.onchange = () => { if (field.files[0]) attach(field.files[0], kind); field.value = ''; };
  field.click();
}

// --- Dialogs ---------------------------------------------------------------------------------------------------------

function ask(title, content, done) {
  const form = $('#picker form');
  $('#picker-title').textContent = text(title) || 'Choose';
  $('#picker .content').replaceChildren(...content);
  $('#picker .primary').hidden = !done;
  form.onsubmit = () => done?.(Object.fromEntries(new FormData(form)));
  $('#picker').showModal();
}

function fieldFor([name, title, value, more]) {
  return element('label', {}, `${title} `, element('input', {name, value: text(value), required: true, ...more}));
}

act.pick = (title, sections, does) => ask(title, sections.flatMap((section) => [
  section.title ? element('h3', {}, text(section.title)) : null,
  ...(section.rows || []).map((row) => element('button', {type: 'button', className: 'row', onclick: () => { $('#picker').close(); does(row); }},
    element('b', {}, text(row.title)), element('small', {}, text(row.description)))),
]).filter(Boolean));

act.place = (contextId) => ask('Location', [['name', 'Name', 'Harbour office'], ['address', 'Address', 'Rua do Cais 7, Lisboa'],
  ['latitude', 'Latitude', '38.7077', {inputMode: 'decimal', pattern: '-?[0-9.]+'}],
  ['longitude', 'Longitude', '-9.1366', {inputMode: 'decimal', pattern: '-?[0-9.]+'}]].map(fieldFor), (given) =>
  act({type: 'location', location: {...given, latitude: Number(given.latitude), longitude: Number(given.longitude)}}, contextId));

act.contact = () => ask('Contact', [['name', 'Name', 'Bruno Reis'], ['phone', 'Phone number', '+12025550177', {inputMode: 'tel'}]].map(fieldFor),
  ({name, phone}) => act({type: 'contacts', contacts: [{name: {formatted_name: name, first_name: name.split(' ')[0]},
    phones: [{phone, wa_id: phone.replace(/\D/g, ''), type: 'CELL'}]}]}));

act.myCard = () => ({type: 'contacts', contacts: [{name: {formatted_name: me.name}, origin: 'contact_request',
  phones: [{phone: `+${me.wa_id}`, wa_id: me.wa_id, type: 'CELL'}]}]});

const nfm = (name, answer) => ({type: 'interactive', interactive: {type: 'nfm_reply',
  nfm_reply: {name, body: 'Sent', response_json: JSON.stringify(answer)}}});

// The screens of a Flow are Meta's to know: here it asks for what most of them ask for.
act.fill = (title, token, contextId) => ask(title, [['name', 'Name', me.name], ['email', 'E-mail', 'ines@example.org', {type: 'email'}],
  ['answer', 'Answer', 'Saturday']].map(fieldFor), (given) => act(nfm('flow', {...(token ? {flow_token: token} : {}), ...given}), contextId));

act.address = (parameters, contextId) => ask('Address', [['name', 'Name', parameters.values?.name || me.name],
  ['phone_number', 'Phone number', parameters.values?.phone_number || `+${me.wa_id}`], ['address', 'Street and number', 'Rua do Cais 7'],
  ['city', 'City', 'Lisboa'], ['in_pin_code', 'Postal code', '400063']].map(fieldFor), (values) => act(nfm('address_message', {values}), contextId));

act.permit = (contextId) => act.pick('Allow calls', [{rows: [{title: 'For 7 days'}, {title: 'Always'}]}], ({title}) => {
  const how = title === 'Always' ? {is_permanent: true} : {is_permanent: false, expiration_timestamp: Math.floor(Date.now() / 1000) + 7 * 86400};
  act({type: 'interactive', interactive: {type: 'call_permission_reply',
    call_permission_reply: {response: 'accept', response_source: 'user_action', ...how}}}, contextId);
});

act.order = (title, catalog_id, sections, contextId) => {
  const rows = sections.flatMap((section) => [section.title ? element('h3', {}, text(section.title)) : null,
    ...(section.product_items || []).map(({product_retailer_id: id}) => quantity(id))]).filter(Boolean);
  const remark = element('label', {}, 'Message ', element('input', {name: 'note', maxLength: 200}));
  ask(title, [...rows, remark], ({note: said}) => {
    const product_items = [...$('#picker').querySelectorAll('[data-product]')].filter((one) => Number(one.value) > 0).map((one) =>
      ({product_retailer_id: one.dataset.product, quantity: Number(one.value), item_price: price(one.dataset.product), currency: 'USD'}));
    if (product_items.length) act({type: 'order', order: {catalog_id: text(catalog_id), text: said, product_items}}, contextId);
  });
};

function quantity(id) {
  const count = element('input', {type: 'number', min: 0, max: 99, value: '1', ariaLabel: `How many ${text(id)}`});
  count.dataset.product = text(id);
  return element('div', {className: 'counted'}, thing(id, element('small', {}, money(price(id), 'USD'))), count);
}
