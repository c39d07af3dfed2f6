package configs

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBadPorts(t *testing.T) {
	testBad(t, "bad_ports.txt", "byway.toml", func(name string, data []byte) error {
		_, err := ParseClient(name, data)
		return err
	})
}

func TestPorts(t *testing.T) {
	c, err := ParseClient("byway.toml", []byte(`
[[listen]]
address = "unix:/run/a.sock"
[[listen]]
address = "unix:/run/b.sock"
mode = "0660"
open = true
[[listen]]
address = "unix:/run/c.sock"
mode = "0666"
allow_uids = [0, 1000]
[[forward]]
listen = "127.0.0.1:5432"
target = "db.example:5432"
to = "direct"
[[forward]]
listen = "0.0.0.0:53"
target = "[2001:db8::1]:53"
to = "direct"
network = "udp"
open = true
[[dns]]
listen = "127.0.0.1:5353"
upstream = "tls://9.9.9.9"
via = "direct"
[[dns]]
listen = "0.0.0.0:54"
upstream = ["https://dns.example/dns-query", "tcp://[2001:db8::1]:5300"]
via = "direct"
blocked = "zero"
open = true
cache = 10
[[dns]]
listen = "127.0.0.1:55"
addresses = "stand-in"
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Forward{
		{Listen: "127.0.0.1:5432", Target: "db.example:5432", To: Direct, Network: TCP},
		{Listen: "0.0.0.0:53", Target: "[2001:db8::1]:53", To: Direct, Network: UDP, Open: true},
	}
	if diff := cmp.Diff(want, c.Forwards); diff != "" {
		t.Error(diff)
	}
	wantDNS := []DNS{
		{Listen: "127.0.0.1:5353", Addresses: AddressesReal, Upstreams: []NameServer{"tls://9.9.9.9"}, Via: Direct, Blocked: BlockedMissing, Cache: 4096},
		{Listen: "0.0.0.0:54", Addresses: AddressesReal, Upstreams: []NameServer{"https://dns.example/dns-query", "tcp://[2001:db8::1]:5300"}, Via: Direct, Blocked: BlockedZero, Open: true, Cache: 10},
		{Listen: "127.0.0.1:55", Addresses: AddressesStandIn, Blocked: BlockedMissing, Cache: 4096},
	}
	if diff := cmp.Diff(wantDNS, c.DNS); diff != "" {
		t.Error(diff)
	}
	for i, want := range []struct {
		path string
		uids []int
		own  bool
	}{{"/run/a.sock", nil, true}, {"/run/b.sock", nil, false}, {"/run/c.sock", []int{0, 1000}, false}} {
		path, _ := c.Listeners[i].Socket()
		if uids, own := c.Listeners[i].UIDs(); path != want.path || own != want.own || !cmp.Equal(uids, want.uids) {
			t.Errorf("listener %d: %s, %v, %v", i, path, uids, own)
		}
	}
}

// FuzzPasswordHash: what is taken is written as it was read, has bounded parameters,
// and shows itself to nobody.
func FuzzPasswordHash(f *testing.F) {
	for _, s := range []string{
		"$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$YWhhc2hvZm5vYm9keXMxNg",
		"$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$YWhhc2hvZm5vYm9keXMxNg",
		"$argon2id$v=19$m=4294967295,t=3,p=4$c29tZXNhbHQ$YWhhc2hvZm5vYm9keXMxNg",
		"$argon2id$v=19$m=65536,t=3,p=4$$", "$argon2id$v=16$", "$argon2i$v=19$m=1,t=1,p=1$a$b", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		x, err := parsePasswordHash(s)
		if err != nil {
			if len(s) > 40 && strings.Contains(err.Error(), s[len(s)-20:]) {
				t.Errorf("the error shows the hash: %v", err)
			}
			return
		}
		h := x.(*PasswordHash)
		if h.PHC() != s {
			t.Errorf("%q is written as %q", s, h.PHC())
		}
		if h.Memory > mostMemory || h.Time > mostTime || h.Threads > mostThreads || h.Memory < 8*uint32(h.Threads) {
			t.Errorf("parameters %d, %d, %d", h.Memory, h.Time, h.Threads)
		}
		if shown := fmt.Sprintf("%v %+v %#v %s", h, h, *h, *h); strings.Contains(shown, "argon2id") || strings.Contains(shown, fmt.Sprint(h.Sum)) {
			t.Errorf("shown as %s", shown)
		}
	})
}
