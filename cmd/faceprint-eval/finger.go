package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/faceprint/faceprint/sensor/minutia"
)

// fingerOptions are the flags of the finger subcommand.
type fingerOptions struct {
	dir    string
	dpi    float64
	window int
	enroll int
	apart  bool
	invert bool
	record bool
	reject bool
	jobs   int
	json   bool
	plot   string
	table  int
	search int
	fit    int

	explain bool
	out     string
}

// fingerReport is what the finger subcommand prints. Rates are percent.
type fingerReport struct {
	Dir           string     `json:"dir"`
	Images        int        `json:"images"`
	Genuine       int        `json:"genuine"`
	Impostor      int        `json:"impostor"`
	Failures      int        `json:"failures"`
	EER           float64    `json:"eer"`
	EER95         [2]float64 `json:"eer_95"`
	FMR100        float64    `json:"fmr100"`
	FMR1000       float64    `json:"fmr1000"`
	FMR1000_95    [2]float64 `json:"fmr1000_95"`
	ZeroFMR       float64    `json:"zerofmr"`
	Shipped       float64    `json:"fnmr_shipped"`     // FNMR at policy.finger_fmr as shipped, by the matcher's own table
	Shipped100    float64    `json:"fnmr_shipped_100"` // and when it must be found among 100 fingers
	MsExtract     float64    `json:"ms_extract"`
	UsMatch       float64    `json:"us_match"`
	TemplateBytes float64    `json:"template_bytes"`

	Reject []rejection `json:"reject,omitempty"`
}

