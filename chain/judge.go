package chain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// A verdict says what a failure to open a tunnel tells of a member.
type verdict int

const (
	// dead: the member can't be reached, rejects us, hangs up or talks garbage.
	dead verdict = iota
	// unfit: the member can't carry such a network or address. Another may.
	unfit
	// doubtful: the exit says that the target can't be reached, or not why. The
	// target may be at fault or the exit's own way out: the next member tells.
	doubtful
	// answered: the exit brought the target's own no, or a rule's. Another exit
	// is no way around it, and the member is alive.
	answered
	// elsewhere: the path below the members, or this machine, is at fault.
	elsewhere
)

// judge says which hop of s an error is about, and what it tells of it. Its
// errors come through layers of s, and so are of type *Error.
func (s *scope) judge(err error) (index int, v verdict) {
	var e *Error
	if !errors.As(err, &e) {
		return below, elsewhere
	}
	index, _ = e.blamed(s)
	if index == below {
		return below, elsewhere
	}
	errno := Errno(e.Err)
	switch errno {
	case syscall.EOPNOTSUPP, syscall.EAFNOSUPPORT:
		return index, unfit
	case syscall.EMFILE:
		if !e.onward {
			return index, elsewhere // ours: a remote limit is told by the exit
		}
		return index, doubtful
	}
	if !e.onward {
		return index, dead
	}
	switch errno {
	case syscall.ECONNREFUSED, syscall.EACCES:
		return index, answered
	case syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ETIMEDOUT, 0:
		// 0 is SOCKS's "general failure", which servers say of unknown names too.
		return index, doubtful
	}
	return index, dead
}

// A failure is one member's, within one request.
type failure struct {
	err     error
	verdict verdict

	// In a chain that chooses its hops:
	hop     int  // the one to be left out
	accuser int  // the one before it, which says that it can't be reached; or -1
	guilty  bool // it is left out for having accused others: a success proves that it lied
}

// A GroupError is the cause of the [Error] of a group, or of a chain that chooses
// its hops, after more than one of them failed.
type GroupError struct {
	Causes  []*Error // of those that were tried, in the order of their failing
	Telling int      // the index of the one that tells most; the errno is its
}

// Unwrap returns the cause that tells most.
func (g *GroupError) Unwrap() error { return g.Causes[g.Telling] }

// Error tells each cause, in no more words than people read.
func (g *GroupError) Error() string {
	const most = 8
	var b strings.Builder
	fmt.Fprintf(&b, "all %d that were tried failed", len(g.Causes))
	for i, c := range g.Causes {
		if i == most {
			fmt.Fprintf(&b, "; and %d more", len(g.Causes)-most)
			break
		}
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(&b, "%s%s: %s: %s", sep, c.Name, c.Phase, c.reason())
	}
	return b.String()
}

// join returns the error of a request for which all that could be tried failed.
// An exit's word of the target tells most, then the last failure.
func (p *place) join(failures []failure) error {
	if len(failures) == 1 {
		return failures[0].err
	}
	all := &GroupError{}
	best, told := dead, true
	for _, f := range failures {
		var e *Error
		if !errors.As(f.err, &e) {
			continue
		}
		if all.Causes = append(all.Causes, e); f.verdict >= best {
			best, all.Telling = f.verdict, len(all.Causes)-1
		}
		told = told && e.told
	}
	if len(all.Causes) == 0 {
		return &Error{Hop: p.hop, Hops: p.of, Name: p.name, Phase: PhaseDial, Err: errNone}
	}
	t := all.Causes[all.Telling]
	return &Error{Hop: p.hop, Hops: p.of, Name: p.name, Phase: t.Phase, Err: all, trail: trail{onward: t.onward, told: told}}
}

var (
	errNone   = errors.New("nothing is left to try")
	errSilent = errors.New("silent for too long, while another answered")
)

// over returns the error of a request whose ctx has ended.
func (p *place) over(ctx context.Context) error {
	return &Error{Hop: p.hop, Hops: p.of, Name: p.name, Phase: PhaseDial, Err: context.Cause(ctx)}
}
