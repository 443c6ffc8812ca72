// The phone in one's pocket: being let in with it, pairing one, and looking
// after those that are paired.

import { Problem, always, get, post } from './api.js';
import { button, el, svg } from './dom.js';
import { announce, forLogin, home, measure, outcome, resume, show, stage, title, trouble, ways } from './main.js';
import { ended } from './oval.js';
import { known, say, when } from './words.js';

/**
 * @typedef {import('./main.js').State} State
 * @typedef {{id: string, name: string, platform: string, paired: string, by: string, expires?: string, rights: string[]}} Phone
 * @typedef {'approve' | 'unlock' | 'verify' | 'history'} Right
 * @typedef {{qr: string[], text: string, key: string, expires: string}} Code
 */

/** Looks who is there, and asks their phone. @param {State} state */
export function usePhone(state) {
  byPhone(state, '/phone', ['face', 'phone'], 'phone.title', false);
}

/** Looks whether whose phone asked is there. @param {State} state */
export function phoneAsked(state) {
  byPhone(state, '/phone/begin', state.factors, 'phone.asked', true);
}

/**
 * @param {State} state
 * @param {string} path
 * @param {string[]} factors
 * @param {string} heading
 * @param {boolean} asked whether the phone did
 */
function byPhone(state, path, factors, heading, asked) {
  measure(path, forLogin(), {
    factors, heading, bar: ways(true, 'phone'),
    then: (answer) => (answer.outcome === 'retry' ? unanswered(state, answer.hints) : outcome(answer, asked)),
    fail(e) {
      if (asked && e instanceof Problem && ['not-found', 'left'].includes(e.kind)) resume(); // it gave up
      else trouble(e, () => usePhone(state));
    },
  });
}

/**
 * @param {State} state
 * @param {string[]} hints
 */
function unanswered(state, hints) {
  show(() => ({
    name: 'refused',
    view: stage(ended('no'), title('phone.unanswered'),
      ...hints.filter((h) => known(`hint.${h}`)).map((h) => el('p', {}, say(h === 'approve-on-phone' ? 'phone.nobody' : `hint.${h}`))),
      el('div', { class: 'row' }, button(say('again'), () => usePhone(state), 'main'), button(say('back'), home))),
  }));
}

/** The phones of whoever is recognised. @param {State} state */
export async function phones(state) {
  try {
    list(state, await get('/phones'));
  } catch (e) {
    trouble(e, () => void phones(state));
  }
}

/**
 * @param {State} state
 * @param {Phone[]} own
 */
function list(state, own) {
  show(() => {
    return {
      name: 'person',
      view: el('div', { class: 'card center' }, title('phones.title'),
        own.length === 0 ? el('p', {}, say('phones.none')) : el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': say('phones.title') }, el('table', {},
          el('thead', {}, el('tr', {}, ...['phone', 'since', 'remove'].map((h) => el('th', { scope: 'col' }, say(`phones.${h}`))))),
          el('tbody', {}, ...own.map((x) => el('tr', {},
            el('th', { scope: 'row' }, el('bdi', {}, x.name), x.platform ? el('p', { class: 'soft' }, el('bdi', {}, x.platform)) : null,
              el('p', { class: 'soft' }, x.rights.map((r) => say(`right.${r}`)).join(' · '))),
            el('td', {}, when(x.paired), ' · ', say(x.by === 'kiosk' ? 'phones.here' : 'phones.admin'), x.expires ? ` · ${say('phones.until', { at: when(x.expires) })}` : null),
            el('td', {}, removal(state, x))))))),
        el('div', { class: 'row' }, button(say('phones.pair'), () => confirm(state), 'main'), button(say('done'), home))),
    };
  });
}

/**
 * The button that ends the pairing of a phone.
 * @param {State} state
 * @param {Phone} phone
 */
function removal(state, phone) {
  const remove = async () => {
    try {
      list(state, await post('/phones/revoke', { id: phone.id }));
    } catch (e) {
      trouble(e, () => void phones(state));
    }
  };
  return el('button', { type: 'button', class: 'danger', 'aria-label': `${say('phones.remove')}: ${phone.name}`, onclick: () => void remove() }, say('phones.remove'));
}

/**
 * What a phone may be allowed, the least first.
 * @type {Right[]}
 */
const rights = ['approve', 'history', 'verify', 'unlock'];

/**
 * Says what pairing means before somebody looks and touches for it, and asks
 * what the phone shall be allowed: to answer, where they choose nothing else.
 * @param {State} state
 * @param {string} [note]
 * @param {Right[]} [chosen]
 */
function confirm(state, note, chosen = ['approve']) {
  show(() => {
    const ticks = rights.map((r) => /** @type {const} */ ([r, el('input', { type: 'checkbox', name: r, checked: chosen.includes(r) })]));
    const next = button(say('next'), () => {
      const may = ticks.filter(([, tick]) => tick.checked).map(([r]) => r);
      if (may.length > 0) pair(state, may);
      else announce(say('pair.choose'));
    }, 'main');
    for (const [, tick] of ticks) tick.addEventListener('change', () => next.setAttribute('aria-disabled', String(!ticks.some(([, t]) => t.checked))));
    return {
      name: 'person',
      view: el('div', { class: 'card center' }, title('pair.title'), note ? el('p', { class: 'note' }, note) : null, el('p', {}, say('pair.means')), el('p', {}, say('pair.confirm')),
        el('fieldset', {}, el('legend', {}, say('pair.may')), ...ticks.map(([r, tick]) => el('label', { class: 'tick' }, tick, say(`right.${r}`)))),
        el('div', { class: 'row' }, next, button(say('cancel'), home))),
    };
  });
}

