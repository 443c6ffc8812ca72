package api

import (
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/faceprint/faceprint/device/api/client"
)

// Problem is an RFC 9457 answer. Its fields are those of client.Error.
type Problem struct {
	Type   string              `json:"type" doc:"urn:faceprint:problem: and a stable word."`
	Title  string              `json:"title"`
	Status int                 `json:"status"`
	Detail string              `json:"detail,omitempty" doc:"What happened and where."`
	Advice string              `json:"advice,omitempty" doc:"What to do about it."`
	Errors []*huma.ErrorDetail `json:"errors,omitempty" doc:"Which parts of the request are wrong."`
}

func (p *Problem) Error() string { return p.Detail }

// GetStatus is the HTTP status; huma asks for it.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType marks the answer as a problem; huma asks for it.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// Every error that huma itself finds in a request becomes a Problem too.
func init() {
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		p := NewProblem(status, client.ProblemInvalid, msg, "")
		if status >= http.StatusInternalServerError {
			p.Type = client.ProblemPrefix + client.ProblemFault
		}
		for _, err := range errs {
			var d huma.ErrorDetailer
			if errors.As(err, &d) {
				p.Errors = append(p.Errors, d.ErrorDetail())
			} else if err != nil {
				p.Errors = append(p.Errors, &huma.ErrorDetail{Message: err.Error()})
			}
		}
		return p
	}
}

// NewProblem makes a problem of one of client's kinds.
func NewProblem(status int, kind, detail, advice string) *Problem {
	return &Problem{
		Type:   client.ProblemPrefix + kind,
		Title:  http.StatusText(status),
		Status: status,
		Detail: detail,
		Advice: advice,
	}
}
