// Shows the API document. A key that is typed in is forgotten with the page.
'use strict';

const ADDRESS = 'openapi.json';

function show(document_, key) {
  const viewer = SwaggerUIBundle({
    spec: document_,
    domNode: document.querySelector('#api'),
    deepLinking: true,
    docExpansion: 'list',
    defaultModelsExpandDepth: 0,
    validatorUrl: null,
    onComplete: () => key && viewer.preauthorizeApiKey('key', key),
  });
}

async function read(key) {
  const answer = await fetch(ADDRESS, key ? {headers: {Authorization: `Bearer ${key}`}} : {});
  if (!answer.ok) throw new Error((await answer.json()).detail);
  return answer.json();
}

function ask() {
  const form = document.querySelector('form');
  form.hidden = false;
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const key = form.querySelector('input').value.trim();
    try {
      show(await read(key), key);
      form.remove();
    } catch (error) {
      form.querySelector('[role=status]').textContent = error.message;
    }
  });
}

window.addEventListener('DOMContentLoaded', async () => {
  if (document.body.dataset.key === 'asked') ask();
  else show(await read());
});
