package local

import (
	"testing"
	"time"

	"github.com/byway-proxy/byway/configs"
	"github.com/byway-proxy/byway/local/users"
)

// TestUsersOf: tokens are secrets that are known, so hashes alone offer none.
func TestUsersOf(t *testing.T) {
	hash := configs.PasswordHash(users.NewHash("open sesame"))
	alice := configs.Login{Name: "alice", PasswordHash: &hash}
	bob := configs.Login{Name: "bob", Secret: configs.NewSecret("plain")}
	for name, test := range map[string]struct {
		logins      []configs.Login
		alice, bob  bool
		takesTokens bool
	}{
		"secrets": {[]configs.Login{bob}, false, true, true},
		"hashes":  {[]configs.Login{alice}, true, false, false},
		"both":    {[]configs.Login{alice, bob}, true, true, true},
	} {
		got, err := usersOf(&configs.Listener{Users: test.logins}, newQueue(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if got.Valid("alice", "open sesame") != test.alice || got.Valid("bob", "plain") != test.bob {
			t.Errorf("%s: others are let in than are in the file", name)
		}
		if got.Valid("alice", "plain") || got.Valid("bob", "open sesame") || got.Valid("", "") {
			t.Errorf("%s: let in with another's password", name)
		}
		tokens, ok := got.(interface{ UserOf(string) (string, bool) })
		if ok != test.takesTokens {
			t.Errorf("%s: takes tokens: %v", name, ok)
		}
		if ok {
			if user, ok := tokens.UserOf("plain"); user != "bob" || !ok {
				t.Errorf("%s: the token is of %q, %v", name, user, ok)
			}
			if user, ok := tokens.UserOf("open sesame"); ok {
				t.Errorf("%s: a hashed password is the token of %q", name, user)
			}
		}
	}
	if got, err := usersOf(&configs.Listener{}, newQueue(), time.Minute); got != nil || err != nil {
		t.Errorf("without users: %v, %v", got, err)
	}
}
