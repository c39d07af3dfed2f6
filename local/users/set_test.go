package users

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quick is a hash that costs next to nothing.
func quick(password string) Hash {
	h := Hash{Memory: 8, Time: 1, Threads: 1, Salt: []byte("somesalt"), Sum: make([]byte, 32)}
	h.Sum = h.of(password)
	return h
}

// TestReference hashes as the reference implementation does.
func TestReference(t *testing.T) {
	// echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -l 32, of its test.c.
	want, _ := hex.DecodeString("09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7")
	h := Hash{Memory: 1 << 16, Time: 2, Threads: 1, Salt: []byte("somesalt"), Sum: want}
	if !h.matches("password") || h.matches("Password") {
		t.Errorf("hashed as %x", h.of("password"))
	}
	var none Hash
	if none.matches("") {
		t.Error("nothing matches something")
	}
}

func TestNewHash(t *testing.T) {
	a, b := NewHash("open sesame"), NewHash("open sesame")
	if bytes.Equal(a.Salt, b.Salt) || bytes.Equal(a.Sum, b.Sum) || len(a.Salt) < 16 || len(a.Sum) < 32 {
		t.Error("two hashes of a password are alike, or short")
	}
	if !a.matches("open sesame") || a.matches("open sesam") {
		t.Error("it is not of the password")
	}
}

// plain counts how often it is asked.
type plain struct{ asked int }

func (p *plain) Valid(user, password string) bool {
	p.asked++
	return user == "bob" && password == "plain"
}

func TestValid(t *testing.T) {
	p := &plain{}
	s := New(map[string]Hash{"alice": quick("open sesame"), "carol": quick("other")}, NewQueue(1), time.Second, p, "bob")
	for _, test := range []struct {
		user, password string
		want           bool
	}{
		{"alice", "open sesame", true},
		{"alice", "open sesame", true}, // remembered
		{"alice", "open sesamf", false},
		{"alice", "", false},
		{"carol", "open sesame", false},
		{"carol", "other", true},
		{"bob", "plain", true},
		{"bob", "open sesame", false},
		{"", "", false},
		{"mallory", "open sesame", false},
		{"aliceopen ", "sesame", false}, // where one ends is part of the digest
	} {
		if got := s.Valid(test.user, test.password); got != test.want {
			t.Errorf("%q with %q: %v", test.user, test.password, got)
		}
	}
	if New(nil, NewQueue(1), time.Second, nil).Valid("a", "b") {
		t.Error("an empty set let somebody in")
	}
}

// TestNobodyCostsWhatSomebodyDoes looks at what unknown names are refused by: always
// the same for a name, and all that users cost for many names.
func TestNobodyCostsWhatSomebodyDoes(t *testing.T) {
	slow := quick("a")
	slow.Time = 7
	p := &plain{}
	s := New(map[string]Hash{"alice": slow, "carol": quick("b")}, NewQueue(1), time.Second, p, "bob")
	seen := make(map[uint32]int)
	for i := range 300 {
		name := fmt.Sprint("nobody", i)
		cost := s.costOf(name)
		if cost != s.costOf(name) {
			t.Fatalf("%s costs one time this, one time that", name)
		}
		before := p.asked
		if s.Valid(name, "a") {
			t.Fatalf("%s was let in", name)
		}
		if (cost == nil) != (p.asked > before) {
			t.Errorf("%s: the cost is %v, and plain was asked %d times", name, cost, p.asked-before)
		}
		if cost == nil {
			seen[0]++
		} else {
			seen[cost.Time]++
		}
	}
	if len(seen) != 3 || seen[0] < 50 || seen[1] < 50 || seen[7] < 50 {
		t.Errorf("costs of 300 names: %v", seen)
	}
}

// TestRemembered: a success is for five minutes, of that password alone, and then
// the password is hashed again.
func TestRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(1)
		s := New(map[string]Hash{"alice": quick("open sesame")}, q, time.Second, nil)
		if !s.Valid("alice", "open sesame") {
			t.Fatal("not let in")
		}
		q.slots <- struct{}{} // nothing is hashed from now on
		time.Sleep(remembered - time.Nanosecond)
		began := time.Now()
		if !s.Valid("alice", "open sesame") || s.Valid("alice", "open sesamf") {
			t.Error("within the time it was forgotten, or stood for another password")
		}
		if waited := time.Since(began); waited != time.Second {
			t.Errorf("a wrong password waited %v for its turn, want the limit", waited)
		}
		if s.Valid("alice", "open sesame") {
			t.Error("it is remembered beyond its time")
		}
		<-q.slots
		if !s.Valid("alice", "open sesame") {
			t.Error("not let in again")
		}
	})
}

// TestMemoryIsBounded keeps the successes that came last.
func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(nil, NewQueue(1), time.Second, nil)
		for i := range mostKept + 10 {
			s.learn(s.digest("alice", fmt.Sprint(i)))
			time.Sleep(time.Millisecond)
		}
		if len(s.known) != mostKept {
			t.Errorf("%d are kept", len(s.known))
		}
		if s.knows(s.digest("alice", "9")) || !s.knows(s.digest("alice", "10")) {
			t.Error("others than the first were forgotten")
		}
	})
}

// TestQueue serves in turn, no more at once than it says, and no one beyond its limit.
func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(2)
		var mu sync.Mutex
		var order []int
		inside, most := 0, 0
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				if !q.enter(3500 * time.Millisecond) {
					mu.Lock()
					defer mu.Unlock()
					order = append(order, -i)
					return
				}
				defer q.leave()
				mu.Lock()
				inside++
				most = max(most, inside)
				order = append(order, i)
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				defer mu.Unlock()
				inside--
			})
			time.Sleep(10 * time.Millisecond) // they come one after the other, and so leave
		}
		time.Sleep(1500 * time.Millisecond)
		if q.enter(time.Second) {
			t.Error("one who came last was served before its turn")
		}
		wg.Wait()
		if want := "[0 1 2 3 4 5 6 7]"; fmt.Sprint(order) != want || most != 2 {
			t.Errorf("served %v, %d at once; want %s, 2", order, most, want)
		}
	})
}

// TestABrowserHashesOnce opens several conns at once: the first to hash does it for all.
func TestABrowserHashesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(1)
		s := New(map[string]Hash{"alice": quick("open sesame")}, q, time.Hour, nil)
		q.slots <- struct{}{} // all come before the first is served
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				if !s.Valid("alice", "open sesame") {
					t.Error("not let in")
				}
			})
		}
		synctest.Wait()
		s.learn(s.digest("alice", "open sesame")) // as the one before them did
		s.hashes["alice"] = Hash{}                // whoever hashes now fails
		<-q.slots
		wg.Wait()
	})
}
