-- expect: 200 body="contained"
local key = ("k"):rep(32)
local function part(text) return base64.url_encode(text) end
local function signed(head, body)
  local text = part(head) .. "." .. part(body)
  return text .. "." .. base64.url_encode(crypto.unhex(crypto.hmac_sha256(key, text)))
end
local good = '{"alg":"HS256"}'
assert(crypto.jwt_verify(signed(good, "{}"), key))
local bad = {
  signed('{"alg":"none"}', "{}"), signed('{"alg":"HS256","alg":"none"}', "{}"), signed(('{"a":'):rep(5000), "{}"),
  signed(good, ("["):rep(20000)), signed(good, '{"exp":1e999,"nbf":1e999}'), signed(good, '{"exp":-1e999}'), signed(good, "[]"),
  signed(good, "\xff\xfe"), signed(good, ""), ("."):rep(60000), ("a"):rep(65536), ("a."):rep(30000), "", "\0.\0.\0", "..",
  signed(good, "{}") .. "=", " " .. signed(good, "{}"), (signed(good, "{}"):gsub("%.", "..")),
}
for at, token in ipairs(bad) do
  local claims, why = crypto.jwt_verify(token, key)
  assert(claims == nil and type(why) == "string", at)
end
return "contained"
