// The kiosk's page: which screen is shown, and what leads from one to the next.
//
// The page keeps nothing. A reload, a second window, the back button and a
// daemon that was restarted all lead to the first screen, and whatever was under
// way has ended on the device.

import { Problem, always, endVisit, get, post, stream } from './api.js';
import { button, el } from './dom.js';
import { enrol } from './enrol.js';
import { look } from './look.js';
import { clock, ended, oval } from './oval.js';
import { account } from './person.js';
import { phoneAsked, somebodyPaired, usePhone } from './phone.js';
import { pin } from './pin.js';
import { technician } from './technician.js';
import { known, language, languages, own, say, speak, when } from './words.js';

/**
 * @typedef {import('./look.js').Happening} Happening
 * @typedef {{
 *   now: string, version: string, bench: boolean, factors: string[], pin: boolean, phone: boolean, enrol: string, preview: boolean, mirror: boolean,
 *   permitted: boolean, busy: boolean, people: boolean, missing: string[], locked_until?: string,
 * }} State
 * @typedef {{outcome: string, name?: string, pin?: boolean, next?: string, reasons: string[], hints: string[], locked_until?: string, now: string, took_ms: number}} Outcome
 * @typedef {{name: string, view: HTMLElement, bar?: HTMLElement[], on?: (e: Happening) => void, leave?: () => void}} Screen
 */

const main = /** @type {HTMLElement} */ (document.getElementById('main'));
const bar = /** @type {HTMLElement} */ (document.getElementById('bar'));
const lamp = /** @type {HTMLElement} */ (document.getElementById('lamp'));
const live = /** @type {HTMLElement} */ (document.getElementById('say'));

// The login of a web application that is to be answered, if that is what the
// page was opened for.
const login = new URLSearchParams(location.search).get('login') ?? '';
/** @type {{app: string, decline: string} | undefined} */
let asked;

/** Body of a request to be recognised. */
export function forLogin() {
  return asked ? { login } : {};
}

/** @type {Screen | undefined} */
let screen;
/** @type {(() => Screen) | undefined} */
let shown;
/** @type {() => void} shows the present screen again, in another language */
let again = () => {};
/** @type {State} */
let state;
/** @type {ReturnType<typeof due> | undefined} */
let lock; // of the whole device
let here = false; // whether somebody is before the camera
let tired = false; // whether they do not want to be looked at; until they leave
let knocked = false; // whether a phone asks

let touched = 0; // when somebody did, by performance.now()
for (const kind of ['pointerdown', 'keydown']) addEventListener(kind, () => { touched = performance.now(); });
let door = -Infinity; // when the door was opened last, by performance.now()

/** Says it to those who do not see the page. @param {string} text */
export function announce(text) {
  live.textContent = text;
}

/**
 * @param {string} text
 * @param {Record<string, string | number>} [values]
 */
export function title(text, values) {
  return el('h1', { tabindex: -1 }, say(text, values));
}

/**
 * A title that ends with what somebody is called, which may be long.
 * @param {string} text
 * @param {string} name
 */
export function named(text, name) {
  return el('h1', { tabindex: -1, class: name.length > 18 ? 'long' : '' }, say(text), ' ', el('bdi', {}, name));
}

/**
 * The oval and, beside it, the words.
 * @param {Element} shape
 * @param {...import('./dom.js').Child} words
 */
export function stage(shape, ...words) {
  return el('div', { class: 'stage' }, shape, el('div', { class: 'words' }, ...words));
}

// Screens that are nobody's, or that end by themselves. Every other one is of who
// is there, and ends when they leave or touch nothing any more.
const steady = ['idle', 'lost', 'elsewhere', 'scan', 'enrol', 'locked', 'trouble', 'code-for-phone'];
let settle = () => {};
// And those of somebody who is recognised, or of nobody: no other way in is offered there.
const inside = ['lost', 'elsewhere', 'granted', 'person', 'receipt', 'technician', 'code-for-phone'];

/**
 * Shows what make makes, in place of the present screen.
 * @param {() => Screen} make
 */
