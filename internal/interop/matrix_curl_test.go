//go:build interop

package interop

import "strings"

// Each of curl's flags for proxies that 7.88 has and byway has an answer to.
const curlCommand = "curl -q -sS --fail --max-time 50 --cacert {ca} "

func curls(how, args string) use {
	u := use{client: "curl", how: how, target: "http", command: curlCommand + args}
	if strings.Contains(args, "{tlsurl}") {
		u.target = "https"
	}
	return u
}

var curlUses = []use{
	curls("--socks4", "--socks4 {proxy} {addressurl}"),
	curls("--socks4a", "--socks4a {proxy} {url}"),
	curls("--socks5", "--socks5 {proxy} {addressurl}"),
	curls("--socks5-hostname", "--socks5-hostname {proxy} {url}"),
	curls("--socks5-hostname", "--socks5-hostname {proxy} {tlsurl}"),
	curls("--socks5-basic", "--socks5-basic --socks5-hostname {asking} --proxy-user ann:correct {url}"),
	curls("-x socks4", "-x socks4://{proxy} {addressurl}"),
	curls("-x socks4a", "-x socks4a://{proxy} {url}"),
	curls("-x socks5", "-x socks5://{proxy} {addressurl}"),
	curls("-x socks5h", "-x socks5h://{proxy} {url}"),
	curls("-x socks5h", "-x socks5h://{proxy} {tlsurl}"),
	curls("-x socks5h, user", "-x socks5h://ann:correct@{asking} {url}"),
	curls("-x http", "-x http://{proxy} {url}"),
	curls("-x http", "-x http://{proxy} {tlsurl}"),
	curls("-x http, user", "-x http://ann:correct@{asking} {url}"),
	curls("-x http, user", "-x http://ann:correct@{asking} {tlsurl}"),
	curls("-x http, --http2", "--http2 -x http://{proxy} {tlsurl}"),
	curls("--proxytunnel", "-p -x http://{proxy} {url}"),
	curls("--proxy1.0", "--proxy1.0 {proxy} {url}"),
	curls("--proxy1.0 --proxytunnel", "-p --proxy1.0 {proxy} {url}"),
	curls("--proxy-user", "-x http://{asking} -U ann:correct {url}"),
	curls("--proxy-basic", "-x http://{asking} --proxy-basic -U ann:correct {tlsurl}"),
	curls("--proxy-anyauth", "-x http://{asking} --proxy-anyauth -U ann:correct {url}"),
	curls("--proxy-anyauth", "-x http://{asking} --proxy-anyauth -U ann:correct {tlsurl}"),
	curls("--proxy-header, Bearer", "-x http://{asking} --proxy-header 'Proxy-Authorization: Bearer correct' {tlsurl}"),
	curls("--suppress-connect-headers", "-p -i --suppress-connect-headers -x http://{proxy} {url}").giving(answer),
	curls("--preproxy", "--preproxy socks5h://{proxy} -x http://{proxy} {url}"),
	curls("--noproxy", "--noproxy other.test -x socks5h://{proxy} {url}"),
	curls("--proxy-cacert", "--proxy-cacert {proxyca} -U alice:sesame -x https://{secure} {url}"),
	curls("--proxy-cacert", "--proxy-cacert {proxyca} -U alice:sesame -x https://{secure} {tlsurl}"),
	curls("--proxy-insecure", "--proxy-insecure -U alice:sesame -x https://{secure} {tlsurl}"),
	curls("--proxy-pinnedpubkey", "--proxy-pinnedpubkey sha256//{proxypin} --proxy-insecure -U alice:sesame -x https://{secure} {url}"),
	curls("--proxy-tlsv1", "--proxy-tlsv1 --proxy-cacert {proxyca} -U alice:sesame -x https://{secure} {url}"),
	curls("--proxy-ciphers", "--proxy-ciphers ECDHE-ECDSA-AES128-GCM-SHA256 --proxy-cacert {proxyca} -U alice:sesame -x https://{secure} {url}"),
	curls("--proxy-tls13-ciphers", "--proxy-tls13-ciphers TLS_CHACHA20_POLY1305_SHA256 --proxy-cacert {proxyca} -U alice:sesame -x https://{secure} {url}"),
	{client: "curl", how: "http_proxy", target: "http", command: "http_proxy=http://{proxy} " + curlCommand + "{url}"},
	{client: "curl", how: "https_proxy", target: "https", command: "https_proxy=http://{proxy} " + curlCommand + "{tlsurl}"},
	{client: "curl", how: "ALL_PROXY", target: "https", command: "ALL_PROXY=socks5h://{proxy} " + curlCommand + "{tlsurl}"},
}

// giving is u with another place of what it got.
func (u use) giving(g gives) use {
	u.gives = g
	return u
}
