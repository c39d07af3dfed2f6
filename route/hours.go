package route

import "time"

// Hours are times of the week.
type Hours struct {
	// Spans are times of the day; none means all of it.
	Spans []Span

	// Days are the days on which a span begins; none means every day.
	Days []time.Weekday

	// Zone is where the clock hangs; nil means the system's zone.
	Zone *time.Location
}

// A Span is from one minute of the day, counted from midnight by the clock on the
// wall, to before another. One that ends at its beginning or before it goes on into
// the next day.
type Span struct{ From, To int }

// has reports whether t is within h.
func (h *Hours) has(t time.Time) bool {
	zone := h.Zone
	if zone == nil {
		zone = time.Local
	}
	t = t.In(zone)
	now, today := 60*t.Hour()+t.Minute(), t.Weekday()
	if len(h.Spans) == 0 {
		return h.on(today)
	}
	for _, s := range h.Spans {
		switch {
		case s.From < s.To:
			if s.From <= now && now < s.To && h.on(today) {
				return true
			}
		case now >= s.From && h.on(today), now < s.To && h.on((today+6)%7):
			return true
		}
	}
	return false
}

func (h *Hours) on(d time.Weekday) bool {
	for _, one := range h.Days {
		if one == d {
			return true
		}
	}
	return len(h.Days) == 0
}
