package host

import (
	"encoding/binary"
	"fmt"

	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/sensor/minutia"
)

// A template is the impressions of one finger, those merged that align: the format's
// version, how many there are, mostly one, and each with its length before it,
// big-endian.
const (
	version        = 1
	maxImpressions = 8
	maxImpression  = minutia.MaxTemplate // bytes
)

func marshal(impressions []*minutia.Template) ([]byte, error) {
	b := []byte{version, byte(len(impressions))}
	for _, t := range impressions {
		one, err := t.MarshalBinary()
		if err != nil {
			return nil, fmt.Errorf("host: %w", err)
		}
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(one))), one...)
		clear(one)
	}
	return b, nil
}

// unmarshal accepts only what marshal writes; other bytes are sensor.ErrTemplate.
func unmarshal(b []byte) ([]*minutia.Template, error) {
	bad := func(what string) ([]*minutia.Template, error) {
		return nil, fmt.Errorf("host: %s: %w", what, sensor.ErrTemplate)
	}
	if len(b) < 2 || b[0] != version {
		return bad("not the template of a finger")
	}
	n := int(b[1])
	if n == 0 || n > maxImpressions {
		return bad(fmt.Sprintf("%d impressions", n))
	}
	b = b[2:]
	impressions := make([]*minutia.Template, 0, n)
	for range n {
		if len(b) < 2 {
			return bad("cut short")
		}
		size := int(binary.BigEndian.Uint16(b))
		if b = b[2:]; size > maxImpression || size > len(b) {
			return bad("cut short")
		}
		t, err := minutia.Decode(b[:size])
		if err != nil {
			return nil, fmt.Errorf("host: %w: %w", sensor.ErrTemplate, err)
		}
		impressions, b = append(impressions, t), b[size:]
	}
	if len(b) > 0 {
		return bad("more than the impressions it names")
	}
	return impressions, nil
}
