package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/faceprint/faceprint/vision"
)

// faceOptions are the flags of the face subcommand.
type faceOptions struct {
	dir     string
	pairs   string
	enroll  int
	probe   probeSize
	jobs    int
	json    bool
	plot    string
	table   bool
	protect bool
	model   modelOptions
}

// faceReport is what the face subcommand prints. Rates are percent, times
// milliseconds.
type faceReport struct {
	Profile     string     `json:"profile"`
	Engine      string     `json:"engine"`
	Images      int        `json:"images"`
	Pairs       int        `json:"pairs"`
	Genuine     int        `json:"genuine"`
	Impostor    int        `json:"impostor"`
	Failures    int        `json:"failures"`             // pictures without a face
	Unreadable  []string   `json:"unreadable,omitempty"` // those of them that are no pictures, and why
	Enroll      int        `json:"enroll,omitempty"`
	Probe       *probeSize `json:"probe,omitempty"`
	Enrolled    int        `json:"enrolled,omitempty"` // people with a template, with probe
	Draws       int        `json:"draws,omitempty"`    // of pictures, with probe
	Accuracy    float64    `json:"accuracy"`
	AccuracyStd float64    `json:"accuracy_std"`
	Accuracy95  [2]float64 `json:"accuracy_95"`
	EER         float64    `json:"eer"`
	EER95       [2]float64 `json:"eer_95"`
	TAR3        float64    `json:"tar_far_1e3"`
	TAR3_95     [2]float64 `json:"tar_far_1e3_95"`
	TAR4        float64    `json:"tar_far_1e4"`
	TAR4_95     [2]float64 `json:"tar_far_1e4_95"`
	TAR5        float64    `json:"tar_far_1e5"`
	TAR5_95     [2]float64 `json:"tar_far_1e5_95"`
	Threshold3  float64    `json:"threshold_1e3"`
	Threshold4  float64    `json:"threshold_1e4"`
	Threshold5  float64    `json:"threshold_1e5"`
	MsDetect    float64    `json:"ms_detect"`
	MsLandmark  float64    `json:"ms_landmark"`
	MsEmbed     float64    `json:"ms_embed"`
	MsLiveness  float64    `json:"ms_liveness"`
	MsTotal     float64    `json:"ms_total"` // detect, landmarks, embedding

	Shipped   []shippedPoint   `json:"shipped,omitempty"` // with probe
	Protected *protectedReport `json:"protected,omitempty"`

	profile vision.Profile
}

