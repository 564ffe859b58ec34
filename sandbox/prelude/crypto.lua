-- Owns: hashes, random bytes and UUIDs. The work is Python's; digests come out as lower-case hex, random bytes raw.
local fault, host = (...).fault, (...).host

local byte, char, find, format, gsub, sub = string.byte, string.char, string.find, string.format, string.gsub, string.sub
local floor, max, tonumber = math.floor, math.max, tonumber
local ask, call, raise, text_argument = host.ask, host.call, fault.raise, fault.text_argument

local RANDOM_BYTES_MAX = 65536

local HEX = {}
for code = 0, 255 do
  HEX[char(code)] = format("%02x", code)
end

local function hex(bytes)
  return (gsub(bytes, ".", HEX))
end

local public = {}

-- crypto.sha256(text) → 64 hex digits
function public.sha256(text)
  return hex(ask("sha256", text_argument(text, "crypto.sha256")))
end

-- crypto.sha512(text) → 128 hex digits
function public.sha512(text)
  return hex(ask("sha512", text_argument(text, "crypto.sha512")))
end

-- crypto.hmac_sha256(key, text) → 64 hex digits
function public.hmac_sha256(key, text)
  return hex(ask("hmac_sha256", text_argument(key, "crypto.hmac_sha256"), text_argument(text, "crypto.hmac_sha256")))
end

-- crypto.hmac_sha512(key, text) → 128 hex digits
function public.hmac_sha512(key, text)
  return hex(ask("hmac_sha512", text_argument(key, "crypto.hmac_sha512"), text_argument(text, "crypto.hmac_sha512")))
end

-- crypto.equal(a, b) → boolean, in a time that does not tell where they differ
function public.equal(a, b)
  a, b = text_argument(a, "crypto.equal"), text_argument(b, "crypto.equal")
  if #a ~= #b then
    return false
  end
  local difference = 0
  for at = 1, #a do
    difference = difference | byte(a, at) ~ byte(b, at)
  end
  return difference == 0
end

-- crypto.hex(bytes) → hex digits
function public.hex(bytes)
  return hex(text_argument(bytes, "crypto.hex"))
end

-- crypto.unhex(digits) → bytes
function public.unhex(digits)
  digits = text_argument(digits, "crypto.unhex")
  local bad = find(digits, "%X")
  if bad then
    raise("crypto.unhex: byte " .. bad .. " is not a hex digit")
  elseif #digits % 2 == 1 then
    raise("crypto.unhex: " .. #digits .. " digits are no whole bytes")
  end
  return (gsub(digits, "..", function(pair)
    return char(tonumber(pair, 16))
  end))
end

local function random_bytes(count)
  return ask("random", count)
end

-- crypto.random_bytes(n) → n raw bytes, fit for secrets
function public.random_bytes(count)
  count = fault.integer_argument(count, "crypto.random_bytes")
  if count < 0 or count > RANDOM_BYTES_MAX then
    raise("crypto.random_bytes gives 0 to " .. RANDOM_BYTES_MAX .. " bytes, not " .. count)
  end
  return random_bytes(count)
end

-- 32 digits as a UUID of RFC 9562: the 13th says its version, two bits of the 17th its variant.
local function uuid(digits, version)
  local variant = sub("89ab", (byte(digits, 17) & 3) + 1)
  return sub(digits, 1, 8) .. "-" .. sub(digits, 9, 12) .. "-" .. version .. sub(digits, 14, 16) .. "-"
    .. sub(variant, 1, 1) .. sub(digits, 18, 20) .. "-" .. sub(digits, 21, 32)
end

-- crypto.uuid4() → a random UUID
function public.uuid4()
  return uuid(hex(random_bytes(16)), "4")
end

local last = 0 -- milliseconds and 12 bits of a counter, of the last uuid7

-- crypto.uuid7() → a UUID that begins with the time in milliseconds; of one invocation each sorts after the one before
function public.uuid7()
  local random = random_bytes(10)
  local start = (byte(random, 1) << 8 | byte(random, 2)) & 0x7FF -- of the counter: half of it is room to count in
  last = max(floor(call("now") * 1000) << 12 | start, last + 1)
  return uuid(format("%012x0%03x", last >> 12, last & 0xFFF) .. hex(sub(random, 3)), "7")
end

return { public = public }
