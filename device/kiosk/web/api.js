// Talking to the device: every request carries the token of this page.

const token = /** @type {HTMLMetaElement} */ (document.querySelector('meta[name="page"]')).content;
const prefix = 'urn:faceprint:problem:';

/** A no of the device that is no decision. */
export class Problem extends Error {
  /** @param {{type?: string, detail?: string}} p */
  constructor(p) {
    super(p.detail ?? '');
    this.kind = (p.type ?? '').replace(prefix, '') || 'fault';
  }
}

let visit = new AbortController();

/** Ends what somebody who left waits for: its answer is for nobody else. */
export function endVisit() {
  visit.abort();
  visit = new AbortController();
}

/** For what is nobody's. */
export const always = new AbortController().signal;

/**
 * @param {string} path
 * @param {RequestInit} init
 * @returns {Promise<Response>}
 */
async function request(path, init) {
  let response;
  try {
    response = await fetch(path, { ...init, headers: { 'X-Faceprint-Page': token, ...init.headers }, cache: 'no-store', redirect: 'error' });
  } catch (e) {
    if (init.signal?.aborted) throw e;
    throw new Problem({ type: 'unreachable' });
  }
  if (response.ok) return response;
  let p = {};
  try {
    p = await response.json();
  } catch { /* something else than the device answered */ }
  throw new Problem(p);
}

/**
 * @param {string} path
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function get(path, signal) {
  return (await request(path, { signal: signal ?? visit.signal })).json();
}

/**
 * @param {string} method
 * @param {string} path
 * @param {object} [body]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function ask(method, path, body = {}, signal) {
  return (await request(path, { method, body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' }, signal: signal ?? visit.signal })).json();
}

/**
 * @param {string} path
 * @param {object} [body]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export function post(path, body, signal) {
  return ask('POST', path, body, signal);
}

/**
 * Calls each for every line of the device's stream until it ends.
 * @param {(event: any) => void} each
 * @param {AbortSignal} signal
 */
export async function stream(each, signal) {
  const response = await request('/stream', { signal });
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).pipeThrough(/** @type {any} */ (new TextDecoderStream())).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split('\n');
    rest = /** @type {string} */ (lines.pop());
    for (const line of lines) if (line) each(JSON.parse(line));
  }
}

/**
 * Calls each for every picture of the camera: a JPEG after its length in four
 * bytes.
 * @param {(jpeg: Uint8Array<ArrayBuffer>) => Promise<void>} each
 * @param {AbortSignal} signal
 */
export async function pictures(each, signal) {
  const response = await request('/preview', { signal });
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
  let have = new Uint8Array(0);
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const both = new Uint8Array(have.length + value.length);
    both.set(have);
    both.set(value, have.length);
    have = both;
    while (have.length >= 4) {
      const n = new DataView(have.buffer, have.byteOffset).getUint32(0);
      if (have.length < 4 + n) break;
      await each(have.slice(4, 4 + n));
      have = have.slice(4 + n);
    }
  }
}