export function show(make) {
  screen?.leave?.();
  settle();
  if (make !== shown) endVisit(); // a late answer would put its screen in place of this one
  shown = make;
  const next = make();
  screen = next;
  again = () => show(make);
  main.replaceChildren(next.view);
  if (!steady.includes(next.name)) settle = closing(next);
  bar.replaceChildren(...(next.bar ?? (inside.includes(next.name) ? [] : ways(false, next.name))));
  document.body.dataset.screen = next.name;
  const heading = next.view.querySelector('h1');
  document.title = `${heading?.textContent ?? 'faceprint'} · faceprint`;
  announce('');
  if (!next.view.contains(document.activeElement)) heading?.focus();
  queueMicrotask(open);
}

/**
 * Begins for a phone that asks. What is somebody's already, half done, or looks at
 * them, ends first.
 */
function open() {
  if (!knocked || !screen || !['idle', 'refused'].includes(screen.name)) return;
  knocked = false;
  phoneAsked(state);
}

// The back button leads to the first screen, and never into something half
// done: there is always one entry to go back from.
history.pushState('here', '');
addEventListener('popstate', () => {
  history.pushState('here', '');
  if (screen && !['idle', 'lost', 'elsewhere'].includes(screen.name)) home();
});

let left = Promise.resolve(); // the device knows that what was under way has ended

/** Goes to the first screen; what was under way ends. */
export function home() {
  endVisit();
  left = post('/leave', {}, always).catch(() => {});
  state.permitted = false; // a code is for one visit
  tired = here;
  idle();
}

/** @param {string} [note] something to say there */
function idle(note) {
  show(() => first(note));
  if (theirs && !here) anew();
}

let theirs = false; // whether the language and the size of the text are of who left

/** Has both as whoever is next finds them. */
function anew() {
  theirs = false;
  enlarge('');
  if (language !== own()) void turn(own());
}

/** The state of the device, asked for anew. */
export async function refresh() {
  state = await get('/state', always);
  lock = state.locked_until ? due(state.now, state.locked_until) : undefined;
  return state;
}

/**
 * The other ways in, which no sensor keeps anybody from.
 * @param {boolean} [cancel]
 * @param {string} [without] the one that is shown
 */
export function ways(cancel, without) {
  return [state.phone && state.people && without !== 'phone' ? button(say('phone.use'), () => usePhone(state)) : null, state.pin && state.people && without !== 'pin' ? button(say('pin.use'), pin) : null, cancel ? button(say('cancel'), home) : null].filter((b) => b !== null);
}

/** Goes on with whoever is there, unless something is said to them. @param {string} [note] */
export function resume(note) {
  idle(note);
  if (here && !tired && !note) screen?.on?.({ kind: 'presence', outcome: 'came' });
}

/** What is not there, in words. */
function missing() {
  return state.missing.map((m) => (known(`missing.${m}`) ? say(`missing.${m}`) : say('missing.part', { part: m }))).join(' ');
}