func fingerCommand() *cobra.Command {
	var o fingerOptions
	cmd := &cobra.Command{
		Use:   "finger --dir DIR | --explain A B --out DIR | --table N [DIR...] | --search N [DIR...] | --fit N [DIR...]",
		Short: "Measure the fingerprint matcher on a folder of pictures",
		Long: `Compares every pair of pictures of a folder whose files are named
FINGER_IMPRESSION.ext (tif, png, bmp, pgm, jpg), by the protocol of the
Fingerprint Verification Competitions with all impostor pairs. With --explain,
draws every stage of two pictures, and what matched, into the folder --out. A
file that cannot be read counts as a picture of which nothing can be.
With --table, measures how rare a score is among different fingers: N synthetic
ones, whole and in a window of 192 x 192, and those of folders, with a fitted
tail; sensor/minutia's table of false match rates is made of it. With --search,
tells how often a 1:N search finds the right finger among N synthetic ones and
those of folders, how often comparing all would, and what both cost. With --fit,
fits the score to twice N synthetic fingers and those of folders, whole and in the
window, and prints the weights as sensor/minutia/tuned.go has them.`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case o.enroll < 0 || o.window < 0 || o.table < 0 || o.search < 0 || o.fit < 0 || o.jobs < 1:
				return fmt.Errorf("finger: --enroll %d, --window %d, --table %d, --search %d, --fit %d, --jobs %d: none may be negative, and --jobs is 1 at least", o.enroll, o.window, o.table, o.search, o.fit, o.jobs)
			case o.window > 0 && o.window < 80:
				return fmt.Errorf("finger: --window %d: a window of under 80 pixels shows too few ridges to compare", o.window)
			case o.explain && (o.enroll > 0 || o.json || o.plot != "" || o.table > 0):
				return errors.New("finger: --explain compares two pictures: without --enroll, --json, --plot and --table")
			case !o.explain && o.out != "":
				return errors.New("finger: --out is where --explain draws into")
			case o.record && (o.dir == "" || o.enroll > 0 && !o.apart):
				return errors.New("finger: --record goes with --dir alone, and with --enroll only --apart: records are not merged")
			case o.table > 0 && (o.dir != "" || o.enroll > 0 || o.window > 0 || o.json || o.plot != ""):
				return errors.New("finger: --table takes folders as arguments, and --dpi and --jobs alone of the other flags")
			case o.search > 0 && (o.dir != "" || o.enroll > 0 || o.table > 0 || o.explain || o.json || o.plot != ""):
				return errors.New("finger: --search takes folders as arguments, and --dpi, --window and --jobs alone of the other flags")
			case o.fit > 0 && (o.dir != "" || o.enroll > 0 || o.window > 0 || o.table > 0 || o.search > 0 || o.explain || o.json || o.plot != ""):
				return errors.New("finger: --fit takes folders as arguments, and --dpi and --jobs alone of the other flags")
			case o.table > 0, o.search > 0, o.fit > 0:
			case o.explain && (len(args) != 2 || o.out == "" || o.dir != ""):
				return errors.New("finger: --explain wants two pictures and --out, without --dir")
			case !o.explain && (len(args) != 0 || o.dir == ""):
				return errors.New("finger: want --dir, or --explain with two pictures")
			}
			return nil
		},
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.table > 0 {
				return fingerTable(cmd.OutOrStdout(), o, args)
			}
			if o.search > 0 {
				return fingerSearch(cmd.OutOrStdout(), o, args)
			}
			if o.fit > 0 {
				return fingerFit(cmd.OutOrStdout(), o, args)
			}
			if o.explain {
				return explain(cmd.OutOrStdout(), o, args)
			}
			r, run, err := evaluateFingers(o)
			if err != nil {
				return err
			}
			if o.plot != "" {
				if err := plotDET(o.plot, falseMatch, falseNonMatch, run.genuine(), run.impostor()); err != nil {
					return err
				}
			}
			if o.json {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(r)
			}
			r.print(cmd.OutOrStdout())
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.dir, "dir", "", "folder of pictures FINGER_IMPRESSION.ext")
	f.Float64Var(&o.dpi, "dpi", 500, "resolution of the pictures")
	f.IntVar(&o.window, "window", 0, "first crop to `W` x W at 508 dpi and 4 bits, as a small module sees it")
	f.IntVar(&o.enroll, "enroll", 0, "make one template of the first `K` impressions, probe with the rest")
	f.BoolVar(&o.apart, "apart", false, "with --enroll: do not merge the impressions, the best of K counts")
	f.BoolVar(&o.invert, "invert", false, "first turn dark to light: nothing should make a template")
	f.BoolVar(&o.record, "record", false, "compare what an ISO/IEC 19794-2 record keeps of the pictures: minutiae alone")
	f.BoolVar(&o.reject, "reject", false, "say how many errors are left when pictures of low quality are refused")
	f.IntVar(&o.jobs, "jobs", 1, "threads; times are of the processor, and least disturbed with 1")
	f.BoolVar(&o.json, "json", false, "print one JSON object")
	f.StringVar(&o.plot, "plot", "", "draw the DET curve into `FILE.png`")
	f.IntVar(&o.table, "table", 0, "measure false match rates on `N` synthetic fingers, and folders")
	f.IntVar(&o.search, "search", 0, "find fingers among `N` synthetic ones and those of folders (1:N)")
	f.IntVar(&o.fit, "fit", 0, "fit the score to twice `N` synthetic fingers, and folders")
	f.BoolVar(&o.explain, "explain", false, "draw every stage of two pictures and their comparison")
	f.StringVar(&o.out, "out", "", "folder that --explain draws into")
	return cmd
}

func (r *fingerReport) print(w io.Writer) {
	fmt.Fprintf(w, "%s: %d pictures, %d failed, %d genuine and %d impostor pairs\n",
		r.Dir, r.Images, r.Failures, r.Genuine, r.Impostor)
	fmt.Fprintf(w, "  EER      %6.2f %%  (95 %%: %.2f to %.2f)\n", r.EER, r.EER95[0], r.EER95[1])
	fmt.Fprintf(w, "  FMR100   %6.2f %%\n", r.FMR100)
	fmt.Fprintf(w, "  FMR1000  %6.2f %%  (95 %%: %.2f to %.2f)\n", r.FMR1000, r.FMR1000_95[0], r.FMR1000_95[1])
	fmt.Fprintf(w, "  ZeroFMR  %6.2f %%\n", r.ZeroFMR)
	fmt.Fprintf(w, "  refused at finger_fmr = %.0e  %6.2f %%, among 100 fingers %.2f %%\n", shippedFMR, r.Shipped, r.Shipped100)
	fmt.Fprintf(w, "  extract %.1f ms, match %.1f us of a processor (medians), template %.0f bytes\n", r.MsExtract, r.UsMatch, r.TemplateBytes)
	for _, j := range r.Reject {
		fmt.Fprintf(w, "  FNMR %6.2f %% at FMR 1e-3 with the worst %2.0f %% of pictures refused (quality below %d)\n", j.FNMR, j.Refused, j.Below)
	}
}

