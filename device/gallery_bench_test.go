package device

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/faceprint/faceprint/store"
	"github.com/faceprint/faceprint/vision"
)

// BenchmarkGallery is what a 1:N attempt among a thousand people does before the
// first frame: unseal their faces and bring them into one space, and what
// it does with a frame. The ratio is of the gallery's work to the unsealing's.
func BenchmarkGallery(b *testing.B) {
	const people, dim = 1000, 512
	dir := b.TempDir()
	v, err := store.Open(filepath.Join(dir, "vault.db"), store.KeyFile(filepath.Join(dir, "key")), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer v.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	face := func() vision.Embedding {
		n := make([]float32, dim)
		for i := range n {
			n[i] = float32(rng.NormFloat64())
		}
		e, err := vision.Normalise(n)
		if err != nil {
			b.Fatal(err)
		}
		return e
	}
	if err := v.Update(func(tx *store.Tx) error {
		for i := range people {
			p := store.Person{ID: store.NewUserID(), Name: fmt.Sprint(i), Created: noon, Consent: store.Consent{At: noon, TextVersion: "1"}}
			if err := tx.AddPerson(p); err != nil {
				return err
			}
			data, err := face().MarshalBinary()
			if err != nil {
				return err
			}
			if _, err := tx.AddTemplate(store.Template{User: p.ID, Kind: store.KindFace, Model: vision.Profile{Name: model}.Model(), Created: noon, Data: data}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	probe := face()
	var unsealing, gathering, searching time.Duration
	for b.Loop() {
		start := time.Now()
		var ts []store.Template
		if err := v.View(func(tx *store.Tx) (err error) { ts, err = tx.Templates(store.KindFace); return err }); err != nil {
			b.Fatal(err)
		}
		unsealing += time.Since(start)
		start = time.Now()
		g, err := unseal(ts, vision.Profile{Name: model})
		if err != nil {
			b.Fatal(err)
		}
		gathering += time.Since(start)
		start = time.Now()
		if _, err := g.search(probe, 1); err != nil {
			b.Fatal(err)
		}
		searching += time.Since(start)
		g.wipe()
		wipe(ts)
	}
	b.ReportMetric(float64(gathering)/float64(unsealing), "gallery/unsealing")
	b.ReportMetric(float64(searching)/float64(unsealing), "search/unsealing")
	b.ReportMetric(float64(unsealing.Microseconds())/float64(b.N)/people, "us-unseal/person")
}
