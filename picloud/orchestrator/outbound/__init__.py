"""Requests that scripts send to the world: where they may go, how long and how large they may be.

Owns: every socket that is opened because a script said so. A script's URL is hostile, a server's answer is hostile, and
so is the DNS: what counts is the address that is connected to, and that one is checked.

    urls        a URL, in the few forms that are taken
    addresses   which addresses are public
    lookups     names to addresses, by a deadline
    connections sockets to checked addresses only, each call of which ends by the deadline; the home of urllib3
    bodies      the answer's bytes, unpacked, within bounds
    redirects   what follows an answer that points elsewhere (the Fetch standard)
    fetching    one request, from hop to hop
"""
