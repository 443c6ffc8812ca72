package api

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/faceprint/faceprint/device/api/client"
)

// metrics of one server. No label ever names a person.
type metrics struct {
	registry *prometheus.Registry
	attempts *prometheus.CounterVec
	took     prometheus.Histogram
}

func newMetrics(back Backend) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "faceprint_attempts_total",
			Help: "Authentications and identifications by how they ended.",
		}, []string{"outcome"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "faceprint_decision_seconds",
			Help:    "From the request to the decision, for attempts that were decided.",
			Buckets: []float64{.1, .2, .5, 1, 2, 5, 10, 20, 60},
		}),
	}
	for _, outcome := range []string{string(client.Granted), string(client.Refused), string(client.Retry), "fault"} {
		m.attempts.WithLabelValues(outcome)
	}
	m.registry.MustRegister(m.attempts, m.took, parts{back},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

func (m *metrics) attempt(d client.Decision, err error) {
	if err != nil {
		m.attempts.WithLabelValues("fault").Inc()
		return
	}
	m.attempts.WithLabelValues(string(d.Outcome)).Inc()
	if d.Outcome != client.Retry {
		m.took.Observe(d.TookMs / 1000)
	}
}

// parts collects what the status says, when it is asked.
type parts struct{ back Backend }

var (
	partUp     = prometheus.NewDesc("faceprint_part_up", "1 when the part is there, 0 when it is missing.", []string{"part"}, nil)
	partNumber = prometheus.NewDesc("faceprint_part_number", "What a part counts or measures, by name, since it was opened.", []string{"part", "name"}, nil)
	enrolled   = prometheus.NewDesc("faceprint_people", "People enrolled.", nil, nil)
	audited    = prometheus.NewDesc("faceprint_audit_entries", "Number of the newest audit entry.", nil, nil)
)

func (p parts) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{partUp, partNumber, enrolled, audited} {
		c <- d
	}
}

func (p parts) Collect(c chan<- prometheus.Metric) {
	s, err := p.back.Status(context.Background())
	if err != nil {
		c <- prometheus.NewInvalidMetric(enrolled, err)
		return
	}
	c <- prometheus.MustNewConstMetric(enrolled, prometheus.GaugeValue, float64(s.People))
	c <- prometheus.MustNewConstMetric(audited, prometheus.CounterValue, float64(s.Audit))
	for _, x := range s.Parts {
		for name, v := range x.Numbers {
			c <- prometheus.MustNewConstMetric(partNumber, prometheus.GaugeValue, v, x.Name, name)
		}
		switch x.State {
		case "ok", "degraded":
			c <- prometheus.MustNewConstMetric(partUp, prometheus.GaugeValue, 1, x.Name)
		case "missing":
			c <- prometheus.MustNewConstMetric(partUp, prometheus.GaugeValue, 0, x.Name)
		}
	}
}