// fingerPicture is one file of the folder and what became of it.
type fingerPicture struct {
	path     string
	finger   int
	template *minutia.Template
	prepared *minutia.Prepared
	extract  time.Duration
	bytes    int
	err      error
}

// comparison is one score with the fingers it belongs to.
type comparison struct {
	a, b  int
	score float64
	fmr   float64 // that the matcher claims
}

type fingerRun []comparison

func (r fingerRun) genuine() (out []float64) {
	for _, c := range r {
		if c.a == c.b {
			out = append(out, c.score)
		}
	}
	return out
}

func (r fingerRun) impostor() (out []float64) {
	for _, c := range r {
		if c.a != c.b {
			out = append(out, c.score)
		}
	}
	return out
}

func evaluateFingers(o fingerOptions) (*fingerReport, fingerRun, error) {
	pics, err := listFingers(o.dir)
	if err != nil {
		return nil, nil, err
	}
	o.jobs = min(max(o.jobs, 1), runtime.NumCPU())
	parallel(o.jobs, len(pics), func(_, i int) { pics[i].read(o) })

	r := &fingerReport{Dir: filepath.Base(o.dir), Images: len(pics)}
	var times, bytes []float64
	for i := range pics {
		p := &pics[i]
		if p.err != nil {
			if p.extract > 0 && !isRetry(p.err) { // a template that cannot be written or read back
				return nil, nil, fmt.Errorf("%s: %w", p.path, p.err)
			}
			fmt.Fprintf(os.Stderr, "faceprint-eval: %s counts as a failure: %v\n", p.path, strings.TrimPrefix(p.err.Error(), p.path+": "))
			r.Failures++
			continue
		}
		times = append(times, float64(p.extract.Microseconds())/1000)
		bytes = append(bytes, float64(p.bytes))
	}
	probes, gallery := pics, pics
	if o.enroll > 0 {
		if gallery, probes, err = enrolled(pics, o.enroll, o.apart); err != nil {
			return nil, nil, err
		}
		if len(probes) == 0 {
			return nil, nil, fmt.Errorf("finger: --enroll %d leaves no impression in %s to compare with", o.enroll, o.dir)
		}
		bytes = bytes[:0] // what is kept is of the gallery
		for i := range gallery {
			if gallery[i].err == nil {
				bytes = append(bytes, float64(gallery[i].bytes))
			}
		}
	}
	run, us := compareAll(probes, gallery, o.enroll > 0, o.jobs)
	g, im := run.genuine(), run.impostor()
	if len(g) == 0 || len(im) == 0 {
		return nil, nil, fmt.Errorf("finger: %s has %d genuine and %d impostor pairs, want some of both (files FINGER_IMPRESSION.ext)", o.dir, len(g), len(im))
	}
	if o.reject {
		r.Reject = rejections(pics)
	}
	d := newDET(g, im)
	r.Genuine, r.Impostor = len(g), len(im)
	r.EER, r.FMR100, r.FMR1000, r.ZeroFMR = d.eer(), d.fnmrAt(100), d.fnmrAt(1000), d.fnmrAt(0)
	r.EER95, r.FMR1000_95 = bootstrap(run)
	r.Shipped, r.Shipped100 = run.refused(1), run.refused(100)
	r.MsExtract, r.UsMatch, r.TemplateBytes = median(times), us, mean(bytes)
	return r, run, nil
}

