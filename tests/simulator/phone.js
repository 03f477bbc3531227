// What happens: news from the simulator, which keeps everything, and what I write.

// --- News ------------------------------------------------------------------------------------------------------------

function upsert(entry) {
  const old = document.getElementById(entry.id), sticks = atBottom();
  const known = entries.get(entry.id), target = ABOUT[entry.type]?.(entry.message[entry.type] || {})[0];
  entries.set(entry.id, entry);
  if (entry.direction === 'outbound' && !entry.echo && !known) typing(false);
  if (!old) append(entry);
  else if (known?.local) old.replaceWith(bubble(entry)); // what I sent has become what the gateway gets
  else refresh(old, entry);
  if (target && entries.has(target)) redrawOne(document.getElementById(target), entries.get(target));
  if (sticks || (entry.direction === 'inbound' && !known)) toBottom();
  else if (!known) $('#newer').hidden = false;
}

// The focus was on the button of its menu, and stays there.
function redrawOne(old, entry) {
  const focused = old?.contains(document.activeElement);
  old?.replaceWith(bubble(entry));
  if (focused) document.getElementById(entry.id).querySelector('.tools button:last-child')?.focus();
}

// Pictures that load later make the list longer; a few pixels off still counts as the bottom.
const atBottom = () => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;

function toBottom() {
  scroll.scrollTop = scroll.scrollHeight;
  $('#newer').hidden = true;
}

function typing(on) {
  clearTimeout(typingTimer);
  if (on) typingTimer = setTimeout(() => typing(false), TYPING);
  $('#state').textContent = on ? 'typing…' : `+${business.display_phone_number || ''}`;
}

function addCall(call) {
  calls.prepend(callRow(call));
  while (calls.children.length > CALLS) calls.lastChild.remove();
}

// A line opens to the call itself; what it was is asked for then, as it may be long.
function callRow(call) {
  const line = element('details', {}, element('summary', {}, ...callLine(call)));
  line.addEventListener('toggle', () => openCall(line, call.id), {once: true});
  return element('li', {}, line);
}

async function openCall(line, id) {
  const answer = await fetch(`/phone/wire/${id}`).catch(() => null);
  const found = answer?.ok ? await answer.json() : {request: 'This call is not kept any more.'};
  const made = [['Request', found.request], ['Answer', found.answer ?? 'There was none.']];
  line.append(...made.flatMap(([title, content]) => [element('h3', {}, title), scrolling(title, content)]));
}

function scrolling(title, content) {
  const made = element('pre', {tabIndex: 0}, content);
  made.setAttribute('role', 'group');
  made.setAttribute('aria-label', title);
  return made;
}

function callLine(call) {
  const out = call.direction === 'to_gateway';
  const bad = !(call.status >= 200 && call.status < 300);
  return [element('span', {className: `way ${out ? 'out' : 'in'}`, title: out ? 'webhook to the gateway' : 'call from the gateway'}, out ? 'webhook' : 'call'),
    element('span', {className: 'what'}, text(call.what)),
    element('span', {className: `code ${bad ? 'bad' : 'good'}`}, text(call.status)), icon('down'),
    element('small', {}, [new Date(call.at * 1000).toLocaleTimeString(), text(call.detail)].filter(Boolean).join(' · '))];
}

// All that the simulator remembers of this customer; what I wrote while it was away is sent now.
function load(past) {
  business = {...past.business, user_id: past.user_id};
  const waiting = [...entries.values()].filter((entry) => entry.local && !past.messages.some((one) => one.id === entry.id));
  entries.clear();
  for (const entry of [...past.messages, ...waiting]) entries.set(entry.id, entry);
  calls.replaceChildren(...past.wire.reverse().map(callRow));
  typing(false);
  drawCurl();
  $('#desk').hidden = !hasDesk();
  lookAtDesk();
  redraw();
  toBottom();
  for (const entry of waiting.filter((one) => one.unsent)) post(entry.id, entry.unsent);
}

function connect() {
  stream?.close();
  stream = new EventSource(`/phone/events?wa_id=${encodeURIComponent(me.wa_id)}`);
  const on = (name, does) => stream.addEventListener(name, (event) => does(JSON.parse(event.data)));
  stream.onerror = away;
  on('past', load); // also after a broken connection
  on('message', (entry) => { upsert(entry); lookAtDesk(); });
  on('typing', () => typing(true));
  on('wire', addCall);
  on('reset', () => { entries.clear(); connect(); });
}

