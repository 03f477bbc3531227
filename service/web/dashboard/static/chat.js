// Keeps a conversation as it is on the server: asks for it again and again, and changes what has
// changed. Without this script the page works all the same, by loading it anew.
'use strict';

const EVERY = 2000, AFTER_TROUBLE = 5000, PATIENCE = 15000;  // milliseconds
const NEAR_END = 80;  // pixels from the end of the messages, within which new ones are followed

const chat = document.querySelector('#chat');
const log = document.querySelector('#log');
const heard = document.querySelector('#heard');
const connection = document.querySelector('#connection');
const composer = document.querySelector('#composer');
let version = chat.dataset.version;
let timer;

const isAtEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END;
const toEnd = () => { log.scrollTop = log.scrollHeight; };

async function look() {
  clearTimeout(timer);
  let wait = EVERY;
  if (!document.hidden) {
    try {
      await refresh();
      connection.hidden = true;
    } catch {
      wait = AFTER_TROUBLE;
      connection.textContent = 'The gateway does not answer. This page is tried again by itself.';
      connection.hidden = false;
    }
  }
  clearTimeout(timer);
  timer = setTimeout(look, wait);
}

async function refresh() {
  const headers = {'If-None-Match': `"${version}"`};
  const signal = AbortSignal.timeout(PATIENCE);
  const answer = await fetch(chat.dataset.live, {headers, signal, cache: 'no-store'});
  if (answer.redirected) location.reload();  // to where one can log in
  if (answer.status === 304) return;
  if (!answer.ok) throw new Error(answer.status);
  const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
  version = (answer.headers.get('ETag') ?? '').replace(/^W\//, '').replaceAll('"', '');
  change(fresh);
}

function change(fresh) {
  const follows = isAtEnd();
  exchange(document.querySelector('#state'), fresh.querySelector('#state'));
  const list = document.querySelector('#messages');
  let before = null;
  for (const one of fresh.querySelectorAll('#messages > li')) {
    const old = document.getElementById(one.id);
    const now = old ? exchange(old, one) : document.importNode(one, true);
    if (!old) {
      if (before) before.after(now); else list.append(now);
      announce(now);
    }
    before = now;
  }
  log.querySelector('.empty')?.remove();
  localTimes(chat);
  showComposer();
  if (follows) toEnd();
}

// Put the new form of an element in its place, if it is another one; what had the focus keeps it.
function exchange(old, fresh) {
  if (old.dataset.version === fresh.dataset.version) return old;
  const focused = old.contains(document.activeElement) ? document.activeElement.id : '';
  const now = document.importNode(fresh, true);
  old.replaceWith(now);
  if (focused) document.getElementById(focused)?.focus();
  return now;
}

function announce(message) {
  if (message.classList.contains('theirs')) {
    heard.textContent = message.querySelector('.text')?.textContent ?? 'A file came in';
  }
}

// Outside the 24-hour window there is only the template; what was begun to write stays.
function showComposer() {
  if (!composer) return;
  const isClosed = document.querySelector('#state').dataset.window === 'closed';
  composer.hidden = isClosed && !composer.text.value;
}

async function send(event) {
  event.preventDefault();
  const button = composer.querySelector('button');
  if (button.disabled) return;
  button.disabled = true;
  try {
    const answer = await fetch(composer.action, {
      method: 'POST', body: new URLSearchParams(new FormData(composer)),
      headers: {Accept: 'application/json'}, signal: AbortSignal.timeout(PATIENCE),
    });
    if (answer.redirected) location.reload();
    if (answer.ok) sent(); else complain(await answer.json());
  } catch {
    complain({detail: 'The gateway did not answer. Send it again: it is not sent twice.'});
  }
  button.disabled = false;
  look();
}

function sent() {
  composer.text.value = '';
  renewToken();
  document.querySelector('#trouble').replaceChildren();
  composer.text.focus();
  toEnd();
}

function renewToken() {
  const [token, uses = 0] = composer.token.value.split('.');
  composer.token.value = `${token}.${Number(uses) + 1}`;
}

function complain(problem) {
  if (problem.code === 'idempotency_key_reused') renewToken();  // what was sent before had arrived
  const box = document.createElement('div');
  box.className = 'notice bad';
  const fields = Object.entries(problem.errors ?? {});
  for (const text of [problem.detail, ...fields.map(([name, told]) => `${name}: ${told.join(' ')}`)]) {
    const line = document.createElement('p');
    line.textContent = text;
    box.append(line);
  }
  document.querySelector('#trouble').replaceChildren(box);
}

toEnd();
if (chat.dataset.live) {
  composer?.addEventListener('submit', send);
  composer?.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) composer.requestSubmit();
  });
  document.addEventListener('visibilitychange', look);
  look();
}
