package phone

import (
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/faceprint/faceprint/device/phone/client"
)

// description is what the document says before its operations: enough, with
// them, to write a phone from it alone.
const description = `The API of a paired phone, over TLS 1.3. HTTP/1.1 alone is spoken. No answer holds a picture or a template.

Binary values are base64url without padding.

**The code** that the device shows is ` + "`https://HOST:PORT/#1.PIN.SECRET`" + `. PIN is the SHA-256 of the device's public key (SubjectPublicKeyInfo, DER): accept a certificate with that key and nothing else. SECRET has 16 bytes and is good once.

**The binding** of a connection is its channel binding tls-exporter (RFC 9266): 32 bytes of exporter "EXPORTER-Channel-Binding" with an empty context. A browser's key, which was paired as such, uses the binding of a session (/v1/session) and sends it as ` + client.SessionHeader + `.

**Signatures.** A phone has a P-256 key. The key as text is the uncompressed point (65 bytes), its id the first 12 bytes of the point's SHA-256. Every request but /v1/session carries ` + "`Authorization: " + client.Scheme + " ID.COUNTER.SIGNATURE`" + `, where SIGNATURE is ECDSA with SHA-256, r and s of 32 bytes each, over these lines, joined by line feeds:

    faceprint-request-1
    METHOD
    PATH?QUERY as sent
    COUNTER
    BINDING
    SHA-256 of the body

Counters are decimal, from 1 to 2^53-1, and grow with every request.

**Pairing.** The phone proves that it saw the code, and the device that it made it: HMAC-SHA256 under SECRET over lines, joined by line feeds. The phone's: "faceprint-pair-1 phone", PIN, BINDING, KEY, "app" or "browser", PLATFORM, NAME. The device's: "faceprint-pair-1 device", the phone's proof, ID, USER. The invitation is named by the first 9 bytes of the SHA-256 of "faceprint-pair-1 name", a line feed and SECRET.`

// signatures are the ways in which a request is signed. OpenAPI has no
// parameter for the Authorization header but these.
var signatures = map[string]*huma.SecurityScheme{
	"signature": {Type: "http", Scheme: client.Scheme, Description: "A signature of a paired phone's key: ID.COUNTER.SIGNATURE, see above."},
	"newKey":    {Type: "http", Scheme: client.Scheme, Description: "The same, with the key that the request brings, which is not paired yet."},
}

// refusals of any request, by the listener or before its operation is known.
var ofAll = []int{
	http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity,
	http.StatusTooManyRequests, http.StatusRequestHeaderFieldsTooLarge, http.StatusForbidden,
}

// words describe refusals beyond their status; the kinds are the ends of type.
var words = map[int]string{
	http.StatusBadRequest:                  "The request cannot be read to its end, is no HTTP/1.1, or its body no JSON: invalid",
	http.StatusUnauthorized:                "Not signed, or not with the key of a phone that is paired: unsigned, stale-counter (sign again, higher), revoked, expired, key-copied",
	http.StatusForbidden:                   "This phone may not, or not now, or the code is none: forbidden, not-paired",
	http.StatusNotFound:                    "No such request waits, or the person was forgotten: not-found",
	http.StatusRequestTimeout:              "The request did not come in time: invalid",
	http.StatusConflict:                    "Not as things are: busy, retry, duplicate",
	http.StatusRequestEntityTooLarge:       "The body is too long: invalid",
	http.StatusUnsupportedMediaType:        "The body is not application/json: invalid",
	http.StatusUnprocessableEntity:         "The request makes no sense: invalid, name",
	http.StatusTooManyRequests:             "Slower; nothing was done: too-many",
	http.StatusRequestHeaderFieldsTooLarge: "The header is too long: invalid",
	http.StatusServiceUnavailable:          "A part of the device failed: fault",
}

func header(required bool, s *huma.Schema, description string) *huma.Param {
	return &huma.Param{Description: description, Required: required, Schema: s}
}

// describe adds to the operations what huma does not know: what the listener
// itself wants of every request and how it refuses.
func describe(doc *huma.OpenAPI) {
	least := 0.0
	number := &huma.Schema{Type: huma.TypeInteger, Minimum: &least}
	session := &huma.Param{
		Name: client.SessionHeader, In: "header", Schema: &huma.Schema{Type: huma.TypeString, Pattern: "^[A-Za-z0-9_-]{43}$"},
		Description: "The binding of a browser's session, for a key that was paired as a browser's; an app sends none.",
	}
	for _, path := range doc.Paths {
		for _, op := range []*huma.Operation{path.Get, path.Post, path.Put, path.Delete, path.Patch} {
			if op == nil {
				continue
			}
			if op.Security != nil {
				op.Parameters = append(op.Parameters, session)
			}
			if op.RequestBody != nil {
				op.RequestBody.Required = true
			}
			delete(op.Responses, strconv.Itoa(http.StatusInternalServerError)) // huma's own, which route does not let out
			op.Responses["default"] = &huma.Response{Description: "What the HTTP server refuses by itself", Content: op.Responses[strconv.Itoa(http.StatusBadRequest)].Content}
			for status, r := range op.Responses {
				code, _ := strconv.Atoi(status) // 0: the default
				if said := words[code]; said != "" {
					r.Description = said
				}
				if r.Headers == nil {
					r.Headers = make(map[string]*huma.Param)
				}
				if op.Metadata["role"] == rolePaired {
					r.Headers[client.CounterHeader] = header(code == http.StatusOK, number,
						"The highest counter of this phone that the device had accepted before; absent where the signature does not hold. Lower than what the phone knows: an old state of the device was put back.")
				}
				switch code {
				case http.StatusUnauthorized:
					r.Headers["WWW-Authenticate"] = header(true, &huma.Schema{Type: huma.TypeString, Enum: []any{client.Scheme}}, "The scheme of signatures.")
				case http.StatusTooManyRequests:
					r.Headers["Retry-After"] = header(true, number, "Seconds.")
				}
			}
		}
	}
}
