// How the device is, for whoever looks after it.

import { get } from './api.js';
import { button, el } from './dom.js';
import { askCode } from './enrol.js';
import { home, refresh, show, title, trouble } from './main.js';
import { say, when } from './words.js';

/** @typedef {{name: string, state: string, detail?: string, advice?: string}} Line */

/** @param {import('./main.js').State} state */
export function technician(state) {
  if (state.permitted) void view();
  else askCode('technician', () => void refresh().then(view));
}

async function view() {
  try {
    /** @type {{status: {version: string, started: string, people: number, audit: number, parts: Line[]}, checks: Line[]}} */
    const all = await get('/technician');
    /** @param {string} heading @param {Line[]} lines */
    const table = (heading, lines) => [el('h2', {}, say(heading)),
      el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': say(heading) }, el('table', {}, el('tbody', {}, ...lines.map((l) => el('tr', {},
        el('th', { scope: 'row', dir: 'ltr' }, l.name), el('td', {}, say(`state.${l.state}`)), el('td', { dir: 'ltr' }, [l.detail, l.advice].filter(Boolean).join('; ')))))))];
    show(() => ({
      name: 'technician',
      view: el('div', { class: 'card technician' }, title('technician.title'),
        el('p', { class: 'soft' }, say('technician.line', { version: all.status.version, started: when(all.status.started), people: all.status.people, audit: all.status.audit })),
        ...table('technician.parts', all.status.parts), ...table('technician.checks', all.checks),
        el('div', { class: 'row' }, button(say('technician.again'), () => void view(), 'main'), button(say('done'), home))),
    }));
  } catch (e) {
    trouble(e, () => void view());
  }
}
