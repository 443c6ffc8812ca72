// The enrolment: permission, consent, name, captures, a test round, a receipt.
// Nothing is stored before the captures are whole; leaving earlier leaves nothing.

import { Problem, get, post } from './api.js';
import { button, el } from './dom.js';
import { nameField } from './keys.js';
import { home, measure, named, refresh, show, stage, title, trouble, ways } from './main.js';
import { ended } from './oval.js';
import { complain, field } from './pin.js';
import { known, language, languages, say, when } from './words.js';

const fingers = ['right-index-finger', 'right-thumb', 'right-middle-finger', 'right-ring-finger', 'right-little-finger',
  'left-index-finger', 'left-thumb', 'left-middle-finger', 'left-ring-finger', 'left-little-finger'];

/**
 * @typedef {import('./main.js').State} State
 * @typedef {{name: string, factors: string[], finger: string}} Wish
 */

/** @param {State} state */
export function enrol(state) {
  if (state.enrol === 'code' && !state.permitted) askCode('enrol', () => void consent(state));
  else void consent(state);
}

/**
 * Asks for an administrator's code, and goes on with then.
 * @param {string} what it is for
 * @param {() => void} then
 */
export function askCode(what, then) {
  show(() => {
    const { input: code, label, pad } = field('code.label', 'text', 8);
    const wrong = el('p', { id: 'wrong', class: 'note no', role: 'alert', hidden: true });
    const form = el('form', { class: 'card', novalidate: true }, title('code.title'),
      el('div', { class: 'sides' }, el('div', { class: 'form' }, el('p', {}, say(`code.${what}`)), label, wrong), pad),
      el('div', { class: 'row' }, el('button', { class: 'main' }, say('next')), button(say('cancel'), home)));
    form.addEventListener('submit', async (e) => {
      e.preventDefault();
      try {
        await post('/code', { code: code.value });
        then();
      } catch (problem) {
        if (!(problem instanceof Problem) || problem.kind !== 'wrong-code') {
          trouble(problem, () => askCode(what, then));
          return;
        }
        code.value = '';
        complain(wrong, say('code.wrong'), code);
      }
    });
    return { name: 'code', view: form };
  });
}

/** @param {State} state */
async function consent(state) {
  try {
    /** @type {Record<string, {version: string, language: string, text: string}>} */
    const texts = await get('/consent');
    show(() => {
      const shown = texts[language] ?? texts.en;
      const agree = el('input', { type: 'checkbox' });
      const next = el('button', { class: 'main', 'aria-disabled': 'true' }, say('next'));
      const wrong = el('p', { id: 'wrong', class: 'note no', role: 'alert', hidden: true }, say('consent.first'));
      agree.addEventListener('change', () => {
        next.setAttribute('aria-disabled', String(!agree.checked));
        wrong.hidden = true;
      });
      const form = el('form', { class: 'card' }, title('consent.title'),
        el('div', { class: 'text', tabindex: 0, role: 'region', 'aria-label': say('consent.title'), lang: shown.language, dir: languages[/** @type {keyof languages} */ (shown.language)].dir },
          // Its lines are broken for a terminal; a line that ends a sentence stays one.
          shown.text.trim().replace(/([^.\n])\n(?!\n)/g, '$1 ')),
        el('label', { class: 'tick' }, agree, say('consent.agree')), wrong,
        el('div', { class: 'row' }, next, button(say('consent.refuse'), home)));
      form.addEventListener('submit', async (e) => {
        e.preventDefault();
        if (!agree.checked) {
          wrong.hidden = false;
          agree.focus();
          return;
        }
        try {
          await post('/consent', { version: shown.version, language: shown.language }); // the device keeps it, until they leave
          if (form.isConnected) naming(state);
        } catch (problem) {
          if (form.isConnected) trouble(problem, home);
        }
      });
      return { name: 'consent', view: form };
    });
  } catch (e) {
    trouble(e, () => void consent(state));
  }
}

