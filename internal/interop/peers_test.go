//go:build interop

package interop

import (
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"sync"

	"github.com/armon/go-socks5"
)

// peer is a proxy to put into a chain.
type peer struct {
	name   string // as the tables call it
	scheme string // of its hop URL
	addr   string
	user   string // "" where it asks for no credential
	secret string
	pin    string // for an https hop
	more   string // lines of its hop's table, the last
}

// as returns the same server as a hop of another scheme.
func (p peer) as(name, scheme string) peer {
	p.name, p.scheme = name, scheme
	return p
}

// The peers. Each is started when a test first asks for it.
var (
	dante      = sync.OnceValues(func() (peer, error) { return startDante("dante") })
	dante2     = sync.OnceValues(func() (peer, error) { return startDante("dante-2") }) // one connects to itself for nobody
	squid      = sync.OnceValues(startSquid)
	tinyproxy  = sync.OnceValues(startTinyproxy)
	openssh    = sync.OnceValues(startOpenSSH)
	microsocks = sync.OnceValues(startMicrosocks)
	armon      = sync.OnceValues(startArmon)
)

// config writes a peer's configuration into its folder.
func config(name, file, text string) (dir, path string, err error) {
	if dir, err = lab.folder(name); err != nil {
		return "", "", err
	}
	path = filepath.Join(dir, file)
	return dir, path, os.WriteFile(path, []byte(text), 0o644)
}

func startDante(name string) (peer, error) {
	path, err := find("danted", "sockd")
	if err != nil {
		return peer{}, err
	}
	me, err := user.Current()
	if err != nil {
		return peer{}, err
	}
	addr, port, err := reserved()
	if err != nil {
		return peer{}, err
	}
	// It stays the user that it is: nothing it does needs root.
	dir, file, err := config(name, "danted.conf", fmt.Sprintf(`
logoutput: stderr
internal: 127.0.0.1 port = %s
external: 127.0.0.1
user.privileged: %[2]s
user.unprivileged: %[2]s
clientmethod: none
socksmethod: none
client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 command: bind connect udpassociate }
socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 command: bindreply udpreply }
`, port, me.Username))
	if err != nil {
		return peer{}, err
	}
	_, err = lab.server(addr, path, "-f", file, "-p", filepath.Join(dir, "pid"), "-N", "1")
	return peer{name: name, scheme: "socks5", addr: addr}, err
}

// privateName is a name of 127.0.0.1 that squid alone knows.
const privateName = "website.test"

func startSquid() (peer, error) {
	path, err := find("squid")
	if err != nil {
		return peer{}, err
	}
	addr, port, err := reserved()
	if err != nil {
		return peer{}, err
	}
	_, hosts, err := config("squid", "hosts", "127.0.0.1 localhost "+privateName+"\n")
	if err != nil {
		return peer{}, err
	}
	_, file, err := config("squid", "squid.conf", fmt.Sprintf(`
http_port 127.0.0.1:%s
http_access allow all
cache deny all
cache_mem 8 MB
hosts_file %s
dns_nameservers 127.0.0.1
dns_timeout 2 seconds
visible_hostname squid.test
access_log none
cache_log /dev/null
pid_filename none
coredump_dir none
pinger_enable off
shutdown_lifetime 1 seconds
max_filedescriptors 1024
`, port, hosts))
	if err != nil {
		return peer{}, err
	}
	_, err = lab.server(addr, path, "-N", "-d", "1", "-f", file)
	return peer{name: "squid", scheme: "http", addr: addr}, err
}

func startTinyproxy() (peer, error) {
	path, err := find("tinyproxy")
	if err != nil {
		return peer{}, err
	}
	addr, port, err := reserved()
	if err != nil {
		return peer{}, err
	}
	// Without ConnectPort it tunnels to every port.
	p := peer{name: "tinyproxy", scheme: "http", addr: addr, user: "tina", secret: "very-secret"}
	_, file, err := config("tinyproxy", "tinyproxy.conf", fmt.Sprintf(`
Port %s
Listen 127.0.0.1
Timeout 60
MaxClients 100
Allow 127.0.0.1
BasicAuth %s %s
`, port, p.user, p.secret))
	if err != nil {
		return peer{}, err
	}
	_, err = lab.server(addr, path, "-d", "-c", file)
	return p, err
}

