package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/vision"
	"github.com/faceprint/faceprint/vision/opencv"
)

// lines collects what checks say.
type lines []string

func (l *lines) add(name, state, detail, advice string) {
	*l = append(*l, strings.Join([]string{name, state, detail, advice}, "|"))
}

func (l *lines) want(t *testing.T, starts ...string) {
	t.Helper()
	for i, s := range starts {
		if i >= len(*l) || !strings.HasPrefix((*l)[i], s) {
			t.Errorf("%q, want it to begin with %q", *l, starts)
			return
		}
	}
}

// A camera that gives smaller pictures than it was asked for is told, with how far
// they reach.
func TestTheDoctorTellsHowFarACameraReaches(t *testing.T) {
	camera := func(w, h int) []client.Part {
		return []client.Part{cameraStatus(opencv.State{Condition: opencv.Live, Source: "/dev/video0", Width: w, Height: h}), {Name: "faces", State: "ok"}}
	}
	for _, tt := range []struct {
		config cameraConfig
		parts  []client.Part
		want   string // "" = nothing is said
	}{
		{cameraConfig{Source: "/dev/video0", Reach: 1}, camera(640, 480), "camera size|ok|640x480: faces are large enough up to 1.0 m"},
		{cameraConfig{Source: "/dev/video0", Reach: 2}, camera(640, 480), "camera size|warn|640x480: faces are large enough up to 1.0 m, before a lens that sees 70 degrees across, not the 2 m of camera.reach"},
		{cameraConfig{Source: "/dev/video0", Reach: 2}, camera(720, 1280), "camera size|ok|720x1280"}, // rotated
		{cameraConfig{Source: "/dev/video0"}, camera(320, 240), ""},
		{cameraConfig{Source: "clip.mp4", Reach: 1}, camera(320, 240), ""},
		{cameraConfig{Source: "/dev/video0", Reach: 1}, camera(0, 0), ""}, // no picture yet
		{cameraConfig{Source: "/dev/video0", Reach: 1}, []client.Part{cameraStatus(opencv.State{Condition: opencv.Lost, Width: 320, Height: 240})}, ""},
	} {
		var l lines
		checkCameraSize(l.add, tt.config, tt.parts)
		if tt.want == "" {
			if len(l) > 0 {
				t.Errorf("%+v: %q", tt.config, l)
			}
			continue
		}
		l.want(t, tt.want)
	}
}

func TestTheChartTellsWhereFacesAreTooSmall(t *testing.T) {
	for scale, want := range map[float64]string{0.3: "fail", 0.4: "warn", 0.8: "ok"} {
		m := chartMeasure(vision.ChartReport{Found: true, Across: 0.3, Along: 0.3, Scale: scale, White: 200, Even: 1})
		i := slices.IndexFunc(m.Checks, func(c client.Check) bool { return c.Name == "camera face size" })
		if i < 0 || m.Checks[i].State != want || !strings.Contains(m.Checks[i].Detail, "pixels high") {
			t.Errorf("%g pixels a millimetre: %+v, want %s", scale, m.Checks, want)
		}
	}
}