/** @param {State} state */
function naming(state) {
  show(() => {
    const { input: name, view } = nameField(say('naming.name'));
    const finger = el('select', {}, ...fingers.map((f) => el('option', { value: f }, say(`finger.${f}`))));
    const wrong = el('p', { id: 'wrong', class: 'note no', role: 'alert', hidden: true });
    const form = el('form', { class: 'card', novalidate: true }, title('naming.title'),
      view, wrong,
      state.factors.includes('finger') ? el('label', {}, say('naming.finger'), finger) : null,
      el('div', { class: 'row' }, el('button', { class: 'main' }, say('next')), button(say('cancel'), home)));
    form.addEventListener('submit', (e) => {
      e.preventDefault();
      const called = name.value.trim();
      if (!called) {
        complain(wrong, say('naming.empty'), name);
        return;
      }
      // The device knows more exactly what is a name.
      if (new TextEncoder().encode(called).length > 128 || /[\p{Cc}\p{Bidi_Control}\u200b\u2060\ufeff]/u.test(called)) {
        complain(wrong, say('naming.wrong'), name);
        return;
      }
      capture(state, { name: called, factors: state.factors, finger: state.factors.includes('finger') ? finger.value : '' });
    });
    return { name: 'naming', view: form };
  });
}

/**
 * @param {State} state
 * @param {Wish} wish
 */
function capture(state, wish) {
  measure('/enrol', wish.finger ? wish : { ...wish, finger: undefined }, {
    name: 'enrol', factors: wish.factors, heading: 'capture.title',
    then(made) {
      void refresh().catch(() => {}); // somebody is enrolled; the stream notices what fails
      enrolled(state, made);
    },
    fail: (e) => notEnrolled(e, state, wish),
  });
}

/**
 * @param {unknown} e
 * @param {State} state
 * @param {Wish} wish
 */
function notEnrolled(e, state, wish) {
  const kind = e instanceof Problem ? e.kind : '';
  if (kind === 'fault') {
    trouble(e, home, say('problem.nothing-stored')); // they agree anew, once the part is there
    return;
  }
  if (kind !== 'retry' && kind !== 'duplicate' && kind !== 'refused' && kind !== 'invalid') {
    trouble(e, () => capture(state, wish));
    return;
  }
  show(() => ({
    name: 'not-enrolled',
    view: stage(ended('no'), title('capture.failed'), el('p', {}, say(`capture.${kind}`)), el('p', {}, say('problem.nothing-stored')),
      el('div', { class: 'row' }, kind === 'retry' ? button(say('again'), () => capture(state, wish), 'main') : null, button(say('back'), home))),
  }));
}

/** @typedef {{name: string, at: string, templates: {kind: string, label?: string}[], consent: string, audit: number}} Receipt */

/**
 * @param {State} state
 * @param {Receipt} made
 * @param {string} [tested] how the test round ended
 */
function enrolled(state, made, tested) {
  show(() => ({
    name: 'receipt',
    view: stage(ended('yes'), named('receipt.title', made.name),
      tested ? el('p', { class: tested === 'granted' ? 'note yes' : 'note no' }, say(tested === 'granted' ? 'receipt.tested' : 'receipt.not-tested')) : null,
      el('table', {}, el('tbody', {},
        el('tr', {}, el('th', { scope: 'row' }, say('receipt.kept')), el('td', {}, made.templates.map((t) => say(`template.${t.kind}`) + (t.label && known(`finger.${t.label}`) ? ` (${say(`finger.${t.label}`)})` : '')).join(', '))),
        el('tr', {}, el('th', { scope: 'row' }, say('receipt.since')), el('td', {}, when(made.at))),
        el('tr', {}, el('th', { scope: 'row' }, say('receipt.consent')), el('td', {}, made.consent)),
        el('tr', {}, el('th', { scope: 'row' }, say('receipt.audit')), el('td', {}, String(made.audit))))),
      el('p', { class: 'soft' }, say('receipt.forget')),
      el('div', { class: 'row' }, tested === 'granted' ? null : button(say('receipt.test'), () => test(state, made), 'main'), button(say('done'), home, tested === 'granted' ? 'main' : ''))),
  }));
}

/**
 * One round, as it will be every day.
 * @param {State} state
 * @param {Receipt} made
 */
function test(state, made) {
  measure('/identify', {}, {
    heading: 'scan.title', bar: [...ways(), button(say('cancel'), () => enrolled(state, made))],
    then: (answer) => enrolled(state, made, answer.outcome), fail: (e) => trouble(e, () => test(state, made)),
  });
}
