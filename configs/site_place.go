package configs

import (
	"fmt"
	"strconv"
	"strings"
)

// A Place is where an upstream is: a country, or a point on earth.
type Place struct {
	Country  Country // empty if the point is given
	Lat, Lon float64 // degrees north and east
}

func parsePlace(s string) (any, error) {
	if code, err := parseCountry(s); err == nil {
		return &Place{Country: code.(Country)}, nil
	}
	north, east, ok := strings.Cut(s, ",")
	lat, latErr := strconv.ParseFloat(strings.TrimSpace(north), 64)
	lon, lonErr := strconv.ParseFloat(strings.TrimSpace(east), 64)
	if !ok || latErr != nil || lonErr != nil || !(lat >= -90 && lat <= 90) || !(lon >= -180 && lon <= 180) {
		return nil, fmt.Errorf(`%q is no place; write a country's code, such as "DE", or degrees north and east, such as "52.5,13.4"`, s)
	}
	return &Place{Lat: lat, Lon: lon}, nil
}

// checkNearest checks what is about [SitePickNearest].
func (a *SiteAnswer) checkNearest(d *decoder, path string) {
	balance := join(path, "balance")
	nearest := a.Balance.Pick == SitePickNearest
	for _, key := range []string{"pin_header", "pin_cookie", "spill"} {
		if at := join(balance, key); d.has(at) && !nearest && !d.failed[join(balance, "pick")] {
			d.fail(at, `is of no use to pick %q; it is for "nearest"`, a.Balance.Pick)
		}
	}
	for key, name := range map[string]string{"pin_header": a.Balance.PinHeader, "pin_cookie": a.Balance.PinCookie} {
		if name != "" && !isToken(name) {
			d.fail(join(balance, key), `%q is no name of a header or cookie; write letters, digits, "-" and "_"`, name)
		}
	}
	if !nearest {
		return
	}
	if !d.has("geo.database") {
		d.fail(join(balance, "pick"), "there is no database of countries; add [geo] with database = \"country.mmdb\"")
	}
	for i := range a.Upstreams {
		if place := d.nth(join(path, "upstream"), i); a.Upstreams[i].At == nil && !d.failed[join(place, "at")] && !d.failed[place] {
			d.fail(place, `does not say where it is, which pick = "nearest" goes by; add at = "DE" or at = "52.5,13.4" in a [[site.upstream]]`)
		}
	}
}