// The browser tries a broken stream again by itself, but gives up when something else answered at the address.
function away() {
  $('#state').textContent = 'The simulator is away, trying again…';
  if (stream?.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
}

// --- Writing ---------------------------------------------------------------------------------------------------------

function newWamid() {
  const random = crypto.getRandomValues(new Uint8Array(24));
  return `wamid.${btoa(String.fromCharCode(...random))}`;
}

// `echo`: the business writes, on a phone of its own. `shown`: what I see until the simulator has the message.
async function act(message, contextId, {echo = false, shown = message} = {}) {
  const id = newWamid();
  const context = contextId ? {message_id: contextId} : null;
  upsert({id, local: true, direction: echo ? 'outbound' : 'inbound', echo, at: Date.now() / 1000, type: message.type, statuses: [],
    message: {...shown, context}, gateway_status: null, read: false});
  const body = {message, wamid: id, name: me.name, hide_phone: me.hide_phone};
  if (echo) body.echo = true;
  if (me.hide_phone && me.username) body.username = me.username;
  if (contextId) body.context_id = contextId;
  await post(id, body);
}

async function post(id, body) {
  let answer = null;
  try {
    answer = await fetch(`/control/customers/${encodeURIComponent(me.wa_id)}/messages`, {method: 'POST', body: JSON.stringify(body)});
  } catch { /* the simulator itself is away */ }
  if (answer?.ok) return; // the stream brings the entry itself
  const refusal = answer && ((await answer.json().catch(() => ({}))).error || `HTTP ${answer.status}`);
  if (entries.has(id)) upsert({...entries.get(id), gateway_status: 0, refusal, unsent: refusal ? null : body});
}

// --- Who I am --------------------------------------------------------------------------------------------------------

function become(changes) {
  me = {...me, ...changes};
  localStorage.setItem('me', JSON.stringify(me));
  $('#me b').textContent = me.name;
  $('#me small').textContent = me.hide_phone ? 'number hidden' : `+${me.wa_id}`;
  $('#me .avatar').textContent = me.name.trim().charAt(0).toUpperCase();
  entries.clear();
  showPause(null);
  redraw();
  draft(NOTHING);
  connect();
}

// From now on this holds, also after a reload, and not what the address asked for.
function chosen(changes) {
  history.replaceState(null, '', location.pathname);
  become(changes);
}

function askWho() {
  const fields = $('#who form').elements;
  for (const name of ['name', 'wa_id', 'username']) fields[name].value = me[name];
  fields.hide_phone.checked = me.hide_phone;
  fields.moved.checked = false;
  seeWho({target: fields.wa_id});
  $('#who').showModal();
}

// What is asked for only when it matters, and what I know of that number.
function seeWho({target}) {
  const fields = $('#who form').elements, number = fields.wa_id.value.replace(/\D/g, '');
  $('#username').hidden = !fields.hide_phone.checked;
  $('#moved').hidden = number === me.wa_id;
  if (target === fields.wa_id) fields.marketing.checked = !me.stopped.includes(number);
}

async function answerWho() {
  const fields = $('#who form').elements, before = me;
  const now = {name: fields.name.value.trim(), wa_id: fields.wa_id.value.replace(/\D/g, ''), username: fields.username.value.trim(),
    hide_phone: fields.hide_phone.checked};
  const tell = (who, what, body) => fetch(`/control/customers/${who}/${what}`, {method: 'POST', body: JSON.stringify({...body, hide_phone: now.hide_phone})}).catch(away);
  const moved = fields.moved.checked && now.wa_id !== before.wa_id;
  const marketing = fields.marketing.checked, others = before.stopped.filter((one) => one !== now.wa_id);
  chosen({...now, stopped: marketing ? others : [...others, now.wa_id]});
  if (moved) await tell(before.wa_id, 'changes-number', {to: now.wa_id});
  if (marketing === before.stopped.includes(now.wa_id)) await tell(now.wa_id, 'preferences', {value: marketing ? 'resume' : 'stop'});
}

function showWire(on) {
  document.body.classList.toggle('no-wire', !on);
  $('#wire-toggle').setAttribute('aria-expanded', String(on));
}

function chooseWire(on) {
  showWire(on);
  localStorage.setItem('wire', on ? 'on' : 'off');
  $(on ? '#wire-close' : '#wire-toggle').focus();
}

$('#composer').onsubmit = (event) => { event.preventDefault(); send(); };
$('#text').oninput = grow;
$('#text').onkeydown = (event) => {
  // While an input method composes, Enter belongs to it.
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
  if (event.key === 'Escape') draft(NOTHING);
};
$('#attach').onclick = () => openMenu($('#attach'), 'Send', ATTACH());
$('#me').onclick = askWho;
$('#who form').onsubmit = answerWho;
$('#who [value=cancel]').onclick = () => $('#who').close();
$('#who form').oninput = seeWho;
$('#picker [value=cancel]').onclick = () => $('#picker').close();
$('#newer').onclick = toBottom;
scroll.onscroll = () => { if (atBottom()) $('#newer').hidden = true; };
$('#wire-toggle').onclick = () => chooseWire(document.body.classList.contains('no-wire'));
$('#wire-close').onclick = () => chooseWire(false);
for (const button of document.querySelectorAll('#empty button')) {
  button.onclick = () => {
    if (button.dataset.number) chosen({wa_id: button.dataset.number});
    $('#text').value = button.dataset.try || 'hello';
    grow();
    $('#text').focus();
  };
}

showWire(innerWidth > 860 && localStorage.getItem('wire') !== 'off');
become({});
$('#text').focus();
