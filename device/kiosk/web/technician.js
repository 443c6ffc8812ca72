// How the device is, for whoever looks after it.

import { get } from './api.js';
import { button, el } from './dom.js';
import { askCode } from './enrol.js';
import { home, measure, refresh, show, title, trouble } from './main.js';
import { known, say, when } from './words.js';

/** @typedef {{name: string, state: string, detail?: string, advice?: string}} Line */

/**
 * @param {string} heading
 * @param {Line[]} lines
 */
function table(heading, lines) {
  return [el('h2', {}, say(heading)),
    el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': say(heading) }, el('table', {}, el('tbody', {}, ...lines.map((l) => el('tr', {},
      el('th', { scope: 'row', dir: 'ltr' }, l.name), el('td', {}, say(`state.${l.state}`)), el('td', { dir: 'ltr' }, [l.detail, l.advice].filter(Boolean).join('; ')))))))];
}

/** @param {import('./main.js').State} state */
export function technician(state) {
  if (state.permitted) void view();
  else askCode('technician', () => void refresh().then(view));
}

async function view() {
  try {
    /** @type {{status: {version: string, started: string, people: number, audit: number, parts: Line[]}, checks: Line[]}} */
    const all = await get('/technician');
    show(() => ({
      name: 'technician',
      view: el('div', { class: 'card technician' }, title('technician.title'),
        el('p', { class: 'soft' }, say('technician.line', { version: all.status.version, started: when(all.status.started), people: all.status.people, audit: all.status.audit })),
        ...table('technician.parts', all.status.parts), ...table('technician.checks', all.checks),
        el('div', { class: 'row' }, button(say('technician.again'), () => void view(), 'main'), button(say('selftest.do'), selfTest), button(say('done'), home))),
    }));
  } catch (e) {
    trouble(e, () => void view());
  }
}

/** A real attempt, of somebody who is enrolled, with what was measured. */
function selfTest() {
  measure('/selftest', {}, { heading: 'selftest.title', bar: [button(say('cancel'), () => void view())], then: tested, fail: (e) => trouble(e, selfTest) });
}

/** @param {{outcome: string, reasons: string[], hints: string[], took_ms: number, checks: Line[], factors: {kind: string, passed: boolean, score?: number, fmr: number, live?: number, took_ms: number}[]}} r */
function tested(r) {
  const well = r.outcome === 'granted' && !r.checks.some((c) => c.state === 'fail');
  const lines = r.factors.map((f) => ({
    name: f.kind, state: f.passed ? 'ok' : 'fail',
    detail: [f.score == null ? '' : `score ${f.score.toFixed(2)}`, `FMR ${f.fmr.toExponential(1)}`, f.live == null ? '' : `live ${f.live.toFixed(2)}`, `${Math.round(f.took_ms)} ms`].filter(Boolean).join(', '),
  }));
  const why = [...r.reasons.map((x) => `reason.${x}`), ...r.hints.map((x) => `hint.${x}`)].filter(known).map((x) => say(x)).join(' ');
  show(() => ({
    name: 'technician',
    view: el('div', { class: 'card technician' }, title('selftest.do'), el('p', { class: well ? 'note yes' : 'note no' }, say(well ? 'selftest.passed' : 'selftest.failed'), ' ', why),
      ...(lines.length ? table('selftest.measured', lines) : []), ...table('technician.checks', r.checks.filter((c) => c.state !== 'ok')),
      el('p', {}, say('selftest.look')), el('div', { class: 'row' }, button(say('again'), selfTest, 'main'), button(say('back'), () => void view()), button(say('done'), home))),
  }));
}
