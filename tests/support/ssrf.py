"""Spellings of addresses that lead inwards, for every place where somebody else says what is asked."""

from collections.abc import Sequence

from cozyd.outbound import addresses_of

SHAPES = """
http://127.0.0.1:{p}/ http://127.0.0.1:{p} http://127.1:{p}/ http://127.0.1:{p}/ http://127.127.127.127:{p}/ http://2130706433:{p}/
http://0x7f000001:{p}/ http://0x7f.0x0.0x0.0x1:{p}/ http://0177.0.0.1:{p}/ http://017700000001:{p}/ http://0x7f.1:{p}/ http://0:{p}/
http://0.0.0.0:{p}/ http://localhost:{p}/ http://LOCALHOST:{p}/ http://localhost.:{p}/ http://[::1]:{p}/ http://[::]:{p}/
http://[0:0:0:0:0:0:0:1]:{p}/ http://[::ffff:127.0.0.1]:{p}/ http://[::ffff:7f00:1]:{p}/ http://[::127.0.0.1]:{p}/
http://[64:ff9b::7f00:1]:{p}/ http://[2002:7f00:1::]:{p}/ http://[2001:0:7f00:1::]:{p}/ http://[fe80::1]:{p}/ http://[fe80::1%25lo]:{p}/
http://[fc00::1]:{p}/ http://[fd12:3456::1]:{p}/ http://[ff02::1]:{p}/ http://[2001:db8::1]:{p}/ http://[::ffff:0:127.0.0.1]:{p}/
http://10.0.0.1:{p}/ http://10.255.255.255:{p}/ http://172.16.0.1:{p}/ http://172.31.255.255:{p}/ http://192.168.1.1:{p}/
http://169.254.169.254:{p}/latest/meta-data/ http://100.64.0.1:{p}/ http://198.18.0.1:{p}/ http://192.0.2.1:{p}/ http://224.0.0.1:{p}/
http://240.0.0.1:{p}/ http://255.255.255.255:{p}/ http://192.88.99.1:{p}/ http://192.0.0.8:{p}/
http://user@127.0.0.1:{p}/ http://example.org@127.0.0.1:{p}/ http://127.0.0.1:{p}@example.org/ http://example.org:{p}@127.0.0.1:{p}/
http://example.org\\@127.0.0.1:{p}/ http://127.0.0.1:{p}\\@example.org/ http:\\\\127.0.0.1:{p}/ http:///127.0.0.1:{p}/ http:127.0.0.1:{p}/
//127.0.0.1:{p}/ 127.0.0.1:{p}/ file:///etc/passwd ftp://127.0.0.1:{p}/ gopher://127.0.0.1:{p}/_GET dict://127.0.0.1:{p}/ ldap://127.0.0.1/
jar:http://127.0.0.1:{p}/ data:text/plain,x javascript:alert(1) http+unix://%2Ftmp%2Fadmin.sock/ https://127.0.0.1:{p}/
http://①②⑦.⓪.⓪.①:{p}/ http://127。0。0。1:{p}/ http://loc%61lhost:{p}/ http://%31%32%37.0.0.1:{p}/ http://127.0.0.1%2f@example.org:{p}/
http://127.0.0.1%00.example.org:{p}/ http://example.org:22/ http://private.example:{p}/ http://mixed.example:{p}/ http://six.example:{p}/
http://127.0.0.1.:{p}/ http://[127.0.0.1]:{p}/ http://:{p}/ http:// http://127.0.0.1:{p}#@example.org/ http://127.0.0.1:99999/
""".split()
NAMES = {
    "private.example": ["10.0.0.1"],
    "mixed.example": ["93.184.216.34", "127.0.0.1"],
    "six.example": ["::ffff:127.0.0.1"],
    "example.org": ["127.0.0.1"],
}


def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a name: some lead inwards, the others are the machine's."""
    return NAMES[host] if host in NAMES else addresses_of(host, port)
