package socks

import (
	"strings"
	"testing"
)

func TestUserOf(t *testing.T) {
	u, err := NewUsers(map[string]string{"alice": "sesame", "bob": "same", "carol": "same", "dave": strings.Repeat("x", 255)})
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]string{
		"sesame": "alice", "same": "", "": "", "alice": "", strings.Repeat("x", 255): "dave", strings.Repeat("x", 256): "",
	} {
		if user, ok := u.UserOf(token); user != want || ok != (want != "") {
			t.Errorf("%.10q is %q, %v; want %q", token, user, ok, want)
		}
	}
	for _, u := range []*StaticUsers{nil, {}} {
		if user, ok := u.UserOf("sesame"); ok {
			t.Errorf("the user of an empty set is %q", user)
		}
	}
}
