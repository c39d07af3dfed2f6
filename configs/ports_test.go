package configs

import (
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
