import java.io.FileInputStream;
import java.io.InputStream;
import java.net.*;
import java.net.http.*;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import javax.net.ssl.*;

/** Gets a URL by what the JDK has for proxies, to standard output. */
public class Client {
    public static void main(String[] args) throws Exception {
        String how = args[0], host = args[1];
        int port = Integer.parseInt(args[2]);
        URI url = URI.create(args[3]);
        SSLContext trust = trusting(args[4]);
        if (args.length > 5) {
            Authenticator.setDefault(new Authenticator() {
                @Override protected PasswordAuthentication getPasswordAuthentication() {
                    return new PasswordAuthentication(args[5], args[6].toCharArray());
                }
            });
        }
        InputStream in = switch (how) {
            case "HttpClient" -> httpClient(host, port, url, trust, args.length > 5);
            case "URLConnection" -> connection(new Proxy(Proxy.Type.HTTP, new InetSocketAddress(host, port)), url, trust);
            case "URLConnection-socks" -> connection(new Proxy(Proxy.Type.SOCKS, new InetSocketAddress(host, port)), url, trust);
            case "Socket" -> socket(host, port, url, trust);
            default -> throw new IllegalArgumentException(how);
        };
        in.transferTo(System.out);
        System.out.flush();
    }

    static InputStream httpClient(String host, int port, URI url, SSLContext trust, boolean user) throws Exception {
        HttpClient.Builder b = HttpClient.newBuilder().proxy(ProxySelector.of(new InetSocketAddress(host, port))).sslContext(trust);
        if (user) {
            b.authenticator(Authenticator.getDefault());
        }
        HttpResponse<InputStream> r = b.build().send(HttpRequest.newBuilder(url).build(), HttpResponse.BodyHandlers.ofInputStream());
        if (r.statusCode() != 200) {
            throw new IllegalStateException("status " + r.statusCode());
        }
        return r.body();
    }

    static InputStream connection(Proxy proxy, URI url, SSLContext trust) throws Exception {
        URLConnection c = url.toURL().openConnection(proxy);
        if (c instanceof HttpsURLConnection s) {
            s.setSSLSocketFactory(trust.getSocketFactory());
        }
        return c.getInputStream();
    }

    /** An unresolved address goes to the SOCKS server as a name. */
    static InputStream socket(String host, int port, URI url, SSLContext trust) throws Exception {
        Socket s = new Socket(new Proxy(Proxy.Type.SOCKS, new InetSocketAddress(host, port)));
        s.connect(InetSocketAddress.createUnresolved(url.getHost(), url.getPort()), 30_000);
        if (url.getScheme().equals("https")) {
            s = trust.getSocketFactory().createSocket(s, url.getHost(), url.getPort(), true);
        }
        s.getOutputStream().write(("GET " + url.getPath() + " HTTP/1.0\r\nHost: " + url.getAuthority() + "\r\n\r\n").getBytes());
        InputStream in = s.getInputStream();
        for (int matched = 0; matched < 4; ) {
            int c = in.read();
            if (c < 0) {
                throw new IllegalStateException("no head");
            }
            matched = c == "\r\n\r\n".charAt(matched) ? matched + 1 : (c == '\r' ? 1 : 0);
        }
        return in;
    }

    static SSLContext trusting(String file) throws Exception {
        KeyStore keys = KeyStore.getInstance(KeyStore.getDefaultType());
        keys.load(null, null);
        try (InputStream in = new FileInputStream(file)) {
            keys.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(in));
        }
        TrustManagerFactory f = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        f.init(keys);
        SSLContext c = SSLContext.getInstance("TLS");
        c.init(null, f.getTrustManagers(), null);
        return c;
    }
}
