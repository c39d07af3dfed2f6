package users

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// newSet returns a set over a file, with nobody in it.
func newSet(t testing.TB, declared ...User) *Set {
	t.Helper()
	s, err := OpenStore(declared, openBolt(t, filepath.Join(t.TempDir(), "users.db")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func mustAdd(t testing.TB, s *Set, u User) (token string) {
	t.Helper()
	token, err := s.Add(u)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func knows(s *Set, name, token string) bool {
	a, _ := s.Verify([]string{basic(name + ":" + token)})
	b, _ := s.Verify([]string{"Bearer " + token})
	if (a == name) != (b == name) || a != "" && a != name {
		panic("Basic and Bearer differ")
	}
	return a == name
}

// live begins a tunnel, and returns whether it was told to end.
func live(t testing.TB, s *Set, name string) (tn *Tunnel, ended func() bool) {
	t.Helper()
	told := make(chan struct{}, 8)
	tn, err := s.Begin(name, false, func() { told <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	return tn, func() bool {
		select {
		case <-told:
			tn.Ended()
			return true
		default:
			return false
		}
	}
}

// TestCommands: what is changed is in force when the call returns, tunnels are ended with
// it, and a set that is opened anew knows the same.
func TestCommands(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.db")
	s, err := OpenStore([]User{{Name: "fixed", Tokens: []Token{{Hash: HashOf("0123456789abcdef")}}}}, openBolt(t, path))
	if err != nil {
		t.Fatal(err)
	}
	alice := mustAdd(t, s, User{Name: "alice"})
	bob := mustAdd(t, s, User{Name: "bob"})
	if !knows(s, "alice", alice) || !knows(s, "bob", bob) || knows(s, "alice", bob) || !knows(s, "fixed", "0123456789abcdef") {
		t.Error("who was added is not known")
	}
	for name, why := range map[string]string{"alice": "there is one already", "fixed": "the configuration has", "a b": "a name has", "-x": "begins with", "": "a name has"} {
		if _, err := s.Add(User{Name: name}); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("add %q: %v", name, err)
		}
	}
	for _, do := range []func(string) error{s.Remove, func(n string) error { return s.SetDisabled(n, true) }} {
		if err := do("fixed"); err == nil || !strings.Contains(err.Error(), "change it there") {
			t.Error(err)
		}
		if err := do("carol"); err == nil || !strings.Contains(err.Error(), "there is none") {
			t.Error(err)
		}
	}

	_, aliceEnded := live(t, s, "alice")
	_, bobEnded := live(t, s, "bob")
	if err := s.SetDisabled("alice", true); err != nil || knows(s, "alice", alice) || !aliceEnded() || bobEnded() {
		t.Errorf("disable: %v", err)
	}
	if _, err := s.Begin("alice", false, nil); !errors.Is(err, syscall.EACCES) {
		t.Errorf("disabled: %v", err)
	}
	if err := s.SetDisabled("alice", false); err != nil || !knows(s, "alice", alice) {
		t.Errorf("enable: %v", err)
	}
	if err := s.Remove("bob"); err != nil || knows(s, "bob", bob) || !bobEnded() {
		t.Errorf("remove: %v", err)
	}
	if bob2 := mustAdd(t, s, User{Name: "bob"}); knows(s, "bob", bob) || !knows(s, "bob", bob2) {
		t.Error("who was removed has come back")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	if _, err := OpenStore([]User{{Name: "alice"}}, openBolt(t, path)); err == nil || !strings.Contains(err.Error(), `"byway user add" has made`) {
		t.Errorf("a name of both: %v", err)
	}
	s, err = Open(nil, Options{Store: openBolt(t, path)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !knows(s, "alice", alice) || knows(s, "bob", bob) || len(s.List()) != 2 {
		t.Errorf("after a restart: %+v", s.List())
	}
}

// TestDeclare swaps the configuration's users: those that are gone lose their tunnels, the
// others keep theirs, and nothing changes after an error.
func TestDeclare(t *testing.T) {
	user := func(name string) User {
		return User{Name: name, Tokens: []Token{{Hash: HashOf(name + "0123456789abcdef")}}}
	}
	s := newSet(t, user("alice"), user("bob"))
	mustAdd(t, s, User{Name: "carol"})
	_, aliceEnded := live(t, s, "alice")
	_, bobEnded := live(t, s, "bob")
	if err := s.Declare([]User{user("dave"), user("carol")}); err == nil {
		t.Error("a name of both")
	}
	if !knows(s, "bob", "bob0123456789abcdef") || knows(s, "dave", "dave0123456789abcdef") {
		t.Error("an error has changed something")
	}
	if err := s.Declare([]User{user("alice"), user("dave")}); err != nil {
		t.Fatal(err)
	}
	if aliceEnded() || !bobEnded() || knows(s, "bob", "bob0123456789abcdef") || !knows(s, "dave", "dave0123456789abcdef") {
		t.Error("not as declared")
	}
}

// TestRotate: both tokens are good for the overlap, and not a moment longer; without one the
// old is not, and the tunnels end.
func TestRotate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet(t)
		first := mustAdd(t, s, User{Name: "alice"})
		_, ended := live(t, s, "alice")
		second, err := s.Rotate("alice", time.Hour)
		if err != nil || !knows(s, "alice", first) || !knows(s, "alice", second) || ended() {
			t.Fatal(err)
		}
		time.Sleep(time.Hour - time.Nanosecond)
		if !knows(s, "alice", first) {
			t.Error("the overlap is short")
		}
		time.Sleep(time.Nanosecond)
		if knows(s, "alice", first) || !knows(s, "alice", second) {
			t.Error("the overlap is long")
		}
		third, err := s.Rotate("alice", 0)
		if err != nil || knows(s, "alice", second) || !knows(s, "alice", third) || !ended() {
			t.Errorf("at once: %v", err)
		}
		if n := len(s.List()[0].Tokens); n != 1 {
			t.Errorf("%d tokens are kept", n)
		}
	})
}

// TestExpires: a user is a stranger from the moment on that was said, and the tunnels end then.
func TestExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet(t)
		end := time.Now().Add(48 * time.Hour)
		token := mustAdd(t, s, User{Name: "alice", Expires: end})
		_, ended := live(t, s, "alice")
		time.Sleep(48*time.Hour - 1)
		if !knows(s, "alice", token) || ended() {
			t.Error("expired early")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if knows(s, "alice", token) || !ended() {
			t.Error("not expired")
		}
		if st := s.List()[0]; st.Standing(time.Now()) != "expired" || st.Live != 0 {
			t.Errorf("%+v", st)
		}
	})
}

func TestBounds(t *testing.T) {
	s := newSet(t)
	mustAdd(t, s, User{Name: "alice", Limits: Limits{Tunnels: 2, Flows: 1}})
	begin := func(flow bool) error {
		_, err := s.Begin("alice", flow, func() {})
		return err
	}
	one, _ := s.Begin("alice", false, func() {})
	if err := errors.Join(begin(false), begin(true)); err != nil {
		t.Fatal(err)
	}
	for _, flow := range []bool{false, true} {
		if err := begin(flow); !errors.Is(err, syscall.EMFILE) {
			t.Errorf("flow %v: %v", flow, err)
		}
	}
	one.Ended()
	one.Ended()
	if err := begin(false); err != nil {
		t.Error(err)
	}
	if err := begin(false); err == nil {
		t.Error("an end counted twice")
	}
}

// TestQuota ends all tunnels of a user who has used it up, and lets the user back in on the next day
// or in the next month.
func TestQuota(t *testing.T) {
	for name, test := range map[string]struct {
		limits Limits
		next   time.Time
	}{
		"day":   {Limits{Day: 1000}, time.Date(2000, 1, 2, 0, 0, 0, 0, time.UTC)},
		"month": {Limits{Month: 1000}, time.Date(2000, 2, 1, 0, 0, 0, 0, time.UTC)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSet(t)
				token := mustAdd(t, s, User{Name: "alice", Limits: test.limits})
				a, aEnded := live(t, s, "alice")
				b, bEnded := live(t, s, "alice")
				if err := errors.Join(a.Pass(true, 400), b.Pass(false, 599), a.Pass(true, 1)); err != nil || aEnded() {
					t.Fatal(err)
				}
				if err := a.Pass(true, 1); !errors.Is(err, syscall.EACCES) || !aEnded() || !bEnded() {
					t.Errorf("over it: %v", err)
				}
				if _, err := s.Begin("alice", false, nil); err != ErrQuota || !knows(s, "alice", token) {
					t.Errorf("over it: %v", err)
				}
				time.Sleep(time.Until(test.next) - 1)
				if _, err := s.Begin("alice", false, nil); err != ErrQuota {
					t.Errorf("early: %v", err)
				}
				time.Sleep(time.Nanosecond)
				if _, err := s.Begin("alice", false, nil); err != nil {
					t.Errorf("late: %v", err)
				}
			})
		})
	}
}

