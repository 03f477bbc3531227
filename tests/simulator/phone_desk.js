// The business's desk: who has the chat, and a person who takes it over, answers in it and gives it back.

const LOOK = 3000; // milliseconds between two looks at who has the chat
const HAS = {
  __proto__: null,
  business_app: 'Somebody on the business’s own phone has this chat',
  loop_guard: 'Two machines answered each other, so the bot is silent',
};
let lookTimer = 0;

// The gateway and a key are needed for that.
const hasDesk = () => Boolean(business.gateway_url && business.api_key);

async function lookAtDesk() {
  clearTimeout(lookTimer);
  lookTimer = setTimeout(lookAtDesk, LOOK);
  if (!hasDesk() || document.hidden) return;
  const who = me.wa_id, answer = await fetch(`/phone/desk?wa_id=${encodeURIComponent(who)}`).catch(() => null);
  if (answer?.ok && who === me.wa_id) showPause((await answer.json()).conversation);
}

function showPause(conversation) {
  const until = new Date(conversation?.paused_until || 0), bar = $('#pause span');
  const {assignee, paused_by: by} = conversation || {};
  const shown = until <= Date.now() ? '' : `${text(assignee) ? `${text(assignee)} has this chat` : HAS[by] || 'A person has this chat'}, ${untilWhen(until)}`;
  if (bar.textContent !== shown) bar.textContent = shown; // once: it is read aloud
}

function untilWhen(until) {
  if (until.getUTCFullYear() === 9999) return 'until it is given back';
  const today = until.toDateString() === new Date().toDateString();
  return `until ${today ? '' : `${day(until / 1000)}, `}${clock(until / 1000)}`;
}

async function atDesk(body) {
  const answer = await fetch('/phone/desk', {method: 'POST', body: JSON.stringify({...body, wa_id: me.wa_id})}).catch(() => null);
  const {problem} = answer?.ok ? await answer.json() : {problem: 'The simulator is away.'};
  $('#desk .trouble').textContent = text(problem);
  await lookAtDesk();
  return !problem;
}

$('#take').onclick = () => atDesk({do: 'pause', minutes: 30, assignee: $('#desk [name=assignee]').value.trim() || null});
$('#give').onclick = () => atDesk({do: 'resume'});
$('#desk').onsubmit = async (event) => {
  event.preventDefault();
  const field = $('#desk [name=answer]'), said = field.value.trim();
  if (said && await atDesk({do: 'send', text: said})) field.value = '';
};
