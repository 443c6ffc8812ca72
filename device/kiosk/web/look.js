// What somebody sees while the device looks: themselves in an oval, or their
// fingertip; one hint at a time; and what is still to be done.

import { pictures } from './api.js';
import { el, svg } from './dom.js';
import { drawnFace, drawnPhone, fingertip, oval } from './oval.js';
import { known, say } from './words.js';

const hold = 700; // ms that a hint stays, so that it can be read

/** @type {Record<string, 'left' | 'right'>} hints that say where to turn */
const sides = { 'turn-left': 'left', 'turn-right': 'right' };

/**
 * @typedef {{kind: string, step?: string, done?: number, of?: number, coverage?: number, hint?: string, outcome?: string, detail?: string}} Happening
 */

/**
 * @param {{preview: boolean, mirror: boolean}} state
 * @param {string[]} factors that are measured, in the order in which they are shown
 * @param {string} heading
 * @param {(text: string) => void} announce
 */
export function look(state, factors, heading, announce) {
  const stop = new AbortController();
  const canvas = el('canvas', { width: 640, height: 480, class: state.mirror ? 'mirror' : '', 'aria-hidden': 'true' });
  const eye = oval();
  const tip = fingertip();
  /** @type {Record<string, {view: HTMLElement, lamp: HTMLElement, text: HTMLElement}>} */
  const steps = {};
  for (const f of factors) {
    const lamp = el('span', { class: 'lamp waiting', 'aria-hidden': 'true' }, svg('svg', { viewBox: '0 0 32 32' }, svg('path', { d: 'M7 17l6 6L25 9' })));
    const text = el('span', { class: 'unseen' });
    steps[f] = { lamp, text, view: el('span', { class: 'step' }, lamp, say(`step.${f}`), text) };
  }
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

  /** Puts what is measured now into the oval. @param {string} factor */
  function turnTo(factor) {
    for (const f of factors) steps[f].view.classList.toggle('now', f === factor);
    eye.turn('');
    if (factor === 'finger') {
      eye.within.replaceChildren(tip.view);
      canvas.remove();
    } else if (factor === 'phone') {
      eye.within.replaceChildren(drawnPhone());
      canvas.remove();
    } else if (state.preview) eye.view.prepend(canvas);
    else eye.within.replaceChildren(drawnFace());
    eye.within.hidden = factor === 'face' && state.preview;
  }

  turnTo(factors[0] ?? 'face');
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

  /** @param {Happening} e */
  function progress(e) {
    const f = e.step ?? '';
    const step = steps[f];
    if (!step || !e.of) return;
    const done = e.done ?? 0;
    const share = e.coverage ? e.coverage / 100 : done / e.of;
    if (f === 'face') {
      eye.turn('');
      eye.fill(share);
      if (done < e.of) tell(say('scan.hold'));
    }
    if (f === 'finger') {
      tip.fill(share);
      if (done > 0 && done < e.of) tell(e.coverage ? say('scan.covered', { done, of: e.of, percent: Math.min(e.coverage, 100) }) : say('scan.captures', { done, of: e.of }));
    }
    if (done < e.of) return;
    step.lamp.className = 'lamp done';
    step.view.classList.add('ready');
    step.text.textContent = say('step.done');
    const next = factors.find((x) => steps[x].lamp.className !== 'lamp done');
    if (!next) return;
    turnTo(next);
    eye.fill(0);
    tell(say(next === 'finger' ? 'scan.touch' : next === 'phone' ? 'hint.approve-on-phone' : 'scan.look'));
  }

  return {
    view: el('div', { class: 'stage' }, eye.view,
      el('div', { class: 'words' }, el('h1', { class: 'quiet', tabindex: -1 }, heading), hint, el('div', { class: 'steps' }, ...Object.values(steps).map((s) => s.view)))),
    /** @param {Happening} e */
    on(e) {
      if (e.kind === 'hint' && e.hint) {
        if (known(`hint.${e.hint}`)) tell(say(`hint.${e.hint}`));
        eye.turn(sides[e.hint] ?? '');
      }
      if (e.kind === 'progress') progress(e);
      if (e.kind === 'check' && e.of) tell(say('scan.check', { done: e.done ?? 0, of: e.of }));
    },
    leave() {
      clearTimeout(later);
      stop.abort();
    },
  };
}
