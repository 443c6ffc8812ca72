package api

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/faceprint/faceprint/device/api/client"
	"github.com/faceprint/faceprint/sensor"
	"github.com/faceprint/faceprint/vision"
)

// The hints that the OpenAPI document promises are those that there are.
func TestEveryHintIsInTheDocument(t *testing.T) {
	want := []string{"approve-on-phone", "give-way"} // of the device itself
	for h := vision.HintNone + 1; h.String() != "unknown"; h++ {
		want = append(want, h.String())
	}
	for _, h := range []sensor.Hint{
		sensor.HintNoFinger, sensor.HintAgain, sensor.HintClean, sensor.HintFlat, sensor.HintLift, sensor.HintSame,
		sensor.HintLonger, sensor.HintOther, sensor.HintAnew, sensor.HintWait,
	} {
		want = append(want, string(h))
	}
	slices.Sort(want)
	for in, name := range map[reflect.Type]string{reflect.TypeFor[client.Decision](): "Hints", reflect.TypeFor[client.Event](): "Hint", reflect.TypeFor[client.LoginLine](): "Hint"} {
		field, _ := in.FieldByName(name)
		got := strings.Split(field.Tag.Get("enum"), ",")
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%v.%s: %q, want %q", in, name, got, want)
		}
	}
}
