package relay

import "time"

// Rest sets how long nothing moves before a tunnel of r rests.
func (r *Relay) Rest(d time.Duration) { r.rest = d }

// Parks returns how often a tunnel of r was parked.
func (r *Relay) Parks() int {
	r.live.mu.Lock()
	defer r.live.mu.Unlock()
	return int(r.live.ticket)
}

// Parked returns how many tunnels of r are parked.
func (r *Relay) Parked() int {
	r.live.mu.Lock()
	defer r.live.mu.Unlock()
	return r.live.lot.len()
}

// Kill kills a live tunnel of r for the target addr.
func (r *Relay) Kill(addr string) {
	r.live.mu.Lock()
	var found *tunnel
	for t := range r.live.tunnels {
		if t.request.Addr == addr {
			found = t
		}
	}
	r.live.mu.Unlock()
	if found != nil {
		found.kill()
	}
}

// RestAmong is how long no byte moves before a tunnel rests, of so many.
var RestAmong = restAmong
