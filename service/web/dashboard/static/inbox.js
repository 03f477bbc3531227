// Keeps the list of the inbox as it is on the server, unless somebody is in it by keyboard.
'use strict';

const AGAIN = 10000, LIMIT = 15000;  // milliseconds
let before = '';

async function lookAgain() {
  const found = document.querySelector('#found');
  if (!document.hidden && !found.contains(document.activeElement)) {
    const answer = await fetch(location.href, {cache: 'no-store', signal: AbortSignal.timeout(LIMIT)});
    if (answer.redirected) location.reload();  // to where one can log in
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    const fresh = page.querySelector('#found');
    if (answer.ok && fresh.innerHTML !== before) {
      before = fresh.innerHTML;
      found.replaceChildren(...document.importNode(fresh, true).childNodes);
      localTimes(found);
    }
  }
}

if (document.querySelector('#found').dataset.live !== undefined) {
  setInterval(() => lookAgain().catch(() => {}), AGAIN);
}
