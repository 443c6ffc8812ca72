package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/faceprint/faceprint/vision"
	"github.com/faceprint/faceprint/vision/opencv"
)

// attemptTime is the longest that a decision on liveness may take.
const attemptTime = 3 * time.Second

type livenessOptions struct {
	live, attack []string
	bystanders   map[string]int
	threshold    float64
	json         bool
	plot         string
	paper        bool
	still        bool
	challenge    bool
	spans        bool
	model        modelOptions
}

// livenessReport is what the liveness subcommand prints. Rates are percent. An
// attempt that came to no decision in its time is a retry and in no rate.
type livenessReport struct {
	Profile         string         `json:"profile"`
	Engine          string         `json:"engine"`
	Threshold       float64        `json:"threshold"`
	APCER           float64        `json:"apcer"`
	APCER95         [2]float64     `json:"apcer_95"` // were the decisions of a clip independent
	BPCER           float64        `json:"bpcer"`
	BPCER95         [2]float64     `json:"bpcer_95"`
	DecisionsLive   int            `json:"decisions_live"`
	DecisionsAttack int            `json:"decisions_attack"`
	RetriesLive     int            `json:"retries_live"`
	RetriesAttack   int            `json:"retries_attack"`
	APCERFrame      float64        `json:"apcer_frame"`
	BPCERFrame      float64        `json:"bpcer_frame"`
	EERFrame        float64        `json:"eer_frame"`
	Clips           []livenessClip `json:"clips"`
	Asked           int            `json:"asked_live"` // accepted ones who would be asked to move, by policy.challenge = auto

	Still int `json:"still_live"`

	// Milliseconds of one good frame: medians.
	MsDetect   float64 `json:"ms_detect"`
	MsLandmark float64 `json:"ms_landmark"`
	MsEmbed    float64 `json:"ms_embed"`
	MsLiveness float64 `json:"ms_liveness"`

	// Seconds from the first frame of an attempt until a living person was taken
	// for one: median and 90th percentile.
	Took [2]float64 `json:"took_live"`

	Spans      *spanReport      `json:"spans,omitempty"`
	Paper      *sheetReport     `json:"paper,omitempty"`
	Stills     *stillReport     `json:"stills,omitempty"`
	Recordings *recordingReport `json:"recordings,omitempty"`
}

// livenessClip is one clip: its attempts one after the other, each ended by its
// decision or after three seconds.
type livenessClip struct {
	File     string `json:"file"`
	Attack   bool   `json:"attack"`
	Accepted int    `json:"accepted"` // decisions that somebody lives
	Rejected int    `json:"rejected"`
	Asked    int    `json:"asked"`  // of the accepted, whom policy.challenge = auto asks to move
	Still    int    `json:"still"`  // of them, because they are as still as a picture
	Framed   int    `json:"framed"` // decisions until which edges on two sides went with the face
	Retries  int    `json:"retries"`
	Frames   int    `json:"frames"` // with a face good enough to be recognised
	Passed   int    `json:"passed"` // of them, judged alone, above the threshold

	// Of an attack with a bystander, who is a living person: faces larger than so
	// many pixels were passed over, in so many of all frames of the clip, and what
	// the clip comes to where they are not.
	Bystander  int           `json:"bystander,omitempty"`
	PassedOver int           `json:"passed_over,omitempty"`
	All        int           `json:"all_frames"`
	With       *livenessClip `json:"with_bystander,omitempty"`

	scores []float64
	took   []float64    // seconds, of the accepted
	stages [4][]float64 // milliseconds of each good frame: detect, landmarks, embed, liveness
}

