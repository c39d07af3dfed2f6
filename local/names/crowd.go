package names

import (
	"net"
	"sync"

	"github.com/byway-proxy/byway/relay"
)

// How many questions may wait for servers at a time.
const (
	atOnce    = 256
	perClient = atOnce / 2 // so that one client leaves room for others
)

// A crowd is the questions that wait. Its zero value is ready.
type crowd struct {
	mu      sync.Mutex
	all     int
	clients map[any]int
}

// enter takes a place for a question of client's. There is one if leave is not nil: it gives
// the place back.
func (c *crowd) enter(client net.Addr) (leave func()) {
	who := relay.ClientOf(client)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= atOnce || c.clients[who] >= perClient {
		return nil
	}
	if c.clients == nil {
		c.clients = make(map[any]int)
	}
	c.all++
	c.clients[who]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.all--
		if c.clients[who]--; c.clients[who] == 0 {
			delete(c.clients, who)
		}
	}
}
