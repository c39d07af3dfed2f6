package socks

import (
	"context"
	"testing"

	"github.com/byway-proxy/byway/chain"
)

// again is a scripted conn that can be played again without allocations.
type again struct {
	scripted
	text []byte
	one  [1][]byte
}

func (c *again) rewind() {
	c.one[0] = c.text
	c.segments, c.written = c.one[:], c.written[:0]
}

func BenchmarkServe(b *testing.B) {
	login := "\x05\x01\x02\x01\x03ann\x06secret"
	named := "\x05\x01\x00\x03\x0bexample.com\x01\xbb"
	u := users(b, map[string]string{"ann": "secret"})
	for name, test := range map[string]struct {
		server Server
		text   string
	}{
		"4":               {Server{}, "\x04\x01\x00\x50\xc0\x00\x02\x01\x00"},
		"4a":              {Server{}, "\x04\x01\x00\x50\x00\x00\x00\x01ann\x00example.com\x00"},
		"5/IPv4":          {Server{}, hello + toV4},
		"5/name":          {Server{}, hello + named},
		"5/name/password": {Server{Users: u}, login + named},
		"5/name/early":    {Server{}, hello + named + "early data"},
	} {
		b.Run(name, func(b *testing.B) {
			c := &again{text: []byte(test.text)}
			b.ReportAllocs()
			for b.Loop() {
				c.rewind()
				p, err := test.server.Handshake(context.Background(), c)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := p.Accept(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDial(b *testing.B) {
	for name, test := range map[string]struct {
		hop  chain.Hop
		text string
	}{
		"4a":            {Hop4a("hop:1", HopOptions{}), yes4},
		"5/serial":      {Hop5("hop:1", HopOptions{Pipeline: Off}), "\x05\x00" + granted},
		"5/pipelined":   {Hop5("hop:1", HopOptions{Pipeline: On}), "\x05\x00" + granted},
		"5/auto/learnt": {Hop5("hop:1", HopOptions{}), "\x05\x00" + granted},
		"5/password":    {Hop5("hop:1", HopOptions{Pipeline: On, User: "ann", Password: "secret"}), "\x05\x02\x01\x00" + granted},
	} {
		b.Run(name, func(b *testing.B) {
			c := &again{text: []byte(test.text)}
			d, err := test.hop.Wrap(always(c))
			must(b, err)
			b.ReportAllocs()
			for b.Loop() {
				c.rewind()
				if _, err := d.DialContext(context.Background(), "tcp", "example.com:443"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