func faceCommand() *cobra.Command {
	var o faceOptions
	cmd := &cobra.Command{
		Use:   "face --dir DIR --pairs FILE",
		Short: "Measure face recognition by the protocol of LFW",
		Long: `Describes every picture DIR/NAME/NAME_0001.jpg that FILE names, compares the
pairs of FILE, cross-validated over its folds, and every two pictures of
different names. The subject of a picture is the face nearest its centre; a
picture without a face matches nobody, nor does a file that is damaged or no
picture, which is named.

With --enroll K --probe M, as a device compares: templates are means of K pictures
of a person, probes M others, or somebody else's, all drawn at random and often;
the score is the mean of the M cosines with the template. With M-N it is the best of
the means of the first M, M+1 ... N, each of which a device may say yes to. It tells
how often strangers reach the scores by which the profile says 1e-3 to 1e-7.

--table prints the profile's table of two pictures; with --enroll K --probe 1 that
of templates, by the upper ends of the intervals, and below what could be counted
by a generalised Pareto distribution fitted to the highest three thousandths. Where
there are too few pictures to try that fit on, the table ends where counting does,
and says what it lacks.

FILE: a first line "FOLDS PAIRS", at least 2 folds, then for every fold PAIRS lines
"NAME I J" and PAIRS lines "NAME I NAME J".`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, run, err := evaluateFaces(o, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if o.plot != "" {
				if err := plotDET(o.plot, falseMatch, falseNonMatch, run.genuineScores(), run.impostorScores()); err != nil {
					return err
				}
			}
			if o.table && o.enroll > 0 {
				run.printTemplates(cmd.OutOrStdout(), r, o.pairs)
				return nil
			}
			if o.table {
				run.printTable(cmd.OutOrStdout(), o.pairs)
				return nil
			}
			if o.json {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(r)
			}
			r.print(cmd.OutOrStdout())
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.dir, "dir", "", "folder of pictures NAME/NAME_0001.jpg")
	f.StringVar(&o.pairs, "pairs", "", "pairs `FILE`")
	f.IntVar(&o.enroll, "enroll", 0, "make a template of the first `K` pictures of a person, probe with the rest")
	f.Var(&o.probe, "probe", "with --enroll, probes of `M` pictures, or of M to N (M-N), drawn at random")
	f.IntVar(&o.jobs, "jobs", 1, "threads; times are honest with 1 only")
	f.BoolVar(&o.json, "json", false, "print one JSON object")
	f.StringVar(&o.plot, "plot", "", "draw the DET curve into `FILE.png`")
	f.BoolVar(&o.table, "table", false, "print the threshold table for a profile instead")
	f.BoolVar(&o.protect, "protect", false, "compare with references that are protected as in the vault as well, and try to link them")
	o.model.flags(f)
	_ = cmd.MarkFlagRequired("dir")
	_ = cmd.MarkFlagRequired("pairs")
	return cmd
}

func (r *faceReport) print(w io.Writer) {
	fmt.Fprintf(w, "%s on %s: %d pictures, %d without a face, %d genuine and %d impostor comparisons\n",
		r.Profile, r.Engine, r.Images, r.Failures, r.Genuine, r.Impostor)
	for _, why := range r.Unreadable {
		fmt.Fprintf(w, "  %s\n", why)
	}
	if r.Enroll > 0 {
		if fmt.Fprintf(w, "  templates of %d pictures each", r.Enroll); r.Probe != nil {
			fmt.Fprintf(w, ", %d people, probes of %v; pictures drawn %d times", r.Enrolled, r.Probe, r.Draws)
		}
		fmt.Fprintln(w)
	} else {
		fmt.Fprintf(w, "  accuracy     %6.2f %% +- %.2f  (95 %%: %.2f to %.2f), %d pairs\n", r.Accuracy, r.AccuracyStd, r.Accuracy95[0], r.Accuracy95[1], r.Pairs)
	}
	fmt.Fprintf(w, "  EER          %6.2f %%  (95 %%: %.2f to %.2f)\n", r.EER, r.EER95[0], r.EER95[1])
	fmt.Fprintf(w, "  TAR @ 1e-3   %6.2f %%  (95 %%: %.2f to %.2f) at cosine %.3f\n", r.TAR3, r.TAR3_95[0], r.TAR3_95[1], r.Threshold3)
	fmt.Fprintf(w, "  TAR @ 1e-4   %6.2f %%  (95 %%: %.2f to %.2f) at cosine %.3f\n", r.TAR4, r.TAR4_95[0], r.TAR4_95[1], r.Threshold4)
	fmt.Fprintf(w, "  TAR @ 1e-5   %6.2f %%  (95 %%: %.2f to %.2f) at cosine %.3f\n", r.TAR5, r.TAR5_95[0], r.TAR5_95[1], r.Threshold5)
	fmt.Fprintf(w, "  detect %.1f + landmarks %.1f + embed %.1f = %.1f ms, liveness %.1f ms\n", r.MsDetect, r.MsLandmark, r.MsEmbed, r.MsTotal, r.MsLiveness)
	for _, s := range r.Shipped {
		s.print(w)
	}
	if r.Protected != nil {
		r.Protected.print(w)
	}
}

// portrait is one picture of somebody.
type portrait struct {
	name      int // number of the person
	path      string
	embedding vision.Embedding // nil = no face
	times     vision.Times
	err       error
}

// facePair is one line of the pairs file.
type facePair struct{ fold, a, b int } // a and b: numbers of portraits

// pairList is a pairs file with the pictures that it names.
type pairList struct {
	folds     int
	pairs     []facePair
	portraits []portrait
	people    []string

	like func(a, b int) float32 // two portraits, by number
}

// plain compares embeddings as they are.
func (l *pairList) plain(a, b int) float32 {
	return similarity(l.portraits[a].embedding, l.portraits[b].embedding)
}

// readPairs reads LFW's pairs.txt.
func readPairs(r io.Reader, dir string) (*pairList, error) {
	l := &pairList{}
	l.like = l.plain
	names, pictures := map[string]int{}, map[string]int{}
	picture := func(name, number string) (int, error) {
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || name != filepath.Base(name) || name == ".." {
			return 0, fmt.Errorf("%q picture %q", name, number)
		}
		path := filepath.Join(dir, name, fmt.Sprintf("%s_%04d.jpg", name, n))
		if i, ok := pictures[path]; ok {
			return i, nil
		}
		if _, ok := names[name]; !ok {
			names[name] = len(l.people)
			l.people = append(l.people, name)
		}
		pictures[path] = len(l.portraits)
		l.portraits = append(l.portraits, portrait{name: names[name], path: path})
		return pictures[path], nil
	}
	s := bufio.NewScanner(r)
	each, line := 0, 0
	for s.Scan() {
		line++
		word := strings.Fields(s.Text())
		var p facePair
		var err, err2 error
		switch {
		case len(word) == 0:
			continue
		case each == 0 && len(word) == 2:
			l.folds, err = strconv.Atoi(word[0])
			each, err2 = strconv.Atoi(word[1])
			switch {
			case err != nil || err2 != nil || each < 1:
				return nil, fmt.Errorf("line %d: %q is not \"FOLDS PAIRS\", two whole numbers", line, s.Text())
			case l.folds < 2:
				return nil, fmt.Errorf("line %d: %d folds: a threshold is learnt on all folds but one and tested on that, which takes at least 2 folds", line, l.folds)
			}
			continue
		case each > 0 && len(word) == 3:
			p.a, err = picture(word[0], word[1])
			p.b, err2 = picture(word[0], word[2])
		case each > 0 && len(word) == 4:
			p.a, err = picture(word[0], word[1])
			p.b, err2 = picture(word[2], word[3])
		default:
			return nil, fmt.Errorf("line %d: %q is no pair", line, s.Text())
		}
		if err = cmp.Or(err, err2); err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		p.fold = len(l.pairs) / (2 * each)
		l.pairs = append(l.pairs, p)
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	if each == 0 || len(l.pairs) != l.folds*2*each {
		return nil, fmt.Errorf("%d pairs, the first line promises %d folds of 2 x %d", len(l.pairs), l.folds, each)
	}
	return l, nil
}

// missing says, before the long work, that pictures are not there: the folder is
// another one, or not all of it.
func (l *pairList) missing() error {
	n, first := 0, error(nil)
	for _, p := range l.portraits {
		if _, err := os.Stat(p.path); err != nil {
			n, first = n+1, cmp.Or(first, err)
		}
	}
	if n > 0 {
		return fmt.Errorf("%d of %d pictures are not there, such as: %w", n, len(l.portraits), first)
	}
	return nil
}

func (p facePair) genuine(l *pairList) bool {
	return l.portraits[p.a].name == l.portraits[p.b].name
}

// errTooFew: nothing can be said of what was not compared.
var errTooFew = errors.New("want some of both")

// noMatch is the score of a comparison in which a picture had no face.
const noMatch = -2

// faceScore is one comparison with the people it belongs to.
type faceScore struct {
	score float32
	a, b  int32
}

// faceRun is all comparisons. Of the impostors only the highest are kept one
// by one; the others can change no figure that is reported.
type faceRun struct {
	genuine   []faceScore
	top       []faceScore // descending
	impostors int         // all of them
	weight    []float64   // per person: number of impostor probes
	against   []float64   // per person: number of impostor references
	all       []float32   // every impostor score
	each      bool        // probes and references are the same pictures, and each pair was compared once
	draws     int         // of pictures, 0 = none were drawn
	checked   string      // what came of the check of the tail

	countedOnly bool // it could not be checked: no tail is fitted
}

// topShare of the impostors is kept, or more where the EER lies beyond: well above
// any other error rate of interest.
const topShare = 0.05

func evaluateFaces(o faceOptions, progress io.Writer) (*faceReport, *faceRun, error) {
	if o.protect && o.enroll > 0 {
		return nil, nil, fmt.Errorf("face: --protect compares the pairs of the file, --enroll does not")
	}
	switch {
	case o.probe.least > 0 && o.enroll < 1:
		return nil, nil, fmt.Errorf("face: --probe compares with templates: name --enroll, too")
	case o.table && o.enroll > 0 && o.probe != (probeSize{1, 1}):
		return nil, nil, fmt.Errorf("face: a table of templates is of single pictures, whose scores are the most often high: --enroll %d --probe 1 --table", o.enroll)
	}
	l, described, err := describeFaces(o, progress)
	if err != nil {
		return nil, nil, err
	}
	r, run, err := l.compare(described, o.enroll, o.probe)
	if err == nil && o.table && o.enroll > 0 {
		var tried bool
		run.checked, tried = l.checkTail(r.Enrolled)
		run.countedOnly = !tried
	}
	if err == nil && o.protect {
		if r.Protected, err = evaluateProtected(l); err != nil {
			err = fmt.Errorf("face: %w", err)
		}
	}
	return r, run, err
}

// describeFaces describes every picture of the pairs file once. The report has
// what is known before anything is compared.
func describeFaces(o faceOptions, progress io.Writer) (*pairList, faceReport, error) {
	var r faceReport
	file, err := os.Open(o.pairs)
	if err != nil {
		return nil, r, fmt.Errorf("face: %w", err)
	}
	l, err := readPairs(file, o.dir)
	file.Close()
	if err != nil {
		return nil, r, fmt.Errorf("face: %s: %w", o.pairs, err)
	}
	if err := l.missing(); err != nil {
		return nil, r, fmt.Errorf("face: %w", err)
	}
	models, err := o.model.open(o.jobs)
	if err != nil {
		return nil, r, err
	}
	defer closeModels(models)
	done := newProgress(progress, "pictures", len(l.portraits))
	parallel(len(models), len(l.portraits), func(worker, i int) {
		l.portraits[i].describe(models[worker])
		done.step()
	})
	done.end()

	r.profile = models[0].Profile()
	r.Profile, r.Engine, r.Images = r.profile.Name, models[0].Engine(), len(l.portraits)
	var t [4][]float64
	for i := range l.portraits {
		p := &l.portraits[i]
		switch {
		case errors.Is(p.err, vision.ErrFrame):
			r.Unreadable = append(r.Unreadable, fmt.Sprintf("%s: %v", p.path, p.err))
		case p.err != nil:
			return nil, r, fmt.Errorf("face: %s: %w", p.path, p.err)
		}
		if p.embedding == nil {
			r.Failures++
			continue
		}
		for k, d := range []float64{p.times.Detect.Seconds(), p.times.Landmark.Seconds(), p.times.Embed.Seconds(), p.times.Liveness.Seconds()} {
			t[k] = append(t[k], 1000*d)
		}
	}
	r.MsDetect, r.MsLandmark, r.MsEmbed, r.MsLiveness = median(t[0]), median(t[1]), median(t[2]), median(t[3])
	r.MsTotal = r.MsDetect + r.MsLandmark + r.MsEmbed
	return l, r, nil
}

// compare fills in what the comparisons yield: of single pictures, or with enroll
// above 0 of templates made of so many, and with a probe of that many pictures.
func (l *pairList) compare(r faceReport, enroll int, probe probeSize) (*faceReport, *faceRun, error) {
	r.Enroll = enroll
	var run *faceRun
	if enroll > 0 && probe.least > 0 {
		var err error
		if run, err = l.compareMeans(enroll, probe); err != nil {
			return nil, nil, err
		}
		r.Probe, r.Draws = &probe, run.draws
		for _, n := range run.against {
			if n > 0 {
				r.Enrolled++
			}
		}
	} else if enroll > 0 {
		var err error
		if run, err = l.compareTemplates(enroll); err != nil {
			return nil, nil, err
		}
	} else {
		run = l.compareAll()
		r.Pairs = len(l.pairs)
		r.Accuracy, r.AccuracyStd = l.accuracy(nil)
		r.Accuracy95 = l.accuracyInterval()
	}
	if len(run.genuine) == 0 || run.impostors == 0 {
		return nil, nil, fmt.Errorf("face: %d genuine and %d impostor comparisons: %w", len(run.genuine), run.impostors, errTooFew)
	}
	r.Genuine, r.Impostor = len(run.genuine), run.impostors
	f := run.figures(nil)
	r.EER, r.TAR3, r.TAR4, r.TAR5 = f.eer, f.tar[0], f.tar[1], f.tar[2]
	r.Threshold3, r.Threshold4, r.Threshold5 = f.threshold[0], f.threshold[1], f.threshold[2]
	r.EER95, r.TAR3_95, r.TAR4_95, r.TAR5_95 = run.intervals(len(l.people))
	if r.Probe != nil {
		r.Shipped = run.shipped(r.profile, len(l.people))
	}
	return &r, run, nil
}

// describe finds the face nearest to the picture's centre and its embedding.
func (p *portrait) describe(m *vision.Model) {
	frame, err := readPicture(p.path)
	if err != nil {
		p.err = err
		return
	}
	faces, err := m.Detect(frame)
	if err != nil {
		p.err = err
		return
	}
	if len(faces) == 0 {
		return
	}
	off := func(f vision.Face) float64 {
		c := f.Box.Center()
		return math.Hypot(float64(c.X)-float64(frame.Width)/2, float64(c.Y)-float64(frame.Height)/2)
	}
	face := slices.MinFunc(faces, func(a, b vision.Face) int { return cmp.Compare(off(a), off(b)) })
	if p.err = m.Describe(frame, &face); p.err == nil {
		p.embedding, p.times = face.Embedding, m.Times()
		p.times.Landmark /= time.Duration(len(faces))
	}
}

func readPicture(path string) (*vision.Frame, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return vision.ReadPicture(f)
}

func similarity(a, b vision.Embedding) float32 {
	if a == nil || b == nil {
		return noMatch
	}
	return float32(vision.Cosine(a, b))
}

// compareAll compares the genuine pairs of the file, and all pictures of
// different people.
func (l *pairList) compareAll() *faceRun {
	run := &faceRun{weight: make([]float64, len(l.people)), against: make([]float64, len(l.people)), each: true}
	for _, p := range l.pairs {
		if p.genuine(l) {
			a := &l.portraits[p.a]
			run.genuine = append(run.genuine, faceScore{l.like(p.a, p.b), int32(a.name), int32(a.name)})
		}
	}
	for i := range l.portraits {
		run.weight[l.portraits[i].name]++
		run.against[l.portraits[i].name]++
	}
	// Blocks of pictures stay in the processor's cache while they are compared
	// with one another.
	const block = 64
	var impostors []faceScore
	n := len(l.portraits)
	for i0 := 0; i0 < n; i0 += block {
		for j0 := i0; j0 < n; j0 += block {
			for i := i0; i < min(i0+block, n); i++ {
				a := &l.portraits[i]
				for j := max(j0, i+1); j < min(j0+block, n); j++ {
					if b := &l.portraits[j]; a.name != b.name {
						impostors = append(impostors, faceScore{l.like(i, j), int32(a.name), int32(b.name)})
					}
				}
			}
		}
	}
	run.keep(impostors)
	return run
}

// compareTemplates compares every picture that is in no template with every
// template.
func (l *pairList) compareTemplates(k int) (*faceRun, error) {
	run := &faceRun{weight: make([]float64, len(l.people)), against: make([]float64, len(l.people))}
	count := make([]int, len(l.people))
	for _, p := range l.portraits {
		count[p.name]++
	}
	references := make([][]vision.Embedding, len(l.people))
	var probes []*portrait
	taken := make([]int, len(l.people))
	// In the order of their numbers, whatever the order of the pairs.
	order := make([]*portrait, len(l.portraits))
	for i := range l.portraits {
		order[i] = &l.portraits[i]
	}
	slices.SortFunc(order, func(a, b *portrait) int { return cmp.Compare(a.path, b.path) })
	for _, p := range order {
		if count[p.name] > k && taken[p.name] < k {
			taken[p.name]++
			if p.embedding != nil {
				references[p.name] = append(references[p.name], p.embedding)
			}
			continue
		}
		probes = append(probes, p)
	}
	var impostors []faceScore
	for who, e := range references {
		if taken[who] == 0 {
			continue
		}
		run.against[who]++
		var template vision.Embedding
		if len(e) > 0 {
			var err error
			if template, err = vision.Mean(e); err != nil {
				return nil, err
			}
		}
		for _, p := range probes {
			s := faceScore{similarity(p.embedding, template), int32(p.name), int32(who)}
			if p.name == who {
				run.genuine = append(run.genuine, s)
			} else {
				impostors = append(impostors, s)
			}
		}
	}
	for _, p := range probes {
		run.weight[p.name]++
	}
	run.keep(impostors)
	return run, nil
}

// keep sorts the impostors and keeps the highest of them, so many that the share of
// genuine scores below the last is at most half of theirs: the EER, also that of people
// drawn anew, is among them.
func (r *faceRun) keep(impostors []faceScore) {
	r.impostors = len(impostors)
	r.all = make([]float32, len(impostors))
	for i, s := range impostors {
		r.all[i] = s.score
	}
	slices.Sort(r.all)
	if len(r.all) == 0 {
		return
	}
	slices.SortFunc(r.genuine, func(a, b faceScore) int { return cmp.Compare(b.score, a.score) })
	least := r.all[0]
	for share := topShare; share < 1; share *= 2 {
		t := r.all[int(float64(len(r.all))*(1-share))]
		above, _ := slices.BinarySearchFunc(r.genuine, t, func(s faceScore, t float32) int { return cmp.Compare(t, s.score) })
		if missed := len(r.genuine) - above; float64(missed) <= share/2*float64(len(r.genuine)) {
			least = t
			break
		}
	}
	for _, s := range impostors {
		if s.score >= least {
			r.top = append(r.top, s)
		}
	}
	slices.SortFunc(r.top, func(a, b faceScore) int { return cmp.Compare(b.score, a.score) })
}

func (r *faceRun) genuineScores() []float64 {
	out := make([]float64, len(r.genuine))
	for i, s := range r.genuine {
		out[i] = float64(s.score)
	}
	return out
}

func (r *faceRun) impostorScores() []float64 {
	out := make([]float64, len(r.all))
	for i, s := range r.all {
		out[i] = float64(s)
	}
	return out
}

// faceFigures are rates in percent.
type faceFigures struct {
	eer            float64
	tar, threshold [3]float64 // at FAR 1e-3, 1e-4, 1e-5
}

// figures walks down the scores. draws says how often each person was drawn
// by the bootstrap; nil is once each.
func (r *faceRun) figures(draws []float64) (f faceFigures) {
	one := func(s faceScore) float64 {
		switch {
		case draws == nil:
			return 1
		case s.a == s.b:
			return draws[s.a]
		}
		return draws[s.a] * draws[s.b]
	}
	genuine := 0.0
	for _, s := range r.genuine {
		genuine += one(s)
	}
	impostors := float64(r.impostors)
	if draws != nil {
		impostors = r.drawnImpostors(draws)
	}
	accepted, falsely, g := 0.0, 0.0, 0
	level, crossed := 0, false
	f.eer = math.NaN()
	far := [3]float64{1e-3, 1e-4, 1e-5}
	for k := range far {
		f.threshold[k] = math.NaN()
	}
	// From the strictest threshold downwards: before the impostor at i is
	// accepted, count the genuine scores above it.
	for i := 0; i <= len(r.top); i++ {
		t := float32(noMatch)
		if i < len(r.top) {
			t = r.top[i].score
		}
		for g < len(r.genuine) && r.genuine[g].score > t {
			accepted += one(r.genuine[g])
			g++
		}
		var after float64
		if i < len(r.top) {
			after = falsely + one(r.top[i])
		} else {
			after = math.Inf(1)
		}
		for k := 2 - level; k >= 0 && after > far[k]*impostors; k-- {
			f.tar[k] = 100 * accepted / genuine
			f.threshold[k] = math.Nextafter(float64(t), 2)
			level++
		}
		fnmr := 1 - accepted/genuine
		if fmr := after / impostors; i < len(r.top) && !crossed && fmr >= fnmr {
			f.eer = 100 * (falsely/impostors + fnmr) / 2
			crossed = true
		}
		falsely = after
	}
	return f
}

// drawnImpostors is the number of impostor comparisons among the people
// drawn: every probe with every reference, less those of one person. Where
// probes and references are the same pictures, each pair is counted once.
func (r *faceRun) drawnImpostors(draws []float64) float64 {
	var probes, references, own float64
	for i, d := range draws {
		probes += d * r.weight[i]
		references += d * r.against[i]
		own += d * d * r.weight[i] * r.against[i]
	}
	n := probes*references - own
	if r.each {
		n /= 2
	}
	return n
}

// bootstrapDraws is how often the people are drawn anew.
const bootstrapDraws = 200

// intervals are 95 % bootstrap intervals: people drawn with replacement. The
// draws are seeded: a report repeats exactly.
func (r *faceRun) intervals(people int) (eer, tar3, tar4, tar5 [2]float64) {
	var values [4][]float64
	drawn(people, func(draws []float64) {
		f := r.figures(draws)
		for k, v := range []float64{f.eer, f.tar[0], f.tar[1], f.tar[2]} {
			if !math.IsNaN(v) {
				values[k] = append(values[k], v)
			}
		}
	})
	return interval95(values[0]), interval95(values[1]), interval95(values[2]), interval95(values[3])
}

func drawn(people int, f func(draws []float64)) {
	rng := rand.New(rand.NewPCG(1, 2))
	draws := make([]float64, people)
	for range bootstrapDraws {
		clear(draws)
		for range people {
			draws[rng.IntN(people)]++
		}
		f(draws)
	}
}

// accuracy of the pairs in percent: in every fold at the threshold that is
// best in the other folds; mean and standard deviation over the folds.
func (l *pairList) accuracy(draws []float64) (mean, std float64) {
	type scored struct {
		score   float32
		genuine bool
		fold    int
		weight  float64
	}
	s := make([]scored, len(l.pairs))
	for i, p := range l.pairs {
		a, b := &l.portraits[p.a], &l.portraits[p.b]
		s[i] = scored{l.like(p.a, p.b), p.genuine(l), p.fold, 1}
		switch {
		case draws == nil:
		case a.name == b.name:
			s[i].weight = draws[a.name]
		default:
			s[i].weight = draws[a.name] * draws[b.name]
		}
	}
	slices.SortFunc(s, func(a, b scored) int { return cmp.Compare(b.score, a.score) })
	var folds []float64
	for fold := range l.folds {
		// right is the weight of what is classified correctly at the present
		// threshold: at first everything is refused.
		right := 0.0
		for _, x := range s {
			if x.fold != fold && !x.genuine {
				right += x.weight
			}
		}
		best, threshold := right, float32(math.Inf(1))
		for i, x := range s {
			if x.fold == fold {
				continue
			}
			if x.genuine {
				right += x.weight
			} else {
				right -= x.weight
			}
			if right > best {
				best = right
				threshold = x.score
				for _, y := range s[i+1:] { // half-way to the next one
					if y.fold != fold {
						threshold = (x.score + y.score) / 2
						break
					}
				}
			}
		}
		correct, all := 0.0, 0.0
		for _, x := range s {
			if x.fold == fold {
				all += x.weight
				if (x.score >= threshold) == x.genuine {
					correct += x.weight
				}
			}
		}
		if all > 0 {
			folds = append(folds, 100*correct/all)
		}
	}
	for _, a := range folds {
		mean += a / float64(len(folds))
	}
	for _, a := range folds {
		std += (a - mean) * (a - mean) / float64(len(folds))
	}
	return mean, math.Sqrt(std)
}

func (l *pairList) accuracyInterval() [2]float64 {
	var values []float64
	drawn(len(l.people), func(draws []float64) {
		if a, _ := l.accuracy(draws); !math.IsNaN(a) {
			values = append(values, a)
		}
	})
	return interval95(values)
}

// printTable writes the threshold table of a profile: the cosine that a share
// of the impostors reaches.
func (r *faceRun) printTable(w io.Writer, source string) {
	fmt.Fprintf(w, "[table]\nsource = %q\npoints = [\n", fmt.Sprintf("faceprint-eval face --table, %s, %d impostor comparisons", filepath.Base(source), r.impostors))
	for _, far := range []float64{0.5, 0.1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6} {
		k := int(far * float64(r.impostors))
		if k < 1 {
			break
		}
		fmt.Fprintf(w, "  { fmr = %g, cosine = %.3f },\n", far, r.all[len(r.all)-1-k])
	}
	fmt.Fprintln(w, "]")
}
