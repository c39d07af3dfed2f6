package relay

// Napping returns how many directions of tunnels of r rest alone.
func (r *Relay) Napping() (n int) {
	var all []*direction
	r.live.mu.Lock()
	if r.live.lot != nil {
		for _, d := range r.live.lot.naps {
			all = append(all, d)
		}
	}
	r.live.mu.Unlock()
	for _, d := range all {
		d.mu.Lock()
		if d.state == resting {
			n++
		}
		d.mu.Unlock()
	}
	return n
}