// fakeSys is a /sys with the disk of a folder as a card's partition.
func fakeSys(t *testing.T, dir, life, reserve, errors string) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	sys := t.TempDir()
	part := filepath.Join(sys, "devices/mmc0/block/mmcblk0/mmcblk0p2")
	put := func(name, text string) {
		if text == "" {
			return
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put(filepath.Join(part, "partition"), "2")
	put(filepath.Join(filepath.Dir(part), "device/life_time"), life)
	put(filepath.Join(filepath.Dir(part), "device/pre_eol_info"), reserve)
	put(filepath.Join(sys, "fs/ext4/mmcblk0p2/errors_count"), errors)
	link := filepath.Join(sys, "dev/block", fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(part, link); err != nil {
		t.Fatal(err)
	}
	return sys
}

func TestStorageHealth(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		life, reserve, errors string
		want                  []string
	}{
		{"0x01 0x02", "0x01", "0", []string{"file system|ok", "storage life|ok|mmcblk0: at most 20 %"}},
		{"0x09 0x01", "0x01", "0", []string{"file system|ok", "storage life|warn"}},
		{"0x02 0x01", "0x02", "0", []string{"file system|ok", "storage life|warn"}},
		{"0x0b 0x01", "0x01", "3", []string{"file system|fail|mmcblk0p2 has had 3 errors|back the vault up", "storage life|fail"}},
		{"0x01 0x01", "0x03", "0", []string{"file system|ok", "storage life|fail"}},
		{"0x00 0x00", "0x00", "0", []string{"file system|ok", "storage life|skip"}},
		{"", "", "0", []string{"file system|ok", "storage life|skip|mmcblk0 does not tell"}},
		{"what", "", "", []string{"storage life|warn"}},
	} {
		var l lines
		checkStorage(l.add, fakeSys(t, dir, c.life, c.reserve, c.errors), dir)
		l.want(t, c.want...)
	}
	var l lines
	checkStorage(l.add, t.TempDir(), dir)
	checkStorage(l.add, t.TempDir(), filepath.Join(dir, "none"))
	l.want(t, "storage|skip", "storage|fail")
}

func TestTPMIsToldOf(t *testing.T) {
	var l lines
	sys := t.TempDir()
	checkTPM(l.add, sys, "key on disk (k)")
	if err := os.MkdirAll(filepath.Join(sys, "class/tpm/tpm0"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"2", "1"} {
		if err := os.WriteFile(filepath.Join(sys, "class/tpm/tpm0/tpm_version_major"), []byte(version+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		checkTPM(l.add, sys, "key on disk (k)")
		checkTPM(l.add, sys, "key in the TPM /dev/tpmrm0")
	}
	l.want(t, "TPM|skip", "TPM|warn", "TPM|ok", "TPM|warn", "TPM|warn")
}

// What a measure means, each fault by its own name.
func TestChartFindings(t *testing.T) {
	good := vision.ChartReport{Found: true, Across: 0.2, Along: 0.22, Scale: 1.5, White: 220, Black: 12, Fields: [6]float64{20, 60, 100, 130, 170, 200}, Even: 0.9, Noise: 2}
	for name, c := range map[string]struct {
		change func(*vision.ChartReport)
		bad    string // state and name of the only check that is not ok
	}{
		"good":          {func(*vision.ChartReport) {}, ""},
		"not there":     {func(r *vision.ChartReport) { *r = vision.ChartReport{} }, "fail camera chart"},
		"blurred":       {func(r *vision.ChartReport) { r.Along = 0.05 }, "fail camera focus"},
		"too dark":      {func(r *vision.ChartReport) { r.White = 90 }, "fail camera exposure"},
		"clipped":       {func(r *vision.ChartReport) { r.Clipped = 0.5 }, "fail camera exposure"},
		"flat":          {func(r *vision.ChartReport) { r.Black = 180 }, "fail camera exposure"},
		"greys merge":   {func(r *vision.ChartReport) { r.Fields[1] = r.Fields[0] + 1 }, "warn camera grey steps"},
		"from one side": {func(r *vision.ChartReport) { r.Even = 0.2 }, "warn camera light"},
		"noisy":         {func(r *vision.ChartReport) { r.Noise = 20 }, "warn camera noise"},
	} {
		r := good
		c.change(&r)
		bad := ""
		for _, k := range chartMeasure(r).Checks {
			if k.State != "ok" {
				bad += k.State + " " + k.Name
				if k.Advice == "" {
					t.Errorf("%s: no advice for %s", name, k.Name)
				}
			}
		}
		if bad != c.bad {
			t.Errorf("%s: %q, want %q", name, bad, c.bad)
		}
	}
}
