// The menu of a narrow screen, and times in the reader's own zone.
document.documentElement.classList.add('scripted');

addEventListener('DOMContentLoaded', () => {
  const menu = document.querySelector('#menu');
  menu?.addEventListener('click', () => {
    const isOpen = document.documentElement.classList.toggle('menu-open');
    menu.setAttribute('aria-expanded', isOpen);
  });
  if (menu) menu.hidden = false;
  const zone = document.querySelector('#zone');
  if (zone) zone.textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
  localTimes(document);
});

// Show the times below an element as the reader's clock does; also for what a script has added.
function localTimes(place) {
  const day = {day: 'numeric', month: 'short'};
  const clock = {hour: '2-digit', minute: '2-digit'};
  for (const one of place.querySelectorAll('time[datetime]:not([data-local])')) {
    const at = new Date(one.dateTime);
    const isNear = Math.abs(Date.now() - at) < 180 * 86400e3;
    const form = {...day, ...(isNear ? {} : {year: 'numeric'}), ...clock, hour12: false};
    one.textContent = new Intl.DateTimeFormat('en-GB', form).format(at).replace(',', '');
    one.dataset.local = '';
  }
}

// A form that only chooses what is shown is sent at once.
addEventListener('change', (event) => event.target.closest('form[data-sends]')?.requestSubmit());
