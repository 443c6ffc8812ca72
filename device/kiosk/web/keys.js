// Keys on the screen, for a kiosk that has no others: names are typed by touch.

import { button, el } from './dom.js';
import { language, languages, say } from './words.js';

const lastRow = 5; // its keys

/** @type {Record<import('./words.js').Language, string[]>} the letters, row by row */
const layouts = {
  en: ['qwertyuiop', 'asdfghjkl', "zxcvbnm-'."],
  de: ['qwertzuiopü', 'asdfghjklöä', 'yxcvbnmß-.'],
  ar: ['ضصثقفغعهخحجد', 'شسيبلاتنمكطئ', 'ءؤرىةوزظذأإآ'],
};

/**
 * A field for a name, and the keys for it: they come when it is touched, or with
 * the button beside it. They are one stop of the Tab key, and the arrows move
 * within.
 * @param {string} label
 */
export function nameField(label) {
  const input = el('input', { type: 'text', name: 'name', autocomplete: 'off', maxlength: 40, required: true, dir: 'auto', 'aria-describedby': 'wrong' });
  let layout = language;
  let capital = true;
  const keys = el('div', { class: 'keys', role: 'group', 'aria-label': say('keys.open'), hidden: true });
  const open = button('⌨', () => show(keys.hidden), 'key');
  open.setAttribute('aria-label', say('keys.open'));

  /** @param {boolean} yes */
  function show(yes) {
    keys.hidden = !yes;
    open.setAttribute('aria-expanded', String(yes));
    if (!yes) return;
    draw();
    input.focus();
    view.scrollIntoView({ block: 'nearest' }); // above the keys: style.css, scroll-padding
  }

  /** @param {string} text typed at the caret, or with none what is before it deleted */
  function type(text) {
    const end = input.selectionEnd ?? input.value.length;
    let start = input.selectionStart ?? end;
    if (!text && start === end) start -= [...input.value.slice(0, start)].at(-1)?.length ?? 0;
    if (input.value.length - (end - start) + text.length > input.maxLength) return;
    input.setRangeText(text, start, end, 'end');
    input.dispatchEvent(new Event('input'));
    const was = capital;
    capital = /(^|[\s'.-])$/.test(input.value);
    if (was !== capital) draw();
  }

  /** @param {string} text @param {() => void} press @param {string} [name] @param {string} [look] */
  function key(text, press, name, look) {
    const b = button(text, press, look);
    b.tabIndex = -1;
    if (name) b.setAttribute('aria-label', name);
    return b;
  }

  function draw() {
    const all = [...keys.querySelectorAll('button')];
    const at = all.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    const tags = /** @type {import('./words.js').Language[]} */ (Object.keys(languages));
    const next = tags[(tags.indexOf(layout) + 1) % tags.length];
    keys.lang = layout;
    keys.dir = languages[layout].dir;
    keys.replaceChildren(
      ...layouts[layout].map((row) => el('div', {}, ...[...row].map((c) => (capital && c !== 'ß' ? c.toUpperCase() : c)).map((c) => key(c, () => type(c))))),
      el('div', {},
        key('⇧', () => { capital = !capital; draw(); }, say('keys.capital')),
        key(languages[next].name, () => { layout = next; draw(); }),
        key('', () => type(' '), say('keys.space'), 'space'),
        key('⌫', () => type(''), say('keys.delete')),
        key(say('done'), () => { show(false); input.focus(); }, undefined, 'main')));
    const now = [...keys.querySelectorAll('button')];
    const below = all.length - at; // the last row's keys are the same in each layout, the others are not as many
    const same = at < 0 ? now[0] : now[below <= lastRow ? now.length - below : Math.min(at, now.length - lastRow - 1)];
    same.tabIndex = 0;
    if (at >= 0) same.focus();
  }

  keys.addEventListener('pointerdown', (e) => e.preventDefault()); // the field keeps the caret
  keys.addEventListener('keydown', (e) => {
    const all = [...keys.querySelectorAll('button')];
    const from = /** @type {HTMLButtonElement} */ (document.activeElement);
    const at = all.indexOf(from);
    if (at < 0) return;
    const on = keys.dir === 'rtl' ? -1 : 1;
    const row = [...keys.children].findIndex((r) => r.contains(from));
    const across = ([...keys.children[row].children].indexOf(from) + 0.5) / keys.children[row].children.length;
    /** @param {number} way */
    const beside = (way) => {
      const next = keys.children[row + way]?.children;
      return next?.[Math.floor(across * next.length)];
    };
    const to = { ArrowRight: all[at + on], ArrowLeft: all[at - on], ArrowDown: beside(1), ArrowUp: beside(-1) }[e.key];
    if (!(to instanceof HTMLElement)) return;
    e.preventDefault();
    from.tabIndex = -1;
    to.tabIndex = 0;
    to.focus();
  });
  input.addEventListener('pointerdown', (e) => {
    if (e.pointerType === 'touch') show(true);
  });
  const view = el('div', { class: 'typed' }, el('label', {}, label, input), open, keys);
  view.addEventListener('keydown', (e) => {
    if (e.key !== 'Escape' || keys.hidden) return;
    show(false);
    open.focus();
  });
  view.addEventListener('focusout', (e) => { // to another field, which they would cover
    if (e.relatedTarget instanceof HTMLInputElement && e.relatedTarget !== input) show(false);
  });
  return { input, view };
}
