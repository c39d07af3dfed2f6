// Package place knows where things are on earth, as far as a balancer needs it.
package place

import "math"

// A Point is a place, in degrees north and east.
type Point struct{ Lat, Lon float64 }

// Of returns where the people of a country are, roughly; code is that of ISO 3166-1.
func Of(code string) (Point, bool) {
	p, ok := countries[code]
	return p, ok
}

// earth is its mean radius in km.
const earth = 6371

// Distance returns that of a and b in km, along the surface (the haversine formula).
func Distance(a, b Point) float64 {
	rad := func(deg float64) float64 { return deg * math.Pi / 180 }
	sin := func(x float64) float64 { return math.Sin(x) * math.Sin(x) }
	h := sin(rad(b.Lat-a.Lat)/2) + math.Cos(rad(a.Lat))*math.Cos(rad(b.Lat))*sin(rad(b.Lon-a.Lon)/2)
	return 2 * earth * math.Asin(math.Sqrt(min(h, 1)))
}
