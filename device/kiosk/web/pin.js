// The PIN: for the day on which neither face nor finger can be measured, and
// for whoever does not want to be looked at. No sensor is waited for.

import { Problem, ask, post } from './api.js';
import { button, el } from './dom.js';
import { nameField } from './keys.js';
import { forLogin, home, outcome, show, stage, title, trouble } from './main.js';
import { ended } from './oval.js';
import { say } from './words.js';

const digits = 12;

/** Digits of any script as the device takes them. @param {string} text @param {number} most */
function plain(text, most) {
  return text.replace(/[٠-٩]/g, (d) => String(d.charCodeAt(0) - 0x660)).replace(/\D/g, '').slice(0, most);
}

/**
 * A field for a PIN with keys beside it, since a kiosk may have no keyboard.
 * @param {string} label
 * @param {'password' | 'text'} [type] whether it is shown
 * @param {number} [most] digits that it takes
 */
export function field(label, type = 'password', most = digits) {
  const input = el('input', { type, class: 'pin', inputmode: 'numeric', autocomplete: 'off', maxlength: most, required: true, dir: 'ltr', 'aria-describedby': 'wrong' });
  /** @param {string} next */
  const set = (next) => {
    input.value = plain(next, most);
  };
  input.addEventListener('input', () => set(input.value));
  const pad = el('div', { class: 'pad', role: 'group', 'aria-label': say('pin.pad') },
    ...[1, 2, 3, 4, 5, 6, 7, 8, 9].map((d) => button(String(d), () => set(input.value + d))),
    el('span', {}), button('0', () => set(`${input.value}0`)),
    el('button', { type: 'button', 'aria-label': say('pin.delete'), onclick: () => set(input.value.slice(0, -1)) }, '⌫'));
  return { input, label: el('label', {}, say(label), input), pad };
}

/**
 * @param {HTMLElement} wrong
 * @param {string} text
 * @param {HTMLInputElement} again
 */
export function complain(wrong, text, again) {
  wrong.hidden = false;
  wrong.textContent = text;
  again.focus();
}

/** Asks for name and PIN. */
export function pin() {
  show(() => {
    const { input: name, view } = nameField(say('pin.name'));
    const { input, label, pad } = field('pin.pin');
    const wrong = el('p', { id: 'wrong', class: 'note no', role: 'alert', hidden: true });
    const form = el('form', { class: 'card', novalidate: true }, title('pin.title'),
      el('div', { class: 'sides' }, el('div', { class: 'form' }, view, label, wrong), pad),
      el('div', { class: 'row' }, el('button', { class: 'main' }, say('next')), button(say('cancel'), home)));
    let busy = false;
    form.addEventListener('submit', async (e) => {
      e.preventDefault();
      if (busy) return;
      if (!name.value.trim() || input.value.length < 6) {
        complain(wrong, say('pin.both'), name.value.trim() ? input : name);
        return;
      }
      busy = true;
      try {
        const answer = await post('/pin', { ...forLogin(), name: name.value.trim(), pin: input.value });
        if (answer.outcome === 'refused' && !answer.reasons.includes('locked-out')) complain(wrong, say('reason.pin-no-match'), input);
        else outcome(answer);
      } catch (problem) {
        trouble(problem, pin);
      }
      input.value = '';
      busy = false;
    });
    return { name: 'pin', view: form };
  });
}

/**
 * Lets whoever is recognised choose a PIN.
 * @param {boolean} has whether they have one already
 */
export function ownPIN(has) {
  show(() => {
    const { input, label, pad } = field('pin.new');
    const wrong = el('p', { id: 'wrong', class: 'note no', role: 'alert', hidden: true });
    /** @param {string} value */
    const set = async (value) => {
      try {
        await ask('PUT', '/own-pin', { pin: value });
        show(() => ({ name: 'person', view: stage(ended('yes'), title(value ? 'pin.set' : 'pin.removed'), button(say('done'), home, 'main')) }));
      } catch (problem) {
        if (problem instanceof Problem && problem.kind === 'pin') complain(wrong, say('pin.rules'), input);
        else trouble(problem, () => ownPIN(has));
      }
    };
    const form = el('form', { class: 'card', novalidate: true }, title('pin.own'), el('div', { class: 'sides' }, el('div', { class: 'form' }, el('p', {}, say('pin.rules')), label, wrong), pad),
      el('div', { class: 'row' }, el('button', { class: 'main' }, say('next')), has ? button(say('pin.remove'), () => void set('')) : null, button(say('cancel'), home)));
    form.addEventListener('submit', (e) => {
      e.preventDefault();
      if (input.value.length < 6) complain(wrong, say('pin.rules'), input);
      else void set(input.value);
    });
    return { name: 'person', view: form };
  });
}
