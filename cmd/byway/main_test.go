package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/byway-proxy/byway/internal/testnet"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"byway": func() { os.Exit(run()) },
	})
}

// TestScripts runs the transcripts in testdata/script. Beside the commands of
// testscript they have:
//
//	waitfor FILE TEXT   wait until a line of FILE has TEXT, and set $ADDR to the
//	                    word behind "address=" in it, if there is one
//	fetch PROXY URL     get URL through PROXY, as a browser would, and print status and body;
//	                    PROXY may be "none"; trust the certificate in the file $CA, if set;
//	                    say first, by the PROXY protocol, that it is for $CLIENT, if set
//	reserve NAME        set $NAME to a loopback address for a server
//	refuse NAME         set $NAME to a loopback address that refuses
//	nameserver NAME     set $NAME to the address of a DNS server by TCP, for which all names are 192.0.2.7, save for
//	                    those that begin with "here.", which are 127.0.0.1; and $NAME_PORT to its port
//	resolve NET SERVER NAME   print the IPv4 addresses that the DNS server at SERVER has for NAME; NET is udp or tcp
//	udpecho NAME        set $NAME to the address of a target that says "echo: " and
//	                    what it was told, by UDP
//	udp ADDR TARGET TEXT
//	                    send TEXT to TARGET by UDP ASSOCIATE of the SOCKS5 listener at
//	                    ADDR, and print what TARGET says to it, or the reply that refuses
//	hold ADDR [TARGET]  keep a connection to ADDR, silent, or with a tunnel to TARGET
//	                    that it was asked for by CONNECT
//	ends                what is held is ended by the other side, within a second
//	site NAME           set $NAME to the address of a website that says hello
//	release             close what is held
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"waitfor":    waitFor,
			"fetch":      fetch,
			"reserve":    address(testnet.Reserve),
			"refuse":     address(testnet.Refuse),
			"nameserver": nameServer,
			"resolve":    resolve,
			"udpecho":    udpEcho,
			"udp":        sendUDP,
			"hold":       hold,
			"ends":       ends,
			"site":       site,
			"release":    release,
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("NO_COLOR", "1")
			e.Values[heldKey{}] = new([]net.Conn)
			return nil
		},
	})
}

func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitfor FILE TEXT")
	}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		data, err := os.ReadFile(ts.MkAbs(args[0]))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			if strings.Contains(line, args[1]) && strings.HasSuffix(line, "\n") {
				if _, rest, ok := strings.Cut(line, "address="); ok {
					ts.Setenv("ADDR", strings.Fields(rest)[0])
				}
				return
			}
		}
	}
	ts.Fatalf("%s never had %q", args[0], args[1])
}

func fetch(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: fetch PROXY URL")
	}
	tr := &http.Transport{DisableKeepAlives: true}
	if args[0] != "none" {
		proxy, err := url.Parse(args[0])
		ts.Check(err)
		tr.Proxy = http.ProxyURL(proxy)
	}
	if client := ts.Getenv("CLIENT"); client != "" {
		tr.DialContext = onBehalfOf(client)
	}
	if file := ts.Getenv("CA"); file != "" {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(ts.ReadFile(file)))
		tr.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	c := &http.Client{Timeout: 30 * time.Second, Transport: tr}
	resp, err := c.Get(args[1])
	if err != nil {
		if !neg {
			ts.Fatalf("fetch: %v", err)
		}
		_, _ = fmt.Fprintln(ts.Stdout(), err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if neg && resp.StatusCode == http.StatusOK {
		ts.Fatalf("fetch succeeded: %s", body)
	}
	_, _ = fmt.Fprintf(ts.Stdout(), "%s\n%s", resp.Status, body)
}

// address is a command that names an address, which is kept until the script ends.
func address(get func() (addr string, release func(), err error)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 1 {
			ts.Fatalf("usage: reserve NAME, refuse NAME")
		}
		addr, release, err := get()
		ts.Check(err)
		ts.Defer(release)
		ts.Setenv(args[0], addr)
	}
}