// shippedFMR is policy.finger_fmr where nothing else is configured.
const shippedFMR = 1e-4

// refused is the share of genuine comparisons, in percent, that finger_fmr refuses
// in a search among so many fingers.
func (r fingerRun) refused(among int) float64 {
	genuine, n := 0, 0
	for _, c := range r {
		if c.a != c.b {
			continue
		}
		genuine++
		if c.fmr*float64(among) > shippedFMR {
			n++
		}
	}
	return 100 * float64(n) / float64(genuine)
}

func listFingers(dir string) ([]fingerPicture, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := map[string]int{}
	var pics []fingerPicture
	for _, e := range entries {
		switch strings.ToLower(filepath.Ext(e.Name())) {
		case ".tif", ".tiff", ".png", ".bmp", ".pgm", ".jpg":
		default:
			continue
		}
		stem := strings.TrimSuffix(e.Name(), filepath.Ext(e.Name()))
		cut := strings.LastIndexByte(stem, '_')
		if cut < 0 {
			return nil, fmt.Errorf("finger: %s: want a name FINGER_IMPRESSION.ext", filepath.Join(dir, e.Name()))
		}
		id, ok := names[stem[:cut]]
		if !ok {
			id = len(names)
			names[stem[:cut]] = id
		}
		pics = append(pics, fingerPicture{path: filepath.Join(dir, e.Name()), finger: id})
	}
	return pics, nil
}

func (p *fingerPicture) read(o fingerOptions) {
	img, err := readGray(p.path)
	if err != nil {
		p.err = err
		return
	}
	if o.invert {
		for i, g := range img.Pix {
			img.Pix[i] = 255 - g
		}
	}
	dpi := o.dpi
	if o.window > 0 {
		img, dpi = moduleWindow(img, dpi, o.window)
	}
	p.extract = processorTime(func() { p.template, p.err = minutia.Extract(img, dpi) })
	if p.err != nil {
		return
	}
	data, err := p.template.MarshalBinary()
	if err != nil {
		p.err = err
		return
	}
	p.bytes = len(data)
	// What is compared went through the bytes, as it would in a store.
	if p.template, p.err = minutia.Decode(data); p.err != nil {
		return
	}
	if o.record {
		if p.template, p.bytes, p.err = throughRecord(p.template); p.err != nil {
			return
		}
	}
	p.prepared = minutia.Prepare(p.template)
}

// throughRecord is what another program would know of a template, and from how many
// bytes.
func throughRecord(t *minutia.Template) (*minutia.Template, int, error) {
	data, err := t.Export(minutia.ISO19794_2)
	if err != nil {
		return nil, 0, err
	}
	ts, _, err := minutia.Import(data)
	if err != nil {
		return nil, 0, err
	}
	return ts[0], len(data), nil
}

// enrolled merges the first k impressions of every finger, or keeps them apart.
func enrolled(pics []fingerPicture, k int, apart bool) (gallery, probes []fingerPicture, err error) {
	byFinger := map[int][]*minutia.Template{}
	apartBytes := map[int]int{}
	seen := map[int]int{}
	for _, p := range pics {
		seen[p.finger]++
		switch {
		case seen[p.finger] > k:
			probes = append(probes, p)
		case p.err == nil:
			byFinger[p.finger] = append(byFinger[p.finger], p.template)
			apartBytes[p.finger] += p.bytes
		default:
			byFinger[p.finger] = append(byFinger[p.finger], nil)
		}
	}
	for f := range len(byFinger) {
		g := fingerPicture{finger: f}
		ts := slices.DeleteFunc(byFinger[f], func(t *minutia.Template) bool { return t == nil })
		if !apart {
			ts = minutia.Merge(ts...)
		}
		if len(ts) > 0 {
			g.template = ts[0]
			g.prepared = minutia.Prepare(ts...)
			g.bytes = apartBytes[f]
			if !apart {
				if g.bytes, err = keptBytes(ts); err != nil {
					return nil, nil, err
				}
			}
		} else {
			g.err = minutia.ErrNoFinger
		}
		gallery = append(gallery, g)
	}
	return gallery, probes, nil
}