/**
 * Measures once more, and shows a code.
 * @param {State} state
 * @param {Right[]} may
 */
function pair(state, may) {
  measure('/phones', { rights: may }, {
    heading: 'pair.look', bar: [button(say('cancel'), home)],
    then(answer) {
      if (answer.code) shown(state, answer.code, answer.now);
      else if (answer.outcome === 'retry') confirm(state, answer.hints.filter((/** @type {string} */ h) => known(`hint.${h}`)).map((/** @type {string} */ h) => say(`hint.${h}`)).join(' '), may);
      else outcome(answer);
    },
    fail: (e) => trouble(e, home),
    late: hide,
  });
}

/** Withdraws the code that is shown. */
function hide() {
  void post('/phones/hide', {}, always).catch(() => {}); // the page's end does it as well
}

const quiet = 4; // modules of light around a QR code (ISO/IEC 18004, 6.3.8)

/**
 * A QR code, dark on light whatever the page's colours are.
 * @param {string[]} rows
 */
function drawCode(rows) {
  const size = rows.length + 2 * quiet;
  let path = '';
  rows.forEach((row, y) => {
    for (const run of row.matchAll(/#+/g)) path += `M${run.index + quiet} ${y + quiet}h${run[0].length}v1h-${run[0].length}z`;
  });
  return svg('svg', { class: 'code', viewBox: `0 0 ${size} ${size}`, role: 'img', 'aria-label': say('pair.code'), 'shape-rendering': 'crispEdges' },
    svg('rect', { width: size, height: size, fill: '#fff' }), svg('path', { d: path, fill: '#000' }));
}

/**
 * @param {State} state
 * @param {Code} code
 * @param {string} now of the device
 */
function shown(state, code, now) {
  const end = performance.now() + (Date.parse(code.expires) - Date.parse(now));
  show(() => {
    const rest = el('p', { class: 'big', role: 'timer' });
    const spoken = new Set();
    function paint() {
      const seconds = Math.max(0, Math.ceil((end - performance.now()) / 1000));
      rest.textContent = say('pair.left', { seconds });
      for (const at of [30, 10]) {
        if (seconds > at || seconds === 0 || spoken.has(at)) continue;
        spoken.add(at);
        announce(say('pair.left', { seconds })); // a timer is not read out by itself
      }
      if (seconds === 0) over(state);
    }
    const tick = setInterval(paint, 250);
    paint();
    return {
      name: 'code-for-phone',
      view: stage(drawCode(code.qr), title('pair.scan'), el('p', {}, say('pair.how')), rest,
        el('details', {}, el('summary', {}, say('pair.as-text')), el('p', { class: 'soft', dir: 'ltr' }, el('code', {}, code.text)), el('p', { class: 'soft' }, say('pair.key'), ' ', el('code', { dir: 'ltr' }, code.key))),
        el('div', { class: 'row' }, button(say('cancel'), home))),
      on(e) {
        if (e.kind === 'phone-paired' && e.outcome === 'own') (e.hint ? again : paired)(state, e.detail ?? '');
        if (e.kind === 'signed-out') home();
      },
      leave() {
        clearInterval(tick);
        hide();
      },
    };
  });
}

/** Nobody used the code. @param {State} state */
function over(state) {
  show(() => {
    return {
      name: 'person',
      view: stage(ended('no'), title('pair.over'), el('p', {}, say('pair.over-is')),
        el('div', { class: 'row' }, button(say('pair.another'), () => confirm(state), 'main'), button(say('done'), home))),
    };
  });
}

/**
 * Looks once more at who was not seen when the phone was paired: without a yes
 * the device removes it.
 * @param {State} state
 * @param {string} name of the phone
 */
function again(state, name) {
  measure('/phones/confirm', {}, {
    heading: 'pair.look', bar: [button(say('cancel'), home)],
    then: (answer) => (answer.outcome === 'granted' ? paired(state, name) : outcome(answer)),
    fail: (e) => trouble(e, home),
  });
}

/**
 * @param {State} state
 * @param {string} name of the phone
 */
function paired(state, name) {
  show(() => {
    return {
      name: 'person',
      view: stage(ended('yes'), title('pair.done'), el('p', { class: 'big' }, el('bdi', {}, name)), el('p', {}, say('pair.done-is')),
        el('div', { class: 'row' }, button(say('done'), home, 'main'), button(say('phones.mine'), () => void phones(state)))),
    };
  });
}

const noticeStays = 60_000;

/** Tells everybody at the kiosk that somebody paired a phone. */
export function somebodyPaired() {
  const text = say('phones.somebody');
  const notice = el('p', { class: 'note notice' }, text);
  document.querySelector('header .notice')?.remove();
  document.querySelector('header')?.append(notice);
  setTimeout(() => notice.remove(), noticeStays);
  announce(text);
}
