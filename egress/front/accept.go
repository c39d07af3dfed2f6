package front

import (
	"strconv"
	"strings"
)

// accepted returns the first of offers, content codings, that is as welcome as any
// by an Accept-Encoding field (RFC 9110 §12.5.3), or "" for none. Without the field none
// is: those who leave it out hardly expect one.
func accepted(field []string, offers []string) string {
	best, most := "", 0.0
	for _, offer := range offers {
		if q := quality(field, offer); q > most {
			best, most = offer, q
		}
	}
	if identity := quality(field, "identity"); best != "" && identity > most {
		return ""
	}
	return best
}

// quality returns the weight of a coding, 0 if it is not acceptable or, save for
// identity, not named.
func quality(field []string, coding string) float64 {
	named, star := -1.0, -1.0
	for _, line := range field {
		for item := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(item, ";")
			name = strings.TrimSpace(name)
			switch q := weight(params); {
			case strings.EqualFold(name, coding) || coding == "gzip" && strings.EqualFold(name, "x-gzip"):
				named = max(named, q)
			case name == "*":
				star = q
			}
		}
	}
	switch {
	case named >= 0:
		return named
	case coding == "identity":
		// Acceptable unless it is excluded (RFC 9110 §12.5.3), and never preferred.
		return 0
	case star >= 0:
		return star
	}
	return 0
}

// weight reads the parameter q of an item (RFC 9110 §12.4.2); what can't be read makes it
// not acceptable.
func weight(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		name, value, ok := strings.Cut(strings.TrimSpace(p), "=")
		if !ok || !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return q
	}
	return 1
}