/** @param {string} [note] @returns {Screen} */
function first(note) {
  const trouble = el('p', { class: 'note no', hidden: true });
  const words = el('p', { class: 'soft big' });
  const start = button(say('idle.start'), () => scan(), 'main');
  const time = clock();
  /** @type {ReturnType<typeof countdown> | undefined} */
  let locked;
  const wait = el('p', { class: 'big', hidden: true }, say('reason.locked-out'), ' ', say('locked.wait'));
  const heading = title('idle.title');
  const view = stage(time.view, heading,
    asked ? el('p', { class: 'big' }, say('login.asks'), ' ', el('bdi', {}, asked.app)) : null, note ? el('p', { class: 'note' }, note) : null, words, trouble, wait, start);
  const tick = setInterval(() => {
    void check();
    if (!here && performance.now() - touched > 30_000) anew(); // where no camera tells that they left
  }, 5000);
  function paint() {
    trouble.hidden = state.missing.length === 0;
    trouble.textContent = missing();
    if (lock && !locked) {
      locked = countdown(lock, () => void check());
      time.view.replaceWith(locked.view);
    }
    if (!lock && locked) {
      locked.leave();
      locked.view.replaceWith(time.view);
      locked = undefined;
    }
    wait.hidden = !locked;
    heading.textContent = say(locked ? 'locked.title' : 'idle.title');
    words.hidden = Boolean(locked) || state.missing.length > 0;
    start.hidden = !state.people || Boolean(locked) || state.factors.includes('face') && state.missing.includes('camera');
    words.textContent = say(state.people ? here ? 'idle.here' : 'idle.come' : 'idle.nobody');
  }
  async function check() {
    const gone = state.missing.length;
    try {
      await left;
      await refresh();
      paint();
      if (asked && !await waits() && screen?.view === view) {
        idle(say('problem.no-login'));
        return;
      }
      if (gone && !state.missing.length && screen?.view === view) resume(); // whoever waited for it is looked at now
    } catch { /* the stream notices */ }
  }
  paint();
  void check(); // somebody was enrolled, or forgotten, or failed
  return {
    name: 'idle', view,
    bar: [
      ...ways(), asked ? button(say('login.decline'), decline) : null, state.enrol === 'off' ? null : button(say('idle.enrol'), () => enrol(state), 'plain'),
      state.enrol === 'open' || state.enrol === 'code' ? button(say('idle.technician'), () => technician(state), 'plain') : null,
    ].filter((b) => b !== null),
    on(e) {
      if (e.kind !== 'presence') return;
      paint();
      if (e.outcome !== 'came' || !state.people || locked) return;
      if (state.missing.length) void check(); // who is seen is seen by a camera that is back
      else scan();
    },
    leave() {
      clearInterval(tick);
      time.leave();
      locked?.leave();
    },
  };
}

/**
 * When something is over, by performance.now(), and how long it is until then.
 * @param {string} now of the device
 * @param {string} until
 */
function due(now, until) {
  const whole = Date.parse(until) - Date.parse(now);
  return { whole, end: performance.now() + whole };
}

/**
 * An oval with a clock that runs down.
 * @param {ReturnType<typeof due>} when
 * @param {() => void} over
 */
function countdown({ whole, end }, over) {
  const count = el('span', { class: 'count', role: 'timer' });
  const o = oval(count);
  function paint() {
    const rest = end - performance.now();
    const left = Math.max(0, Math.ceil(rest / 1000));
    count.textContent = left >= 60 ? `${Math.floor(left / 60)}:${String(left % 60).padStart(2, '0')}` : String(left);
    o.fill(rest / whole);
    if (left > 0) return;
    clearInterval(tick);
    over();
  }
  const tick = setInterval(paint, 250);
  queueMicrotask(paint);
  return { view: o.view, leave: () => clearInterval(tick) };
}

/**
 * Asks the device for something that it looks at people for, and shows what it
 * sees meanwhile. Whoever leaves the screen ends it.
 * @param {string} path
 * @param {object} body
 * @param {{name?: string, factors?: string[], heading: string, bar?: HTMLElement[], then: (answer: any) => void, fail: (e: unknown) => void, late?: () => void}} how
 *   then is called with the answer while the screen is shown, late where it came too late
 */
export function measure(path, body, { name = 'scan', factors = state.factors, heading, bar = ways(true), then, fail, late }) {
  show(() => {
    const stop = new AbortController();
    const see = look(state, factors, say(heading), announce);
    void post(path, body, stop.signal).then((answer) => (stop.signal.aborted ? late?.() : then(answer))).catch((e) => {
      if (!stop.signal.aborted) fail(e);
    });
    return {
      name, view: see.view, bar, on: see.on,
      leave() {
        stop.abort();
        see.leave();
      },
    };
  });
}

/** Looks who is there. @param {number} [round] how often already */
function scan(round = 0) {
  measure('/identify', forLogin(), {
    heading: 'scan.title',
    /** @param {Outcome} answer */
    then(answer) {
      if (answer.outcome !== 'retry') outcome(answer);
      else if (here && round < 3 && !knocked) scan(round + 1); // they are still trying
      else {
        tired = here;
        idle(answer.hints.map((h) => say(`hint.${h}`)).join(' '));
      }
    },
    fail: (e) => trouble(e, () => scan()),
  });
}

