-- Owns: JSON Web Tokens (RFC 7519), signed with HMAC-SHA-256 and nothing else; they are members of `crypto`.
-- What a token says of its algorithm chooses nothing: it must name the only one that there is.
local modules = ...
local base64, crypto, fault, host, json = modules.base64.public, modules.crypto.public, modules.fault, modules.host, modules.json

local match, sub = string.match, string.sub
local getmetatable = debug.getmetatable
local huge = math.huge
local next, rawget, rawlen, type = next, rawget, rawlen, type
local ask, call = host.ask, host.call
local equal, options_argument, raise, text_argument = crypto.equal, fault.options_argument, fault.raise, fault.text_argument
local url_decode, url_encode = base64.url_decode, base64.url_encode

local ALGORITHM = "HS256"
local KEY_BYTES_MIN = 32 -- RFC 7518, section 3.2
local TOKEN_BYTES_MAX = 65536
local HEADER = url_encode('{"alg":"HS256","typ":"JWT"}')
local TIMES = { "exp", "nbf", "iat" } -- claims that are seconds since 1970
local OF_VERIFY = { iss = true, aud = true, leeway = true }

local function key_argument(key, caller)
  key = text_argument(key, caller .. ": key")
  if #key < KEY_BYTES_MIN then
    raise(caller .. ": the key has " .. #key .. " bytes; " .. ALGORITHM .. " takes " .. KEY_BYTES_MIN .. " or more, all random")
  end
  return key
end

local function signature_of(signed, key)
  return url_encode(ask("hmac_sha256", key, signed))
end

-- crypto.jwt_sign(claims, key) → a token
function crypto.jwt_sign(claims, key)
  key = key_argument(key, "crypto.jwt_sign")
  if type(claims) ~= "table" then
    raise("crypto.jwt_sign needs a table of claims, not " .. type(claims))
  end
  for _, name in next, TIMES do
    local seconds = rawget(claims, name)
    if seconds ~= nil and type(seconds) ~= "number" then
      raise("crypto.jwt_sign: " .. name .. " must be seconds since 1970, not a " .. type(seconds))
    end
  end
  local text, reason = json.encode(claims)
  if not text then
    raise("crypto.jwt_sign: " .. reason)
  elseif sub(text, 1, 1) ~= "{" then
    raise("crypto.jwt_sign: claims have names; this is a list")
  end
  local signed = HEADER .. "." .. url_encode(text)
  return signed .. "." .. signature_of(signed, key)
end

-- The table of a part that is a JSON object, else nil.
local function object_of(part)
  local value = #part % 4 ~= 1 and json.decode(url_decode(part)) or nil
  if type(value) == "table" and value ~= json.null and getmetatable(value) ~= json.ARRAY then
    return value
  end
  return nil
end

-- Each of what follows gives the reason to refuse a token, or nil.

local function against_header(header)
  if rawget(header, "alg") ~= ALGORITHM then
    return "its algorithm is not " .. ALGORITHM
  elseif rawget(header, "crit") ~= nil then
    return "its header has 'crit', which asks for more than is understood here"
  end
  return nil
end

local function against_times(claims, leeway)
  for _, name in next, TIMES do
    local seconds = rawget(claims, name)
    if seconds ~= nil and type(seconds) ~= "number" then
      return "its claim '" .. name .. "' is not a number"
    end
  end
  local now = call("now")
  if now >= (rawget(claims, "exp") or huge) + leeway then
    return "it has expired"
  elseif now < (rawget(claims, "nbf") or -huge) - leeway then
    return "it is not valid yet"
  elseif now < (rawget(claims, "iat") or -huge) - leeway then
    return "it was issued in the future"
  end
  return nil
end

local function against_issuer(claims, issuer)
  if issuer ~= nil and rawget(claims, "iss") ~= issuer then
    return "its issuer is not '" .. issuer .. "'"
  end
  return nil
end

-- A token that names its audience is for nobody else, who says nothing included (RFC 7519, section 4.1.3).
local function against_audience(claims, audience)
  local named = rawget(claims, "aud")
  if audience == nil then
    return named ~= nil and "it is for an audience, and none is expected" or nil
  end
  local list = type(named) == "table" and named or { named }
  for at = 1, rawlen(list) do
    if rawget(list, at) == audience then
      return nil
    end
  end
  return "its audience is not '" .. audience .. "'"
end

local function optional_text(value, caller)
  return value ~= nil and text_argument(value, caller) or nil
end

-- iss, aud, leeway
local function options_of(options)
  options = options_argument(options, OF_VERIFY, "crypto.jwt_verify")
  local leeway = rawget(options, "leeway") or 0
  if type(leeway) ~= "number" or not (leeway >= 0 and leeway < huge) then
    raise("crypto.jwt_verify: leeway must be a number of seconds, 0 or more")
  end
  return optional_text(rawget(options, "iss"), "crypto.jwt_verify: iss"),
    optional_text(rawget(options, "aud"), "crypto.jwt_verify: aud"),
    leeway
end

-- crypto.jwt_verify(token, key, {iss = , aud = , leeway = seconds}) → its claims; or nil and why it is refused
function crypto.jwt_verify(token, key, options)
  key = key_argument(key, "crypto.jwt_verify")
  local issuer, audience, leeway = options_of(options)
  if token == nil then
    return nil, "there is no token"
  end
  token = text_argument(token, "crypto.jwt_verify: token")
  if #token > TOKEN_BYTES_MAX then
    return nil, "it has more than " .. TOKEN_BYTES_MAX .. " bytes"
  end
  local signed, head, body, signature = match(token, "^(([%w_-]+)%.([%w_-]+))%.([%w_-]*)$")
  local header = head and object_of(head)
  if not header then
    return nil, "it is no token"
  end
  local refused = against_header(header)
  if refused then
    return nil, refused
  elseif not equal(signature, signature_of(signed, key)) then -- as text: bits that base64 ignores count, too
    return nil, "its signature is wrong"
  end
  local claims = object_of(body)
  if not claims then
    return nil, "its claims are no JSON object"
  end
  refused = against_times(claims, leeway) or against_issuer(claims, issuer) or against_audience(claims, audience)
  if refused then
    return nil, refused
  end
  return claims
end

return {}
