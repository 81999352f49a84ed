"""HTTP answers with bytes, headers or numbers that violate the protocol, by path."""

ODD_ANSWERS = {
    "/reason": b"HTTP/1.1 200 \xff\xfe\x00\xed\xa0\x80\r\nContent-Type: text/html\r\n\r\n<p>x</p>",
    "/type": b"HTTP/1.1 200 OK\r\nContent-Type: text/h\xe4ml; charset=\xed\xb2\x80\r\n\r\n<p>x</p>",
    "/charset": b'HTTP/1.1 200 OK\r\nContent-Type: text/html; charset="\xff\xfe"\r\n\r\n<p>x</p>',
    "/coding": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: \xf0gzip\xff\r\n\r\n<p>x</p>",
    "/name": b"HTTP/1.1 200 OK\r\n\xff\x00\xed\xa0\x80: \xff\r\nContent-Type: text/html\r\n\r\n<p>x</p>",
    "/version": b"HTTP/" + b"9" * 5000 + b".1 200 OK\r\n\r\n<p>x</p>",
    "/range": b"HTTP/1.1 206 OK\r\nContent-Type: text/html\r\nContent-Range: bytes 0-%s/9\r\n\r\n<p>x</p>"
    % (b"9" * 5000),
    "/length": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %s\r\n\r\n<p>x</p>" % (b"9" * 5000),
    "/location": b"HTTP/1.1 301 \xff\r\nLocation: http://\xff\xed\xa0\x80[/\x00\r\n\r\n",
    "/zone": b"HTTP/1.1 503 X\r\nRetry-After: Mon, 01 Jan 2024 00:00:00 +9999999999\r\nContent-Length: 0\r\n\r\n",
    "/date": b"HTTP/1.1 429 X\r\nRetry-After: 31 Dec 9999 23:59:59 -2359\r\nContent-Length: 0\r\n\r\n",
    "/pause": b"HTTP/1.1 503 X\r\nRetry-After: %s\r\nContent-Length: 0\r\n\r\n" % (b"9" * 5000),
}
