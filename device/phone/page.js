// The page of a phone without an app. Its key is made by the browser and cannot
// be read by anybody, this page included; testdata/vectors.json has the texts
// that are proved and signed. Nothing is loaded from elsewhere.

const utf8 = new TextEncoder();

export const b64 = (bytes) =>
  btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

export const unb64 = (text) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));

const sha256 = async (bytes) => crypto.subtle.digest("SHA-256", bytes);

// --- the protocol -----------------------------------------------------------

// parseCode reads the fragment of an invitation.
export function parseCode(hash) {
  const m = /^#1\.([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{22})$/.exec(hash);
  return m && { pin: m[1], secret: unb64(m[2]) };
}

export const requestMessage = async (method, target, counter, binding, body) =>
  ["faceprint-request-1", method, target, String(counter), binding, b64(await sha256(utf8.encode(body)))].join("\n");

export const phoneMessage = (pin, binding, key, kind, platform, name) =>
  ["faceprint-pair-1 phone", pin, binding, key, kind, platform, name].join("\n");

export const deviceMessage = (proof, id, user) => ["faceprint-pair-1 device", proof, id, user].join("\n");

export async function prove(secret, message) {
  const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return b64(await crypto.subtle.sign("HMAC", key, utf8.encode(message)));
}

export const codeName = async (secret) =>
  b64((await sha256(new Uint8Array([...utf8.encode("faceprint-pair-1 name\n"), ...secret]))).slice(0, 9));

export const keyID = async (raw) => b64((await sha256(raw)).slice(0, 12));

// --- what the browser keeps -------------------------------------------------

function database() {
  return new Promise((done, failed) => {
    const open = indexedDB.open("faceprint", 1);
    open.onupgradeneeded = () => open.result.createObjectStore("phone");
    open.onsuccess = () => done(open.result);
    open.onerror = () => failed(open.error);
  });
}

async function stored(mode, f) {
  const db = await database();
  try {
    return await new Promise((done, failed) => {
      const tx = db.transaction("phone", mode);
      const asked = f(tx.objectStore("phone"));
      tx.oncomplete = () => done(asked.result);
      tx.onabort = tx.onerror = () => failed(tx.error);
    });
  } finally {
    db.close();
  }
}

// Under "me" is the phone that this browser is; under "old" one that another
// took the place of, until the device knows.
const recall = (as = "me") => stored("readonly", (s) => s.get(as));
const remember = (me, as = "me") => stored("readwrite", (s) => s.put(me, as));
const forget = (as = "me") => stored("readwrite", (s) => s.delete(as));

// replace makes another pairing this browser's, in one step.
const replace = (me, old) => stored("readwrite", (s) => {
  if (old) s.put(old, "old");
  return s.put(me, "me");
});

// change lets f change what is kept, in one tab at a time; it returns what f
// does.
const change = (as, f) => navigator.locks.request("faceprint-counter", async () => {
  const me = await recall(as);
  if (!me) throw new Error(word("page.unpaired"));
  const result = f(me);
  await remember(me, as);
  return result;
});

// --- requests ---------------------------------------------------------------

class Problem extends Error {
  constructor(status, answer) {
    super([answer.detail || "the device answered " + status, answer.advice].filter(Boolean).join("; "));
    this.kind = (answer.type || "").replace("urn:faceprint:problem:", "");
  }
}

// reach is fetch, with words for a device that does not answer.
const reach = (target, how) => fetch(target, how).catch(() => { throw new Error(word("page.offline")); });

let session; // what this page's requests are bound to

async function binding() {
  if (!session || Date.now() > session.until) {
    const r = await reach("/v1/session", { method: "POST" });
    if (!r.ok) throw new Problem(r.status, await r.json().catch(() => ({})));
    const s = await r.json();
    session = { binding: s.binding, until: Date.now() + 3600_000 };
  }
  return session.binding;
}

async function signed(me, method, target, counter, body) {
  const bound = await binding();
  const message = await requestMessage(method, target, counter, bound, body);
  const sig = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, me.keys.privateKey, utf8.encode(message));
  const headers = { Authorization: `Faceprint1 ${me.id}.${counter}.${b64(sig)}`, "Faceprint-Session": bound };
  if (body) headers["Content-Type"] = "application/json";
  return reach(target, { method, headers, body: body || undefined });
}

// ask makes one signed request. The counter only grows, in all tabs together.
async function ask(method, target, what, as = "me") {
  const body = what === undefined ? "" : JSON.stringify(what);
  for (let left = 3; ; left--) {
    const me = await change(as, (me) => {
      me.counter++;
      return { ...me };
    });
    const r = await signed(me, method, target, me.counter, body);
    await learn(r, me, as);
    if (r.ok) return r;
    const problem = new Problem(r.status, await r.json().catch(() => ({})));
    problem.of = me.id;
    if (left > 1 && problem.kind === "stale-counter") continue;
    if (left > 1 && problem.kind === "unsigned" && session) {
      session = undefined; // the device started anew and knows no old sessions
      continue;
    }
    throw problem;
  }
}