/**
 * Shows how an attempt ended.
 * @param {Outcome} answer
 * @param {boolean} [ofPhone] whether a phone asked for it, whose person may be somebody else
 */
export function outcome(answer, ofPhone) {
  if (answer.next) {
    location.replace(answer.next); // back to the application that asked
    return;
  }
  if (answer.outcome === 'granted') granted(answer);
  else refused(answer, ofPhone);
}

/** @param {Outcome} answer */
function granted(answer) {
  const name = answer.name ?? '';
  show(() => {
    // The door may have been quicker than the answer.
    const open = el('p', { class: 'note yes', hidden: performance.now() - door > 2000 }, say('granted.door'));
    return {
      name: 'granted',
      view: stage(ended('yes'), named('granted.title', name), open,
        ...account(state, name, Boolean(answer.pin)), button(say('done'), home, 'main')),
      on(e) {
        if (e.kind === 'door' && e.outcome === 'open') open.hidden = false;
      },
    };
  });
}

/**
 * Ends a screen that nobody uses any more, and says so in time. A form waits for
 * whoever is seen, since they may read.
 * @param {Screen} of
 */
function closing(of) {
  const form = of.view.matches('form');
  const stay = form ? 60 : 30;
  const left = el('p', { class: 'soft', hidden: true });
  (of.view.querySelector('.words') ?? of.view).append(left);
  let seconds = stay;
  const more = () => {
    if (!left.hidden) announce('');
    seconds = stay;
    left.hidden = true;
  };
  const tick = setInterval(() => {
    if (form && here) more();
    else seconds -= 1;
    left.hidden = seconds > 15;
    left.textContent = say('closing', { seconds });
    if (seconds === 15) announce(left.textContent); // once: every second would be read out
    if (seconds > 0) return;
    home();
    if (!here) anew();
  }, 1000);
  addEventListener('keydown', more);
  addEventListener('pointerdown', more);
  return () => {
    clearInterval(tick);
    removeEventListener('keydown', more);
    removeEventListener('pointerdown', more);
    settle = () => {};
  };
}

/**
 * @param {Outcome} answer
 * @param {boolean} [ofPhone] whose lock-out is not of whoever is there
 */
function refused(answer, ofPhone) {
  const locked = !ofPhone && answer.reasons.includes('locked-out');
  const until = answer.locked_until && !ofPhone ? due(answer.now, answer.locked_until) : undefined;
  show(() => {
    const left = until && countdown(until, () => idle());
    const reasons = answer.reasons.filter((r) => known(`reason.${r}`) && !(ofPhone && ['locked-out', 'disabled'].includes(r))).map((r) => el('p', {}, say(`reason.${r}`)));
    const retry = locked ? null : button(say('again'), () => scan(), 'main');
    return {
      name: locked && left ? 'locked' : 'refused', // what does not end by itself ends when they leave
      view: stage(left?.view ?? ended('no'), title(locked ? 'locked.title' : 'refused.title'), ...reasons,
        left ? el('p', { class: 'big' }, say('locked.wait')) : null, el('div', { class: 'row' }, retry, button(say('back'), home))),
      leave() {
        left?.leave();
      },
    };
  });
}

/**
 * Says what went wrong and goes on by itself when it is over.
 * @param {unknown} e
 * @param {() => void} retry
 * @param {string} [note] what became of what was under way
 */
