-- expect: 200 body="contained"
-- The script's own caller may send what it likes; the server adds no secret to it.
for name, value in pairs(request.headers) do
  assert(not name:find("token", 1, true) and not name:find("forwarded", 1, true), name)
end
return "contained"