// learn takes note of the highest counter that the device says it had accepted
// before this request. One below what this phone knew when it asked gives away
// a device that was rolled back: the person is told until they say they know.
async function learn(r, asked, as) {
  const had = Number(r.headers.get("Faceprint-Counter") ?? NaN);
  if (!Number.isSafeInteger(had)) return; // the device does not know this phone, and says so
  const back = had < (asked.acked ?? 0);
  await change(as, (me) => {
    if (me.id !== asked.id) return; // another pairing took its place meanwhile
    me.counter = Math.max(me.counter, had);
    me.acked = Math.max(me.acked ?? 0, had);
    if (back) me.warned = Date.now();
  });
  if (back) warn(Date.now());
}

// warn says, if there is something to say, that the device forgot requests.
function warn(since) {
  at("warned").hidden = !since;
  at("warning").textContent = since ? word("page.rolled-back", { at: when(since) }) : "";
}

// --- words ------------------------------------------------------------------

const languages = { en: "ltr", de: "ltr", ar: "rtl" };
let language = "en", messages = {};

// speak loads the language of the browser, or else English, and words the page.
async function speak() {
  language = navigator.languages.map((tag) => tag.split("-")[0]).find((tag) => tag in languages) ?? "en";
  messages = await (await fetch(`/messages/${language}.json`)).json();
  document.documentElement.lang = language;
  document.documentElement.dir = languages[language];
  for (const e of document.querySelectorAll("[data-say]")) e.textContent = word(e.dataset.say);
  for (const e of document.querySelectorAll("[data-label]")) e.setAttribute("aria-label", word(e.dataset.label));
}

const word = (key, values = {}) => (messages[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");

// plain are the device's words of a kind, as people say them; what is none of
// theirs (which phone, who did it) is left out, and what is new shown as it is.
const plain = (kind, ...some) =>
  some.filter((w) => w && !w.includes(":")).map((w) => messages[`${kind}.${w}`] ?? w.replaceAll("-", " ")).join(" ");

const when = (time) => new Date(time).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });

// told is what an error says in the person's language.
function told(e) {
  if (e instanceof Problem) return messages[`problem.${e.kind}`] ?? `${word("problem.other")} (${e.message})`;
  return e.message;
}

// --- the page ---------------------------------------------------------------

const at = (id) => document.getElementById(id);
const say = (text) => { at("said").textContent = text; };

function show(screen) {
  for (const id of ["unpaired", "pair", "home"]) at(id).hidden = id !== screen;
  document.body.dataset.screen = screen;
}

function row(text, ...buttons) {
  const li = document.createElement("li");
  li.append(text);
  for (const [label, f] of buttons) {
    const b = document.createElement("button");
    b.textContent = label;
    b.addEventListener("click", () => attempt(f));
    li.append(b);
  }
  return li;
}

async function attempt(f) {
  try {
    await f();
  } catch (e) {
    say(told(e));
    // Only a revocation is for ever. The key of a pairing that is over, or of a
    // person whom the device does not know, is kept: more time may be given, and
    // the vault may be an old one that is put right.
    if (!["revoked", "expired", "unsigned"].includes(e.kind)) return;
    const me = await recall();
    if (me && e.of && me.id !== e.of) return location.reload(); // another tab has paired anew
    if (e.kind === "revoked") await forget();
    show("unpaired");
  }
}

async function pair(code, name) {
  const keys = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign", "verify"]);
  const raw = await crypto.subtle.exportKey("raw", keys.publicKey);
  const [key, id, bound] = [b64(raw), await keyID(raw), await binding()];
  const platform = (navigator.userAgentData?.platform || navigator.platform || "browser").slice(0, 64);
  const proof = await prove(code.secret, phoneMessage(code.pin, bound, key, "browser", platform, name));
  const body = JSON.stringify({ invite: await codeName(code.secret), key, kind: "browser", name, platform, proof });
  const r = await signed({ id, keys }, "POST", "/v1/pair", 1, body);
  const answer = await r.json();
  if (!r.ok) throw new Problem(r.status, answer);
  if (answer.id !== id || answer.proof !== (await prove(code.secret, deviceMessage(proof, id, answer.user)))) {
    throw new Error(word("page.stranger"));
  }
  // Only now does the pairing of before give way.
  await replace({ id, user: answer.user, pin: code.pin, keys, counter: 1, acked: 0 }, await recall());
  await endOld();
}

// endOld ends the pairing that another took the place of. Where the device
// cannot be reached, or does not know it, the next start tries again, or gives up.
async function endOld() {
  if (!(await recall("old"))) return;
  try {
    await ask("DELETE", "/v1/me", undefined, "old");
  } catch (e) {
    if (!(e instanceof Problem)) return;
  }
  await forget("old");
}

async function home() {
  const me = await (await ask("GET", "/v1/me")).json();
  at("who").textContent = me.name;
  at("phone").textContent = word("page.since", { name: me.phone.name, at: when(me.phone.paired) });
  at("rights").textContent = word("page.may", { rights: me.phone.rights.map((r) => plain("right", r)).join(" · ") });
  may = new Set(me.phone.rights);
  at("unlock").hidden = at("kiosk").hidden = !may.has("unlock");
  at("past").hidden = !may.has("history");
  show("home");
}

