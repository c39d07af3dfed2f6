//go:build interop

package interop

const (
	wgetCommand = "wget --no-config -nv --tries=1 --timeout=50 --ca-certificate={ca} -O - -e use_proxy=yes "
	aptCommand  = "/usr/lib/apt/apt-helper -o APT::Sandbox::User= -o Acquire::https::CAInfo={ca} -o Acquire::Retries=0 "
	sshCommand  = "ssh {ssh} -o "
	get         = "GET /payload HTTP/1.0\r\nHost: {name}\r\n\r\n"
)

// toolUses are programs of the command line other than curl.
var toolUses = []use{
	{client: "wget", how: "http_proxy", target: "http", command: wgetCommand + "-e http_proxy=http://{proxy} {url}"},
	{client: "wget", how: "https_proxy", target: "https", command: wgetCommand + "-e https_proxy=http://{proxy} {tlsurl}"},
	{client: "wget", how: "--proxy-user", target: "http", command: wgetCommand + "--proxy-user=ann --proxy-password=correct -e http_proxy=http://{asking} {url}"},
	{client: "wget", how: "--proxy-user", target: "https", command: wgetCommand + "--proxy-user=ann --proxy-password=correct -e https_proxy=http://{asking} {tlsurl}"},

	{client: "git", how: "http.proxy socks5h", target: "http", command: "git -c http.proxy=socks5h://{proxy} clone -q {repo} {out}", gives: clone},
	{client: "git", how: "http.proxy socks5h", target: "https", command: "GIT_SSL_CAINFO={ca} git -c http.proxy=socks5h://{proxy} clone -q {tlsrepo} {out}", gives: clone},
	{client: "git", how: "http.proxy http", target: "http", command: "git -c http.proxy=http://{proxy} clone -q {repo} {out}", gives: clone},
	{client: "git", how: "http.proxy http", target: "https", command: "GIT_SSL_CAINFO={ca} git -c http.proxy=http://{proxy} clone -q {tlsrepo} {out}", gives: clone},
	{client: "git", how: "ssh by nc", target: "ssh", command: "'GIT_SSH_COMMAND=ssh {ssh} -o \"ProxyCommand={nc} -X 5 -x {proxy} %h %p\"' git clone -q {sshrepo} {out}", gives: clone},

	{client: "apt", how: "http", target: "http", command: aptCommand + "-o Acquire::http::Proxy=http://{proxy} download-file {url} {out}", gives: file},
	{client: "apt", how: "http", target: "https", command: aptCommand + "-o Acquire::https::Proxy=http://{proxy} download-file {tlsurl} {out}", gives: file},
	{client: "apt", how: "socks5h", target: "http", command: aptCommand + "-o Acquire::http::Proxy=socks5h://{proxy} download-file {url} {out}", gives: file},
	{client: "apt", how: "socks5h", target: "https", command: aptCommand + "-o Acquire::https::Proxy=socks5h://{proxy} download-file {tlsurl} {out}", gives: file},
	{client: "apt", how: "http, user", target: "http", command: aptCommand + "-o Acquire::http::Proxy=http://ann:correct@{asking} download-file {url} {out}", gives: file},

	{client: "ssh", how: "nc -X 4", target: "ssh", command: sshCommand + "'ProxyCommand={nc} -X 4 -x {proxy} %h %p' {me}@127.0.0.1 cat", gives: echo},
	{client: "ssh", how: "nc -X 5", target: "ssh", command: sshCommand + "'ProxyCommand={nc} -X 5 -x {proxy} %h %p' {me}@{name} cat", gives: echo},
	{client: "ssh", how: "nc -X connect", target: "ssh", command: sshCommand + "'ProxyCommand={nc} -X connect -x {proxy} %h %p' {me}@{name} cat", gives: echo},
	{client: "ssh", how: "ncat socks4", target: "ssh", command: sshCommand + "'ProxyCommand=ncat --proxy-type socks4 --proxy {proxy} %h %p' {me}@127.0.0.1 cat", gives: echo},
	{client: "ssh", how: "ncat socks5", target: "ssh", command: sshCommand + "'ProxyCommand=ncat --proxy-type socks5 --proxy-dns remote --proxy {proxy} %h %p' {me}@{name} cat", gives: echo},
	{client: "ssh", how: "ncat http", target: "ssh", command: sshCommand + "'ProxyCommand=ncat --proxy-type http --proxy {proxy} %h %p' {me}@{name} cat", gives: echo},
	{client: "ssh", how: "socat SOCKS4A", target: "ssh", command: sshCommand + "'ProxyCommand=socat - SOCKS4A:{proxyhost}:%h:%p,socksport={proxyport}' {me}@{name} cat", gives: echo},
	{client: "ssh", how: "socat PROXY", target: "ssh", command: sshCommand + "'ProxyCommand=socat - PROXY:{proxyhost}:%h:%p,proxyport={proxyport}' {me}@{name} cat", gives: echo},

	{client: "nc", how: "-X 5", target: "tcp", command: "{nc} -X 5 -x {proxy} {name} {site}", stdin: get, gives: answer},
	{client: "nc", how: "-X connect", target: "tcp", command: "{nc} -X connect -x {proxy} {name} {site}", stdin: get, gives: answer},
	{client: "nc", how: "-X 4", target: "tcp", command: "{nc} -X 4 -x {proxy} 127.0.0.1 {site}", stdin: get, gives: answer},
	{client: "ncat", how: "socks4", target: "tcp", command: "ncat --proxy-type socks4 --proxy {proxy} 127.0.0.1 {site}", stdin: get, gives: answer},
	{client: "ncat", how: "socks5", target: "tcp", command: "ncat --proxy-type socks5 --proxy-dns remote --proxy {proxy} {name} {site}", stdin: get, gives: answer},
	{client: "ncat", how: "socks5, user", target: "tcp", command: "ncat --proxy-type socks5 --proxy-dns remote --proxy-auth ann:correct --proxy {asking} {name} {site}", stdin: get, gives: answer},
	{client: "ncat", how: "http", target: "tcp", command: "ncat --proxy-type http --proxy {proxy} {name} {site}", stdin: get, gives: answer},
	{client: "ncat", how: "http, user", target: "tcp", command: "ncat --proxy-type http --proxy-auth ann:correct --proxy {asking} {name} {site}", stdin: get, gives: answer},
	{client: "socat", how: "SOCKS4", target: "tcp", command: "socat -t 30 - SOCKS4:{proxyhost}:127.0.0.1:{site},socksport={proxyport}", stdin: get, gives: answer},
	{client: "socat", how: "SOCKS4A", target: "tcp", command: "socat -t 30 - SOCKS4A:{proxyhost}:{name}:{site},socksport={proxyport}", stdin: get, gives: answer},
	{client: "socat", how: "PROXY", target: "tcp", command: "socat -t 30 - PROXY:{proxyhost}:{name}:{site},proxyport={proxyport}", stdin: get, gives: answer},
	{client: "socat", how: "PROXY, user", target: "tcp", command: "socat -t 30 - PROXY:{askinghost}:{name}:{site},proxyport={askingport},proxyauth=ann:correct", stdin: get, gives: answer},

	{client: "proxychains4", how: "socks5", target: "http", command: "proxychains4 -q -f {conf}/socks5.conf curl -q -sS --fail --max-time 50 {url}"},
	{client: "proxychains4", how: "socks4", target: "http", command: "proxychains4 -q -f {conf}/socks4.conf curl -q -sS --fail --max-time 50 {addressurl}"},
	{client: "proxychains4", how: "http", target: "https", command: "proxychains4 -q -f {conf}/http.conf curl -q -sS --fail --max-time 50 --cacert {ca} {tlsurl}"},
	{client: "torsocks", how: "socks5, RESOLVE", target: "http", command: "TORSOCKS_CONF_FILE={conf}/torsocks.conf torsocks curl -q -sS --fail --max-time 50 {url}"},
	{client: "torsocks", how: "socks5, RESOLVE", target: "https", command: "TORSOCKS_CONF_FILE={conf}/torsocks.conf torsocks curl -q -sS --fail --max-time 50 --cacert {ca} {tlsurl}"},
}