// keptBytes is what a store keeps of the templates of one finger.
func keptBytes(ts []*minutia.Template) (n int, err error) {
	for _, t := range ts {
		data, err := t.MarshalBinary()
		if err != nil {
			return 0, err
		}
		n += len(data)
	}
	return n, nil
}

// compareAll compares every probe with the gallery: all of it, or, when both
// are the same pictures, every pair once. It returns the median microseconds.
func compareAll(probes, gallery []fingerPicture, all bool, jobs int) (fingerRun, float64) {
	rows := make([]fingerRun, len(probes))
	spent := make([]float64, len(probes))
	matchers := make([]minutia.Matcher, jobs)
	parallel(jobs, len(probes), func(worker, i int) {
		from := 0
		if !all {
			from = i + 1
		}
		row := make(fingerRun, 0, len(gallery)-from)
		took := processorTime(func() {
			for j := from; j < len(gallery); j++ {
				c := comparison{a: probes[i].finger, b: gallery[j].finger, score: math.Inf(-1), fmr: 1}
				if probes[i].err == nil && gallery[j].err == nil {
					c.score = matchers[worker].Match(probes[i].prepared, gallery[j].prepared)
				}
				row = append(row, c)
			}
		})
		for j := range row {
			if p, g := &probes[i], &gallery[from+j]; p.err == nil && g.err == nil {
				row[j].fmr = minutia.FMROf(row[j].score, p.prepared, g.prepared)
			}
		}
		spent[i] = float64(took.Nanoseconds()) / 1000 / float64(max(len(row), 1))
		rows[i] = row
	})
	return slices.Concat(rows...), median(spent)
}

// processorTime is what f, which starts no goroutine, takes of a processor: what
// other programs take meanwhile does not count.
func processorTime(f func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, after unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &before); err != nil {
		panic(err) // Linux has it since 2.6.12
	}
	f()
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &after)
	return time.Duration(after.Nano() - before.Nano())
}

// parallel runs f for 0..n-1 on some workers and waits for all.
func parallel(workers, n int, f func(worker, i int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for w := range workers {
		wg.Go(func() {
			for i := range next {
				f(w, i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// moduleWindow is the picture as a module with a small capacitive sensor sees
// it: w x w pixels at 508 dpi and 16 grey levels around the foreground's
// centroid.
func moduleWindow(img *image.Gray, dpi float64, w int) (*image.Gray, float64) {
	const windowDPI = 508
	cx, cy := minutia.Centroid(img, dpi)
	out := image.NewGray(image.Rect(0, 0, w, w))
	scale := dpi / windowDPI
	b := img.Rect
	// The window stays on the picture where it fits.
	x0, y0 := cx-float64(w)/2*scale, cy-float64(w)/2*scale
	x0 = max(min(x0, float64(b.Dx()-1)-float64(w)*scale), 0)
	y0 = max(min(y0, float64(b.Dy()-1)-float64(w)*scale), 0)
	for y := range w {
		for x := range w {
			sx, sy := x0+(float64(x)+0.5)*scale-0.5, y0+(float64(y)+0.5)*scale-0.5
			g := bilinear(img, sx, sy)
			out.Pix[y*out.Stride+x] = uint8(g) >> 4 * 17
		}
	}
	return out, windowDPI
}

func bilinear(img *image.Gray, x, y float64) float64 {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	x, y = min(max(x, 0), float64(w-1)), min(max(y, 0), float64(h-1))
	x0, y0 := min(int(x), w-2), min(int(y), h-2)
	fx, fy := x-float64(x0), y-float64(y0)
	p := func(x, y int) float64 { return float64(img.Pix[y*img.Stride+x]) }
	return (p(x0, y0)*(1-fx)+p(x0+1, y0)*fx)*(1-fy) + (p(x0, y0+1)*(1-fx)+p(x0+1, y0+1)*fx)*fy
}