export function trouble(e, retry, note) {
  if (e instanceof DOMException && e.name === 'AbortError') return; // whoever waited for it has left
  const p = e instanceof Problem ? e : new Problem({ detail: String(e) });
  if (p.kind === 'stale') {
    location.reload();
    return;
  }
  if (p.kind === 'elsewhere' || p.kind === 'unreachable') return; // the stream says so as well
  if (p.kind === 'no-login') asked = undefined; // this is an ordinary kiosk now
  if (p.kind === 'signed-out' || p.kind === 'left' || p.kind === 'no-login') {
    idle(say(`problem.${p.kind}`));
    return;
  }
  show(() => {
    const what = el('p', {});
    const view = stage(ended('trouble'), title(known(`problem.${p.kind}`) ? `problem.${p.kind}` : 'problem.fault'), p.kind === 'fault' ? what : null, // the device's own words are for the technician's view
      el('div', { class: 'row' }, button(say('again'), () => retry(), 'main'), button(say('back'), home)));
    const paint = () => { what.textContent = [missing(), note].filter(Boolean).join(' ') || say('problem.nothing-lost'); };
    const tick = setInterval(async () => {
      try {
        await refresh();
        paint();
        if (p.kind === 'busy' ? !state.busy : p.kind === 'fault' && !state.missing.length) resume(note);
      } catch { /* the stream notices */ }
    }, 1000);
    paint();
    refresh().then(paint, () => {}); // what is missing may be so since a moment
    return {
      name: 'trouble', view,
      on(e) { // what is missing is everybody's to see; what they were at is not
        if (e.kind !== 'presence' || e.outcome !== 'left') return;
        if (p.kind !== 'fault' && p.kind !== 'busy') idle();
        retry = home;
      },
      leave: () => clearInterval(tick),
    };
  });
}

function paintLanguages() {
  enlarge(document.documentElement.dataset.text ?? '');
  const group = /** @type {HTMLElement} */ (document.getElementById('languages'));
  group.setAttribute('aria-label', say('languages'));
  group.replaceChildren(...Object.entries(languages).map(([tag, l]) => {
    const b = el('button', { type: 'button', class: 'plain', lang: tag, 'aria-pressed': tag === language ? 'true' : 'false' }, l.name);
    b.addEventListener('click', () => void turn(/** @type {import('./words.js').Language} */ (tag)));
    return b;
  }));
}

/** @param {import('./words.js').Language} tag */
async function turn(tag) {
  await speak(tag);
  paintLanguages();
  // A look that is under way goes on in its language; everything else is shown
  // again.
  if (screen?.name !== 'scan' && screen?.name !== 'enrol' && screen?.name !== 'code-for-phone') again();
}

const patience = 30_000; // three signs of life missed

/** Keeps the device's stream open, for as long as the page is. */
async function listen() {
  for (let wait = 250; ; wait = Math.min(wait * 2, 4000)) {
    const stop = new AbortController();
    let watch = setTimeout(() => stop.abort(), patience);
    let elsewhere = false;
    try {
      await stream((e) => {
        clearTimeout(watch);
        watch = setTimeout(() => stop.abort(), patience);
        wait = 250;
        if (e.kind === 'elsewhere') elsewhere = true;
        else if (e.kind === 'hello') void hello(e.outcome === 'came');
        else happened(e);
      }, stop.signal);
    } catch (e) {
      if (e instanceof Problem && e.kind === 'stale') {
        if (screen?.name !== 'elsewhere') location.reload(); // there, it would take over
        return;
      }
      elsewhere = e instanceof Problem && e.kind === 'elsewhere';
    }
    clearTimeout(watch);
    delete lamp.dataset.shows; // nobody tells any more
    if (elsewhere) {
      wait = 2000; // when the other window is closed, this one goes on
      if (screen?.name !== 'elsewhere') show(() => ({
        name: 'elsewhere',
        view: stage(oval().view, title('elsewhere.title'), el('p', { class: 'big' }, say('elsewhere.text')), button(say('elsewhere.take'), () => location.reload(), 'main')),
      }));
    } else if (screen?.name !== 'lost') {
      show(() => {
        const shape = oval();
        shape.tone('waits');
        return { name: 'lost', view: stage(shape.view, title('lost.title'), el('p', { class: 'big' }, say('lost.text'))) };
      });
    }
    await new Promise((r) => setTimeout(r, wait));
  }
}