// TestRate has several tunnels of a user share its rate, in each direction on its own.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet(t)
		mustAdd(t, s, User{Name: "alice", Limits: Limits{Rate: 1 << 20}})
		began := time.Now()
		done := make(chan time.Duration, 8)
		for i := range 8 {
			tn, _ := live(t, s, "alice")
			go func() {
				for range 64 {
					if err := tn.Pass(i%2 == 0, 16<<10); err != nil {
						t.Error(err)
					}
				}
				done <- time.Since(began)
			}()
		}
		var last time.Duration
		for range 8 {
			last = max(last, <-done)
		}
		// 4 MiB each way at 1 MiB a second, of which a quarter could go at once.
		if last != 3750*time.Millisecond {
			t.Errorf("took %v", last)
		}
		// Who waits for it is ended at once.
		tn, _ := live(t, s, "alice")
		failed := make(chan error, 1)
		go func() { failed <- tn.Pass(true, 64<<20) }()
		synctest.Wait()
		if err := s.Remove("alice"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		select {
		case err := <-failed:
			if err == nil {
				t.Error("passed")
			}
		default:
			t.Error("still waiting")
		}
	})
}

func TestUserCheck(t *testing.T) {
	for _, u := range []User{
		{Name: strings.Repeat("x", 65)},
		{Name: "a:b"},
		{Name: "a/b"},
		{Name: "ä"},
		{Name: ".."},
		{Name: "a", Limits: Limits{Rate: 5}},
		{Name: "a", Limits: Limits{Tunnels: -1}},
	} {
		if err := u.check(); err == nil {
			t.Errorf("%+v passed", u)
		}
	}
}

func BenchmarkPass(b *testing.B) {
	s := newSet(b)
	mustAdd(b, s, User{Name: "alice"})
	tn, err := s.Begin("alice", false, func() {})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = tn.Pass(true, 64)
	}
}

func BenchmarkVerifyAmong(b *testing.B) {
	for _, n := range []int{1, 1000} {
		var declared []User
		for i := range n {
			declared = append(declared, User{Name: fmt.Sprint("user", i), Tokens: []Token{{Hash: HashOf(NewToken())}}})
		}
		s, err := Open(declared, Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			fields := []string{basic("user0:" + NewToken())}
			for b.Loop() {
				s.Verify(fields)
			}
		})
	}
}
