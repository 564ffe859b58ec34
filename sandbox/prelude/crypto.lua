-- Owns: hashes and random bytes. The work is Python's; digests come out as lower-case hex, random bytes raw.
local fault, host = (...).fault, (...).host

local byte, format, gsub, sub = string.byte, string.format, string.gsub, string.sub
local ask, raise, text_argument = host.ask, fault.raise, fault.text_argument
local char = string.char

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

-- crypto.hmac_sha256(key, text) → 64 hex digits
function public.hmac_sha256(key, text)
  return hex(ask("hmac_sha256", text_argument(key, "crypto.hmac_sha256"), text_argument(text, "crypto.hmac_sha256")))
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

-- crypto.uuid4() → a random UUID
function public.uuid4()
  local digits = hex(random_bytes(16))
  local variant = sub("89ab", (byte(digits, 17) & 3) + 1)
  return sub(digits, 1, 8) .. "-" .. sub(digits, 9, 12) .. "-4" .. sub(digits, 14, 16) .. "-" .. sub(variant, 1, 1)
    .. sub(digits, 18, 20) .. "-" .. sub(digits, 21, 32)
end

return { public = public }
