// What somebody who was recognised may see and do about themselves.

import { get, post } from './api.js';
import { button, el } from './dom.js';
import { home, show, stage, title, trouble } from './main.js';
import { ended } from './oval.js';
import { phones } from './phone.js';
import { ownPIN } from './pin.js';
import { known, say, when } from './words.js';

/**
 * The buttons for it.
 * @param {import('./main.js').State} state
 * @param {string} name
 * @param {boolean} has whether they have a PIN
 */
export function account(state, name, has) {
  return [el('div', { class: 'row' },
    button(say('person.history'), () => void past(), 'plain'),
    state.pin ? button(say(has ? 'pin.change' : 'pin.choose'), () => ownPIN(has), 'plain') : null,
    state.phone ? button(say('phones.mine'), () => void phones(state), 'plain') : null,
    button(say('person.forget'), () => forget(name), 'plain'))];
}

/**
 * The outcome of an entry: who was vouched for was not let in, but by a login.
 * @param {{kind: string, outcome: string, reasons: string[]}} v
 */
const came = (v) => (v.kind !== 'login' && v.outcome === 'granted' && v.reasons.some((r) => r.startsWith('for:') && r !== 'for:enter') ? 'vouched' : v.outcome);

async function past() {
  try {
    /** @type {{seq: number, at: string, kind: string, outcome: string, reasons: string[], times?: number}[]} */
    const visits = await get('/history');
    show(() => {
      const words = (/** @type {string} */ key, /** @type {string} */ other) => (known(key) ? say(key) : other);
      return {
        name: 'person',
        view: el('div', { class: 'card center' }, title('person.history'), el('p', { class: 'soft' }, say('person.history-is')),
          el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': say('person.history') }, el('table', {},
            el('thead', {}, el('tr', {}, ...['when', 'what', 'how'].map((h) => el('th', { scope: 'col' }, say(`person.${h}`))))),
            el('tbody', {}, ...visits.map((v) => el('tr', {}, el('td', {}, when(v.at)), el('td', {}, words(`kind.${v.kind}`, v.kind)),
              el('td', {}, words(`outcome.${came(v)}`, v.outcome), v.times ? ` × ${v.times}` : '', ...v.reasons.filter((r) => known(`reason.${r}`)).map((r) => ` · ${say(`reason.${r}`)}`)))))) ),
          button(say('done'), home, 'main')),
      };
    });
  } catch (e) {
    trouble(e, () => void past());
  }
}

/** @param {string} name */
function forget(name) {
  show(() => {
    return {
      name: 'person',
      view: el('div', { class: 'card center' }, title('forget.title'), el('p', { class: 'big' }, el('bdi', {}, name)), el('p', {}, say('forget.text')),
        el('div', { class: 'row' }, button(say('forget.do'), () => void erase(), 'danger'), button(say('cancel'), home, 'main'))),
    };
  });
}

async function erase() {
  try {
    /** @type {{at: string, templates: number, finished: boolean, audit: number}} */
    const receipt = await post('/forget');
    show(() => ({
      name: 'receipt',
      view: stage(ended('yes'), title('forgotten.title'),
        receipt.finished ? el('p', {}, say('forgotten.text', { templates: receipt.templates })) : el('p', { class: 'note no' }, say('forgotten.later')),
        el('p', { class: 'soft' }, say('forgotten.receipt', { at: when(receipt.at), audit: receipt.audit })), button(say('done'), home, 'main')),
    }));
  } catch (e) {
    trouble(e, () => void erase());
  }
}