/**
 * Ends what somebody who left was signed in to: each application has an address
 * for it, which is loaded in a frame that nobody sees.
 */
async function signOut() {
  try {
    for (const address of (await post('/signed-out', {}, always)) ?? []) {
      const frame = el('iframe', { src: address, class: 'unseen', 'aria-hidden': 'true', tabindex: -1, sandbox: 'allow-scripts allow-same-origin' });
      const gone = () => frame.remove();
      frame.addEventListener('load', gone);
      setTimeout(gone, 10_000);
      document.body.append(frame);
    }
  } catch { /* the stream notices */ }
}

/** Whether an application waits for an answer: it does so for a while. */
async function waits() {
  try {
    asked = await get(`/login/${encodeURIComponent(login)}`, always);
  } catch (e) {
    if (!(e instanceof Problem) || e.kind !== 'no-login') throw e;
    asked = undefined;
  }
  return asked;
}

/** Tells the application that nobody will be recognised. */
async function decline() {
  try {
    const to = await waits();
    if (to) location.replace(to.decline);
    else idle(say('problem.no-login'));
  } catch { /* the stream notices */ }
}

/** @param {boolean} somebody is there already */
async function hello(somebody) {
  here = somebody; // before anything is waited for: they may come or leave meanwhile
  tired = false;
  try {
    await refresh();
    if (login) await waits().catch(() => {}); // it is asked for again
    void signOut();
    resume();
  } catch { /* the stream ends as well */ }
}

/** @param {Happening} e */
function happened(e) {
  if (e.kind === 'door' && e.outcome === 'open') door = performance.now();
  if (e.kind === 'presence') {
    here = e.outcome === 'came';
    if (e.outcome === 'left') {
      endVisit();
      state.permitted = false;
      // The device has forgotten them already. A code for a phone stays a little,
      // since who holds one up is not seen, and who bends down to the finger reader
      // is not either: a look ends by itself. What nobody can leave stays too.
      if (screen && !['idle', 'lost', 'elsewhere', 'locked', 'code-for-phone', 'trouble', 'scan', 'enrol'].includes(screen.name)) idle();
      void signOut();
      theirs = true;
      if (screen?.name === 'idle') anew();
      tired = false;
    }
    if (e.outcome === 'nobody') void signOut(); // who was let in is not seen
    if (tired) return;
  }
  if (e.kind === 'lamp') lamp.dataset.shows = e.outcome; // as the finger reader's own
  if (e.kind === 'phone-paired' && e.outcome === 'somebody') somebodyPaired();
  if (e.kind === 'knock') {
    knocked = e.outcome !== 'over';
    open();
    screen?.view.querySelector('.knock')?.remove();
    if (knocked && screen?.name === 'scan') { // whoever holds it sees why nothing happens yet
      (screen.view.querySelector('.words') ?? screen.view).append(el('p', { class: 'note knock' }, say('phone.next')));
      announce(say('phone.next'));
    }
  }
  screen?.on?.(e);
}

const sizes = ['', 'large', 'larger'];

/** Makes the text as large as that. @param {string} size */
function enlarge(size) {
  document.documentElement.dataset.text = size;
  larger.setAttribute('aria-label', say('text.size', { size: sizes.indexOf(size) + 1, of: sizes.length }));
}
const larger = /** @type {HTMLButtonElement} */ (document.getElementById('larger'));
larger.addEventListener('click', () => {
  enlarge(sizes[(sizes.indexOf(document.documentElement.dataset.text ?? '') + 1) % sizes.length]);
  announce(larger.getAttribute('aria-label') ?? ''); // a name that changes is not read out by itself
});

// What destroys something does so once, and not by the second tap of two, which
// was meant for what was there before.
addEventListener('click', (e) => {
  const danger = e.target instanceof Element && e.target.closest('.danger');
  if (!danger) return;
  if (e.detail > 1 || danger.ariaDisabled === 'true') e.stopPropagation();
  else danger.ariaDisabled = 'true';
}, true);

await speak(own());
paintLanguages();
void listen();

export { when };
