// The oval: one shape in one place, with what matters now inside.

import { el, svg } from './dom.js';
import { language } from './words.js';

const tones = ['waits', 'yes', 'no'];
const outline = 'M50 5a26 32.500 0 0 1 0 65a26 32.500 0 0 1 0-65'; // from the top, clockwise

/**
 * An oval with a ring that fills as something gets done.
 * @param {...(Node | string)} inside
 */
export function oval(...inside) {
  const ring = svg('path', { class: 'done', d: outline, pathLength: 100, 'stroke-dasharray': '0 100', visibility: 'hidden' });
  const within = el('div', { class: 'in' }, ...inside);
  const view = el('div', { class: 'oval' }, within,
    svg('svg', { viewBox: '0 0 100 75', 'aria-hidden': 'true' }, svg('path', { class: 'ring', d: outline }), ring,
      svg('path', { class: 'turn l', d: 'M15 30l-7 7.500 7 7.500' }), svg('path', { class: 'turn r', d: 'M85 30l7 7.500-7 7.500' })));
  return {
    view,
    within,
    /** @param {number} share of the ring that is filled, 0 to 1 */
    fill(share) {
      ring.setAttribute('visibility', share > 0 ? 'visible' : 'hidden');
      ring.setAttribute('stroke-dasharray', `${100 * Math.min(share, 1)} 100`);
    },
    /** @param {'waits' | 'yes' | 'no' | ''} tone */
    tone(tone) {
      view.classList.remove(...tones);
      if (tone) view.classList.add(tone);
    },
    /** Where to turn, as the one who looks sees it. @param {'left' | 'right' | ''} side */
    turn(side) {
      view.classList.toggle('left', side === 'left');
      view.classList.toggle('right', side === 'right');
    },
  };
}

const signs = { yes: 'M7 17l6 6L25 9', no: 'M9 9l14 14M23 9L9 23', trouble: 'M16 7v12M16 25v.1' };

/** An oval that says how something ended. @param {keyof typeof signs} sign */
export function ended(sign) {
  const o = oval(svg('svg', { viewBox: '0 0 32 32', 'aria-hidden': 'true' }, svg('path', { d: signs[sign] })));
  o.tone(sign === 'trouble' ? 'no' : sign);
  if (sign === 'yes') o.fill(1);
  return o.view;
}

/** What is shown of a person where no camera may be: a drawn face. */
export function drawnFace() {
  return svg('svg', { class: 'face', viewBox: '0 0 32 40', 'aria-hidden': 'true' },
    svg('path', { d: 'M8.500 15q2.500-2 5 0M18.500 15q2.500-2 5 0M16 17.500v6q0 1.200-1.500 1.200M10.500 30q5.500 4 11 0' }));
}

/** A phone that wants an answer. */
export function drawnPhone() {
  return svg('svg', { viewBox: '0 0 32 40', 'aria-hidden': 'true' }, svg('path', { d: 'M10 4h12a2.500 2.500 0 0 1 2.500 2.500v27a2.500 2.500 0 0 1-2.500 2.500h-12a2.500 2.500 0 0 1-2.500-2.500v-27a2.500 2.500 0 0 1 2.500-2.500zM14.500 32h3M12 19l3 3 5.500-6.500' }));
}

// A fingertip's ridges, from its core outwards.
const ridges = ['M16 19v7', 'M12.500 30q.500-5 .500-11a3 3 0 0 1 6 0q0 6-.500 10', 'M9.500 29q.500-5 .500-10a6 6 0 0 1 12 0q0 7-1 12',
  'M6.500 27q.500-4 .500-8a9 9 0 0 1 12.500-8.300M22.500 12.800a9 9 0 0 1 2.500 6.200q0 6-.800 10', 'M4 24q0-2 0-5a12 12 0 0 1 24 0q0 4-.500 7', 'M5 10a14.500 14.500 0 0 1 22 0'];

/** A fingertip, whose ridges colour as it becomes known. */
export function fingertip() {
  const lines = ridges.map((d) => svg('path', { d }));
  return {
    view: svg('svg', { class: 'tip', viewBox: '0 0 32 36', 'aria-hidden': 'true' }, ...lines),
    /** @param {number} share that is known, 0 to 1 */
    fill(share) {
      lines.forEach((line, i) => line.setAttribute('class', i < Math.round(share * lines.length) ? 'read' : ''));
    },
  };
}

/** An oval with the time of day, for a screen that waits. */
export function clock() {
  const time = el('span', { class: 'clock' });
  const day = el('span', { class: 'day' });
  const o = oval(time, day);
  o.tone('waits');
  function paint() {
    const now = new Date();
    time.textContent = now.toLocaleTimeString(language, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
    day.textContent = now.toLocaleDateString(language, { weekday: 'long', day: 'numeric', month: 'long' });
  }
  paint();
  const tick = setInterval(paint, 1000);
  return { view: o.view, leave: () => clearInterval(tick) };
}
