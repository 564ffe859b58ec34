-- expect: 200 body="contained"
-- Nothing but what is public can be called, however it is spelled; and no header or URL carries a second request.
local hosts = {
  "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "LOCALHOST.", "0.0.0.0", "0",
  "169.254.169.254", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.100.100.200",
  "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:169.254.169.254]", "[::127.0.0.1]", "[64:ff9b::7f00:1]",
  "[64:ff9b::169.254.169.254]", "[2002:7f00:1::]", "[2001:0:7f00:1::1]", "[fd00:ec2::254]", "[fe80::1]",
  "[fe80::1%25lo]", "[ff02::1]", "224.0.0.1", "255.255.255.255", "example.org@127.0.0.1", "127.0.0.1\\@example.org",
  "127.0.0.1%00.example.org", "127.0.0.1 ", "１２７.0.0.1", "127。0。0。1", "", ":80", "[", "[]", "a..b", ("a"):rep(9999),
}
for _, host in ipairs(hosts) do
  for _, scheme in ipairs{ "http", "HTTPS" } do
    local done, reason = pcall(http.get, scheme .. "://" .. host .. "/")
    assert(not done and (reason:find("no public host", 1, true) or reason:find("URL", 1, true)), reason)
  end
end
for _, url in ipairs{ "ftp://a/", "file:///etc/passwd", "gopher://a:6379/_x", "unix:/run/x", "//a/", "a", "", "http:", "\0" } do
  assert(not pcall(http.get, url), url)
end
for _, headers in ipairs{
  { host = "x" }, { ["content-length"] = "0" }, { ["transfer-encoding"] = "chunked" }, { connection = "upgrade" },
  { ["a\r\nb"] = "c" }, { a = "b\r\n\r\nGET / HTTP/1.1" }, { ["proxy-authorization"] = "x" }, { ["a b"] = "c" },
} do
  local done, reason = pcall(http.get, "http://example.org/", { headers = headers })
  assert(not done and reason:find("header", 1, true), reason)
end
for _, method in ipairs{ "CONNECT", "TRACE", "GET / HTTP/1.1\r\nx: y\r\n\r\nGET", "\0", "G T", ("x"):rep(99999) } do
  assert(not pcall(http.fetch, { url = "http://example.org/", method = method }))
end
return "contained"