// startMicrosocks has a server that drops what follows the greeting in its segment:
// a pipelined handshake hangs.
func startMicrosocks() (peer, error) {
	path, err := find("microsocks")
	if err != nil {
		return peer{}, err
	}
	addr, port, err := reserved()
	if err != nil {
		return peer{}, err
	}
	_, err = lab.server(addr, path, "-i", "127.0.0.1", "-p", port)
	return peer{name: "microsocks", scheme: "socks5", addr: addr}, err
}

// startArmon runs armon/go-socks5 in this process: a library for servers is used so.
func startArmon() (peer, error) {
	p := peer{name: "go-socks5", scheme: "socks5", user: "armon", secret: "very-secret"}
	s, err := socks5.New(&socks5.Config{
		Credentials: socks5.StaticCredentials{p.user: p.secret},
		Logger:      log.New(io.Discard, "", 0),
	})
	if err != nil {
		return peer{}, err
	}
	p.addr, err = lab.accept(func(c net.Conn) { _ = s.ServeConn(c) })
	return p, err
}

// sshd is a running OpenSSH server, and what a client of it needs.
type sshd struct {
	addr, port string
	user       string
	options    []string // of every ssh
}

var opensshd = sync.OnceValues(startSSHD)

func startSSHD() (sshd, error) {
	path, err := find("sshd")
	if err != nil {
		return sshd{}, err
	}
	me, err := user.Current()
	if err != nil {
		return sshd{}, err
	}
	dir, err := lab.folder("ssh")
	if err != nil {
		return sshd{}, err
	}
	keys, err := sshKeys(dir)
	if err != nil {
		return sshd{}, err
	}
	// Without PAM it takes an account that has no password for a locked one; with
	// it, a container may lack what root's session asks for.
	pam := "yes"
	if os.Getuid() == 0 {
		pam = "no"
		// As root it insists on this folder, which a boot would have made.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			return sshd{}, err
		}
	}
	addr, port, err := reserved()
	if err != nil {
		return sshd{}, err
	}
	_, file, err := config("ssh", "sshd_config", fmt.Sprintf(`
ListenAddress 127.0.0.1
Port %s
HostKey %s
AuthorizedKeysFile %s.pub
PidFile none
StrictModes no
UsePAM %s
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AllowTcpForwarding yes
MaxStartups 100
MaxSessions 100
PrintMotd no
`, port, keys.host, keys.user, pam))
	if err != nil {
		return sshd{}, err
	}
	if _, err := lab.server(addr, path, "-D", "-e", "-f", file); err != nil {
		return sshd{}, err
	}
	return sshd{addr: addr, port: port, user: me.Username, options: strings.Fields(fmt.Sprintf(
		"-F none -i %s -o IdentitiesOnly=yes -o IdentityAgent=none -o UserKnownHostsFile=%s -o GlobalKnownHostsFile=none "+
			"-o StrictHostKeyChecking=yes -o HostKeyAlias=sshd.test -o BatchMode=yes -o ConnectTimeout=20 -o LogLevel=ERROR", keys.user, keys.known))}, nil
}

func startOpenSSH() (peer, error) {
	server, err := opensshd()
	if err != nil {
		return peer{}, err
	}
	path, err := find("ssh")
	if err != nil {
		return peer{}, err
	}
	addr, _, err := reserved()
	if err != nil {
		return peer{}, err
	}
	args := append([]string{"-N", "-D", addr, "-o", "ExitOnForwardFailure=yes", "-p", server.port}, server.options...)
	_, err = lab.server(addr, path, append(args, server.user+"@127.0.0.1")...)
	return peer{name: "openssh", scheme: "socks5", addr: addr}, err
}

// keyFiles are the paths of private keys, with the public ones beside them, and of
// the list of known hosts.
type keyFiles struct{ host, user, known string }

func sshKeys(dir string) (keyFiles, error) {
	k := keyFiles{filepath.Join(dir, "host"), filepath.Join(dir, "user"), filepath.Join(dir, "known")}
	for _, key := range []string{k.host, k.user} {
		if err := runQuiet("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "interop", "-f", key); err != nil {
			return k, err
		}
	}
	public, err := os.ReadFile(k.host + ".pub")
	if err != nil {
		return k, err
	}
	return k, os.WriteFile(k.known, append([]byte("sshd.test "), public...), 0o644)
}