func livenessCommand() *cobra.Command {
	var o livenessOptions
	cmd := &cobra.Command{
		Use:   "liveness --live FILE... --attack FILE...",
		Short: "Measure how pictures and screens are told from living people",
		Long: `Plays clips of living people and of attacks through the decision that the
device makes: attempts of up to three seconds, one after the other. APCER is the
share of attack decisions that were accepted, BPCER that of living people who
were refused, at the shipped threshold or at --threshold, each with the exact
95 % interval (Clopper and Pearson); decisions of one clip are alike, so it is
wider in truth. The rates by frame judge every good frame alone.`,
		DisableFlagParsing: true, // a flag takes as many files as follow it
		SilenceUsage:       true,
		SilenceErrors:      true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cmd.Flags().Parse(spread(args)); err != nil {
				return err
			}
			if help, _ := cmd.Flags().GetBool("help"); help {
				return cmd.Help()
			}
			if len(o.live)+len(o.attack) == 0 || cmd.Flags().NArg() > 0 {
				return fmt.Errorf("liveness: name clips with --live and --attack, not %q", cmd.Flags().Args())
			}
			r, err := evaluateLiveness(cmd.Context(), o, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if o.plot != "" {
				if err := r.plot(o.plot); err != nil {
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
	f.StringArrayVar(&o.live, "live", nil, "clips of living people")
	f.StringArrayVar(&o.attack, "attack", nil, "clips of attacks")
	f.StringToIntVar(&o.bystanders, "bystander", nil, "`CLIP=PIXELS`: faces larger than so many pixels are living people in the attack's picture and passed over")
	f.Float64Var(&o.threshold, "threshold", shippedLive, "least P(live) of somebody living")
	f.BoolVar(&o.paper, "paper", false, "also turn sheets of paper, made of the living people's faces, before the camera")
	f.BoolVar(&o.still, "still", false, "also show single pictures of the living people, with noise and moved about")
	f.BoolVar(&o.challenge, "challenge", false, "also play all clips to challenges, which a recording answers by chance alone")
	f.BoolVar(&o.spans, "spans", false, "also watch everybody for all of the time, and tell attacks by the edges about the face alone")
	f.BoolVar(&o.json, "json", false, "print one JSON object")
	f.StringVar(&o.plot, "plot", "", "draw the DET curve, by frame, into `FILE.png`")
	o.model.flags(f)
	return cmd
}

// Of the device's default policy: the threshold, and from what on nobody is in
// doubt.
const (
	shippedLive = 0.5
	clearlyLive = 0.8
)

// spread lets --live and --attack take several values.
func spread(args []string) []string {
	var out []string
	list, value := "", false // the list flag before, and whether it has a value
	for _, a := range args {
		switch {
		case a == "--live" || a == "--attack":
			list, value = a, false
			continue
		case strings.HasPrefix(a, "-"):
			list = ""
		case list != "":
			a, value = list+"="+a, true
		}
		out = append(out, a)
	}
	if list != "" && !value {
		out = append(out, list) // whose value is missing: the parser says so
	}
	return out
}

func evaluateLiveness(ctx context.Context, o livenessOptions, progress io.Writer) (*livenessReport, error) {
	models, err := o.model.open(1)
	if err != nil {
		return nil, err
	}
	defer closeModels(models)
	m := models[0]
	same, err := m.Profile().Table.Threshold(1e-3)
	if err != nil {
		return nil, err
	}
	r := &livenessReport{Profile: m.Profile().Name, Engine: m.Engine(), Threshold: o.threshold}
	done := newProgress(progress, "clips", len(o.live)+len(o.attack))
	for i, file := range slices.Concat(o.live, o.attack) {
		c := livenessClip{File: filepath.Base(file), Attack: i >= len(o.live)}
		if c.Attack {
			c.Bystander = o.bystanders[c.File]
		}
		if err := c.play(ctx, file, &witness{Looker: m, bystander: float32(c.Bystander)}, same, o.threshold); err != nil {
			return nil, err
		}
		if c.Bystander > 0 {
			c.With = &livenessClip{File: c.File, Attack: true}
			if err := c.With.play(ctx, file, &witness{Looker: m}, same, o.threshold); err != nil {
				return nil, err
			}
		}
		r.Clips = append(r.Clips, c)
		done.step()
	}
	done.end()
	r.sum()
	if o.spans {
		if err := r.playSpans(ctx, o, m, same); err != nil {
			return nil, err
		}
	}
	if o.paper {
		if len(o.live) == 0 {
			return nil, errSheets
		}
		if err := r.playSheets(ctx, o.live, m, same); err != nil {
			return nil, err
		}
	}
	if o.still {
		if err := r.playStills(ctx, o.live, m, same); err != nil {
			return nil, err
		}
	}
	if o.challenge {
		if err := r.playRecordings(ctx, slices.Concat(o.live, o.attack), m, same); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// witness notes what was described and passes over bystanders.
type witness struct {
	vision.Looker
	bystander float32 // 0 = nobody is one
	over      bool    // the last frame looked through had one
}

func (w *witness) Detect(f *vision.Frame) ([]vision.Face, error) {
	faces, err := w.Looker.Detect(f)
	all := len(faces)
	faces = slices.DeleteFunc(faces, func(x vision.Face) bool { return w.bystander > 0 && x.Box.Height() > w.bystander })
	w.over = len(faces) < all
	return faces, err
}

// Track where nobody is to be passed over.
func (w *witness) Track(f *vision.Frame, face *vision.Face) (bool, error) {
	t, ok := w.Looker.(vision.Tracker)
	if !ok || w.bystander > 0 {
		return false, nil
	}
	return t.Track(f, face)
}

func (c *livenessClip) play(ctx context.Context, file string, w *witness, same, threshold float64) error {
	s := &vision.Sequence{Same: same}
	defer s.Wipe()
	began := time.Time{}
	return opencv.ReadClip(ctx, file, time.Unix(1, 0), func(f *vision.Frame) error {
		if began.IsZero() {
			began = f.At
		}
		if err := c.frame(w, f, threshold); err != nil {
			return err
		}
		if _, err := s.Look(w, f); err != nil {
			return err
		}
		alive, decided := s.Alive(threshold)
		switch {
		case s.Replayed() || decided && !alive:
			c.Rejected++
		case decided:
			p, _ := s.Live()
			still, told := s.Still()
			doubt := p < clearlyLive || s.Flat() || s.Framed()
			if !doubt && still && !told && f.At.Sub(began) < attemptTime {
				return nil // as the device does: they move in a moment
			}
			c.Accepted++
			c.took = append(c.took, f.At.Sub(began).Seconds())
			if doubt || still {
				c.Asked++
			}
			if still {
				c.Still++
			}
		case f.At.Sub(began) >= attemptTime:
			c.Retries++
		default:
			return nil
		}
		if decided && s.Framed() {
			c.Framed++
		}
		s.Wipe()
		began = time.Time{}
		return nil
	})
}

// frame judges the subject of one frame alone.
func (c *livenessClip) frame(w *witness, f *vision.Frame, threshold float64) error {
	faces, err := w.Detect(f)
	if c.All++; w.over {
		c.PassedOver++
	}
	if err != nil || len(faces) == 0 || faces[0].Quality.Hint() != vision.HintNone {
		return err
	}
	if err := w.Describe(f, &faces[0]); err != nil {
		return err
	}
	faces[0].Embedding.Wipe()
	if m, ok := w.Looker.(interface{ Times() vision.Times }); ok {
		t := m.Times()
		t.Landmark /= time.Duration(len(faces))
		for k, d := range [4]time.Duration{t.Detect, t.Landmark, t.Embed, t.Liveness} {
			c.stages[k] = append(c.stages[k], 1000*d.Seconds())
		}
	}
	c.Frames++
	if float64(faces[0].Live) >= threshold {
		c.Passed++
	}
	c.scores = append(c.scores, float64(faces[0].Live))
	return nil
}

func (r *livenessReport) sum() {
	var accepted, rejected, frames, passed [2]int
	var scores [2][]float64
	var took []float64
	var stages [4][]float64
	for _, c := range r.Clips {
		for i := range stages {
			stages[i] = append(stages[i], c.stages[i]...)
		}
		k := 0
		if c.Attack {
			k = 1
		}
		accepted[k] += c.Accepted
		rejected[k] += c.Rejected
		frames[k] += c.Frames
		passed[k] += c.Passed
		scores[k] = append(scores[k], c.scores...)
		if c.Attack {
			r.RetriesAttack += c.Retries
		} else {
			r.RetriesLive += c.Retries
			r.Asked += c.Asked
			r.Still += c.Still
			took = append(took, c.took...)
		}
	}
	if slices.Sort(took); len(took) > 0 {
		r.Took = [2]float64{took[len(took)/2], took[len(took)*9/10]}
	}
	r.DecisionsLive, r.DecisionsAttack = accepted[0]+rejected[0], accepted[1]+rejected[1]
	r.APCER, r.BPCER = percent(accepted[1], r.DecisionsAttack), percent(rejected[0], r.DecisionsLive)
	r.APCER95, r.BPCER95 = exact95(accepted[1], r.DecisionsAttack), exact95(rejected[0], r.DecisionsLive)
	r.MsDetect, r.MsLandmark, r.MsEmbed, r.MsLiveness = median(stages[0]), median(stages[1]), median(stages[2]), median(stages[3])
	r.APCERFrame, r.BPCERFrame = percent(passed[1], frames[1]), percent(frames[0]-passed[0], frames[0])
	r.EERFrame = 100 * equalErrors(scores[0], scores[1])
}

// accepted decisions of living people.
func accepted(clips []livenessClip) (n int) {
	for _, c := range clips {
		if !c.Attack {
			n += c.Accepted
		}
	}
	return n
}

func percent(part, of int) float64 {
	if of == 0 {
		return 0
	}
	return 100 * float64(part) / float64(of)
}

// exact95 is the 95 % interval of Clopper and Pearson (Biometrika 26, 1934), in
// percent: of no error in a few decisions a bootstrap would say that there never
// is one.
func exact95(k, n int) [2]float64 {
	if n == 0 {
		return [2]float64{0, 100}
	}
	// most is the rate at which so few errors are met with a probability of 2.5 %.
	most := func(k int) float64 {
		if k >= n {
			return 1
		}
		lo, hi := 0.0, 1.0
		for range 60 {
			p := (lo + hi) / 2
			if binomial(k, n, p) > 0.025 {
				lo = p
			} else {
				hi = p
			}
		}
		return lo
	}
	return [2]float64{100 * (1 - most(n-k)), 100 * most(k)}
}

// binomial is the probability of at most k of n at a rate of p each, 0 < p < 1.
func binomial(k, n int, p float64) (sum float64) {
	gamma := func(x int) float64 { g, _ := math.Lgamma(float64(x + 1)); return g }
	for i := range k + 1 {
		sum += math.Exp(gamma(n) - gamma(i) - gamma(n-i) + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
	}
	return sum
}

// plot draws the errors by frame.
func (r *livenessReport) plot(file string) error {
	var scores [2][]float64
	for _, c := range r.Clips {
		k := 0
		if c.Attack {
			k = 1
		}
		scores[k] = append(scores[k], c.scores...)
	}
	if len(scores[0]) == 0 || len(scores[1]) == 0 {
		return fmt.Errorf("liveness: --plot: %d good frames of living people and %d of attacks, want some of both", len(scores[0]), len(scores[1]))
	}
	return plotDET(file, "attacks accepted, by frame (APCER)", "living people refused, by frame (BPCER)", scores[0], scores[1])
}

// equalErrors is the error rate where as many living people are refused as
// attacks pass, the mean of both at the threshold where they differ least.
func equalErrors(live, attack []float64) float64 {
	if len(live) == 0 || len(attack) == 0 {
		return 0
	}
	slices.Sort(live)
	slices.Sort(attack)
	best, at := 2.0, 0.0
	for _, t := range slices.Concat(live, attack) {
		l, _ := slices.BinarySearch(live, t)
		a, _ := slices.BinarySearch(attack, t)
		refused, passed := float64(l)/float64(len(live)), 1-float64(a)/float64(len(attack))
		if d := max(refused-passed, passed-refused); d < best {
			best, at = d, (refused+passed)/2
		}
	}
	return at
}

func (r *livenessReport) print(w io.Writer) {
	fmt.Fprintf(w, "%s on %s, threshold %.2f\n", r.Profile, r.Engine, r.Threshold)
	for _, c := range r.Clips {
		kind := "live"
		if c.Attack {
			kind = "attack"
		}
		fmt.Fprintf(w, "  %-7s %-24s %3d accepted, %3d refused, %3d retries; %d of %d good frames above\n", kind, c.File, c.Accepted, c.Rejected, c.Retries, c.Passed, c.Frames)
		if c.With != nil {
			fmt.Fprintf(w, "          living faces of more than %d pixels were passed over, in %d of %d frames; with them: %d accepted, %d refused, %d retries\n",
				c.Bystander, c.PassedOver, c.All, c.With.Accepted, c.With.Rejected, c.With.Retries)
		}
	}
	fmt.Fprintf(w, "  APCER %.1f %% of %d decisions (95 %%: %.1f to %.1f), BPCER %.1f %% of %d (95 %%: %.1f to %.1f)\n",
		r.APCER, r.DecisionsAttack, r.APCER95[0], r.APCER95[1], r.BPCER, r.DecisionsLive, r.BPCER95[0], r.BPCER95[1])
	fmt.Fprintf(w, "  in doubt, so asked to move: %d of the %d living people who were accepted, %d for being still\n", r.Asked, accepted(r.Clips), r.Still)
	fmt.Fprintf(w, "  decided after %.1f s in the median, %.1f s in 90 %%, of the video's time\n", r.Took[0], r.Took[1])
	fmt.Fprintf(w, "  by frame: APCER %.1f %%, BPCER %.1f %%, EER %.1f %%\n", r.APCERFrame, r.BPCERFrame, r.EERFrame)
	fmt.Fprintf(w, "  detect %.1f + landmarks %.1f + embed %.1f + liveness %.1f ms a good frame\n", r.MsDetect, r.MsLandmark, r.MsEmbed, r.MsLiveness)
	if r.Spans != nil {
		r.Spans.print(w)
		framed := [2]int{}
		for _, c := range r.Clips {
			if c.Attack {
				framed[1] += c.Framed
			} else {
				framed[0] += c.Framed
			}
		}
		fmt.Fprintf(w, "  edges on two sides as early as at the decision on liveness: %d of %d attacks, %d of %d living people\n", framed[1], r.DecisionsAttack, framed[0], r.DecisionsLive)
	}
	if r.Paper != nil {
		r.Paper.print(w)
	}
	r.Stills.print(w)
	if r.Recordings != nil {
		r.Recordings.print(w)
	}
}
