"""Gets a URL, or asks a DNS server, by a library of Python that knows proxies."""
import socket
import ssl
import sys
from urllib.parse import urlsplit

how, proxy, url, ca = sys.argv[1:]
at = urlsplit(proxy)


def by_requests():
    import requests
    answer = requests.get(url, proxies={"http": proxy, "https": proxy}, verify=ca, timeout=50)
    answer.raise_for_status()
    return answer.content


def by_urllib():
    import urllib.request as u
    context = ssl.create_default_context(cafile=ca)
    opener = u.build_opener(u.ProxyHandler({"http": proxy, "https": proxy}), u.HTTPSHandler(context=context))
    return opener.open(url, timeout=50).read()


def over(conn):
    """Speaks HTTP over a conn to the URL's host."""
    target = urlsplit(url)
    if target.scheme == "https":
        conn = ssl.create_default_context(cafile=ca).wrap_socket(conn, server_hostname=target.hostname)
    conn.sendall(f"GET {target.path} HTTP/1.0\r\nHost: {target.netloc}\r\n\r\n".encode())
    with conn.makefile("rb") as f:
        return f.read().split(b"\r\n\r\n", 1)[1]


def by_pysocks():
    import socks
    kind = {"socks4": socks.SOCKS4, "socks5": socks.SOCKS5, "http": socks.HTTP}[at.scheme]
    s = socks.socksocket()
    s.set_proxy(kind, at.hostname, at.port, rdns=True, username=at.username, password=at.password)
    s.settimeout(50)
    target = urlsplit(url)
    s.connect((target.hostname, target.port))
    return over(s)


def by_python_socks():
    from python_socks.sync import Proxy
    target = urlsplit(url)
    return over(Proxy.from_url(proxy, rdns=True).connect(target.hostname, target.port, timeout=50))


def by_python_socks_asyncio():
    import asyncio
    from python_socks.async_.asyncio import Proxy

    async def connect():
        target = urlsplit(url)
        s = await Proxy.from_url(proxy, rdns=True).connect(target.hostname, target.port, timeout=50)
        s.setblocking(True)
        return s
    return over(asyncio.run(connect()))


def by_dns():
    import socks
    s = socks.socksocket(socket.AF_INET, socket.SOCK_DGRAM)
    s.set_proxy(socks.SOCKS5, at.hostname, at.port)
    s.settimeout(30)
    query = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0\7website\4test\0\0\1\0\1"
    s.sendto(query, ("127.0.0.1", int(url)))
    answer, _ = s.recvfrom(512)
    assert answer[:2] == query[:2] and socket.inet_ntoa(answer[-4:]) == "192.0.2.80"
    return b"done"


sys.stdout.buffer.write(globals()["by_" + how]())
