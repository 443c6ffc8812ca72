// What somebody sees while the device looks: themselves, an oval to be in, one
// hint at a time, and what is still to be done.

import { pictures } from './api.js';
import { el, svg } from './dom.js';
import { known, say } from './words.js';

const hold = 700; // ms that a hint stays, so that it can be read

/**
 * @typedef {{kind: string, step?: string, done?: number, of?: number, hint?: string, outcome?: string}} Happening
 */

/**
 * @param {{preview: boolean, mirror: boolean}} state
 * @param {string[]} factors that are measured, in the order in which they are shown
 * @param {(text: string) => void} announce
 */
export function look(state, factors, announce) {
  const stop = new AbortController();
  const ring = svg('ellipse', { class: 'done', cx: 50, cy: 36, rx: 20, ry: 26, pathLength: 100, 'stroke-dasharray': 100, 'stroke-dashoffset': 100 });
  const canvas = el('canvas', { width: 640, height: 480, class: state.mirror ? 'mirror' : '', 'aria-hidden': 'true' });
  const box = el('div', { class: 'look' },
    state.preview ? canvas : svg('svg', { viewBox: '0 0 100 75', 'aria-hidden': 'true' },
      svg('path', { class: 'face', d: 'M43 30q2.500-2 5 0M53 30q2.500-2 5 0M50.500 33v7q0 1.500-2 1.500M44 48q6 4.500 12 0M34 75q1-9 10-11M66 75q-1-9-10-11' })),
    svg('svg', { viewBox: '0 0 100 75', preserveAspectRatio: 'xMidYMid slice', 'aria-hidden': 'true' },
      svg('path', { class: 'veil', d: 'M-50 0h200v75h-200zM50 10a20 26 0 0 0 0 52a20 26 0 0 0 0-52z' }),
      svg('ellipse', { class: 'oval', cx: 50, cy: 36, rx: 20, ry: 26 }), ring));
  /** @type {Record<string, HTMLElement>} */
  const lamps = {};
  const steps = el('div', { class: 'steps' }, ...factors.map((f) => {
    lamps[f] = el('span', { class: 'lamp waiting', 'aria-hidden': 'true' });
    return el('span', { class: 'step' }, lamps[f], say(`step.${f}`));
  }));
  const hint = el('p', { class: 'hint' }, say(factors.includes('face') ? 'scan.look' : 'scan.touch'));
  let shown = 0;
  /** @type {number | undefined} */
  let later;

  /** @param {string} text */
  function tell(text) {
    clearTimeout(later);
    const wait = shown + hold - performance.now();
    if (wait > 0) {
      later = setTimeout(() => tell(text), wait);
      return;
    }
    if (hint.textContent === text) return;
    hint.textContent = text;
    shown = performance.now();
    announce(text);
  }

  if (state.preview) void show();
  async function show() {
    const paper = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    while (!stop.signal.aborted) {
      try {
        await pictures(async (jpeg) => {
          const picture = await createImageBitmap(new Blob([jpeg], { type: 'image/jpeg' }));
          if (canvas.width !== picture.width || canvas.height !== picture.height) {
            canvas.width = picture.width;
            canvas.height = picture.height;
          }
          paper.drawImage(picture, 0, 0);
          picture.close();
          canvas.dataset.pictures = String(Number(canvas.dataset.pictures ?? 0) + 1);
        }, stop.signal);
      } catch { /* the camera is away; the page says so elsewhere */ }
      if (!stop.signal.aborted) await new Promise((r) => setTimeout(r, 500));
    }
    paper.clearRect(0, 0, canvas.width, canvas.height);
  }

  return {
    view: el('div', { class: 'card center' }, box, hint, steps),
    box,
    tell,
    /** @param {Happening} e */
    on(e) {
      const f = e.step ?? '';
      if (e.kind === 'hint' && e.hint) {
        if (known(`hint.${e.hint}`)) tell(say(`hint.${e.hint}`));
        if (f === 'face') box.classList.remove('good');
      }
      if (e.kind === 'progress' && e.of) {
        const all = e.done === e.of;
        if (f === 'face') {
          box.classList.add('good');
          ring.setAttribute('stroke-dashoffset', String(100 - 100 * (e.done ?? 0) / e.of));
          if (!all) tell(say('scan.hold'));
        }
        if (f === 'finger' && !all && (e.done ?? 0) > 0) tell(say('scan.captures', { done: e.done ?? 0, of: e.of }));
        if (all && lamps[f]) {
          lamps[f].className = 'lamp done';
          const next = factors.find((x) => lamps[x].className !== 'lamp done');
          if (next) tell(say(next === 'finger' ? 'scan.touch' : 'scan.look'));
        }
      }
    },
    leave() {
      clearTimeout(later);
      stop.abort();
    },
  };
}
