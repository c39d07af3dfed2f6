package socks

import (
	"context"
	"sync"
	"syscall"
	"time"

	"github.com/byway-proxy/byway/chain"
)

// Pipeline tells whether a SOCKS5 hop is sent greeting, authentication and
// request in one write, and so takes one round trip instead of two, or of three
// with a password; and whether first data ([chain.FirstData]) may follow at once.
type Pipeline int

const (
	// Auto finds out what the hop can do. The first dial is the trial: it goes
	// pipelined, and if a reply is overdue or the conn breaks, also serially over a
	// second conn; the first one to be answered counts. Meanwhile other dials go
	// serially. A reply is overdue after four times the time that the one before
	// took (before the first: that the dial took), and 250 ms at least.
	//
	// A hop that let a pipelined dial through gets every dial pipelined. If it
	// then cuts one short, or answers with garbage, that dial is repeated serially;
	// if that is answered, all go serially for a while, a minute at first, and then
	// there is another trial. A reply that is overdue is just waited for, as the
	// target may be slow; if it never comes, the next dial is a trial.
	//
	// A hop that answered a serial dial only is not tried again for an hour.
	//
	// A refusal is an answer: it is never tried again. But as some servers would
	// refuse what they misread, it does not prove that pipelining works.
	//
	// First data is sent along once the hop is known to pass it on: with the first
	// dial that has some, unless that is AsKnown, it is asked in the background for a tunnel
	// to its own address, with a greeting behind the request. It is asked again after an hour.
	Auto Pipeline = iota

	// On means always, without a second try or a question.
	On

	// Off means never.
	Off
)

const (
	firstPause = time.Minute
	longPause  = time.Hour
)

// learning is what is known about how a hop takes pipelining. Its zero value is
// that of a hop not met yet.
type learning struct {
	mu    sync.Mutex
	works bool
	trial bool          // one is under way
	after time.Time     // no trial before that
	pause time.Duration // the last one after works turned out to be wrong

	passing passing
	mute    muteness // of RESOLVE
	tcpOnly muteness // of UDP ASSOCIATE
}

type mode int

const (
	modeSerial mode = iota
	modePipelined
	modeTrial
)

// mode tells how to dial. Whoever gets modeTrial calls settle when it is over.
func (l *learning) mode() mode {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.works:
		return modePipelined
	case l.trial || time.Now().Before(l.after):
		return modeSerial
	}
	l.trial = true
	return modeTrial
}

// settle ends a trial with the attempt that decided it.
func (l *learning) settle(a attempt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trial = false
	switch {
	case a.manner == pipelined && a.conn != nil:
		l.works = true
	case a.manner == serial && a.carried():
		l.after = time.Now().Add(longPause)
	}
}

// doubt calls for another trial, as what works seemed to hang.
func (l *learning) doubt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.works = false
}

// failed makes a pause, twice as long each time, as what works does not.
func (l *learning) failed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.works {
		return // others saw it too
	}
	l.works = false
	l.pause = min(max(2*l.pause, firstPause), longPause)
	l.after = time.Now().Add(l.pause)
}

// auto dials as learnt.
func (d *dialer5) auto(ctx context.Context, t target, first *chain.FirstData) attempt {
	switch d.learnt.mode() {
	case modeTrial:
		a := d.trial(ctx, t)
		d.learnt.settle(a)
		return a
	case modeSerial:
		return d.try(ctx, t, serial, first, nil)
	}
	a := d.try(ctx, t, pipelined, first, nil)
	switch {
	case a.definite() || !a.reached || a.spent:
		return a
	case ended(ctx) || chain.Errno(a.err) == syscall.ETIMEDOUT:
		if time.Now().After(a.due) {
			d.learnt.doubt()
		}
		return a
	}
	a = d.try(ctx, t, serial, first, nil)
	if a.carried() {
		d.learnt.failed()
	}
	return a
}

// trial dials pipelined, and serially too if need be. It returns the attempt
// that was answered first, or the last one to fail.
func (d *dialer5) trial(ctx context.Context, t target) attempt {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the attempt that lost
	var (
		over    = make(chan struct{})
		results = make(chan attempt)
		overdue = make(chan time.Duration, 2) // as often as try tells
		running = 0
		hedged  = false
	)
	defer close(over)
	start := func(m manner, due func(time.Duration)) {
		running++
		go func() {
			a := d.try(ctx, t, m, nil, due) // first data can go by one conn alone
			select {
			case results <- a:
			case <-over:
				if a.conn != nil {
					_ = a.conn.Close()
				}
			}
		}()
	}
	start(pipelined, func(limit time.Duration) { overdue <- limit })
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	for {
		hedge := false
		select {
		case limit := <-overdue:
			timer.Reset(limit)
		case <-timer.C:
			hedge = true
		case a := <-results:
			running--
			if a.definite() || !hedged && (!a.reached || ended(ctx)) || hedged && running == 0 {
				return a
			}
			hedge = true
		}
		if hedge && !hedged {
			hedged = true
			start(serial, nil)
		}
	}
}

// ended reports whether ctx has ended, or is about to as its deadline is here: a
// conn may see that a moment earlier.
func ended(ctx context.Context) bool {
	d, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(d)
}
