// The page's languages. Each is one file of messages; a word that is missing in
// one is shown in English.

export const languages = /** @type {const} */ ({
  en: { name: 'English', dir: 'ltr' },
  de: { name: 'Deutsch', dir: 'ltr' },
  ar: { name: 'العربية', dir: 'rtl' },
});

/** @typedef {keyof typeof languages} Language */

/** @type {Record<string, Record<string, string>>} */
const messages = {};

/** @type {Language} */
export let language = 'en';

/** The language that a fresh page has: the browser's, where there is one. */
export function own() {
  for (const tag of navigator.languages) {
    const base = tag.split('-')[0];
    if (base in languages) return /** @type {Language} */ (base);
  }
  return 'en';
}

/** @param {Language} next */
export async function speak(next) {
  for (const l of new Set([next, 'en'])) {
    if (!messages[l]) messages[l] = await (await fetch(`/web/messages/${l}.json`)).json();
  }
  language = next;
  document.documentElement.lang = next;
  document.documentElement.dir = languages[next].dir;
}

/**
 * The message in the person's language; {x} is replaced by values.x.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 */
export function say(key, values = {}) {
  const text = messages[language]?.[key] ?? messages.en?.[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ''));
}

/** @param {string} key whether there is such a message */
export function known(key) {
  return key in (messages.en ?? {});
}

/** @param {string | Date} at */
export function when(at) {
  return new Date(at).toLocaleString(language, { dateStyle: 'medium', timeStyle: 'short' });
}