let may = new Set(); // the phone's rights, which somebody may change

const unlock = () => letIn("/v1/unlock", { audience: "door" });
const kiosk = () => letIn("/v1/kiosk", {});

async function letIn(path, what) {
  at("unlock").disabled = at("kiosk").disabled = true;
  say(word("page.look"));
  try {
    const d = await (await ask("POST", path, what)).json();
    say({ granted: word("page.open"), refused: `${word("page.refused")} ${plain("reason", ...(d.reasons ?? []))}`, retry: `${word("page.again")} ${plain("hint", ...(d.hints ?? []))}` }[d.outcome] ?? d.outcome);
    document.body.dataset.outcome = d.outcome;
  } finally {
    at("unlock").disabled = at("kiosk").disabled = false;
  }
}

async function waiting() {
  if (!may.has("approve")) return at("asks").replaceChildren();
  const { requests } = await (await ask("GET", "/v1/requests")).json();
  at("asks").replaceChildren(...requests.map((r) => {
    const answer = (approve) => async () => {
      await ask("POST", "/v1/requests/" + encodeURIComponent(r.id), { approve });
      say(word(approve ? "page.approved" : "page.denied"));
      await waiting();
    };
    return row(word("page.is-it-you", { where: r.audience || word("page.device") }), [word("page.yes"), answer(true)], [word("page.no"), answer(false)]);
  }));
}

// came is the outcome of an entry: who was vouched for was not let in, but by a login.
const came = (e) => (e.kind !== "login" && e.outcome === "granted" && (e.reasons ?? []).some((r) => r.startsWith("for:") && r !== "for:enter") ? "vouched" : e.outcome);

async function past() {
  const { entries } = await (await ask("GET", "/v1/history?limit=20")).json();
  at("history").replaceChildren(...entries.map((e) =>
    row([`${when(e.at)}: ${plain("kind", e.kind)}`, plain("outcome", came(e)) + (e.times ? ` × ${e.times}` : ""), plain("reason", ...(e.reasons ?? []))].filter(Boolean).join(" · "))));
}

// listen shows what happens until the device hangs up, and begins again.
async function listen() {
  for (let pause = 1000; ; pause = Math.min(2 * pause, 60_000)) {
    try {
      const r = await ask("GET", "/v1/events");
      await home(); // what it may, may have changed while nobody listened
      await waiting();
      document.body.dataset.listening = "yes";
      pause = 1000;
      const lines = r.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = ""; ;) {
        const { value, done } = await lines.read();
        if (done) break;
        const parts = (rest + value).split("\n");
        rest = parts.pop();
        for (const line of parts) if (line.startsWith("data: ")) await attempt(() => happened(JSON.parse(line.slice(6))));
      }
    } catch (e) {
      if (e.kind === "revoked") return attempt(() => { throw e; });
    }
    document.body.dataset.listening = "no";
    await new Promise((done) => setTimeout(done, pause));
  }
}

async function happened(e) {
  if (e.kind === "approve") return waiting();
  if (e.kind === "hint") say(plain("hint", e.hint));
  if (e.kind === "decision") await waiting();
}

async function start() {
  await speak();
  const code = parseCode(location.hash);
  history.replaceState(null, "", location.pathname); // the secret stays in no history
  addEventListener("hashchange", () => parseCode(location.hash) && location.reload()); // another code, in this tab
  at("unlock").addEventListener("click", () => attempt(unlock));
  at("kiosk").addEventListener("click", () => attempt(kiosk));
  at("past").addEventListener("toggle", () => at("past").open && attempt(past));
  at("known").addEventListener("click", () => attempt(async () => {
    await change("me", (me) => { delete me.warned; });
    warn();
  }));
  at("keep").addEventListener("click", () => attempt(resume));
  at("revoke").addEventListener("click", () => attempt(async () => {
    await ask("DELETE", "/v1/me");
    await forget();
    say(word("page.removed"));
    show("unpaired");
  }));
  if (code) {
    // As browsers show the hash of a certificate's public key.
    at("pin").textContent = [...unb64(code.pin)].map((b, n) => b.toString(16).padStart(2, "0") + (n % 2 ? " " : "")).join("").trim();
    at("pair").addEventListener("submit", (e) => {
      e.preventDefault();
      attempt(async () => {
        await pair(code, at("name").value);
        say(word("page.paired"));
        await home();
        listen();
      });
    });
    const before = await recall();
    at("again").hidden = !before;
    at("sure").required = Boolean(before);
    show("pair");
  } else {
    await resume();
  }
}

// resume goes on as the phone that this browser is, if it is one.
async function resume() {
  const me = await recall();
  if (!me) return show("unpaired");
  warn(me.warned);
  await endOld();
  await attempt(home);
  if (await recall()) listen(); // which goes on asking where it did not work
}

if (document.body?.dataset.screen === "start") attempt(start);
