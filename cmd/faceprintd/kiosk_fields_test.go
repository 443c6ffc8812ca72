package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/chromedp/chromedp"
)

// covered is what stands in the way of typing: the field that is typed into is
// whole, also while each key on the screen is reached, and whatever has the focus
// is not covered (WCAG 2.2, 2.4.11).
const covered = `(() => {
	const wrong = [], name = (e) => e.getAttribute('aria-label') || e.name || e.innerText || e.className;
	const seen = (e, r = e.getBoundingClientRect()) => e.contains(document.elementFromPoint(r.left + r.width / 2, r.top + r.height / 2));
	const whole = (e) => {
		const r = e.getBoundingClientRect(), keys = document.querySelector('.keys:not([hidden])');
		const most = keys && !keys.contains(e) ? keys.getBoundingClientRect().top : innerHeight;
		return r.top > -1 && r.bottom < most + 1 && r.left > -1 && r.right < innerWidth + 1 && seen(e);
	};
	const fields = [...document.querySelectorAll('main input:not([type=checkbox])')];
	if (fields.length === 0) wrong.push('there is no field');
	for (const field of fields) {
		const own = field.closest('.typed') ? '.keys' : '.pad';
		field.focus();
		if (own === '.keys' && document.querySelector('.keys').hidden) document.querySelector('.key').click();
		if (!whole(field)) wrong.push(name(field) + ' has the focus and is not whole');
		for (const key of document.querySelectorAll(own + ' button')) {
			key.focus();
			if (!whole(key)) wrong.push('the key ' + name(key) + ' is not whole');
			if (!whole(field)) wrong.push(name(field) + ' is not whole while ' + name(key) + ' is typed');
		}
		for (const e of document.querySelectorAll('main button, main select, main input, footer button, header button')) {
			if (!e.checkVisibility()) continue;
			e.focus();
			if (!seen(e)) wrong.push(name(e) + ' has the focus and is covered');
		}
	}
	return wrong;
})()`

// On a Pi's screen, with larger text, in every language: what is typed is seen.
func (k *kioskBench) fields() {
	k.alice()
	k.sim("touch alice " + aliceFinger)
	k.do(chromedp.EmulateViewport(800, 480), chromedp.Navigate(k.url))
	each := func(screen string) {
		k.t.Helper()
		k.on(screen)
		for _, l := range []string{"de", "ar", "en"} {
			k.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf("document.querySelector('#languages [lang=%s]').click()", l)))
			k.until(fmt.Sprintf("document.documentElement.lang === %q && document.querySelector('#languages [lang=%s]').ariaPressed === 'true'", l, l))
			for _, size := range []string{"large", "larger", ""} {
				k.do(chromedp.Evaluate[chromedp.Void]("document.querySelector('#larger').click()"))
				for _, wrong := range js[[]string](k, covered) {
					k.t.Errorf("%s, %s, text %q: %s", screen, l, size, wrong)
				}
				if dir := os.Getenv("KIOSK_PICTURES"); dir != "" {
					k.do(chromedp.Evaluate[chromedp.Void]("document.querySelector('main input').focus()"))
					k.picture(filepath.Join(dir, fmt.Sprintf("field-%s-%s-%s.png", screen, l, size)))
				}
			}
		}
	}
	k.on("granted")
	k.press("Choose a PIN")
	each("person")
	k.press("Cancel")
	k.on("idle")
	k.press("Use PIN")
	each("pin")
	k.press("Cancel")
	k.press("Technician")
	each("code")
	k.press("Cancel")
	k.on("idle")
	k.agree()
	each("naming")
}
