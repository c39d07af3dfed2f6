// Gets a URL by what Node and its packages have for proxies, to standard output.
const http = require("http"), https = require("https"), fs = require("fs");
const [how, proxy, url, caFile] = process.argv.slice(2), ca = fs.readFileSync(caFile), secure = url.startsWith("https:");

const ways = {
  async undici() {
    const { ProxyAgent, request } = require("undici"), at = new URL(proxy);
    const token = at.username && "Basic " + Buffer.from(at.username + ":" + at.password).toString("base64");
    const dispatcher = new ProxyAgent({ uri: at.origin, token: token || undefined, requestTls: { ca }, proxyTls: { ca: fs.readFileSync(process.argv[6] || caFile) } });
    const answer = await request(url, { dispatcher });
    if (answer.statusCode != 200) throw new Error("status " + answer.statusCode);
    return answer.body;
  },
  "socks-proxy-agent"() {
    const { SocksProxyAgent } = require("socks-proxy-agent");
    return new Promise((yes, no) => (secure ? https : http).get(url, { agent: new SocksProxyAgent(proxy), ca }, answer =>
      answer.statusCode == 200 ? yes(answer) : no(new Error("status " + answer.statusCode))).on("error", no));
  },
  connect() {
    const { hostname, port } = new URL(proxy), target = new URL(url), options = { servername: target.hostname, ca };
    return new Promise((yes, no) => http.request({ host: hostname, port, method: "CONNECT", path: target.host }).on("connect", (answer, socket) => {
      if (answer.statusCode != 200) return no(new Error("status " + answer.statusCode));
      options.createConnection = () => secure ? require("tls").connect({ socket, ...options }) : socket;
      (secure ? https : http).get(target, options, yes).on("error", no);
    }).on("error", no).end());
  },
};
ways[how]().then(async body => { for await (const part of body) if (!process.stdout.write(part)) await new Promise(f => process.stdout.once("drain", f)); });
