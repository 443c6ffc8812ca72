package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

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

	After time.Duration `json:"-"` // after which it may be asked again, as Retry-After says; 0: it makes no difference
}

func (p *Problem) Error() string { return p.Detail }

// GetStatus is the HTTP status; huma asks for it.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType marks the answer as a problem; huma asks for it.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders are those of the answer; huma asks for them.
func (p *Problem) GetHeaders() http.Header {
	if p.After <= 0 {
		return nil
	}
	return http.Header{"Retry-After": {strconv.Itoa(int(math.Ceil(p.After.Seconds())))}}
}

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
				p.Errors = append(p.Errors, described(status, d.ErrorDetail()))
			} else if err != nil {
				p.Errors = append(p.Errors, &huma.ErrorDetail{Message: err.Error()})
			}
		}
		return p
	}
}

// described says where something is wrong and what was wanted there, and not
// what was there: a body may hold a secret, and answers end in logs.
func described(status int, d *huma.ErrorDetail) *huma.ErrorDetail {
	e := &huma.ErrorDetail{Message: d.Message, Location: d.Location}
	if len(e.Location) > maxLocation { // the names of properties are the sender's
		e.Location = strings.ToValidUTF8(e.Location[:maxLocation], "") + "..."
	}
	body, ok := d.Value.(string)
	switch {
	case !ok || d.Location != "body" || strings.HasPrefix(d.Message, "expected "):
	case status == http.StatusUnsupportedMediaType:
		e.Message = "expected Content-Type application/json"
	default:
		e.Message = malformed([]byte(body))
	}
	return e
}

// maxLocation is how much of a place in a body is repeated, in bytes.
const maxLocation = 64

// malformed says what is wrong with a body that could not be read.
func malformed(body []byte) string {
	var v any
	var syntax *json.SyntaxError
	switch err := json.Unmarshal(body, &v); {
	case err == nil:
		return "a value of the wrong kind"
	case errors.As(err, &syntax) && syntax.Offset < int64(len(body)):
		return fmt.Sprintf("no JSON from byte %d on", syntax.Offset)
	default:
		return fmt.Sprintf("no whole JSON: it ends at byte %d", len(body))
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
