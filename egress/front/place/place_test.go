package place_test

import (
	"math"
	"testing"

	"github.com/byway-proxy/byway/egress/front/place"
)

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		km   float64 // of the cities, from an atlas, within 3 %
	}{
		{"DE", "FR", 878}, {"DE", "JP", 8918}, {"GB", "AU", 16993}, {"BR", "ZA", 7427}, {"DE", "DE", 0},
	} {
		a, okA := place.Of(test.a)
		b, okB := place.Of(test.b)
		if got := place.Distance(a, b); !okA || !okB || math.Abs(got-test.km) > 0.03*test.km+1 {
			t.Errorf("%s to %s is %.0f km, want %.0f", test.a, test.b, got, test.km)
		}
		if place.Distance(a, b) != place.Distance(b, a) {
			t.Errorf("%s to %s is another way back", test.a, test.b)
		}
	}
	if got := place.Distance(place.Point{Lat: 90}, place.Point{Lat: -90}); math.Abs(got-20015) > 1 {
		t.Errorf("from pole to pole %.0f km", got)
	}
	if _, ok := place.Of("XX"); ok {
		t.Error("there is no XX")
	}
}
